"""Compute 95 % intervals of scores from few seeds and few test micrographs.

A score is a statistic of pooled counts, such as F1 or a difference of two F1, averaged over data
sets and seeds. It varies for two reasons: another seed gives different labels and initial weights,
and another sample of micrographs contains different particles. Seeds share test micrographs, so the
two are estimated separately:

- seeds: `A = s^2 / S`, from the standard deviation s of the S seeds' scores;
- micrographs: `V`, a delete-one jackknife that removes a micrograph from all seeds at once. It is
  scaled to be unbiased, for the actual test sets of the seeds, if nothing but the micrographs
  varies.

The interval is the mean plus and minus the largest of three half-widths: `t sqrt(A)` with S - 1
degrees of freedom, `t sqrt(V)` with those of V (U - 1 if all seeds share the same U micrographs),
and `t sqrt(A + V)` with the degrees of freedom of Satterthwaite (1946, Biometrics Bulletin 2,
110). The first two are needed if one source dominates: the third is then too narrow, because few
degrees of freedom make the weights uncertain. tests/unit/comparison/test_intervals.py measures the
coverage.

With a single seed, the interval is only the spread over test micrographs of that one training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

FloatArray = NDArray[np.float64]
# Maps counts summed over micrographs, (..., k), to scores, (...).
Statistic = Callable[[FloatArray], FloatArray]

LEVEL = 0.95
KEYS = ["seed", "dataset", "micrograph"]


@dataclass(frozen=True)
class Estimate:
    """A score averaged over data sets and seeds.

    Attributes
    ----------
    mean : float
        NaN without any micrographs.
    low, high : float
        95 % interval; NaN if a data set has only one test micrograph.
    by_seed : dict
        Seed -> score.
    """

    mean: float
    low: float
    high: float
    by_seed: dict[object, float]

    @property
    def n_above(self) -> int:
        """Number of seeds with a score above 0."""
        return sum(value > 0 for value in self.by_seed.values())

    @property
    def n_below(self) -> int:
        """Number of seeds with a score below 0."""
        return sum(value < 0 for value in self.by_seed.values())


def estimate(counts: pd.DataFrame, statistic: Statistic) -> Estimate:
    """Estimate a score and its interval from counts per seed and micrograph.

    Parameters
    ----------
    counts : DataFrame
        Columns seed, dataset and micrograph, with one row per seed and test micrograph; all other
        columns are counts.
    statistic : callable
        Maps (..., k) counts summed over micrographs, in the order of the columns, to a (...)
        score. Data sets are weighted equally, whatever their number of micrographs.
    """
    seeds = list(dict.fromkeys(counts["seed"]))
    tables = [CountTable.of(rows, seeds) for _, rows in counts.groupby("dataset", sort=False)]
    mean, low, high, by_seed = interval(tables, statistic)
    return Estimate(mean, low, high, dict(zip(seeds, by_seed.tolist(), strict=True)))


@dataclass(frozen=True)
class CountTable:
    """Counts of one data set.

    Attributes
    ----------
    present : (S, N) bool array
        Which of N micrographs each of S seeds was tested on.
    counts : (S, N, k) float64 array
        0 where absent.
    """

    present: NDArray[np.bool_]
    counts: FloatArray

    @classmethod
    def of(cls, rows: pd.DataFrame, seeds: list[object]) -> CountTable:
        """Arrange the rows of one data set by seed and micrograph."""
        names = {name: i for i, name in enumerate(sorted(set(rows["micrograph"])))}
        columns = [c for c in rows.columns if c not in KEYS]
        places = {seed: i for i, seed in enumerate(seeds)}
        where = rows["seed"].map(places).to_numpy(), rows["micrograph"].map(names).to_numpy()
        present = np.zeros((len(seeds), len(names)), bool)
        present[where] = True
        counts = np.zeros((*present.shape, len(columns)))
        counts[where] = rows[columns].to_numpy(np.float64)
        return cls(present, counts)


def interval(
    tables: Sequence[CountTable], statistic: Statistic
) -> tuple[float, float, float, FloatArray]:
    """Return the mean, the ends of its interval and each seed's score, from tables of equal seeds.

    This is `estimate` for counts that are already arranged as arrays.
    """
    if not tables:
        return math.nan, math.nan, math.nan, np.empty(0)
    totals = [table.counts.sum(axis=1) for table in tables]
    tested = np.array([table.present.any(axis=1) for table in tables])  # (data sets, seeds)
    scores = np.where(tested, [statistic(total) for total in totals], 0.0)
    weights = tested / tested.sum(axis=0)  # of each data set in a seed's score
    by_seed = (weights * scores).sum(axis=0)
    spreads = [
        _micrograph_variance(
            table.present, score, statistic(total[:, None] - table.counts), weight / len(by_seed)
        )
        for table, total, score, weight in zip(tables, totals, scores, weights, strict=True)
    ]
    mean, half = float(by_seed.mean()), _half_width(by_seed, *_sum(spreads))
    return mean, mean - half, mean + half, by_seed


def _micrograph_variance(
    present: NDArray[np.bool_], scores: FloatArray, deleted: FloatArray, weights: FloatArray
) -> tuple[float, float]:
    """Return the variance of the weighted sum of scores due to micrographs, and its freedom.

    `scores` are those of one data set, (S,), and `deleted`, (S, N), those without one micrograph.

    In linear approximation, the deletions depend on the micrographs' effects b through a matrix C,
    and the score through a vector w. `sum((C b)^2)`, scaled by `|w|^2 / |C|^2`, estimates
    `|w|^2 var(b)`; its degrees of freedom are `tr(C'C)^2 / tr((C'C)^2)`.
    """
    n = present.sum(axis=1)
    several, alone = present & (n > 1)[:, None], present & (n == 1)[:, None]
    shares = present / np.maximum(n, 1)[:, None]  # of each micrograph in a seed's score
    change = weights @ np.where(several, deleted - scores[:, None], 0.0)
    response = np.einsum(
        "s,su,sv->uv", weights / np.maximum(n - 1, 1), several.astype(float), shares
    )
    response -= np.diag((weights / np.maximum(n - 1, 1)) @ several)
    # Seeds whose only micrograph is deleted drop out; the others take over their weight.
    without = alone & (weights > 0)[:, None]
    left = weights.sum() - weights @ without
    takes_over = without.any(axis=0) & (left > 0)
    for u in np.flatnonzero(takes_over):
        others = weights * ~without[:, u] * weights.sum() / left[u] - weights
        change[u] += others @ scores
        response[u] += others @ shares
    gram = response.T @ response
    if not np.trace(gram) > 0:
        return math.nan, math.nan
    scale = float(((weights @ shares) ** 2).sum() / np.trace(gram))
    freedom = float(np.trace(gram) ** 2 / (gram**2).sum())
    return scale * float((change**2).sum()), freedom


def _sum(parts: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the sum of independent variances, and its degrees of freedom (Satterthwaite)."""
    variances, freedoms = np.array(parts).T
    total = variances.sum()
    if not total > 0:  # nothing varies, or a part is unknown (NaN)
        return float(total), float(freedoms.min())
    return float(total), float(total**2 / (variances**2 / freedoms).sum())


