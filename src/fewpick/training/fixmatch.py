"""FixMatch's second half: what unlabelled micrographs teach.

A `Consistency` takes the student and the teacher and returns a loss. Two kinds exist. `PixelRule`
asks the teacher at every step about the weak view of a fresh batch. `ObjectRule` asks it once a
round about whole micrographs, draws its picks as an annotator would, and trains on strong views of
them until the next round.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fewpick.config.labelling_rules import labelling_rule
from fewpick.data.masks import UNKNOWN
from fewpick.network.inference import predict
from fewpick.sampling.crops import LabelledCrops, crop, unlabelled_views
from fewpick.sampling.training_set import Micrograph
from fewpick.sampling.views import View, random_view, strong
from fewpick.training import labelling
from fewpick.training.losses import bce_dice
from fewpick.training.thresholds import without_validation
from fewpick.training.validation import peaks_of, validate

logger = logging.getLogger(__name__)

# Means over a batch may still lie on the GPU, and are waited for at the end of a step.
Diagnostics = dict[str, float | Tensor]
Student = Callable[[Tensor], Tensor]


class Consistency(Protocol):
    """What the training loop needs of a rule.

    Attributes
    ----------
    rounds : into how many rounds the steps are divided
    draws : whether each round begins with labels drawn for a new student
    """

    rounds: int
    draws: bool

    def draw(self, teacher: nn.Module, rng: np.random.Generator) -> None:
        """Draw the labels of a round."""

    def loss(
        self,
        student: Student,
        teacher: nn.Module,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> tuple[Tensor, Diagnostics]:
        """Return the loss of an unlabelled batch, and how its pseudo-labels look."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a checkpoint."""


@dataclass
class Pool:
    """What both kinds draw from.

    Attributes
    ----------
    micrographs : unlabelled and labelled training micrographs
    validation : micrographs whose labels choose thresholds, never gradients; may be empty
    labelled : the labelled crops, for their prevalence
    annotated : micrographs with labels of any kind, for the density of particles
    batch_size, crop_size : of the unlabelled batch
    """

    micrographs: Sequence[Micrograph]
    validation: Sequence[Micrograph]
    labelled: LabelledCrops
    annotated: Sequence[Micrograph]
    batch_size: int
    crop_size: int
    device: torch.device

    def crop(
        self, images: Sequence[NDArray[np.generic]], views: Sequence[View], *, fill: str | int
    ) -> Tensor:
        """Crop the views of a batch."""
        return crop(images, views, self.crop_size, fill=fill, device=self.device)


def make_consistency(settings: Mapping[str, Any], pool: Pool) -> Consistency:
    """Make the rule that `fixmatch.labelling` names.

    Raises
    ------
    InputError
        If there is no rule of that name.
    """
    kinds: dict[str, type[PixelRule] | type[ObjectRule]] = {
        "pixels": PixelRule,
        "objects": ObjectRule,
    }
    return kinds[labelling_rule(settings["labelling"]).labels](settings, pool)


