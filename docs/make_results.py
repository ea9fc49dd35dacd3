"""Write docs/results.md from the tables under docs/results/.

    python docs/make_results.py                     write the page
    python docs/make_results.py NAME RESULTS_DIR    keep the table of a finished run, then write it

For each docs/results/NAME.md (what was asked, and what it means, in words) the page shows the words
and the table NAME.tsv, and the picture NAME.png if there is one.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from fewpick.atomic import atomic_path
from fewpick.comparison.intervals import t_interval
from fewpick.comparison.markdown import seeds_above, validation_use
from fewpick.evaluation.baselines import DIFFERENCE_OF_GAUSSIANS, TOLD
from fewpick.stacks import read_table

DOCS = Path(__file__).resolve().parent
KEPT = DOCS / "results"
PAGE = DOCS / "results.md"
EXPERIMENTS = DOCS.parent / "config" / "experiments"
# What was asked first comes first.
ORDER = (
    *("empiar10017_tiles", "empiar10017", "empiar10059_tiles", "empiar10146_tiles", "simulated"),
    *("empiar10017_few", "empiar10017_none", "empiar10017_matched", "empiar10017_clicks"),
    *("empiar10059_few", "empiar10146_few", "many_proteins_pooled", "many_proteins", "ablation"),
)

COLUMNS = [
    *("dataset", "arm", "labeled_ratio", "seed", "n_labeled_particles", "n_validation_particles"),
    *("validation_used_for", "n_test_micrographs", "n_test_particles", "pick_precision_0.3"),
    *("pick_recall_0.3", "pick_f1_0.3", "pick_f1_0.5", "average_precision", "delta_pick_f1_0.3"),
    *("delta_low", "delta_high", "n_seeds", "n_seeds_above", "n_seeds_below", "pixel_precision"),
    *("pixel_recall", "pixel_f1", "tuned_pixel_f1", "delta_pixel_f1", "delta_pixel_low"),
    *("delta_pixel_high", "threshold", "train_seconds", "interval"),
]
# What an interval covers, in the column of that name: micrographs are only known to it where the
# counts of each were there when it was made.
FULL, SEEDS_ONLY = "seeds and micrographs", "seeds"
# Arms of the ablation that keep their last state are compared with this one.
LAST = "supervised_last"
HEAD = """# Results on real micrographs

Written by `python docs/make_results.py` from the tables in docs/results/, which these runs made:
`snakemake --cores all --configfile config/experiments/NAME.yaml`.

F1 and average precision are of picks on test micrographs, matched one to one within 0.3 particle
diameters, the border left out. They are means and standard deviations over seeds, each with labels
of its own. The test micrographs of a seed entered no training, checkpoint or threshold of that
seed. They are development sets nevertheless: the method was chosen by its scores on them (see the
[log](experiments.md)), and a micrograph that one seed tests on, another may train on.

The gain is the paired difference to the supervised network with the same labels, with its 95 %
interval. Pixel recall is the share of particle pixels with a probability of 0.5 or more. It and the
pixel F1 at 0.5 depend on calibration; the tuned pixel F1, where it was kept, does not. Seconds are
wall time of one training without the warm start, on one core of a machine whose two cores were busy
with other work; a quiet one takes a third to a half of it.

