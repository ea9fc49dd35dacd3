"""The score from which a candidate is a pick, and how good the picks are, by what folds left out.

Networks of different folds differ in the scale of their scores and hardly in how many candidates
they see. So a score is expressed by its *rate*: how many candidates per micrograph reach it, on
micrographs that all networks look at. What is learned from the folds is a rate, and the threshold
of the final network is the score of that rate.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import binom, norm

from fewpick.coordinates.picks import Points
from fewpick.evaluation.matching import choose_threshold, match
from fewpick.evaluation.threshold_policy import ENOUGH_PARTICLES, MATCH_RADIUS

# Particles in left-out areas below which they choose no threshold, and their score is no verdict.
ENOUGH = ENOUGH_PARTICLES
# Without such areas, the threshold keeps this share of the left-out marks.
KEPT_MARKS = 0.9
CONFIDENCE = 0.95
# Chance that marks move an estimate that is right, in either direction: one standard error.
VETO = 0.16

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Held:
    """What a fold left out of one micrograph, px of the original.

    Attributes
    ----------
    areas : (n, 4) x0, y0, x1, y1; every particle inside is one of `points`
    clicks : (n, 2) further particles
    negatives : (n, 2) places that are none
    """

    micrograph: str
    areas: Floats
    points: Points
    clicks: Points
    negatives: Points
    diameter: float


@dataclass(frozen=True)
class RatedCandidates:
    """What one network sees of a data set: micrograph -> places (n, 2) and scores (n,).

    Attributes
    ----------
    sample : micrographs on which rates are measured
    """

    xy: Mapping[str, Points]
    score: Mapping[str, Floats]
    sample: Sequence[str]

    @classmethod
    def of(cls, table: pd.DataFrame, sample: Sequence[str]) -> RatedCandidates:
        """From a table micrograph x y score."""
        groups = {str(name): rows for name, rows in table.groupby("micrograph")}
        return cls(
            {name: rows[["x", "y"]].to_numpy(np.float64) for name, rows in groups.items()},
            {name: rows["score"].to_numpy(np.float64) for name, rows in groups.items()},
            sample,
        )

    def places(self, micrograph: str) -> Points:
        """Return the candidates of a micrograph, (n, 2) px."""
        return self.xy.get(micrograph, np.empty((0, 2)))

    def rates(self, micrograph: str) -> Floats:
        """Rate of each candidate of a micrograph."""
        held = self._sampled()
        scores = self.score.get(micrograph, np.empty(0))
        reached = len(held) - np.searchsorted(held, scores, side="left")
        return np.asarray(reached / max(len(self.sample), 1), np.float64)

    def rate_of_all(self) -> float:
        """Return the number of candidates per micrograph."""
        return len(self._sampled()) / max(len(self.sample), 1)

    def score_at(self, rate: float) -> float:
        """Score that `rate` candidates per micrograph reach; 1 if there is no candidate."""
        held = self._sampled()
        if not len(held):
            return 1.0
        rank = round(min(max(rate * len(self.sample), 1), len(held)))
        return float(held[-rank])

    def _sampled(self) -> Floats:
        return np.sort(np.concatenate([np.empty(0), *(self.score.get(m, []) for m in self.sample)]))


@dataclass(frozen=True)
class Fold:
    """One network, and what was left out of its labels."""

    candidates: RatedCandidates
    held: Sequence[Held]


def read_held(labels: pd.DataFrame) -> list[Held]:
    """Return what a table of labels leaves out (`labels.label_table`), of one data set."""
    found = []
    for row in labels[labels["held"].notna()].to_dict("records"):
        held = json.loads(row["held"])
        places = {
            key: np.asarray(held[key], np.float64).reshape(-1, 2)
            for key in ("points", "clicks", "negatives")
        }
        areas = np.asarray(held["areas"], np.float64).reshape(-1, 4)
        found.append(Held(row["micrograph"], areas, **places, diameter=held["diameter"]))
    return found


def choose_rate(
    folds: Sequence[Fold], expected: float | None, counted: float | None = None
) -> tuple[float | None, str]:
    """Return the picks per micrograph, and what they rest on.

    `areas`: the rate of the best F1 on areas left out, if these hold `ENOUGH` particles.
    `expected`: the number that the user expects. `counted`: the number that the network says which
    the training began with (`count.expected_picks`), held to the marks left out. `marks`: the rate
    at which the share `KEPT_MARKS` of them is found. None if nothing was left out.
    """
    if _n_points(folds) >= ENOUGH:
        return _best_rate(folds)[0], "areas"
    if expected is not None:
        return expected, "expected"
    # A mark that is never found asks for all candidates.
    most = max((fold.candidates.rate_of_all() for fold in folds), default=0.0)
    rates = np.minimum(mark_rates(folds), most)
    if counted is not None:
        return held_to_marks(counted, rates), "counted"
    if not len(rates):
        return None, "none"
    return float(np.quantile(rates, KEPT_MARKS)), "marks"


def held_to_marks(counted: float, rates: Floats) -> float:
    """Move a number of picks per micrograph to where marks do not contradict it.

    The rate at which the share `KEPT_MARKS` of all particles is found lies between two of the rates
    at which `n` marks are found: `k` of them lie below it with the chance of a binomial
    distribution. A number outside moves to the nearer end; no mark moves nothing.

    Parameters
    ----------
    counted : picks per micrograph
    rates : (n,) array, of networks that did not learn from these marks
    """
    low, high = binom.ppf([VETO, 1 - VETO], len(rates), KEPT_MARKS).astype(int)
    ends = np.concatenate([[0.0], np.sort(rates), [np.inf]])
    return float(np.clip(counted, ends[low], ends[high + 1]))


def mark_rates(folds: Iterable[Fold]) -> Floats:
    """Rate at which each mark that was left out is found; infinite for one that never is."""
    found = []
    for fold in folds:
        for held in fold.held:
            marks = np.concatenate([held.points, held.clicks])
            found.append(rates_at(fold.candidates, held.micrograph, marks, held.diameter))
    return np.concatenate([np.empty(0), *found])


def judge(folds: Sequence[Fold], rate: float) -> dict[str, Any]:
    """How good picks at a rate are, by what was left out.

    Where areas choose the rate, each fold is judged at the rate that the others choose.

    Returns
    -------
    JSON-ready dictionary: `areas` (number of areas, true particles, picks and matches, and
    precision, recall and f1 with their intervals), `marks` (number, found, and recall with its
    interval) and `negatives` (number, picked)
    """
    truth = picks = found = areas = marks = marks_found = negatives = negatives_picked = 0
    for k, fold in enumerate(folds):
        others = [*folds[:k], *folds[k + 1 :]]
        own = _best_rate(others)[0] if _n_points(others) >= ENOUGH else rate
        for held in fold.held:
            chosen = fold.candidates.rates(held.micrograph) <= own
            xy = fold.candidates.places(held.micrograph)[chosen]
            inside = xy[_inside(xy, held.areas)]
            areas += len(held.areas)
            truth += len(held.points)
            picks += len(inside)
            found += len(match(inside, held.points, MATCH_RADIUS * held.diameter)[0])
            every = np.concatenate([held.points, held.clicks])
            marks += len(every)
            marks_found += len(match(xy, every, MATCH_RADIUS * held.diameter)[0])
            negatives += len(held.negatives)
            near = rates_at(fold.candidates, held.micrograph, held.negatives, held.diameter)
            negatives_picked += int((near <= own).sum())
    return {
        "areas": {
            "areas": areas,
            "true": truth,
            "picks": picks,
            "found": found,
            "precision": _share(found, picks),
            "recall": _share(found, truth),
            # 2 found / (picks + true) as a share of the mean of both.
            "f1": _share(found, (picks + truth) / 2),
        },
        "marks": {"marks": marks, "found": marks_found, "recall": _share(marks_found, marks)},
        "negatives": {"negatives": negatives, "picked": negatives_picked},
    }


def verdict(quality: Mapping[str, Any]) -> list[str]:
    """Return what that means, in sentences."""
    areas, marks, negatives = quality["areas"], quality["marks"], quality["negatives"]
    lines = []
    if areas["true"] >= ENOUGH:
        lines.append(
            f"On labelled areas left out of training ({areas['true']} particles), picks reach an "
            f"F1 of {_said(areas['f1'])}: precision {_said(areas['precision'])}, recall "
            f"{_said(areas['recall'])}."
        )
    elif marks["marks"] >= ENOUGH:
        lines.append(
            f"{marks['found']} of {marks['marks']} marked particles left out of training were "
            f"found: recall {_said(marks['recall'])}. Too few of them lie in fully marked areas "
            f"({areas['true']}, {ENOUGH} are needed) to estimate how many picks are false."
        )
    elif marks["marks"]:
        lines.append(
            f"Too few labels to judge the picks: {marks['found']} of {marks['marks']} marked "
            f"particles left out of training were found, recall {_said(marks['recall'])}. Mark "
            f"every particle in one or two areas with {ENOUGH} particles or more (fewpick "
            "label), then rerun."
        )
    else:
        lines.append("No labels were left out of training, so the quality of the picks is unknown.")
    if negatives["picked"]:
        lines.append(
            f"{negatives['picked']} of {negatives['negatives']} places marked as no particle would "
            "have been picked."
        )
    return lines


def wilson(successes: float, n: float) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927), which counts particles as independent."""
    z = float(norm.ppf((1 + CONFIDENCE) / 2))
    share = successes / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _share(successes: float, n: float) -> list[float] | None:
    """Share, and the ends of its interval; None of nothing."""
    return [successes / n, *wilson(successes, n)] if n else None