def rule_function(settings: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the function of the rule that `fixmatch.labelling` names, its settings filled in."""
    name = settings["labelling"]
    function: Callable[..., Any] = getattr(labelling, name)
    return partial(function, **{key: settings[key] for key in labelling_rule(name).reads})


@dataclass(frozen=True)
class TeacherPicks:
    """What the teacher sees in one micrograph: peaks (n, 2) in the target frame, scores (n,)."""

    micrograph: Micrograph
    xy: NDArray[np.float64]
    score: NDArray[np.float64]


class PixelRule:
    """Teacher on the weak view, student on the strong view of the same crop, pixel by pixel.

    The rule's function takes the probabilities and, by name, the settings that its line in
    `LABELLING_RULES` lists. It may also ask for `known` (1 inside the annotated area, else 0),
    `labelled_prevalence` (share of particle pixels in the labelled area) and `memory` (a dict of
    numbers that it keeps from step to step, and which checkpoints hold).
    """

    rounds = 1
    draws = False

    def __init__(self, settings: Mapping[str, Any], pool: Pool) -> None:
        self.settings, self.pool = settings, pool
        self.memory: dict[str, float] = {}
        self._rule = rule_function(settings)
        self._asks = set(inspect.signature(self._rule).parameters)

    def draw(self, teacher: nn.Module, rng: np.random.Generator) -> None:
        """Draw nothing: the teacher is asked at every step."""

    def loss(
        self,
        student: Student,
        teacher: nn.Module,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> tuple[Tensor, Diagnostics]:
        """Return the loss of one unlabelled batch, and how its pseudo-labels look."""
        pool = self.pool
        indices, views = unlabelled_views(pool.micrographs, pool.batch_size, pool.crop_size, rng)
        chosen = [pool.micrographs[i] for i in indices]
        weak = pool.crop([m.image for m in chosen], views, fill="reflect")
        known = pool.crop([_area(m).astype(np.uint8) for m in chosen], views, fill=0)
        hidden = pool.crop([m.mask for m in chosen], views, fill=UNKNOWN)
        probability = predict(teacher, weak, self.settings["teacher_views"])
        if self.settings["views"] == "misaligned":
            # The fault under study: the student sees the crop turned, the labels stay as they were.
            turned = [random_view(v.y, v.x, rng) for v in views]
            weak = pool.crop([m.image for m in chosen], turned, fill="reflect")
        labels, weights, loss = self._label(probability, known)
        weights = weights * known
        logits = student(strong(weak, rng, generator))
        threshold = self.memory.get("threshold", math.nan)
        diagnostics = _diagnose(labels, weights, known, hidden, logits)
        return loss(logits, labels, weights), {"threshold": threshold} | diagnostics

    def _label(self, probability: Tensor, known: Tensor) -> labelling.PseudoLabels:
        offered = {
            "known": known,
            "labelled_prevalence": self.pool.labelled.prevalence,
            "memory": self.memory,
        }
        asked = {name: value for name, value in offered.items() if name in self._asks}
        return labelling.PseudoLabels(*self._rule(probability, **asked))

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold."""
        return {"memory": self.memory}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a checkpoint."""
        self.memory = dict(state["memory"])


class ObjectRule:
    """Pseudo-labels drawn from the teacher's picks on whole micrographs, once a round."""

    draws = True

    def __init__(self, settings: Mapping[str, Any], pool: Pool) -> None:
        self.settings, self.pool = settings, pool
        self.rounds = int(settings["rounds"])
        self._rule = rule_function(settings)
        self.drawn: list[tuple[int, NDArray[np.int8]]] = []
        self.summary: Diagnostics = {}

    def draw(self, teacher: nn.Module, rng: np.random.Generator) -> None:
        """Let the teacher pick a random part of the pool, and draw its picks as labels."""
        pool, settings = self.pool, self.settings
        n = min(settings["pool_size"], len(pool.micrographs))
        chosen = sorted(int(i) for i in rng.choice(len(pool.micrographs), n, replace=False))
        views = settings["teacher_views"]
        found = [
            TeacherPicks(sheet, *peaks_of(teacher, sheet, pool.device, views))
            for sheet in (pool.micrographs[i] for i in chosen)
        ]
        threshold = self._threshold(teacher, found)
        self.drawn = []
        totals = np.zeros(6)
        for index, seen in zip(chosen, found, strict=True):
            sheet = seen.micrograph
            labels = self._rule(
                sheet.mask.shape,
                seen.xy,
                seen.score,
                threshold=threshold,
                radius=sheet.radius,
                disc=sheet.disc,
            )
            known = _area(sheet)
            labels[~known] = UNKNOWN
            totals += _count(labels, known, sheet.mask)
            truth = sheet.labels()
            labels[truth != UNKNOWN] = truth[truth != UNKNOWN]
            self.drawn.append((index, labels))
        positive, negative, area, true_positive, judged_positive, hidden_positive = totals.tolist()
        self.summary = {
            "threshold": threshold,
            "keep_background": negative / max(area - positive, 1),
            "pseudo_positive_rate": positive / max(area, 1),
            "pseudo_precision": true_positive / judged_positive if judged_positive else math.nan,
            "pseudo_recall": true_positive / hidden_positive if hidden_positive else math.nan,
        }

    def loss(
        self,
        student: Student,
        teacher: nn.Module,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> tuple[Tensor, Diagnostics]:
        """Return the loss of an unlabelled batch, and how its pseudo-labels look."""
        pool = self.pool
        sheets = [pool.micrographs[i] for i, _ in self.drawn]
        indices, views = unlabelled_views(sheets, pool.batch_size, pool.crop_size, rng)
        images = pool.crop([sheets[i].image for i in indices], views, fill="reflect")
        labels = pool.crop([self.drawn[i][1] for i in indices], views, fill=UNKNOWN)
        logits = student(strong(images, rng, generator))
        known = labels >= 0
        agreement = (((logits > 0) == (labels > 0)) & known).sum() / known.sum()
        return bce_dice(logits, labels), self.summary | {"agreement": agreement}

    def _threshold(self, teacher: nn.Module, found: Sequence[TeacherPicks]) -> float:
        """Score of the faintest pick that counts as a particle, chosen as for the final picks."""
        pool, views = self.pool, self.settings["teacher_views"]
        if pool.validation:
            return validate(teacher, pool.validation, pool.device, views).threshold
        # Clicked particles set the threshold by their own scores, wherever they lie.
        drawn = {id(f.micrograph) for f in found}
        clicked = [
            TeacherPicks(m, *peaks_of(teacher, m, pool.device, views))
            for m in pool.annotated
            if m.clicked and m.expected is None and m.split == "train" and id(m) not in drawn
        ]
        return without_validation([*found, *clicked], pool.annotated)[0]

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold."""
        drawn = [(index, torch.from_numpy(labels)) for index, labels in self.drawn]
        return {"drawn": drawn, "summary": self.summary}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a checkpoint."""
        self.summary = dict(state["summary"])
        self.drawn = [(index, labels.cpu().numpy()) for index, labels in state["drawn"]]


def _area(sheet: Micrograph) -> NDArray[np.bool_]:
    inside = np.zeros(sheet.image.shape, bool)
    y0, x0, y1, x1 = sheet.area
    inside[y0:y1, x0:x1] = True
    return inside


def _count(
    labels: NDArray[np.int8], known: NDArray[np.bool_], hidden: NDArray[np.int8]
) -> NDArray[np.float64]:
    """Pixels: pseudo positive, negative, usable; and by the hidden truth (diagnosis only)."""
    positive, judged = labels == 1, hidden != UNKNOWN
    return np.array(
        [
            positive.sum(),
            (labels == 0).sum(),
            known.sum(),
            (positive & (hidden == 1)).sum(),
            (positive & judged).sum(),
            ((hidden == 1) & known).sum(),
        ],
        float,
    )


@torch.no_grad()
def _diagnose(
    labels: Tensor,
    weights: Tensor,
    known: Tensor,
    hidden: Tensor,
    logits: Tensor,
) -> Diagnostics:
    """How the pseudo-labels of a batch look; `pseudo_*` compare with labels that nobody learns."""
    positive = labels * weights
    kept = weights.sum().clamp(min=1e-6)

    def share(numerator: Tensor, denominator: Tensor) -> float:
        total = float(denominator.sum())
        return float(numerator.sum()) / total if total else float("nan")

    judged = (hidden != UNKNOWN).to(labels.dtype)
    true = (hidden == 1).to(labels.dtype)
    return {
        "keep_particle": share(positive, labels * known),
        "keep_background": share((1 - labels) * weights, (1 - labels) * known),
        "pseudo_positive_rate": float(positive.sum() / kept),
        "agreement": share(weights * ((logits > 0) == (labels > 0.5)), weights),
        "pseudo_precision": share(positive * true, positive * judged),
        "pseudo_recall": share(positive * true, true * known),
    }
