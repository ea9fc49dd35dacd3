"""Score a network's picks against labelled centres inside labelled windows."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fewpick.data.masks import PARTICLE
from fewpick.evaluation.matching import average_precision, choose_threshold, is_true_by_score
from fewpick.evaluation.threshold_policy import (
    ENOUGH_PARTICLES,
    MATCH_RADIUS,
    Case,
    datasets_with_enough,
)
from fewpick.network.device import report_gpu_errors
from fewpick.network.inference import find_peaks, predict
from fewpick.sampling.training_set import Micrograph, grouped_by_dataset, in_windows

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validation:
    """Best F1 of the picks over score thresholds, and the threshold that gives it.

    `average_precision` measures the whole ranking, independently of the threshold. `pixel_recall`
    is the fraction of labelled particle pixels with a probability of at least 0.5: the other
    metrics depend only on the order of scores, this one shows if all of them drop. With several
    data sets, each is scored at its own threshold (`datasets`), and the numbers are means over
    them.
    """

    f1: float
    average_precision: float
    threshold: float
    pixel_recall: float
    datasets: Mapping[str, Validation] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Score for choosing checkpoints: the mean of F1 and average precision.

        On a few hundred particles, the F1 at its best threshold hardly distinguishes two
        checkpoints. The ranking does, at no cost in F1 (docs/experiments.md, entry 14).
        """
        return (self.f1 + self.average_precision) / 2

    def of(self, dataset: str) -> Validation:
        """Return the result for one data set; the overall one if there is only one."""
        return self.datasets.get(dataset, UNKNOWN_SCORE) if self.datasets else self

    def state(self) -> dict[str, Any]:
        """Return plain values to save in a checkpoint."""
        numbers = [self.f1, self.average_precision, self.threshold, self.pixel_recall]
        return {
            "numbers": numbers,
            "datasets": {name: held.state() for name, held in self.datasets.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Validation:
        """Restore a result from the output of `state`."""
        datasets = {name: cls.from_state(held) for name, held in state["datasets"].items()}
        f1, average_precision, threshold, pixel_recall = state["numbers"]
        return cls(f1, average_precision, threshold, pixel_recall, datasets)


UNKNOWN_SCORE = Validation(math.nan, math.nan, math.nan, math.nan)


def validation_micrographs(
    micrographs: Iterable[Micrograph], limit: int | None = None
) -> list[Micrograph]:
    """Choose the validation micrographs to use: the labelled ones of data sets with enough labels.

    A data set with fewer than `ENOUGH_PARTICLES` labelled particles in them is skipped with a
    warning.

    Parameters
    ----------
    limit : int, optional
        Maximum number per data set.
    """
    labelled = [m for m in micrographs if m.split == "val" and m.windows]
    chosen = [m for group in grouped_by_dataset(labelled).values() for m in group[:limit]]
    enough = datasets_with_enough((m.dataset, len(labelled_points(m))) for m in chosen)
    for dataset in dict.fromkeys(m.dataset for m in chosen if m.dataset not in enough):
        particles = sum(len(labelled_points(m)) for m in chosen if m.dataset == dataset)
        logger.warning(
            "%s: too few labelled validation particles to select by (%d, %d are needed); "
            "falling back to selection without validation",
            dataset,
            particles,
            ENOUGH_PARTICLES,
        )
    return [m for m in chosen if m.dataset in enough]


def labelled_points(micrograph: Micrograph) -> NDArray[np.float64]:
    """Return labelled centres inside the labelled windows, (n, 2) x, y in the target frame."""
    return micrograph.points[in_windows(micrograph.points, micrograph.windows)]


def case_of(micrograph: Micrograph, xy: NDArray[np.float64], score: NDArray[np.float64]) -> Case:
    """Keep the candidates and true centres inside the labelled windows, in particle diameters."""
    diameter = 2 * micrograph.radius
    inside = in_windows(xy, micrograph.windows)
    truth = labelled_points(micrograph)
    return Case(micrograph.dataset, xy[inside] / diameter, score[inside], truth / diameter)


@report_gpu_errors()
def probability_of(
    network: nn.Module, micrograph: Micrograph, device: torch.device, views: int
) -> NDArray[np.float32]:
    """Predict the particle probability of one micrograph, (rows, columns) in the target frame."""
    image = torch.from_numpy(np.asarray(micrograph.image, np.float32)).to(device)[None, None]
    return predict(network, image, views)[0, 0].float().cpu().numpy()


def peaks_of(
    network: nn.Module,
    micrograph: Micrograph,
    device: torch.device,
    views: int,
    nms_radius: float = 1.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the picks of one micrograph, target frame: xy (n, 2) and score (n,), best first."""
    probability = probability_of(network, micrograph, device, views)
    return find_peaks(probability, micrograph.radius, micrograph.area, nms_radius=nms_radius)


def validate(
    network: nn.Module,
    micrographs: Sequence[Micrograph],
    device: torch.device,
    views: int,
    nms_radius: float = 1.0,
) -> Validation:
    """Score picks within 0.3 diameters of labelled centres inside the labelled windows.

    Picks and centres outside the windows are ignored. Picks are at least `nms_radius` particle
    radii apart. The micrographs of a data set are pooled; data sets are weighted equally.
    """
    scored = {
        name: _validate(network, group, device, views, nms_radius)
        for name, group in grouped_by_dataset(micrographs).items()
    }
    if len(scored) == 1:
        (only,) = scored.values()
        return only
    numbers = np.mean([held.state()["numbers"] for held in scored.values()], axis=0)
    means = Validation.from_state({"numbers": numbers.tolist(), "datasets": {}})
    return replace(means, datasets=scored)


def _validate(
    network: nn.Module,
    micrographs: Sequence[Micrograph],
    device: torch.device,
    views: int,
    nms_radius: float,
) -> Validation:
    cases = []
    true = []
    found = particle = 0
    for micrograph in micrographs:
        probability = probability_of(network, micrograph, device, views)
        labelled = micrograph.labels() == PARTICLE
        found += int((probability[labelled] >= 0.5).sum())
        particle += int(labelled.sum())
        xy, score = find_peaks(
            probability, micrograph.radius, micrograph.area, nms_radius=nms_radius
        )
        case = case_of(micrograph, xy, score)
        cases.append(case)
        true.append(is_true_by_score(case.xy, case.score, case.truth, MATCH_RADIUS))
    threshold, f1 = choose_threshold(((c.xy, c.score, c.truth) for c in cases), MATCH_RADIUS)
    scores, n_truth = [case.score for case in cases], sum(len(case.truth) for case in cases)
    precision = average_precision(np.concatenate(scores), np.concatenate(true), n_truth)
    recall = found / particle if particle else math.nan
    return Validation(float(f1), precision, float(threshold), recall)


class Validator:
    """Score networks on the same labelled micrographs.

    Attributes
    ----------
    latest : Validation
        The latest result; all NaN without validation micrographs.
    """

    def __init__(
        self,
        micrographs: Sequence[Micrograph],
        device: torch.device,
        views: int,
        nms_radius: float = 1.0,
    ) -> None:
        self.micrographs, self.device = micrographs, device
        self.views, self.nms_radius = views, nms_radius
        self.latest = UNKNOWN_SCORE

    def check(self, network: nn.Module) -> Validation:
        """Score a network."""
        if self.micrographs:
            self.latest = validate(
                network, self.micrographs, self.device, self.views, self.nms_radius
            )
        return self.latest

    def state(self) -> dict[str, Any]:
        """Return the state to save in a checkpoint."""
        return {"latest": self.latest.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.latest = Validation.from_state(state["latest"])
