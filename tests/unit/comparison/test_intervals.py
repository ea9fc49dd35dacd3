"""Intervals: what they must be in plain cases, and how often they hold the truth."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from fewpick.comparison.intervals import (
    CountTable,
    _micrograph_variance,
    estimate,
    f1,
    f1_difference,
    interval,
    t_interval,
)

FloatArray = NDArray[np.float64]

# Standard deviations of the gain over seeds, over micrographs, and over both at once (another seed
# is better on other micrographs).
MIXES = {
    "seeds dominate": (0.05, 0.01, 0.01),
    "micrographs dominate": (0.01, 0.05, 0.01),
    "both": (0.03, 0.045, 0.03),
}
GAIN = 0.03
ENOUGH = 0.93
# Of each cell of the full grid, where a number is given; 3000 take some minutes in all.
TRIALS = int(os.environ.get("FEWPICK_COVERAGE_TRIALS", "0"))


def table(rows: dict[int, dict[str, list[int]]], dataset: str = "d") -> pd.DataFrame:
    """Counts of seed -> micrograph -> count columns."""
    return pd.DataFrame(
        [
            {
                "seed": seed,
                "dataset": dataset,
                "micrograph": name,
                **dict(zip("abcdef", v, strict=False)),
            }
            for seed, micrographs in rows.items()
            for name, v in micrographs.items()
        ]
    )


def mean_of(counts: FloatArray) -> FloatArray:
    """A linear score: the sum of a over the sum of b."""
    return np.divide(
        counts[..., 0], counts[..., 1], out=np.zeros(counts.shape[:-1]), where=counts[..., 1] > 0
    )


def score_tables(
    rng: np.random.Generator,
    n_seeds: int,
    n_micrographs: int,
    mix: tuple[float, float, float],
    pool: int,
    n_datasets: int = 1,
) -> Iterator[list[CountTable]]:
    """Draw counts of two arms without end; each seed is tested on a draw from the pool.

    Particles per micrograph vary by a third; the reference's F1 differs between micrographs.
    """
    of_seed, of_micrograph, of_both = mix
    while True:
        seeds = rng.normal(0, of_seed, (n_seeds, 1))
        tables = []
        for _ in range(n_datasets):
            n = 100 * rng.lognormal(0, 0.3, pool)
            reference = np.broadcast_to(rng.normal(0.7, 0.05, pool), (n_seeds, pool))
            gain = (
                GAIN
                + seeds
                + rng.normal(0, of_micrograph, pool)
                + rng.normal(0, of_both, (n_seeds, pool))
            )
            present = rng.random((n_seeds, pool)).argsort(1).argsort(1) < n_micrographs
            parts = [
                part
                for score in (reference + gain, reference)
                for part in (n * score, n * (1 - score), n * (1 - score))
            ]
            counts = np.stack(parts, axis=-1) * present[..., None]
            tables.append(CountTable(present, counts))
        yield tables


def coverage(trials: int, *args: object, **kwargs: object) -> float:
    """Share of the intervals that hold the true gain."""
    hits = claimed = 0
    draws = score_tables(np.random.default_rng(7), *args, **kwargs)  # type: ignore[arg-type]
    for _, tables in zip(range(trials), draws, strict=False):
        _, low, high, _ = interval(tables, f1_difference)
        claimed += not np.isnan(low)  # not claimed where all seeds drew one and the same micrograph
        hits += low <= GAIN <= high
    assert claimed > 0.9 * trials
    return hits / claimed


CORNERS = [
    (n_seeds, n_micrographs, mix, pool)
    for n_seeds, n_micrographs, pool in ((2, 3, 3), (3, 3, 3), (10, 3, 3), (3, 15, 15), (10, 2, 4))
    for mix in MIXES
]
GRID = [
    (n_seeds, n_micrographs, mix, pool)
    for n_seeds in (2, 3, 4, 5, 7, 10)
    for n_micrographs, pool in (
        *((3, 3), (4, 4), (5, 5), (9, 9), (15, 15)),  # all seeds share one test set
        *((2, 4), (3, 6), (5, 10), (2, 10), (3, 15), (1, 5)),
    )
    for mix in MIXES
    if n_micrographs * n_seeds > 4  # two seeds of one micrograph each have two at most
]


@pytest.mark.parametrize(("n_seeds", "n_micrographs", "mix", "pool"), GRID if TRIALS else CORNERS)
def test_interval_covers_the_true_gain(
    n_seeds: int, n_micrographs: int, mix: str, pool: int
) -> None:
    found = coverage(TRIALS or 1000, n_seeds, n_micrographs, MIXES[mix], pool)
    assert found >= ENOUGH


def test_interval_of_a_mean_over_data_sets_covers() -> None:
    """Data sets share the seeds' effect, and have micrographs of their own."""
    for mix in ("micrographs dominate", "both"):
        assert coverage(TRIALS or 700, 3, 3, MIXES[mix], 6, n_datasets=3) >= ENOUGH


def test_one_seed_covers_its_own_gain_on_other_micrographs() -> None:
    """Without seeds in the variance, one seed is enough; with them, it is not."""
    assert coverage(1000, 1, 5, (0.0, 0.05, 0.01), 5) >= ENOUGH
    assert coverage(300, 1, 5, MIXES["seeds dominate"], 5) < 0.5