def _said(share: Sequence[float] | None) -> str:
    if share is None:
        return "unknown"
    value, low, high = share
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _n_points(folds: Iterable[Fold]) -> int:
    return sum(len(held.points) for fold in folds for held in fold.held)


def _best_rate(folds: Iterable[Fold]) -> tuple[float, float]:
    """Rate of the best F1 on areas left out, and that F1."""
    cases = []
    for fold in folds:
        for held in fold.held:
            xy = fold.candidates.places(held.micrograph)
            inside = _inside(xy, held.areas)
            rates = fold.candidates.rates(held.micrograph)[inside]
            cases.append((xy[inside] / held.diameter, -rates, held.points / held.diameter))
    value, f1 = choose_threshold(cases, MATCH_RADIUS)
    return max(-float(value), 0.0), float(f1)


def rates_at(candidates: RatedCandidates, micrograph: str, xy: Points, diameter: float) -> Floats:
    """Rate of the best candidate at each place, infinite where there is none."""
    places, rates = candidates.places(micrograph), candidates.rates(micrograph)
    if not len(places) or not len(xy):
        return np.full(len(xy), np.inf)
    near = cKDTree(places).query_ball_point(xy, MATCH_RADIUS * diameter)
    return np.array([rates[hits].min() if hits else np.inf for hits in near])


def _inside(xy: Points, areas: Floats) -> NDArray[np.bool_]:
    x, y = xy.T[..., None]
    x0, y0, x1, y1 = areas.T
    within: NDArray[np.bool_] = ((x >= x0) & (x < x1) & (y >= y0) & (y < y1)).any(axis=1)
    return within