The last row of each table is a blob filter (difference of Gaussians), which {told}.
"""
SEEDS_NOTE = (
    "Intervals: t over the three seeds alone. No counts per micrograph were kept of this run; with "
    "the test micrographs in it, the interval could only be wider."
)


def keep(name: str, results: Path) -> None:
    """Copy what the page needs of `results/comparison.tsv`."""
    table = read_table(results / "comparison.tsv")
    if table["dataset"].nunique() == 2:
        table = table[table["dataset"] != "all"]
    table = table.assign(interval=FULL).reindex(columns=COLUMNS)
    with atomic_path(KEPT / f"{name}.tsv") as path:
        table.to_csv(path, sep="\t", index=False, float_format="%.4f", lineterminator="\n")


def rows(table: pd.DataFrame, keeps_last: Collection[str] = ()) -> list[str]:
    """Markdown table of the means, one row per labelled ratio and arm, the blob filter last.

    Parameters
    ----------
    table : DataFrame
        As `keep` leaves it.
    keeps_last : collection of str
        Arms that end with their last state instead of their best.
    """
    with_last = LAST in set(table["arm"])
    tuned = table["tuned_pixel_f1"].notna().any()
    one_seed = table["n_seeds"].max() == 1
    gain = "spread over test micrographs, one training" if one_seed else "95 % interval"
    several = table["dataset"].nunique() > 1
    head = ["data set"] * several + ["labelled particles", "arm", "F1"]
    head += [f"gain over supervised [{gain}]", "seeds above"]
    head += ["state", f"gain over {LAST}"] if with_last else []
    head += ["average precision", "pixel F1", f"gain in pixel F1 [{gain}]"]
    head += ["tuned pixel F1"] if tuned else []
    head += ["pixel recall", "seconds"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    spread = table[table["seed"] == "sd"].set_index(["dataset", "arm", "labeled_ratio"])
    # Other controls without learning have no time of training either.
    shown = table["train_seconds"].notna() | (table["arm"] == DIFFERENCE_OF_GAUSSIANS)
    means = table[(table["seed"] == "mean") & shown]
    if several:  # the data sets one after the other, and their mean last
        order = [*sorted(set(means["dataset"]) - {"all"}), "all"]
        means = means.sort_values("dataset", key=lambda d: d.map(order.index), kind="stable")
    means = means.sort_values("labeled_ratio", key=lambda r: r.mask(r == 0, 2), kind="stable")
    for row in means.to_dict("records"):
        around = spread.loc[(row["dataset"], row["arm"], row["labeled_ratio"])]
        trained = row["labeled_ratio"] > 0
        cells = [row["dataset"]] * several
        cells += [f"{row['n_labeled_particles']:.0f}" if trained else "", row["arm"]]
        cells += [with_spread(row, around, "pick_f1_0.3"), *gained(row)]
        if with_last:
            state = "last" if row["arm"] in keeps_last else "best"
            cells += [state if trained else "", gain_over_last(table, row, keeps_last)]
        cells += [with_spread(row, around, "average_precision"), number(row["pixel_f1"])]
        cells += [with_interval(row, "delta_pixel_f1", "delta_pixel_low", "delta_pixel_high")]
        cells += [number(row["tuned_pixel_f1"])] if tuned else []
        cells += [number(row["pixel_recall"])]
        cells += [f"{row['train_seconds']:.0f}" if pd.notna(row["train_seconds"]) else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def gained(row: Mapping[Any, Any]) -> tuple[str, str]:
    """Gain over the reference with its interval, and the number of seeds above it."""
    gain = with_interval(row, "delta_pick_f1_0.3", "delta_low", "delta_high")
    return gain, seeds_above(row) if gain else ""


def with_interval(row: Mapping[Any, Any], value: str, low: str, high: str) -> str:
    """Return a gain and its interval; nothing where there is no gain."""
    if pd.isna(row[value]):
        return ""
    interval = f" [{row[low]:+.3f}, {row[high]:+.3f}]" if pd.notna(row[low]) else ""
    return f"{row[value]:+.3f}{interval}"


def gain_over_last(table: pd.DataFrame, row: Mapping[Any, Any], keeps_last: Collection[str]) -> str:
    """Difference to the supervised arm that keeps its last state too, t over the seeds."""
    if row["arm"] == LAST or row["arm"] not in keeps_last:
        return ""
    seeds = table[~table["seed"].isin(["mean", "sd"])]
    f1 = seeds.pivot(index="seed", columns="arm", values="pick_f1_0.3")
    gain = (f1[row["arm"]] - f1[LAST]).to_numpy(np.float64)
    low, high = t_interval(gain)
    return f"{gain.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def validation(table: pd.DataFrame) -> list[str]:
    """Say how many validation labels there were, and what they were used for."""
    means = table[(table["seed"] == "mean") & table["train_seconds"].notna()]
    if "all" in set(means["dataset"]):
        means = means[means["dataset"] == "all"]
    return validation_use(means.drop_duplicates(["arm", "validation_used_for"]))


def with_spread(mean: Mapping[Any, Any], spread: pd.Series, column: str) -> str:
    """Mean and standard deviation, or the one value where there is one seed."""
    value = number(mean[column])
    return value if pd.isna(spread[column]) else f"{value} ± {spread[column]:.3f}"


def number(value: float) -> str:
    """Three decimals, or nothing where there is no value: Topaz gives no mask."""
    return "" if pd.isna(value) else f"{value:.3f}"


def keeping_last(name: str) -> list[str]:
    """Arms of an experiment that end with their last state."""
    path = EXPERIMENTS / f"{name}.yaml"
    arms = yaml.safe_load(path.read_text(encoding="utf-8")).get("arms", {})
    return [arm for arm, keys in arms.items() if keys.get("training", {}).get("keep") == "last"]


def page() -> str:
    """The whole page."""
    parts = [HEAD.format(told=TOLD)]
    for name in ORDER:
        if not (KEPT / f"{name}.tsv").exists():
            continue
        table = read_table(KEPT / f"{name}.tsv")
        parts.append((KEPT / f"{name}.md").read_text(encoding="utf-8"))
        parts.append("\n".join(validation(table)) + "\n")
        parts.append("\n".join(rows(table, keeping_last(name))) + "\n")
        if (table["interval"] == SEEDS_ONLY).any():
            parts.append(SEEDS_NOTE + "\n")
        if (KEPT / f"{name}.png").exists():
            parts.append(f"![{name}](results/{name}.png)\n")
    return "\n".join(parts)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        keep(sys.argv[1], Path(sys.argv[2]))
    with atomic_path(PAGE) as path:
        path.write_text(page(), encoding="utf-8")
