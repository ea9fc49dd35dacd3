"""Score a network on labelled windows: picks against labelled centres."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fewpick.data.masks import PARTICLE
from fewpick.evaluation.matching import average_precision, choose_threshold, is_true_by_score
from fewpick.network.device import failures_told
from fewpick.network.inference import find_peaks, predict
from fewpick.sampling.training_set import Micrograph, in_windows

logger = logging.getLogger(__name__)

# Fewer validation particles than this say less than the rules that do without them: the best of ten
# states or thresholds by n particles is a matter of luck while their scores differ by less than
# sqrt(f (1 - f) / n), which at an F1 of f = 0.8 and n = 20 is 0.09.
ENOUGH_PARTICLES = 20
# Match radius of the headline score, in particle diameters.
MATCH_RADIUS = 0.3


@dataclass(frozen=True)
class Validation:
    """Best F1 of the picks over score thresholds, and the threshold that gives it.

    `average_precision` judges the whole ranking, also beyond that threshold. `pixel_recall` is the
    share of labelled particle pixels with a probability of 0.5 or more: the others look at the
    order of scores alone, the recall shows when all of them sink.
    """

    f1: float
    average_precision: float
    threshold: float
    pixel_recall: float

    @property
    def score(self) -> float:
        """What checkpoints are chosen by: the mean of F1 and average precision.

        The F1 at its best threshold hardly tells two states apart on a few hundred particles; the
        ranking does, and costs no F1 (docs/experiments.md, entry 14).
        """
        return (self.f1 + self.average_precision) / 2


UNKNOWN_SCORE = Validation(math.nan, math.nan, math.nan, math.nan)


def validation_micrographs(micrographs: Iterable[Micrograph]) -> list[Micrograph]:
    """Select the labelled ones of the validation part; none, with a warning, if too few."""
    labelled = [m for m in micrographs if m.split == "val" and m.windows]
    particles = sum(len(m.points) for m in labelled)
    if labelled and particles < ENOUGH_PARTICLES:
        logger.warning(
            "%d labelled validation particles are too few to choose by, %d would do; states and "
            "thresholds are chosen as without validation",
            particles,
            ENOUGH_PARTICLES,
        )
        return []
    return labelled


@failures_told()
def probability_of(
    network: nn.Module, micrograph: Micrograph, device: torch.device, views: int
) -> NDArray[np.float32]:
    """Particle probability of one micrograph, (rows, columns) in the target frame."""
    image = torch.from_numpy(np.asarray(micrograph.image, np.float32)).to(device)[None, None]
    return predict(network, image, views)[0, 0].float().cpu().numpy()


def peaks_of(
    network: nn.Module, micrograph: Micrograph, device: torch.device, views: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the picks of one micrograph, target frame: xy (n, 2) and score (n,), best first."""
    probability = probability_of(network, micrograph, device, views)
    return find_peaks(probability, micrograph.radius, micrograph.area)


def validate(
    network: nn.Module, micrographs: Sequence[Micrograph], device: torch.device, views: int
) -> Validation:
    """Pooled picks at 0.3 diameters against the labelled windows of `micrographs`.

    Picks and centres outside the windows are left out on both sides.
    """
    cases = []
    true = []
    found = particle = 0
    for micrograph in micrographs:
        probability = probability_of(network, micrograph, device, views)
        labelled = micrograph.labels() == PARTICLE
        found += int((probability[labelled] >= 0.5).sum())
        particle += int(labelled.sum())
        xy, score = find_peaks(probability, micrograph.radius, micrograph.area)
        diameter = 2 * micrograph.radius
        inside = in_windows(xy, micrograph.windows)
        truth = micrograph.points[in_windows(micrograph.points, micrograph.windows)]
        case = xy[inside] / diameter, score[inside], truth / diameter
        cases.append(case)
        true.append(is_true_by_score(*case, MATCH_RADIUS))
    threshold, f1 = choose_threshold(cases, MATCH_RADIUS)
    scores, n_truth = [case[1] for case in cases], sum(len(case[2]) for case in cases)
    precision = average_precision(np.concatenate(scores), np.concatenate(true), n_truth)
    recall = found / particle if particle else math.nan
    return Validation(float(f1), precision, float(threshold), recall)


class Validator:
    """Scores networks on the same labelled micrographs.

    Attributes
    ----------
    latest : Validation
        The last score; all NaN where there is nothing to score on.
    """

    def __init__(self, micrographs: Sequence[Micrograph], device: torch.device, views: int) -> None:
        self.micrographs, self.device, self.views = micrographs, device, views
        self.latest = UNKNOWN_SCORE

    def check(self, network: nn.Module) -> Validation:
        """Score a network."""
        if self.micrographs:
            self.latest = validate(network, self.micrographs, self.device, self.views)
        return self.latest

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold."""
        return {"latest": list(astuple(self.latest))}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a checkpoint."""
        self.latest = Validation(*state["latest"])
