from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fewpick.evaluation.matching import (
    adds_a_match,
    average_precision,
    choose_threshold,
    grow_matching,
    is_true_by_score,
    match,
    precision_recall_curve,
)

# A coarse grid makes ties, coincident points and distances equal to the radius common.
point = st.tuples(st.integers(0, 6), st.integers(0, 6))
points = st.lists(point, max_size=6).map(lambda p: np.array(p, dtype=float).reshape(-1, 2))
scores6 = st.lists(st.integers(0, 4), min_size=6, max_size=6).map(lambda s: np.array(s, float))


def brute_force(
    picks: NDArray[np.float64], truth: NDArray[np.float64], radius: float
) -> tuple[int, float]:
    """Largest number of pairs, and the least total distance with that number."""
    if len(picks) > len(truth):
        picks, truth = truth, picks
    best = (0, 0.0)
    for order in permutations(range(len(truth)), len(picks)):
        distance = np.linalg.norm(picks - truth[list(order)], axis=1)
        allowed = distance[distance <= radius]
        candidate = (len(allowed), -float(allowed.sum()))
        best = max(best, candidate)
    return best[0], -best[1]


@settings(max_examples=300, deadline=None)
@given(points, points, st.sampled_from([1.0, 1.5, 2.0, 3.0]))
def test_match_equals_brute_force(
    picks: NDArray[np.float64], truth: NDArray[np.float64], radius: float
) -> None:
    pick, true, distance = match(picks, truth, radius)
    n, total = brute_force(picks, truth, radius)
    assert len(pick) == n
    assert distance.sum() == pytest.approx(total)
    assert len(set(pick)) == len(set(true)) == n
    assert (distance <= radius).all()
    np.testing.assert_allclose(np.linalg.norm(picks[pick] - truth[true], axis=1), distance)


def test_match_prefers_two_long_pairs_to_one_short_pair() -> None:
    picks = [[0.0, 0.0], [1.0, 0.0]]
    truth = [[1.0, 0.0], [2.9, 0.0]]
    pick, true, distance = match(picks, truth, 2.0)
    assert pick.tolist() == [0, 1]
    assert true.tolist() == [0, 1]
    np.testing.assert_allclose(distance, [1.0, 1.9])


def test_match_counts_one_of_two_picks_on_the_same_particle() -> None:
    pick, true, _ = match([[5.0, 5.0], [5.2, 5.0]], [[5, 5]], 1.0)
    assert pick.tolist() == [0]
    assert true.tolist() == [0]


@pytest.mark.parametrize(("picks", "truth"), [([], []), ([], [[1, 2]]), ([[1, 2]], [])])
def test_match_without_points(picks: list[list[int]], truth: list[list[int]]) -> None:
    assert [len(part) for part in match(picks, truth, 1.0)] == [0, 0, 0]


def test_match_refuses_what_is_not_points() -> None:
    with pytest.raises(ValueError, match="finite"):
        match([[np.nan, 0.0]], [[0, 0]], 1.0)
    with pytest.raises(ValueError, match="shape"):
        match([[1, 2, 3]], [[0, 0]], 1.0)


def test_match_of_a_crowded_micrograph_is_quick_and_complete() -> None:
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(60), np.arange(60)), axis=-1).reshape(-1, 2) * 10.0
    picks = rng.permutation(grid + rng.uniform(-2, 2, grid.shape))
    assert len(match(picks, grid, 6.0)[0]) == len(grid)


@settings(max_examples=300, deadline=None)
@given(points, points, scores6)
def test_adds_a_match_counts_the_matches_of_every_prefix(
    picks: NDArray[np.float64], truth: NDArray[np.float64], scores: NDArray[np.float64]
) -> None:
    scores = scores[: len(picks)]
    adds = adds_a_match(picks, scores, truth, 2.0)
    _, found_with = grow_matching(picks, scores, truth, 2.0)
    order = np.argsort(-scores, kind="stable")
    for k in range(len(picks) + 1):
        pairs = len(match(picks[order[:k]], truth, 2.0)[0])
        assert adds[order[:k]].sum() == pairs
        assert np.isin(found_with, order[:k]).sum() == pairs


