"""Choose score thresholds from validation labels, in the same way for every picker.

Networks of this package, programs trained on the same labels and picks from elsewhere are all tuned
with `best_threshold`, i.e. at the same match radius and on the same labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewpick.evaluation.matching import choose_threshold

# Match radius, in particle diameters, for choosing thresholds and checkpoints, whatever radii the
# table reports.
MATCH_RADIUS = 0.3
# With fewer validation particles in a data set, the rules for selection without validation are
# better: which of ten checkpoints or thresholds is best on n particles is random if their scores
# differ by less than sqrt(f (1 - f) / n), which is 0.09 for an F1 of f = 0.8 and n = 20.
ENOUGH_PARTICLES = 20


@dataclass(frozen=True)
class Case:
    """Candidates and true centres of one micrograph, inside its labelled area.

    Attributes
    ----------
    dataset : str
    xy : (n, 2) float64 array
        Candidates, in particle diameters.
    score : (n,) float64 array
    truth : (m, 2) float64 array
        In particle diameters.
    """

    dataset: str
    xy: NDArray[np.float64]
    score: NDArray[np.float64]
    truth: NDArray[np.float64]


@dataclass(frozen=True)
class BestThreshold:
    """Score threshold of the best F1, that F1, and the number of true centres it is based on."""

    threshold: float
    f1: float
    n_particles: int


def dataset_threshold(chosen: Mapping[str, Any], dataset: str) -> float:
    """Return the threshold of a data set: its own or the overall one; -inf if all are picks.

    Parameters
    ----------
    chosen : mapping
        Content of `threshold.json`: `threshold` and, with several data sets, `datasets` with the
        same for each of them.
    """
    value = chosen.get("datasets", {}).get(dataset, chosen)["threshold"]
    return -np.inf if value is None else float(value)


def datasets_with_enough(particles: Iterable[tuple[str, int]]) -> set[str]:
    """Return the data sets with enough validation particles for selection.

    Parameters
    ----------
    particles : iterable of (data set, number of validation particles)
        One entry per micrograph.
    """
    counts: dict[str, int] = {}
    for dataset, n in particles:
        counts[dataset] = counts.get(dataset, 0) + n
    return {dataset for dataset, n in counts.items() if n >= ENOUGH_PARTICLES}


def best_threshold(cases: Iterable[Case]) -> BestThreshold | None:
    """Choose the score threshold of the best pooled F1 at `MATCH_RADIUS`.

    Data sets with too few validation particles are ignored; None if no data set has enough.
    """
    cases = list(cases)
    chosen = datasets_with_enough((case.dataset, len(case.truth)) for case in cases)
    cases = [case for case in cases if case.dataset in chosen]
    if not cases:
        return None
    threshold, f1 = choose_threshold(
        ((case.xy, case.score, case.truth) for case in cases), MATCH_RADIUS
    )
    return BestThreshold(threshold, f1, sum(len(case.truth) for case in cases))
