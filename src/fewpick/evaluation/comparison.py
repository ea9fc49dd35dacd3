"""The comparison table: every run, mean and spread over seeds, and the gain over the reference.

`build_table` gives one row per (dataset, arm, labeled_ratio, seed) and, for each (dataset, arm,
labeled_ratio), one with `seed = mean` and one with `seed = sd` (n - 1 in the denominator; empty
with one seed). All scores are fractions. `NOTES` says what the columns are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fewpick.errors import InputError
from fewpick.stacks import read_table

Counts = NDArray[np.float64]

KEYS = ["dataset", "arm", "labeled_ratio", "seed"]
GROUP = ["dataset", "labeled_ratio", "arm"]
RESAMPLES = 2000
INTERVAL = (2.5, 97.5)  # percentiles

NOTES = {
    "n_labeled_micrographs, n_labeled_particles": (
        "labels the run was trained with: micrographs that hold any, and particles"
    ),
    "n_validation_particles": (
        "further labels, spent on choosing the checkpoint and the score threshold"
    ),
    "pick_precision, pick_recall, pick_f1": (
        "share of the picks that are particles, share of the particles that are picked, and their "
        "harmonic mean. Picks and true centres are matched one to one within the distance that "
        "ends the column's name, in particle diameters D; all test micrographs pooled"
    ),
    "macro_precision, macro_recall, macro_f1": (
        "the same for each test micrograph on its own, then averaged"
    ),
    "average_precision": (
        "area under the precision-recall curve at the first distance: quality of the ranking, "
        "whatever the threshold"
    ),
    "pixel_precision, pixel_recall, pixel_f1": (
        "the same measures for the pixels of the predicted mask at probability 0.5"
    ),
    "tuned_pixel_f1": "pixel F1 at the probability that is best on the validation micrographs",
    "all_positive_pixel_f1": "pixel F1 of calling every pixel particle; a mask must beat this",
    "localisation_error_px, localisation_error_diameters": (
        "median distance of matched picks from the true centre, in pixels of the original "
        "micrograph and in particle diameters"
    ),
    "count_error": (
        "sum over test micrographs of |picks - particles|, as a fraction of the particles"
    ),
    "flipped_pick_f1": (
        "F1 of the same picks turned upside down. It should be far lower; if it is the higher "
        "one, the y axis of the coordinates is wrong"
    ),
    "threshold": "score above which a candidate is a pick; never chosen on test micrographs",
    "delta_pick_f1, delta_low, delta_high": (
        "gain in F1 over the reference arm with the same labels and seed, and its 95 % interval: "
        "bootstrap over test micrographs, and on the row `mean` over seeds too. An interval that "
        "holds 0 shows no difference. With few seeds it is too narrow rather than too wide"
    ),
    "train_seconds": "wall time of the training",
    "all_positive, random, difference_of_gaussians, y_flipped": (
        "controls without learning: every pixel; as many random picks as there are particles; "
        "the strongest blobs of particle size, at most as many as there are particles; and the "
        "reference arm's picks turned upside down"
    ),
}


def build_table(
    scores: Iterable[Path], micrographs: Iterable[Path], reference: str = "supervised"
) -> pd.DataFrame:
    """Gather the scores of all runs.

    Parameters
    ----------
    scores, micrographs: paths of `scores.tsv` and `micrographs.tsv` of every run and baseline
        Data sets and arms keep the order in which they first appear.
    reference: str
        Arm that differences are taken against, `evaluation.reference_arm`.

    Returns
    -------
    DataFrame
        The column `seed` is text. The columns `delta_*` are empty where there is no reference of
        the same ratio and seed, and for the reference itself.

    Raises
    ------
    InputError
        If the same run comes twice.
    """
    scores = list(scores)
    runs = pd.concat([read_table(path) for path in scores], ignore_index=True)
    counts = _read_counts(micrographs)
    twice = runs[runs.duplicated(KEYS)]
    if len(twice):
        row = twice.iloc[0]
        raise InputError(
            f"{scores[0].parent.parent}: two rows for {', '.join(f'{k} {row[k]}' for k in KEYS)}. "
            "Rename one of the arms or external picks."
        )
    headline = headline_column(runs.columns)
    names = [n for n in dict.fromkeys(runs["dataset"]) if n != "all"] + ["all"]
    arms = list(dict.fromkeys(runs["arm"]))
    runs["order"] = runs["arm"].map(arms.index)
    runs["place"] = runs["dataset"].map(names.index)
    runs = runs.sort_values(["place", "labeled_ratio", "order", "seed"], kind="stable")
    runs = runs.drop(columns=["order", "place"])

    parts = []
    for key, group in runs.groupby(GROUP, sort=False, dropna=False):
        group = group.copy()
        dataset, ratio, arm = key
        paired = {
            seed: (_select(counts, dataset, arm, ratio, seed), reference_counts)
            for seed in group["seed"]
            if arm != reference
            and len(reference_counts := _select(counts, dataset, reference, ratio, seed))
        }
        pairs = {s: p for s, (a, b) in paired.items() if len((p := _pair(a, b))[0])}
        parts.append(_with_deltas(group, pairs, headline))
    table = pd.concat(parts, ignore_index=True)
    return table[_ordered(table.columns)]


def paired_bootstrap(
    pairs: Sequence[tuple[Counts, Counts]],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """95 % interval of the mean difference in micro F1, percentile bootstrap.

    Seeds are drawn with replacement, and within each drawn seed its test micrographs; both arms
    keep their counts on the drawn micrographs (Efron and Tibshirani 1993, chapter 8). With one
    seed only micrographs are drawn. Test sets of different seeds are treated as independent.

    Parameters
    ----------
    pairs: sequence of (counts, reference counts)
        One entry per seed; both (n, 3) arrays of true positives, false positives and false
        negatives, one row per micrograph, in the same order.
    rng: Generator
    resamples: int

    Returns
    -------
    low, high: float
        NaN when there is but one seed with one micrograph, which says nothing about spread.
    """
    if len(pairs) == 0 or (len(pairs) == 1 and len(pairs[0][0]) < 2):
        return math.nan, math.nan
    drawn = rng.integers(len(pairs), size=(resamples, len(pairs)))
    difference = np.empty(drawn.shape)
    for seed, (counts, reference) in enumerate(pairs):
        here = drawn == seed
        n = len(counts)
        weights = rng.multinomial(n, np.full(n, 1 / n), size=int(here.sum()))
        difference[here] = micro_f1(weights @ counts) - micro_f1(weights @ reference)
    low, high = np.percentile(difference.mean(axis=1), INTERVAL)
    return float(low), float(high)


def micro_f1(counts: Counts) -> Counts:
    """F1 from (..., 3) counts of true positives, false positives, false negatives; 0 / 0 is 0."""
    tp, fp, fn = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    total = 2 * tp + fp + fn
    return np.divide(2 * tp, total, out=np.zeros_like(total), where=total > 0)


def _read_counts(paths: Iterable[Path]) -> pd.DataFrame:
    """Counts per micrograph at the headline radius, the one that comes first."""
    tables = []
    for path in paths:
        table = read_table(path)
        if len(table):
            tables.append(table[table["radius"] == table["radius"].iloc[0]])
    return pd.concat(tables, ignore_index=True)


def _select(counts: pd.DataFrame, dataset: Any, arm: Any, ratio: Any, seed: Any) -> pd.DataFrame:
    """Counts of one run, indexed by data set and micrograph."""
    rows = counts[
        (counts["arm"] == arm) & (counts["labeled_ratio"] == ratio) & (counts["seed"] == seed)
    ]
    if dataset != "all":
        rows = rows[rows["dataset"] == dataset]
    return rows.set_index(["dataset", "micrograph"])[["tp", "fp", "fn"]]


def _pair(counts: pd.DataFrame, reference: pd.DataFrame) -> tuple[Counts, Counts]:
    """Both arms' counts on the micrographs that both were scored on."""
    shared = counts.index.intersection(reference.index).sort_values()
    return (
        counts.loc[shared].to_numpy(np.float64),
        reference.loc[shared].to_numpy(np.float64),
    )