def test_one_seed_and_a_linear_score_give_students_interval() -> None:
    gains = [3, 5, 4, 9]
    counts = table({0: {f"m{i}": [n, 1] for i, n in enumerate(gains)}})
    found = estimate(counts, mean_of)
    expected = stats.t.interval(0.95, 3, np.mean(gains), stats.sem(gains))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.by_seed == {0: pytest.approx(5.25)}


def test_seeds_that_agree_on_shared_micrographs_add_nothing() -> None:
    gains = {f"m{i}": [n, 1] for i, n in enumerate([3, 5, 4, 9])}
    one, three = (
        estimate(table(dict.fromkeys(seeds, gains)), mean_of) for seeds in ([0], [0, 1, 2])
    )
    assert (three.low, three.high) == pytest.approx((one.low, one.high))


def test_micrographs_that_are_alike_leave_the_t_interval_of_the_seeds() -> None:
    scores = [3, 5, 10]
    counts = table({s: {"a": [n, 1], "b": [n, 1]} for s, n in enumerate(scores)})
    found = estimate(counts, mean_of)
    assert (found.low, found.high) == pytest.approx(t_interval(np.array(scores, float)))
    assert (found.low, found.high) == pytest.approx(
        stats.t.interval(0.95, 2, np.mean(scores), stats.sem(scores))
    )


@pytest.mark.parametrize(("n_micrographs", "pool"), [(2, 2), (2, 4), (3, 6), (2, 10), (1, 5)])
def test_variance_of_micrographs_is_unbiased_however_seeds_share_them(
    n_micrographs: int, pool: int
) -> None:
    """Ten seeds that differ in their test sets alone: the variance is known exactly."""
    rng = np.random.default_rng(1)
    present = rng.random((10, pool)).argsort(1).argsort(1) < n_micrographs
    weights = np.full(10, 0.1)
    share = weights @ (present / n_micrographs)
    variances = []
    for _ in range(1500):
        counts = np.stack([np.broadcast_to(rng.normal(size=pool), present.shape), present], -1)
        counts = counts * present[..., None]
        total = counts.sum(1)
        scores, deleted = mean_of(total), mean_of(total[:, None] - counts)
        variances.append(_micrograph_variance(present, scores, deleted, weights)[0])
    assert np.mean(variances) == pytest.approx((share**2).sum(), rel=0.08)


def test_data_sets_weigh_the_same() -> None:
    large = table({0: {f"m{i}": [n, 1] for i, n in enumerate([1, 2, 3, 2])}}, "large")
    small = table({0: {"m0": [10, 1], "m1": [14, 1]}}, "small")
    found = estimate(pd.concat([large, small]), mean_of)
    assert found.mean == pytest.approx((2 + 12) / 2)
    variance = (2 / 3 / 4 + 8 / 2) / 4  # of each mean, over two squared
    freedom = (2 / 12 + 4) ** 2 / ((2 / 12) ** 2 / 3 + 4**2 / 1)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    assert (found.low, found.high) == pytest.approx((7 - half, 7 + half))


def test_a_data_set_that_a_seed_lacks_leaves_that_seed_to_the_others() -> None:
    d = table({0: {"a": [1, 1], "b": [3, 1]}, 1: {"a": [1, 1], "b": [5, 1]}}, "d")
    e = table({0: {"a": [6, 1], "b": [8, 1]}}, "e")
    assert estimate(pd.concat([d, e]), mean_of).by_seed == {0: 4.5, 1: 3.0}


def test_equal_arms_have_an_interval_of_exactly_zero() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 50, (3, 8, 3)).astype(float)
    both = CountTable(np.ones((3, 8), bool), np.concatenate([counts, counts], axis=-1))
    assert interval([both], f1_difference)[:3] == (0.0, 0.0, 0.0)


def test_one_micrograph_gives_no_interval() -> None:
    counts = table({0: {"m": [3, 1]}, 1: {"m": [4, 1]}})
    found = estimate(counts, mean_of)
    assert found.mean == 3.5
    assert np.isnan([found.low, found.high]).all()


def test_nothing_gives_nothing() -> None:
    found = estimate(table({0: {"m": [3, 1]}})[:0], mean_of)
    assert np.isnan([found.mean, found.low, found.high]).all()
    assert found.by_seed == {}


def test_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    counts = table({s: {f"m{i}": rng.integers(1, 9, 2).tolist() for i in range(4)} for s in (0, 1)})
    shuffled = counts.sample(frac=1, random_state=1)
    a, b = estimate(counts, mean_of), estimate(shuffled, mean_of)
    assert (a.mean, a.low, a.high) == pytest.approx((b.mean, b.low, b.high), rel=1e-12)
    assert a.by_seed == b.by_seed


def test_signs_of_the_seeds_are_counted() -> None:
    counts = table({s: {"a": [n, 1], "b": [n, 1]} for s, n in enumerate([2, -1, 0, 5])})
    found = estimate(counts, mean_of)
    assert (found.n_above, found.n_below) == (2, 1)


def test_t_interval_needs_two_seeds() -> None:
    assert np.isnan(t_interval(np.array([0.1]))).all()


def test_f1_of_nothing_is_zero() -> None:
    assert f1(np.array([[0, 0, 0], [1, 1, 0]])).tolist() == [0.0, pytest.approx(2 / 3)]