@settings(max_examples=300, deadline=None)
@given(points, points, points, points, scores6, scores6)
def test_choose_threshold_equals_trying_every_score(
    picks_a: NDArray[np.float64],
    picks_b: NDArray[np.float64],
    truth_a: NDArray[np.float64],
    truth_b: NDArray[np.float64],
    scores_a: NDArray[np.float64],
    scores_b: NDArray[np.float64],
) -> None:
    scores_a, scores_b = scores_a[: len(picks_a)], scores_b[: len(picks_b)]
    micrographs = [(picks_a, scores_a, truth_a), (picks_b, scores_b, truth_b)]

    def f1(threshold: float) -> float:
        tp = sum(len(match(p[s >= threshold], t, 2.0)[0]) for p, s, t in micrographs)
        total = sum((s >= threshold).sum() + len(t) for _, s, t in micrographs)
        return float(2 * tp / total)

    threshold, best = choose_threshold(micrographs, 2.0)
    tried = np.unique(np.concatenate([scores_a, scores_b]))
    if len(tried) == 0:
        assert (threshold, best) == (0.5, 0.0)
        return
    assert best == pytest.approx(max(f1(t) for t in tried))
    assert f1(threshold) == pytest.approx(best)


def test_ranked_picks_take_the_nearest_free_centre_in_order_of_score() -> None:
    # The best pick takes the centre at 1; the second would need it and finds it taken.
    picks = [[0.0, 0.0], [1.9, 0.0], [8.0, 0.0]]
    truth = [[1.0, 0.0], [-1.5, 0.0]]
    scores = [0.9, 0.8, 0.7]
    assert is_true_by_score(picks, scores, truth, 2.0).tolist() == [True, False, False]
    assert adds_a_match(picks, scores, truth, 2.0).tolist() == [True, True, False]


def test_ranked_picks_are_given_back_in_their_own_order() -> None:
    is_true = is_true_by_score([[0.0, 0.0], [0.1, 0.0], [5.0, 5.0]], [0.1, 0.9, 0.5], [[0, 0]], 1.0)
    assert is_true.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("scores", "is_true", "n_truth", "expected"),
    [
        # scikit-learn: average_precision_score([1, 0, 1, 1], [.9, .8, .7, .6]) = 0.80555...
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 1], 3, (1 + 2 / 3 + 3 / 4) / 3),
        # ties form one step: average_precision_score([0, 1, 1, 0], [.5, .5, .9, .1])
        ([0.5, 0.5, 0.9, 0.1], [0, 1, 1, 0], 2, 0.5 * 1 + 0.5 * 2 / 3),
        # two of four centres never found
        ([0.9, 0.8], [1, 1], 4, 0.5),
        ([], [], 4, 0.0),
        ([0.3], [0], 4, 0.0),
    ],
)
def test_average_precision(
    scores: list[float], is_true: list[int], n_truth: int, expected: float
) -> None:
    assert average_precision(scores, is_true, n_truth) == pytest.approx(expected)


def test_average_precision_without_truth_is_undefined() -> None:
    assert np.isnan(average_precision([0.5], [False], 0))


def test_precision_recall_curve() -> None:
    threshold, precision, recall = precision_recall_curve([0.5, 0.9, 0.5], [True, True, False], 4)
    assert threshold.tolist() == [0.9, 0.5]
    np.testing.assert_allclose(precision, [1, 2 / 3])
    np.testing.assert_allclose(recall, [0.25, 0.5])


ranked = st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=12)


@settings(max_examples=300, deadline=None)
@given(ranked, st.integers(0, 4))
def test_average_precision_equals_a_count_at_every_threshold(
    picks: list[tuple[int, bool]], missed: int
) -> None:
    """The area under the steps, each threshold counted by itself; equal scores are one step."""
    n_truth = sum(true for _, true in picks) + missed
    area = last = 0.0
    for threshold in (4, 3, 2, 1, 0):
        kept = [true for score, true in picks if score >= threshold]
        if n_truth and kept:
            area += (sum(kept) / n_truth - last) * sum(kept) / len(kept)
            last = sum(kept) / n_truth
    found = average_precision([s for s, _ in picks], [t for _, t in picks], n_truth)
    assert found == pytest.approx(area) if n_truth else np.isnan(found)


