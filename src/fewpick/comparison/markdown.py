"""Write the comparison table as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fewpick.atomic import atomic_path
from fewpick.comparison.result_table import NOTES
from fewpick.evaluation.baselines import DIFFERENCE_OF_GAUSSIANS, TOLD
from fewpick.evaluation.scores import at_radius


def write_markdown(
    table: pd.DataFrame, path: Path, radii: Sequence[float], reference: str = "supervised"
) -> None:
    """Write the table as Markdown, by data set and labelled ratio, with explanations.

    Parameters
    ----------
    table : DataFrame
        From `build_table`.
    path : Path
    radii : sequence of float
        `evaluation.match_radii`, in particle diameters; the first is the headline.
    reference : str
        As in `build_table`.
    """
    summary = table[table["seed"].isin(["mean", "sd"])]
    lines = ["# Comparison", ""]
    gain = gain_title(table, reference)
    for name, rows in summary.groupby("dataset", sort=False):
        lines += _section(str(name), rows, radii, gain)
    lines += [
        "## What the columns mean",
        "",
        "Values are fractions: mean ± standard deviation over seeds. `comparison.tsv` has every "
        "seed and further columns:",
        "",
    ]
    lines += [f"- `{names.replace(', ', '`, `')}`: {note}." for names, note in NOTES.items()]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _section(name: str, rows: pd.DataFrame, radii: Sequence[float], gain: str) -> list[str]:
    # Take the maximum: some rows have no picks or were scored on fewer micrographs.
    tested = rows.loc[rows["seed"] == "mean", ["n_test_micrographs", "n_test_particles"]].max()
    title = "All data sets together" if name == "all" else name
    lines = [
        f"## {title}",
        "",
        f"Scored on {_count(tested['n_test_micrographs'], 'test micrograph')} with "
        f"{_count(tested['n_test_particles'], 'particle')} (mean over seeds).",
        "",
    ]
    budgets = rows[rows["labeled_ratio"] > 0]
    for ratio, part in budgets.groupby("labeled_ratio"):
        mean = part[part["seed"] == "mean"].iloc[0]
        lines += [
            f"### Labelled ratio {ratio:g}: "
            f"{_count(mean['n_labeled_particles'], 'labelled particle')} on "
            f"{_count(mean['n_labeled_micrographs'], 'micrograph')}",
            "",
            *validation_use(part),
            "",
            *_rows(part, radii, gain),
            "",
        ]
    others = rows[~(rows["labeled_ratio"] > 0)]
    if len(others):
        lines += ["### Controls and other programs", ""]
        if (others["arm"] == DIFFERENCE_OF_GAUSSIANS).any():
            lines += [f"`{DIFFERENCE_OF_GAUSSIANS}` {TOLD}.", ""]
        lines += [*_rows(others, radii, gain), ""]
    return lines


def validation_use(part: pd.DataFrame) -> list[str]:
    """Return a sentence on the number of validation labels, and what each arm used them for.

    Parameters
    ----------
    part : DataFrame
        Rows of one data set and labelled ratio, from `build_table`.
    """
    means = part[part["seed"] == "mean"]
    n = means["n_validation_particles"].max()
    if not n > 0:
        return ["There were no validation labels."]
    labels = _count(round(n), "validation particle")
    if "validation_used_for" not in means or means["validation_used_for"].isna().all():
        return [f"Labelled for validation: {labels}."]
    lines = []
    for use, arms in means.groupby("validation_used_for", sort=False)["arm"]:
        names = ", ".join(f"`{arm}`" for arm in dict.fromkeys(arms))
        lines.append(f"{names}: {use}")
    return [f"Labelled for validation: {labels}. Used for: {'; '.join(lines)}."]


def _rows(part: pd.DataFrame, radii: Sequence[float], gain: str) -> list[str]:
    """Return a Markdown table, one line per arm."""
    radius, headline = radii[0], at_radius("pick_f1", radii[0])
    columns = {
        "precision": at_radius("pick_precision", radius),
        "recall": at_radius("pick_recall", radius),
        f"**F1 at {radius:g} D**": headline,
        **{f"F1 at {lenient:g} D": at_radius("pick_f1", lenient) for lenient in radii[1:2]},
        "average precision": "average_precision",
        "pixel F1": "pixel_f1",
        "tuned pixel F1": "tuned_pixel_f1",
        "count error": "count_error",
    }
    columns = {title: c for title, c in columns.items() if c in part}
    head = ["arm", *columns, gain, "seeds above", "training, min"]
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(["---"] + ["--:"] * (len(head) - 1))]
    lines[-1] += "|"
    for _, arm in part.groupby("arm", sort=False, dropna=False):
        mean = arm[arm["seed"] == "mean"].iloc[0]
        sd = arm[arm["seed"] == "sd"].iloc[0]
        cells = [str(mean["arm"])]
        cells += [
            f"{mean[c]:.3f}" + (f" ± {sd[c]:.3f}" if pd.notna(sd[c]) else "")
            if pd.notna(mean[c])
            else ""
            for c in columns.values()
        ]
        value = mean[f"delta_{headline}"]
        interval = (
            f" [{mean['delta_low']:+.3f}, {mean['delta_high']:+.3f}]"
            if pd.notna(mean["delta_low"])
            else ""
        )
        cells.append(f"{value:+.3f}{interval}" if pd.notna(value) else "")
        cells.append(seeds_above(mean))
        minutes = mean["train_seconds"] / 60
        cells.append(f"{minutes:.1f}" if pd.notna(minutes) else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def gain_title(table: pd.DataFrame, reference: str) -> str:
    """Return the title of the gain column, which depends on the number of seeds."""
    if table.loc[~table["seed"].isin(["mean", "sd"]), "seed"].nunique() == 1:
        return f"gain over {reference} [spread over test micrographs, one training]"
    return f"gain over {reference} [95 % interval]"


def seeds_above(mean: Any) -> str:
    """Return in how many seeds the arm is above the reference: "2 of 3"."""
    if pd.isna(mean["n_seeds"]):
        return ""
    return f"{mean['n_seeds_above']:.0f} of {mean['n_seeds']:.0f}"


def _count(value: float, noun: str) -> str:
    """Return a number with its noun; means over different seeds get one decimal."""
    number = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
    return f"{number} {noun}" if value == 1 else f"{number} {noun}s"
