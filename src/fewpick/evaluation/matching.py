"""Compare picks with true centres: one-to-one matching, precision-recall, the best threshold.

All points are (n, 2) float arrays of x, y, in any frame and unit shared by picks, truth and radius.
A pick matches only true centres at a distance of at most `radius`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def match(
    picks_xy: ArrayLike, truth_xy: ArrayLike, radius: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Match picks to true centres one to one: as many pairs as possible, then the closest ones.

    A k-d tree finds the pairs within `radius`; each connected component of the graph they form is
    a separate assignment problem, solved exactly (Hungarian method, Crouse 2016).

    Parameters
    ----------
    picks_xy : (n, 2) array
    truth_xy : (m, 2) array
    radius : float
        Maximum distance of a pair, in the unit of the points.

    Returns
    -------
    pick_index, truth_index : (k,) int64 arrays
        The pairs, by increasing pick index.
    distance : (k,) float64 array

    Raises
    ------
    ValueError
        If a coordinate is not finite or the points are not x, y pairs.
    """
    pick, truth, distance = _candidates(picks_xy, truth_xy, radius)
    component = _components(pick, truth)
    order = np.argsort(component, kind="stable")
    starts = np.flatnonzero(np.diff(component[order])) + 1
    chosen = [_assign(pick[e], truth[e], distance[e], e) for e in np.split(order, starts)]
    kept = np.concatenate(chosen)
    kept = kept[np.argsort(pick[kept], kind="stable")]
    return pick[kept], truth[kept], distance[kept]


def is_true_by_score(
    picks_xy: ArrayLike, scores: ArrayLike, truth_xy: ArrayLike, radius: float
) -> BoolArray:
    """Return whether each pick is true, for ranking metrics (precision-recall, AP).

    Greedy, as in object detection (Everingham et al. 2010, PASCAL VOC): in order of decreasing
    score, each pick takes the nearest free true centre within `radius`, and is true if there is
    one. Unlike in `match`, a later pick cannot take a centre from an earlier one, so a pick's
    result does not depend on the picks below it. Equal scores keep their order.

    Returns
    -------
    (n,) bool array
    """
    scores = np.asarray(scores, dtype=np.float64)
    pick, truth, distance = _candidates(picks_xy, truth_xy, radius)
    rank = _rank(scores)
    is_true = np.zeros(len(scores), dtype=bool)
    free = np.ones(len(np.asarray(truth_xy)), dtype=bool)
    for e in np.lexsort((distance, rank[pick])):
        if free[truth[e]] and not is_true[pick[e]]:
            is_true[pick[e]] = True
            free[truth[e]] = False
    return is_true


def adds_a_match(
    picks_xy: ArrayLike, scores: ArrayLike, truth_xy: ArrayLike, radius: float
) -> BoolArray:
    """Return whether each pick adds a pair to the best matching of the picks above it.

    For every k, the number of true values among the k best picks equals the number of pairs that
    `match` finds for them: a new pick enlarges a maximum matching exactly if an augmenting path
    starts at it (Berge 1957), and then by one.

    Returns
    -------
    (n,) bool array
    """
    return grow_matching(picks_xy, scores, truth_xy, radius)[0]


def grow_matching(
    picks_xy: ArrayLike, scores: ArrayLike, truth_xy: ArrayLike, radius: float
) -> tuple[BoolArray, IntArray]:
    """Do the same as `adds_a_match`, and return which pick first matches each true centre.

    A true centre matched by an augmenting path stays matched. So at every threshold t, the picks
    with score >= t that add a pair are true, the others are false, and a true centre is found if
    the pick returned for it is among them: a threshold slider needs no further matching.

    Returns
    -------
    adds : (n,) bool array
    found_with : (m,) int64 array
        Index of a pick; -1 for a true centre that no pick finds.
    """
    scores = np.asarray(scores, dtype=np.float64)
    pick, truth, distance = _candidates(picks_xy, truth_xy, radius)
    neighbours: dict[int, list[int]] = {}
    for e in np.argsort(distance, kind="stable"):
        neighbours.setdefault(int(pick[e]), []).append(int(truth[e]))
    owner: dict[int, int] = {}
    centre: dict[int, int] = {}
    adds = np.zeros(len(scores), dtype=bool)
    found_with = np.full(len(_points(truth_xy)), -1, dtype=np.int64)
    for p in np.argsort(-scores, kind="stable"):
        found = _augment(int(p), neighbours, owner, centre)
        if found is not None:
            adds[p] = True
            found_with[found] = p
    return adds, found_with


