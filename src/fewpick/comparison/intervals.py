"""95 % intervals of scores that come from few seeds and few test micrographs.

A score is a mean over data sets of a statistic of pooled counts, such as F1 or the difference of
two F1, averaged over seeds. It varies for two reasons: another seed gives other labels and other
initial weights, and another sample of micrographs has other particles to find. Seeds share test
micrographs, so the two are estimated apart:

- seeds: `A = s^2 / S`, from the standard deviation s of the S seeds' scores;
- micrographs: `V`, a delete-one jackknife in which a micrograph leaves all seeds at once. It is
  scaled so that it is unbiased, for the seeds' test sets as they are, if nothing but the
  micrographs varies.

The interval is the mean plus and minus the largest of three half-widths: `t sqrt(A)` with S - 1
degrees of freedom, `t sqrt(V)` with those of V (U - 1 if all seeds share the same U micrographs),
and `t sqrt(A + V)` with the degrees of freedom of Satterthwaite (1946, Biometrics Bulletin 2,
110). The first two hold where one source dominates, where the third is too narrow because few
degrees of freedom make the weights uncertain. tests/unit/comparison/test_intervals.py measures the
coverage.

One seed says nothing about other seeds: its interval is the spread over test micrographs of this
one training.
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
# Scores of counts that are summed over micrographs: (..., k) to (...).
Statistic = Callable[[FloatArray], FloatArray]

LEVEL = 0.95
KEYS = ["seed", "dataset", "micrograph"]


@dataclass(frozen=True)
class Estimate:
    """A score averaged over data sets and seeds.

    Attributes
    ----------
    mean : float
        NaN without a single micrograph.
    low, high : float
        95 % interval; NaN where a data set has only one test micrograph, which says nothing about
        others.
    by_seed : dict
        Seed to its score.
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
        Columns seed, dataset and micrograph, one row for each micrograph that a seed was tested
        on; all other columns are counts.
    statistic : callable
        Maps (..., k) counts that are summed over micrographs, in the order of the columns, to a
        (...) score. Data sets weigh the same, whatever their number of micrographs.
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
    """Mean, its interval and the score of each seed, from tables of the same seeds.

    `estimate` for counts that are arranged already.
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
    """Variance that micrographs give the sum of scores times `weights`, and its freedom.

    Scores are those of one data set, (S,), and (S, N) with one micrograph deleted.

    The deletions respond to the micrographs' effects b by a matrix C, as the score itself does
    by a vector w (both in linear approximation). `sum((C b)^2)` estimates `|w|^2 var(b)` when
    it is scaled by `|w|^2 / |C|^2`; its degrees of freedom are `tr(C'C)^2 / tr((C'C)^2)`.
    """
    n = present.sum(axis=1)
    several, alone = present & (n > 1)[:, None], present & (n == 1)[:, None]
    shares = present / np.maximum(n, 1)[:, None]  # of each micrograph in a seed's score
    change = weights @ np.where(several, deleted - scores[:, None], 0.0)
    response = np.einsum(
        "s,su,sv->uv", weights / np.maximum(n - 1, 1), several.astype(float), shares
    )
    response -= np.diag((weights / np.maximum(n - 1, 1)) @ several)
    # Seeds whose only micrograph is deleted drop out, and the others take over their weight.
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
    """Sum of independent variances, and its degrees of freedom (Satterthwaite)."""
    variances, freedoms = np.array(parts).T
    total = variances.sum()
    if not total > 0:  # nothing varies, or one part is not known
        return float(total), float(freedoms.min())
    return float(total), float(total**2 / (variances**2 / freedoms).sum())


def _half_width(by_seed: FloatArray, variance: float, freedom: float) -> float:
    """Half the width of the interval from the seeds' scores and the variance of micrographs."""
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
    """95 % t interval of a mean over seeds, for scores that no counts per micrograph are kept of.

    It covers other seeds on the same test micrographs. NaN with fewer than two values.
    """
    if len(values) < 2:
        return math.nan, math.nan
    mean = float(values.mean())
    half = _t(len(values) - 1.0) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean - half, mean + half


def f1(counts: FloatArray) -> FloatArray:
    """F1 of (..., 3) true positives, false positives and false negatives; 0 / 0 is 0."""
    tp, fp, fn = counts[..., 0], counts[..., 1], counts[..., 2]
    total = 2 * tp + fp + fn
    return np.divide(2 * tp, total, out=np.zeros(total.shape), where=total > 0)


def f1_difference(counts: FloatArray) -> FloatArray:
    """F1 of the first three of (..., 6) counts minus that of the others."""
    return f1(counts[..., :3]) - f1(counts[..., 3:])
