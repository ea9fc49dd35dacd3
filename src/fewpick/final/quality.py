"""Choose the score threshold, and estimate the quality of the picks, from labels left out.

Networks of different folds differ in the scale of their scores, but hardly in the number of their
candidates. A score is therefore expressed as a *rate*: the number of candidates per micrograph that
reach it, on micrographs that all networks process. The folds determine a rate, and the threshold of
the final network is its score at that rate.
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

# Minimum number of particles in left-out areas to choose a threshold and judge the picks by them.
ENOUGH = ENOUGH_PARTICLES
# Otherwise, the threshold keeps this fraction of the left-out marks.
KEPT_MARKS = 0.9
CONFIDENCE = 0.95
# Probability, in each direction, that marks move a correct estimate: one standard error.
VETO = 0.16

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Held:
    """Labels that a fold left out of one micrograph, in px of the original.

    Attributes
    ----------
    areas : (n, 4) x0, y0, x1, y1; every particle inside is one of `points`
    points : (n, 2) x, y of the particles in `areas`
    clicks : (n, 2) x, y of other particles
    negatives : (n, 2) x, y of non-particles
    diameter : particle diameter
    """

    micrograph: str
    areas: Floats
    points: Points
    clicks: Points
    negatives: Points
    diameter: float


@dataclass(frozen=True)
class RatedCandidates:
    """Candidates of one network on a data set, with rates.

    Attributes
    ----------
    xy, score : micrograph -> positions (n, 2), px of the original, and scores (n,)
    sample : micrographs on which rates are measured
    """

    xy: Mapping[str, Points]
    score: Mapping[str, Floats]
    sample: Sequence[str]

    @classmethod
    def of(cls, table: pd.DataFrame, sample: Sequence[str]) -> RatedCandidates:
        """Convert a table with micrograph, x, y and score."""
        groups = {str(name): rows for name, rows in table.groupby("micrograph")}
        return cls(
            {name: rows[["x", "y"]].to_numpy(np.float64) for name, rows in groups.items()},
            {name: rows["score"].to_numpy(np.float64) for name, rows in groups.items()},
            sample,
        )

    def places(self, micrograph: str) -> Points:
        """Return the candidates of a micrograph, (n, 2) x, y."""
        return self.xy.get(micrograph, np.empty((0, 2)))

    def rates(self, micrograph: str) -> Floats:
        """Return the rate of each candidate of a micrograph."""
        held = self._sampled()
        scores = self.score.get(micrograph, np.empty(0))
        reached = len(held) - np.searchsorted(held, scores, side="left")
        return np.asarray(reached / max(len(self.sample), 1), np.float64)

    def rate_of_all(self) -> float:
        """Return the number of candidates per micrograph."""
        return len(self._sampled()) / max(len(self.sample), 1)

    def score_at(self, rate: float) -> float:
        """Return the score that `rate` candidates per micrograph reach; 1 without candidates."""
        held = self._sampled()
        if not len(held):
            return 1.0
        rank = round(min(max(rate * len(self.sample), 1), len(held)))
        return float(held[-rank])

    def _sampled(self) -> Floats:
        return np.sort(np.concatenate([np.empty(0), *(self.score.get(m, []) for m in self.sample)]))


@dataclass(frozen=True)
class Fold:
    """The candidates of one network, and the labels left out of its training."""

    candidates: RatedCandidates
    held: Sequence[Held]


def read_held(labels: pd.DataFrame) -> list[Held]:
    """Read the labels left out in a label table (`labels.label_table`) of one data set."""
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
    """Return the number of picks per micrograph, and its basis.

    `areas`: the rate of the best F1 on areas left out, if these hold `ENOUGH` particles.
    `expected`: the number that the user expects. `counted`: the estimate from the initial network
    (`count.expected_picks`), checked against the marks left out. `marks`: the rate at which the
    fraction `KEPT_MARKS` of them is found. None and `none` if nothing was left out.
    """
    if _n_points(folds) >= ENOUGH:
        return _best_rate(folds)[0], "areas"
    if expected is not None:
        return expected, "expected"
    # Marks that are never found get the rate of all candidates.
    most = max((fold.candidates.rate_of_all() for fold in folds), default=0.0)
    rates = np.minimum(mark_rates(folds), most)
    if counted is not None:
        return held_to_marks(counted, rates), "counted"
    if not len(rates):
        return None, "none"
    return float(np.quantile(rates, KEPT_MARKS)), "marks"


def held_to_marks(counted: float, rates: Floats) -> float:
    """Clip a number of picks per micrograph to the range that is consistent with the marks.

    The true rate at which the fraction `KEPT_MARKS` of all particles is found lies between two of
    the rates at which the `n` marks are found: the number of marks below it follows a binomial
    distribution. A number outside this range moves to the nearer end; without marks it does not
    change.

    Parameters
    ----------
    counted : picks per micrograph
    rates : (n,) array of the marks' rates, from networks that were not trained on them
    """
    low, high = binom.ppf([VETO, 1 - VETO], len(rates), KEPT_MARKS).astype(int)
    ends = np.concatenate([[0.0], np.sort(rates), [np.inf]])
    return float(np.clip(counted, ends[low], ends[high + 1]))


def mark_rates(folds: Iterable[Fold]) -> Floats:
    """Return the rate at which each left-out mark is found; infinite for one that never is."""
    found = []
    for fold in folds:
        for held in fold.held:
            marks = np.concatenate([held.points, held.clicks])
            found.append(rates_at(fold.candidates, held.micrograph, marks, held.diameter))
    return np.concatenate([np.empty(0), *found])


def judge(folds: Sequence[Fold], rate: float) -> dict[str, Any]:
    """Score picks at a rate against the labels left out.

    If the rate comes from areas, each fold is scored at the rate that the other folds give.

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
            # 2 found / (picks + true), written as a fraction of their mean.
            "f1": _share(found, (picks + truth) / 2),
        },
        "marks": {"marks": marks, "found": marks_found, "recall": _share(marks_found, marks)},
        "negatives": {"negatives": negatives, "picked": negatives_picked},
    }


def verdict(quality: Mapping[str, Any]) -> list[str]:
    """Return the verdict on the output of `judge` in sentences."""
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
            f"found: recall {_said(marks['recall'])}. Too few of them are in fully marked areas "
            f"({areas['true']}; {ENOUGH} are needed) to estimate how many picks are false."
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
            f"{negatives['picked']} of {negatives['negatives']} marked non-particles would have "
            "been picked."
        )
    return lines


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of a fraction (Wilson 1927), treating particles as independent."""
    z = float(norm.ppf((1 + CONFIDENCE) / 2))
    share = successes / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _share(successes: float, n: float) -> list[float] | None:
    """Return a fraction and the ends of its interval; None if `n` is 0."""
    return [successes / n, *wilson(successes, n)] if n else None


def _said(share: Sequence[float] | None) -> str:
    if share is None:
        return "unknown"
    value, low, high = share
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _n_points(folds: Iterable[Fold]) -> int:
    return sum(len(held.points) for fold in folds for held in fold.held)


def _best_rate(folds: Iterable[Fold]) -> tuple[float, float]:
    """Return the rate of the best F1 on areas left out, and that F1."""
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
    """Return the rate of the best candidate at each position; infinite where there is none."""
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