def precision_recall_curve(
    scores: ArrayLike, is_true: ArrayLike, n_truth: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Compute precision and recall of the picks with score >= threshold, for each distinct score.

    Parameters
    ----------
    scores : (n,) array
    is_true : (n,) bool array
    n_truth : int
        Number of true centres, found or not.

    Returns
    -------
    threshold : (k,) float64 array, decreasing
    precision, recall : (k,) float64 arrays
        Recall is NaN without true centres.
    """
    scores = np.asarray(scores, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    threshold, n_true, n_picks = _at_distinct_scores(
        scores[order], np.asarray(is_true, dtype=bool)[order]
    )
    recall = n_true / n_truth if n_truth else np.full(len(n_true), np.nan)
    return threshold, n_true / n_picks, recall


def average_precision(scores: ArrayLike, is_true: ArrayLike, n_truth: int) -> float:
    """Return the area under the precision-recall steps, `sum((R_k - R_(k-1)) * P_k)`.

    Defined as in scikit-learn's `average_precision_score` (not interpolated), except that recall
    includes true centres that no pick found. 0 without picks, NaN without true centres.
    """
    if n_truth == 0:
        return float("nan")
    _, precision, recall = precision_recall_curve(scores, is_true, n_truth)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def choose_threshold(
    micrographs: Iterable[tuple[ArrayLike, ArrayLike, ArrayLike]], radius: float
) -> tuple[float, float]:
    """Return the score threshold with the highest F1 over pooled micrographs, and that F1.

    Exact in one pass over the picks: at each distinct score, the F1 is that of `match` for the
    picks with score >= threshold (see `adds_a_match`). If several thresholds are best, the highest
    is returned.

    Parameters
    ----------
    micrographs : iterable of (picks_xy, scores, truth_xy)
        One entry per micrograph, including those without picks or without truth.
    radius : float
        Maximum distance of a pair, in the unit of the points.

    Returns
    -------
    threshold : float
        0.5 without any picks.
    f1 : float
        Between 0 and 1.
    """
    pooled_scores, pooled_adds, n_truth = [np.empty(0)], [np.empty(0, dtype=bool)], 0
    for picks_xy, scores, truth_xy in micrographs:
        pooled_scores.append(np.asarray(scores, dtype=np.float64))
        pooled_adds.append(adds_a_match(picks_xy, scores, truth_xy, radius))
        n_truth += len(np.asarray(truth_xy))
    scores_all, adds_all = np.concatenate(pooled_scores), np.concatenate(pooled_adds)
    if len(scores_all) == 0:
        return 0.5, 0.0
    order = np.argsort(-scores_all, kind="stable")
    threshold, n_true, n_picks = _at_distinct_scores(scores_all[order], adds_all[order])
    f1 = 2 * n_true / (n_picks + n_truth)
    best = int(np.argmax(f1))
    return float(threshold[best]), float(f1[best])


def _candidates(
    picks_xy: ArrayLike, truth_xy: ArrayLike, radius: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return pick index, truth index and distance of all pairs within `radius`."""
    picks, truth = _points(picks_xy), _points(truth_xy)
    if len(picks) == 0 or len(truth) == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    pairs = KDTree(picks).sparse_distance_matrix(KDTree(truth), radius, output_type="ndarray")
    pairs = pairs[np.lexsort((pairs["j"], pairs["i"]))]
    return pairs["i"].astype(np.int64), pairs["j"].astype(np.int64), pairs["v"]


def _points(xy: ArrayLike) -> FloatArray:
    points = np.asarray(xy, dtype=np.float64)
    if points.size == 0:
        return points.reshape(0, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points have shape {points.shape}; expected (n, 2) for x, y")
    if not np.isfinite(points).all():
        raise ValueError("points contain a coordinate that is not finite")
    return points


def _components(pick: IntArray, truth: IntArray) -> IntArray:
    """Return the connected component of each pair in the bipartite graph of all pairs."""
    if len(pick) == 0:
        return np.empty(0, np.int64)
    n_picks, n_truth = int(pick.max()) + 1, int(truth.max()) + 1
    n = n_picks + n_truth
    graph = coo_array((np.ones(len(pick)), (pick, truth + n_picks)), shape=(n, n))
    _, label = connected_components(graph, directed=False)
    return np.asarray(label, dtype=np.int64)[pick]


def _assign(pick: IntArray, truth: IntArray, distance: FloatArray, edge: IntArray) -> IntArray:
    """Return the pairs (members of `edge`) of one component's optimal assignment."""
    if len(edge) < 2:
        return edge
    rows, row = np.unique(pick, return_inverse=True)
    columns, column = np.unique(truth, return_inverse=True)
    # A forbidden pair costs more than all allowed ones together, so it is only used if no further
    # allowed pair is possible: this maximises the count first, then minimises the distance.
    forbidden = distance.max() * (min(len(rows), len(columns)) + 1) + 1.0
    cost = np.full((len(rows), len(columns)), forbidden)
    cost[row, column] = distance
    index = np.full(cost.shape, -1, dtype=np.int64)
    index[row, column] = edge
    chosen: IntArray = index[linear_sum_assignment(cost)]
    return chosen[chosen >= 0]


def _augment(
    pick: int, neighbours: dict[int, list[int]], owner: dict[int, int], centre: dict[int, int]
) -> int | None:
    """Match `pick`, moving earlier picks to other centres if necessary (breadth first).

    `owner` (centre -> pick) and `centre` (pick -> centre) hold the matching and are updated in
    place. Returns the centre that was free before; None if `pick` cannot be matched.
    """
    came_from: dict[int, int] = {}
    queue = [pick]
    for p in queue:
        for t in neighbours.get(p, ()):
            if t in came_from:
                continue
            came_from[t] = p
            if t in owner:
                queue.append(owner[t])
                continue
            free: int | None = t
            while free is not None:  # reassign the centres along the path back to `pick`
                taker = came_from[free]
                owner[free] = taker
                taken, free = free, centre.get(taker)
                centre[taker] = taken
            return t
    return None


def _rank(scores: FloatArray) -> IntArray:
    rank = np.empty(len(scores), dtype=np.int64)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    return rank


def _at_distinct_scores(
    scores: FloatArray, is_true: BoolArray
) -> tuple[FloatArray, IntArray, IntArray]:
    """Return the distinct ones of decreasing scores, and the true and all picks down to each."""
    # The last of each run of equal scores; the appended NaN ends the last run.
    last = np.flatnonzero(np.diff(scores, append=np.nan) != 0)
    return scores[last], np.cumsum(is_true, dtype=np.int64)[last], last + 1


def precision_recall_f1(tp: float, fp: float, fn: float) -> tuple[float, float, float]:
    """Compute precision, recall and F1 from counts; 0 / 0 counts as 0."""

    def ratio(part: float, whole: float) -> float:
        return float(part / whole) if whole else 0.0

    return ratio(tp, tp + fp), ratio(tp, tp + fn), ratio(2 * tp, 2 * tp + fp + fn)