def _half_width(by_seed: FloatArray, variance: float, freedom: float) -> float:
    """Return half the width of the interval, from seeds' scores and the micrographs' variance."""
    if math.isnan(variance):
        return math.nan
    widths = [_t(freedom) * math.sqrt(variance)]
    if len(by_seed) > 1:
        of_seeds, seeds_freedom = float(by_seed.var(ddof=1)) / len(by_seed), len(by_seed) - 1.0
        both, both_freedom = _sum([(of_seeds, seeds_freedom), (variance, freedom)])
        widths.append(_t(seeds_freedom) * math.sqrt(of_seeds))
        widths.append(_t(both_freedom) * math.sqrt(both))
    return max(widths)


def _t(freedom: float) -> float:
    """Return the two-sided 95 % quantile."""
    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def t_interval(values: FloatArray) -> tuple[float, float]:
    """Return the 95 % t interval of a mean over seeds, for scores without counts per micrograph.

    It covers other seeds on the same test micrographs. NaN with fewer than two values.
    """
    if len(values) < 2:
        return math.nan, math.nan
    mean = float(values.mean())
    half = _t(len(values) - 1.0) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean - half, mean + half


def f1(counts: FloatArray) -> FloatArray:
    """Return the F1 of (..., 3) true positives, false positives, false negatives; 0 / 0 is 0."""
    tp, fp, fn = counts[..., 0], counts[..., 1], counts[..., 2]
    total = 2 * tp + fp + fn
    return np.divide(2 * tp, total, out=np.zeros(total.shape), where=total > 0)


def f1_difference(counts: FloatArray) -> FloatArray:
    """Return the F1 of the first three of (..., 6) counts minus that of the last three."""
    return f1(counts[..., :3]) - f1(counts[..., 3:])
