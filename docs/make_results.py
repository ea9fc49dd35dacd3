"""Write docs/results.md from the tables under docs/results/.

    python docs/make_results.py                     write the page
    python docs/make_results.py NAME RESULTS_DIR    keep the table of a finished run, then write it

For each docs/results/NAME.md (what was asked, and what it means, in words) the page shows the words
and the table NAME.tsv, and the picture NAME.png if there is one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from fewpick.atomic import atomic_path
from fewpick.stacks import read_table

DOCS = Path(__file__).resolve().parent
KEPT = DOCS / "results"
PAGE = DOCS / "results.md"
# What was asked first comes first.
ORDER = (
    *("empiar10017_tiles", "empiar10017", "empiar10059_tiles", "empiar10146_tiles", "simulated"),
    *("empiar10017_few", "empiar10017_none", "empiar10017_matched", "empiar10017_clicks"),
    *("empiar10059_few", "empiar10146_few", "ablation"),
)

COLUMNS = [
    *("dataset", "arm", "labeled_ratio", "seed", "n_labeled_particles", "n_validation_particles"),
    *("n_test_micrographs", "n_test_particles", "pick_precision_0.3", "pick_recall_0.3"),
    *("pick_f1_0.3", "pick_f1_0.5", "average_precision", "delta_pick_f1_0.3", "delta_low"),
    *("delta_high", "pixel_precision", "pixel_recall", "pixel_f1", "threshold", "train_seconds"),
]
HEAD = """# Results on real micrographs

Written by `python docs/make_results.py` from the tables in docs/results/, which these runs made:
`snakemake --cores all --configfile config/experiments/NAME.yaml`.

F1 and average precision are of picks on test micrographs that neither training nor any choice saw,
matched one to one within 0.3 particle diameters, the border left out. They are means and standard
deviations over seeds, each with labels of its own. The gain is the paired difference to the
supervised network with the same labels; its 95 % interval is a bootstrap over seeds and
micrographs. Pixel recall is the share of particle pixels that get a probability of 0.5 or more.
Seconds are wall time of one training without the warm start, on one core of a machine whose two
cores were busy with other work; a quiet one takes a third to a half of it. Unless stated otherwise,
checkpoints and score thresholds come from fully labelled validation micrographs.
"""


def keep(name: str, results: Path) -> None:
    """Copy what the page needs of `results/comparison.tsv`."""
    table = read_table(results / "comparison.tsv")
    if table["dataset"].nunique() == 2:
        table = table[table["dataset"] != "all"]
    with atomic_path(KEPT / f"{name}.tsv") as path:
        table[COLUMNS].to_csv(path, sep="\t", index=False, float_format="%.4f", lineterminator="\n")


def rows(table: pd.DataFrame) -> list[str]:
    """Markdown table of the means, one row per labelled ratio and arm."""
    lines = [
        "| labelled particles | arm | F1 | gain over supervised | average precision "
        "| pixel recall | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    spread = table[table["seed"] == "sd"].set_index(["dataset", "arm", "labeled_ratio"])
    # Controls without learning have no time of training.
    means = table[(table["seed"] == "mean") & table["train_seconds"].notna()]
    for _, group in means.groupby("labeled_ratio"):
        for row in group.itertuples():
            around = spread.loc[(row.dataset, row.arm, row.labeled_ratio)]
            record = row._asdict() | dict(zip(means.columns, row[1:], strict=True))
            gain = ""
            if pd.notna(record["delta_pick_f1_0.3"]):
                low, high = record["delta_low"], record["delta_high"]
                gain = f"{record['delta_pick_f1_0.3']:+.3f} [{low:+.3f}, {high:+.3f}]"
            recall = record["pixel_recall"]  # Topaz gives no mask
            lines.append(
                f"| {record['n_labeled_particles']:.0f} | {record['arm']} "
                f"| {with_spread(record, around, 'pick_f1_0.3')} | {gain} "
                f"| {with_spread(record, around, 'average_precision')} "
                f"| {'' if pd.isna(recall) else f'{recall:.3f}'} | {record['train_seconds']:.0f} |"
            )
    return lines


def with_spread(mean: dict[str, float], spread: pd.Series, column: str) -> str:
    """Mean and standard deviation, or the one value where there is one seed."""
    value = f"{mean[column]:.3f}"
    return value if pd.isna(spread[column]) else f"{value} ± {spread[column]:.3f}"


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name in ORDER:
        if not (KEPT / f"{name}.tsv").exists():
            continue
        parts.append((KEPT / f"{name}.md").read_text(encoding="utf-8"))
        parts.append("\n".join(rows(read_table(KEPT / f"{name}.tsv"))) + "\n")
        if (KEPT / f"{name}.png").exists():
            parts.append(f"![{name}](results/{name}.png)\n")
    return "\n".join(parts)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        keep(sys.argv[1], Path(sys.argv[2]))
    with atomic_path(PAGE) as path:
        path.write_text(page(), encoding="utf-8")