def _with_deltas(
    group: pd.DataFrame, pairs: dict[int, tuple[Counts, Counts]], headline: str
) -> pd.DataFrame:
    """Rows of one arm, with differences, and the rows `mean` and `sd` below them."""
    delta = f"delta_{headline}"
    values = []
    for seed in group["seed"]:
        pair = pairs.get(seed)
        if pair is None:
            values.append((math.nan, math.nan, math.nan))
        else:
            gain = float(micro_f1(pair[0].sum(axis=0)) - micro_f1(pair[1].sum(axis=0)))
            values.append((gain, *paired_bootstrap([pair], np.random.default_rng(0))))
    group[[delta, "delta_low", "delta_high"]] = np.array(values)
    # A generator of its own for each arm: an arm more or less leaves the others' intervals alone.
    low, high = paired_bootstrap(list(pairs.values()), np.random.default_rng(0))
    numbers = [c for c in group.columns if c not in KEYS]
    mean, sd = group[numbers].mean(), group[numbers].std(ddof=1)
    mean["delta_low"], mean["delta_high"] = low, high
    sd["delta_low"], sd["delta_high"] = math.nan, math.nan
    key = {name: group[name].iloc[0] for name in GROUP}
    return pd.concat(
        [
            group.assign(seed=group["seed"].astype(str)),
            pd.DataFrame([{**key, "seed": "mean", **mean}, {**key, "seed": "sd", **sd}]),
        ],
        ignore_index=True,
    )


def headline_column(columns: Iterable[str]) -> str:
    """The first F1 column: `pick_f1_0.3` with the default radii."""
    return next(c for c in columns if c.startswith("pick_f1_"))


def _ordered(columns: Iterable[str]) -> list[str]:
    """Keys and budget, picks, pixels, then the rest; within these as they came."""
    groups = ("n_", "pick_", "average_precision", "delta_", "pixel_", "tuned_", "all_positive_")

    def place(column: str) -> int:
        if column in KEYS:
            return -len(KEYS) + KEYS.index(column)
        return next((i for i, g in enumerate(groups) if column.startswith(g)), len(groups))

    return sorted(columns, key=place)
