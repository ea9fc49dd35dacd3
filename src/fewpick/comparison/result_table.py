"""Build the comparison table: every run, mean and spread over seeds, gain over the reference.

`build_table` gives one row per (dataset, arm, labeled_ratio, seed) and, for each (dataset, arm,
labeled_ratio), one with `seed = mean` and one with `seed = sd` (n - 1 in the denominator; empty
with one seed). All scores are fractions. `NOTES` describes the columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from fewpick.comparison import intervals
from fewpick.errors import InputError
from fewpick.evaluation.scores import at_radius
from fewpick.stacks import read_table

KEYS = ["dataset", "arm", "labeled_ratio", "seed"]
GROUP = ["dataset", "labeled_ratio", "arm"]
RUN = ["arm", "labeled_ratio", "seed"]
PICKS = ["tp", "fp", "fn"]
PIXELS = ["pixel_tp", "pixel_fp", "pixel_fn"]

NOTES = {
    "n_labeled_micrographs, n_labeled_particles": (
        "labels used for training: micrographs with labels, and labelled particles"
    ),
    "n_validation_particles, validation_used_for": (
        "further labels, and what was chosen with them: the checkpoint, the score threshold, "
        "the pseudo-label threshold. Fewer than 20 are not used, because the choice would be "
        "random"
    ),
    "pick_precision, pick_recall, pick_f1": (
        "fraction of the picks that are particles, fraction of the particles that are picked, "
        "and their harmonic mean. Picks and true centres are matched one to one within the "
        "distance at the end of the column's name, in particle diameters D; all test micrographs "
        "are pooled"
    ),
    "macro_precision, macro_recall, macro_f1": (
        "the same for each test micrograph separately, then averaged"
    ),
    "average_precision": (
        "area under the precision-recall curve at the first distance: the quality of the "
        "ranking, independent of the threshold"
    ),
    "pixel_precision, pixel_recall, pixel_f1": (
        "the same metrics for the pixels of the predicted mask, at probability 0.5"
    ),
    "tuned_pixel_f1": (
        "pixel F1 at the probability that is best on the validation micrographs. Pixel recall and "
        "F1 at 0.5 depend on calibration; this one does not"
    ),
    "all_positive_pixel_f1": (
        "pixel F1 of labelling every pixel particle; a useful mask must beat this"
    ),
    "localisation_error_px, localisation_error_diameters": (
        "median distance of matched picks from the true centre, in pixels of the original "
        "micrograph and in particle diameters"
    ),
    "count_error": (
        "sum over test micrographs of |picks - particles|, as a fraction of the particles"
    ),
    "flipped_pick_f1": (
        "F1 of the same picks flipped upside down. It should be far lower; if it is higher, the "
        "y axis of the coordinates is reversed"
    ),
    "threshold": (
        "candidates with at least this score are picks; never chosen on test micrographs"
    ),
    "delta_pick_f1, delta_low, delta_high": (
        "gain in F1 over the reference arm with the same labels and seed, and its 95 % "
        "interval. The interval of the row `mean` covers other seeds and other micrographs (t, "
        "with a jackknife over test micrographs); an interval that contains 0 shows no "
        "difference. The interval of a single seed is the spread over the test micrographs of "
        "that one training and does not cover other seeds. Empty with one test micrograph"
    ),
    "delta_pixel_f1, delta_pixel_low, delta_pixel_high": (
        "the same for pixel F1 at probability 0.5"
    ),
    "n_seeds, n_seeds_above, n_seeds_below": (
        "number of seeds for which the reference arm was also trained, and in how many of them "
        "pick F1 is higher and lower"
    ),
    "train_seconds": "wall time of the training",
    "all_positive, random, difference_of_gaussians, y_flipped": (
        "controls without training: every pixel; as many random picks as there are particles; "
        "the strongest blobs of particle size, by a filter that is given the true number of "
        "particles on each test micrograph and takes its polarity and width from the validation "
        "labels, if there are any; and the reference arm's picks flipped upside down"
    ),
}


def build_table(
    scores: Iterable[Path],
    micrographs: Iterable[Path],
    radius: float,
    reference: str = "supervised",
) -> pd.DataFrame:
    """Collect the scores of all runs.

    Parameters
    ----------
    scores, micrographs : paths of `scores.tsv` and `micrographs.tsv` of every run and baseline
        Data sets and arms keep the order in which they first appear.
    radius : float
        Headline match radius, the first of `evaluation.match_radii`.
    reference : str
        Baseline arm for differences, `evaluation.reference_arm`.

    Returns
    -------
    DataFrame
        The column `seed` is text. The columns `delta_*` are empty for the reference itself, and if
        there is no reference with the same ratio and seed. They use the micrographs that both arms
        were scored on; over several data sets (`all`), data sets are weighted equally.

    Raises
    ------
    InputError
        If a run is listed twice.
    """
    scores = list(scores)
    runs = pd.concat([read_table(path) for path in scores], ignore_index=True)
    counts = read_counts(micrographs, radius)
    twice = runs[runs.duplicated(KEYS)]
    if len(twice):
        row = twice.iloc[0]
        raise InputError(
            f"{scores[0].parent.parent}: two rows for {', '.join(f'{k} {row[k]}' for k in KEYS)}. "
            "Rename one of the arms or external picks."
        )
    headline = at_radius("pick_f1", radius)
    names = [n for n in dict.fromkeys(runs["dataset"]) if n != "all"] + ["all"]
    arms = list(dict.fromkeys(runs["arm"]))
    runs["order"] = runs["arm"].map(arms.index)
    runs["place"] = runs["dataset"].map(names.index)
    runs = runs.sort_values(["place", "labeled_ratio", "order", "seed"], kind="stable")
    runs = runs.drop(columns=["order", "place"])

    parts = []
    for key, group in runs.groupby(GROUP, sort=False, dropna=False):
        dataset, ratio, arm = key
        mine, base = (_select(counts, dataset, a, ratio) for a in (arm, reference))
        base = base[:0] if arm == reference else base
        pairs = mine.merge(base, on=intervals.KEYS, suffixes=("", "_reference"))
        parts.append(_with_differences(group.copy(), pairs, headline))
    table = pd.concat(parts, ignore_index=True)
    return table[_ordered(table.columns)]


def read_counts(paths: Iterable[Path], radius: float) -> pd.DataFrame:
    """Read the counts per micrograph at one match radius (particle diameters)."""
    tables = [table for table in map(read_table, paths) if len(table)]
    counts = pd.concat([t[t["radius"] == radius] for t in tables], ignore_index=True)
    return counts.reindex(columns=[*RUN, "dataset", "micrograph", *PICKS, *PIXELS])


def _select(counts: pd.DataFrame, dataset: Any, arm: Any, ratio: Any) -> pd.DataFrame:
    """Return the counts of an arm at one ratio for all seeds: `intervals.KEYS` and counts."""
    rows = counts[(counts["arm"] == arm) & (counts["labeled_ratio"] == ratio)]
    rows = rows if dataset == "all" else rows[rows["dataset"] == dataset]
    return rows[[*intervals.KEYS, *PICKS, *PIXELS]]


def _with_differences(group: pd.DataFrame, pairs: pd.DataFrame, headline: str) -> pd.DataFrame:
    """Return the rows of one arm with differences, followed by the rows `mean` and `sd`."""
    over_seeds: dict[str, float] = {}
    for (delta, low, high), counted in (
        ((f"delta_{headline}", "delta_low", "delta_high"), PICKS),
        (("delta_pixel_f1", "delta_pixel_low", "delta_pixel_high"), PIXELS),
    ):
        both = [*counted, *(f"{c}_reference" for c in counted)]
        known = pairs[[*intervals.KEYS, *both]].dropna()
        each = [
            intervals.estimate(known[known["seed"] == seed], intervals.f1_difference)
            for seed in group["seed"]
        ]
        group[[delta, low, high]] = [[e.mean, *_bounded(e)] for e in each]
        found = intervals.estimate(known, intervals.f1_difference)
        over_seeds |= dict(zip((low, high), _bounded(found), strict=True))
        if counted is PICKS and found.by_seed:
            over_seeds |= {
                "n_seeds": len(found.by_seed),
                "n_seeds_above": found.n_above,
                "n_seeds_below": found.n_below,
            }
    group[["n_seeds", "n_seeds_above", "n_seeds_below"]] = math.nan
    texts = [c for c in group.columns if c not in KEYS and not is_numeric_dtype(group[c])]
    numbers = [c for c in group.columns if c not in [*KEYS, *texts]]
    mean, sd = group[numbers].mean(), group[numbers].std(ddof=1)
    sd[[name for name in over_seeds if name in sd]] = math.nan
    key = {name: group[name].iloc[0] for name in GROUP}
    said = {c: "; ".join(dict.fromkeys(group[c].dropna())) or math.nan for c in texts}
    rows = [{**key, "seed": "mean", **mean, **said, **over_seeds}, {**key, "seed": "sd", **sd}]
    return pd.concat(
        [group.assign(seed=group["seed"].astype(str)), pd.DataFrame(rows)], ignore_index=True
    )


def _bounded(estimate: intervals.Estimate) -> tuple[float, float]:
    """Return the interval, clipped to [-1, 1], the range of a difference of two F1."""
    return max(estimate.low, -1.0), min(estimate.high, 1.0)


def _ordered(columns: Iterable[str]) -> list[str]:
    """Sort columns: keys and budget, picks, pixels, then the rest; stable within each group."""
    groups = (
        "n_",
        "pick_",
        "average_precision",
        "delta_",
        "n_seeds",
        "pixel_",
        "tuned_",
        "all_positive_",
    )

    def place(column: str) -> int:
        if column in KEYS:
            return -len(KEYS) + KEYS.index(column)
        fitting = [(len(g), i) for i, g in enumerate(groups) if column.startswith(g)]
        return max(fitting)[1] if fitting else len(groups)

    return sorted(columns, key=place)