@settings(max_examples=300, deadline=None)
@given(points, points, scores6)
def test_ranked_verdicts_equal_taking_the_picks_one_by_one(
    picks: NDArray[np.float64], truth: NDArray[np.float64], scores: NDArray[np.float64]
) -> None:
    scores = scores[: len(picks)]
    free, expected = set(range(len(truth))), np.zeros(len(picks), dtype=bool)
    for pick in sorted(range(len(picks)), key=lambda i: -scores[i]):
        reach = {t: float(np.linalg.norm(picks[pick] - truth[t])) for t in free}
        near = [t for t in sorted(reach) if reach[t] <= 2.0]
        if near:
            expected[pick] = True
            free.remove(min(near, key=reach.__getitem__))
    found = is_true_by_score(picks, scores, truth, 2.0)
    # Centres at one place or equally far may be taken in either order.
    distances = [np.linalg.norm(truth - p, axis=1) for p in picks] if len(truth) else []
    if all(len(set(d)) == len(d) for d in distances):
        assert found.tolist() == expected.tolist()


def test_best_threshold_of_equal_f1_is_the_highest() -> None:
    # F1 is 2/3 with the best pick alone and with all four.
    picks = [[0.0, 0.0], [50.0, 50.0], [90.0, 90.0], [10.0, 0.0]]
    truth = [[0.0, 0.0], [10.0, 0.0]]
    threshold, f1 = choose_threshold([(picks, [0.9, 0.8, 0.7, 0.6], truth)], 1.0)
    assert threshold == 0.9
    assert f1 == pytest.approx(2 / 3)


@settings(max_examples=100, deadline=None)
@given(points, points, st.sampled_from([1.0, 1.5, 2.0, 3.0]), st.sampled_from([2.0**-12, 2.0**12]))
def test_the_unit_of_the_points_is_of_no_account(
    picks: NDArray[np.float64], truth: NDArray[np.float64], radius: float, unit: float
) -> None:
    distance = match(picks, truth, radius)[2]
    again = match(picks * unit, truth * unit, radius * unit)[2]
    assert len(again) == len(distance)
    assert again.sum() == pytest.approx(distance.sum() * unit)


def test_pairs_come_by_increasing_pick() -> None:
    # Components are found in another order than that of the picks.
    rng = np.random.default_rng(0)
    truth = np.arange(40)[:, None] * [10.0, 0.0]
    pick, true, _ = match(rng.permutation(truth), truth, 1.0)
    assert pick.tolist() == list(range(40))
    assert sorted(true) == list(range(40))


def test_of_many_equal_scores_the_first_pick_is_true() -> None:
    """More than the few that any sort leaves in their order."""
    picks = np.zeros((100, 2))
    picks[::2] = [50, 50]
    expected = np.isin(np.arange(100), [0, 1])
    truth, scores = [[0, 0], [50, 50]], np.full(100, 0.5)
    assert is_true_by_score(picks, scores, truth, 1.0).tolist() == expected.tolist()
    assert adds_a_match(picks, scores, truth, 1.0).tolist() == expected.tolist()


def test_a_centre_that_no_pick_finds_is_found_with_none() -> None:
    adds, found_with = grow_matching([[0, 0], [9, 9]], [0.1, 0.9], [[5, 5], [9, 9]], 1.0)
    assert adds.tolist() == [False, True]
    assert found_with.tolist() == [-1, 1]
    assert grow_matching([], [], [[5, 5], [9, 9]], 1.0)[1].tolist() == [-1, -1]


def test_scores_may_be_whole_numbers_without_sign() -> None:
    # The negative of 0 is 0, that of 9 is 247.
    scores = np.array([0, 9], np.uint8)
    picks, truth = np.array([[0.5, 0], [0, 0]]), [[0, 0]]
    for found in (
        is_true_by_score(picks, scores, truth, 1.0),
        adds_a_match(picks, scores, truth, 1.0),
    ):
        assert found.dtype == bool
        assert found.tolist() == [False, True]
    threshold, *_ = precision_recall_curve(scores, [False, True], 1)
    assert threshold.tolist() == [9, 0]


def test_recall_without_true_centres_is_undefined() -> None:
    threshold, precision, recall = precision_recall_curve([0.5, 0.9], [False, False], 0)
    assert threshold.tolist() == [0.9, 0.5]
    assert precision.tolist() == [0, 0]
    assert np.isnan(recall).all()


def test_threshold_where_there_is_nothing_to_pool() -> None:
    assert choose_threshold([], 1.0) == (0.5, 0.0)
    assert choose_threshold([([], [], [[1, 1]])], 1.0) == (0.5, 0.0)
    assert choose_threshold([([[1, 1]], [0.25], [])], 1.0) == (0.25, 0.0)
