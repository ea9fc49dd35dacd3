"""The unlabelled half of FixMatch: the loss on unlabelled micrographs.

A `Consistency` maps student and teacher to a loss. There are two kinds: `PixelRule` runs the
teacher at every step on the weak view of a new batch; `ObjectRule` runs it once per round on whole
micrographs, draws its picks as an annotator would, and trains on strong views of them until the
next round.
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
from fewpick.errors import InputError
from fewpick.network.inference import predict
from fewpick.sampling.crops import LabelledCrops, crop, unlabelled_views
from fewpick.sampling.training_set import Micrograph, grouped_by_dataset
from fewpick.sampling.views import View, random_view, strong
from fewpick.training import labelling
from fewpick.training.history import in_dataset
from fewpick.training.losses import bce_dice
from fewpick.tuning.thresholds import density, without_validation
from fewpick.tuning.validation import peaks_of, validate

logger = logging.getLogger(__name__)

# Most micrographs that a teacher picks per round, and the fraction it picks of a large data set.
MOST_DRAWN, SHARE_DRAWN = 64, 1 / 8
# Pseudo-labels have full weight from a teacher's validation F1 of GOOD_F1, and LEAST_WEIGHT at
# BAD_F1 or less.
GOOD_F1, BAD_F1, LEAST_WEIGHT = 0.8, 0.4, 0.1
# Upper limit of the expected fraction of particle pixels, whatever the number of particles.
MOST_PARTICLE = 0.5
# Weight of pseudo-labels without validation labels to judge them by.
UNKNOWN_WEIGHT = 0.5

# Values may still be on the GPU; they are only fetched at the end of a step.
Diagnostics = dict[str, float | Tensor]
Student = Callable[[Tensor], Tensor]


class Consistency(Protocol):
    """What the training loop needs from a rule.

    Attributes
    ----------
    rounds : number of rounds that the steps are divided into
    draws : whether the teacher draws labels at the start of each round
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
        labelled: labelling.LabelledBatch,
    ) -> tuple[Tensor, Diagnostics]:
        """Return the loss on an unlabelled batch, and diagnostics of its pseudo-labels.

        `labelled` is the labelled batch of the same step.
        """

    def distrust(self, dataset: str) -> None:
        """React to drifting pseudo-labels of a data set."""

    def state(self) -> dict[str, Any]:
        """Return the state to save in a checkpoint."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""


@dataclass
class Pool:
    """The data that both kinds of rule use.

    Attributes
    ----------
    micrographs : labelled and unlabelled training micrographs
    validation : micrographs whose labels are used for thresholds, never for gradients; may be
        empty
    labelled : the labelled crops, for their prevalence
    annotated : micrographs with labels of any kind, for the density of particles
    batch_size, crop_size : size of the unlabelled batch, and edge of its crops, px
    nms_radius : minimum distance between two picks, in particle radii
    """

    micrographs: Sequence[Micrograph]
    validation: Sequence[Micrograph]
    labelled: LabelledCrops
    annotated: Sequence[Micrograph]
    batch_size: int
    crop_size: int
    device: torch.device
    nms_radius: float = 1.0

    def crop(
        self, images: Sequence[NDArray[np.generic]], views: Sequence[View], *, fill: str | int
    ) -> Tensor:
        """Crop the views of a batch."""
        return crop(images, views, self.crop_size, fill=fill, device=self.device)


def make_consistency(settings: Mapping[str, Any], pool: Pool) -> Consistency:
    """Make the rule named by `fixmatch.labelling`.

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
    """Return the function of the rule named by `fixmatch.labelling`, with its settings bound."""
    name = settings["labelling"]
    function: Callable[..., Any] = getattr(labelling, name)
    return partial(function, **{key: settings[key] for key in labelling_rule(name).reads})


@dataclass(frozen=True)
class TeacherPicks:
    """The teacher's picks on one micrograph: (n, 2) x, y in the target frame, and (n,) scores."""

    micrograph: Micrograph
    xy: NDArray[np.float64]
    score: NDArray[np.float64]


class PixelRule:
    """Teacher on the weak view, student on the strong view of the same crop, pixel by pixel.

    The rule's function takes the probabilities and, as keyword arguments, the settings listed in
    its line of `LABELLING_RULES`. It may also have the parameters `known` (1 inside the annotated
    area, else 0), `labelled_prevalence` (fraction of particle pixels in the labelled area),
    `particle_share` (fraction of a micrograph that the expected number of particles covers),
    `labelled` (the labelled batch of the step) and `memory` (a dict of numbers kept between steps
    and saved in checkpoints). It is called separately for the views of each data set, each with its
    own memory.
    """

    rounds = 1
    draws = False

    def __init__(self, settings: Mapping[str, Any], pool: Pool) -> None:
        self.settings, self.pool = settings, pool
        self.memory: dict[str, dict[str, float]] = {}
        self._rule = rule_function(settings)
        self._asks = set(inspect.signature(self._rule).parameters)
        self._share_of = _particle_shares(pool) if "particle_share" in self._asks else {}

    def draw(self, teacher: nn.Module, rng: np.random.Generator) -> None:
        """Do nothing: the teacher runs at every step."""

    def loss(
        self,
        student: Student,
        teacher: nn.Module,
        rng: np.random.Generator,
        generator: torch.Generator,
        labelled: labelling.LabelledBatch,
    ) -> tuple[Tensor, Diagnostics]:
        """Return the loss on one unlabelled batch, and diagnostics of its pseudo-labels."""
        pool = self.pool
        indices, views = unlabelled_views(pool.micrographs, pool.batch_size, pool.crop_size, rng)
        chosen = [pool.micrographs[i] for i in indices]
        weak = pool.crop([m.image for m in chosen], views, fill="reflect")
        known = pool.crop([_area(m).astype(np.uint8) for m in chosen], views, fill=0)
        hidden = pool.crop([m.mask for m in chosen], views, fill=UNKNOWN)
        probability = predict(teacher, weak, self.settings["teacher_views"])
        if self.settings["views"] == "misaligned":
            # The bug under study: the student sees the crop rotated, the labels are not.
            turned = [random_view(v.y, v.x, rng) for v in views]
            weak = pool.crop([m.image for m in chosen], turned, fill="reflect")
        logits = student(strong(weak, rng, generator))
        labels, weights = torch.empty_like(probability), torch.empty_like(probability)
        parts = []
        for name, of in _places(chosen).items():
            held = self._label(probability[of], known[of], name, labelled)
            labels[of], weights[of] = held.labels, held.weights * known[of]
            part = held.loss(logits[of], labels[of], weights[of])
            parts.append(part * (len(of) / len(chosen)))
        thresholds = [held["threshold"] for held in self.memory.values() if "threshold" in held]
        threshold = float(np.mean(thresholds)) if thresholds else math.nan
        diagnostics = _diagnose(labels, weights, known, hidden, logits)
        return torch.stack(parts).sum(), {"threshold": threshold} | diagnostics

    def _label(
        self, probability: Tensor, known: Tensor, dataset: str, batch: labelling.LabelledBatch
    ) -> labelling.PseudoLabels:
        crops = self.pool.labelled
        offered = {
            "known": known,
            "labelled_prevalence": crops.prevalence_of.get(dataset, crops.prevalence),
            "memory": self.memory.setdefault(dataset, {}),
            "particle_share": self._share_of.get(dataset),
            "labelled": batch,
        }
        asked = {name: value for name, value in offered.items() if name in self._asks}
        return labelling.PseudoLabels(*self._rule(probability, **asked))

    def distrust(self, dataset: str) -> None:
        """Do nothing: the guard lowers the weight of the whole loss."""

    def state(self) -> dict[str, Any]:
        """Return the state to save in a checkpoint."""
        return {"memory": self.memory}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.memory = {name: dict(held) for name, held in state["memory"].items()}


class ObjectRule:
    """Pseudo-labels drawn from the teacher's picks on whole micrographs, once per round."""

    draws = True

    def __init__(self, settings: Mapping[str, Any], pool: Pool) -> None:
        self.settings, self.pool = settings, pool
        self.rounds = settings["rounds"] or _rounds(pool)
        self._rule = rule_function(settings)
        self.drawn: list[tuple[int, NDArray[np.int8]]] = []
        self.summary: Diagnostics = {}
        self.weights: dict[str, float] = {}

    def draw(self, teacher: nn.Module, rng: np.random.Generator) -> None:
        """Let the teacher pick a random subset of the pool, and draw its picks as labels."""
        pool, settings = self.pool, self.settings
        chosen = _drawn(pool.micrographs, settings["pool_size"], rng)
        views = settings["teacher_views"]
        found = [
            TeacherPicks(sheet, *peaks_of(teacher, sheet, pool.device, views, pool.nms_radius))
            for sheet in (pool.micrographs[i] for i in chosen)
        ]
        thresholds = self._thresholds(teacher, found)
        self.drawn = []
        totals: dict[str, NDArray[np.float64]] = {}
        for index, seen in zip(chosen, found, strict=True):
            sheet = seen.micrograph
            labels = self._rule(
                sheet.mask.shape,
                seen.xy,
                seen.score,
                threshold=thresholds[sheet.dataset],
                radius=sheet.radius,
                disc=sheet.disc,
            )
            known = _area(sheet)
            labels[~known] = UNKNOWN
            counts = _count(labels, known, sheet.mask)
            totals[sheet.dataset] = totals.get(sheet.dataset, 0) + counts
            truth = sheet.labels()
            labels[truth != UNKNOWN] = truth[truth != UNKNOWN]
            self.drawn.append((index, labels))
        self.summary = _summary(sum(totals.values(), np.zeros(6)))
        self.summary["threshold"] = float(np.mean(list(thresholds.values())))
        if len(totals) > 1:
            for name, counts in totals.items():
                held = _summary(counts) | {
                    "threshold": thresholds[name],
                    "weight": self.weights[name],
                }
                self.summary |= {in_dataset(key, name): value for key, value in held.items()}

    def loss(
        self,
        student: Student,
        teacher: nn.Module,
        rng: np.random.Generator,
        generator: torch.Generator,
        labelled: labelling.LabelledBatch,
    ) -> tuple[Tensor, Diagnostics]:
        """Return the loss on an unlabelled batch, and diagnostics of its pseudo-labels."""
        pool = self.pool
        sheets = [pool.micrographs[i] for i, _ in self.drawn]
        indices, views = unlabelled_views(
            sheets, pool.batch_size, pool.crop_size, rng, self.weights
        )
        images = pool.crop([sheets[i].image for i in indices], views, fill="reflect")
        labels = pool.crop([self.drawn[i][1] for i in indices], views, fill=UNKNOWN)
        logits = student(strong(images, rng, generator))
        known = labels >= 0
        agreement = (((logits > 0) == (labels > 0)) & known).sum() / known.sum()
        # Data sets with poor pseudo-labels are drawn less often; if all are poor, the loss counts
        # less.
        trust = float(np.mean([self.weights[name] for name in grouped_by_dataset(sheets)]))
        loss = bce_dice(logits, labels) * trust
        return loss, self.summary | {"agreement": agreement}

    def distrust(self, dataset: str) -> None:
        """Draw the pseudo-labels of a data set half as often, if there are several."""
        if len(self.weights) > 1:
            self.weights[dataset] /= 2

    def _thresholds(self, teacher: nn.Module, found: Sequence[TeacherPicks]) -> dict[str, float]:
        """Return the minimum score of a particle in each data set.

        It is chosen in the same way as for the final picks. With several data sets, this also sets
        the weight of each one's pseudo-labels (`weights`).
        """
        pool, views = self.pool, self.settings["teacher_views"]
        names = list(dict.fromkeys(m.dataset for m in pool.micrographs))
        self.weights = dict.fromkeys(names, 1.0)
        thresholds: dict[str, float] = {}
        annotated = pool.annotated
        if self.settings["threshold_labels"] == "training":
            annotated = [m for m in annotated if m.split == "train"]
        elif pool.validation:
            seen = validate(teacher, pool.validation, pool.device, views, pool.nms_radius)
            if len(names) == 1:
                return {names[0]: seen.threshold}
            first = {pool.validation[0].dataset: seen}  # only one data set has validation labels
            for name, held in (dict(seen.datasets) or first).items():
                thresholds[name] = held.threshold
                self.weights[name] = _trusted(held.f1)
        for name in names:
            if name not in thresholds:
                mine = [f for f in found if f.micrograph.dataset == name]
                known = [m for m in annotated if m.dataset == name]
                if len(names) > 1:
                    self.weights[name] = UNKNOWN_WEIGHT
                    if not known and all(f.micrograph.expected is None for f in mine):
                        continue
                thresholds[name] = self._without_validation(teacher, mine, known)
        # Data sets without any information get the median threshold of the others.
        median = float(np.median(list(thresholds.values())))
        return dict.fromkeys(names, median) | thresholds

    def _without_validation(
        self,
        teacher: nn.Module,
        found: Sequence[TeacherPicks],
        annotated: Sequence[Micrograph],
    ) -> float:
        pool, views = self.pool, self.settings["teacher_views"]
        # Clicked particles set the threshold by their own scores, so clicked micrographs that are
        # not in the random subset have to be picked as well.
        drawn = {id(f.micrograph) for f in found}
        clicked = [
            TeacherPicks(m, *peaks_of(teacher, m, pool.device, views, pool.nms_radius))
            for m in annotated
            if m.clicked and m.expected is None and m.split == "train" and id(m) not in drawn
        ]
        return without_validation([*found, *clicked], annotated)[0]

    def state(self) -> dict[str, Any]:
        """Return the state to save in a checkpoint."""
        drawn = [(index, torch.from_numpy(labels)) for index, labels in self.drawn]
        return {"drawn": drawn, "summary": self.summary, "weights": self.weights}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.summary, self.weights = dict(state["summary"]), dict(state["weights"])
        self.drawn = [(index, labels.cpu().numpy()) for index, labels in state["drawn"]]


def _particle_shares(pool: Pool) -> dict[str, float]:
    """Return the expected fraction of particle pixels of each data set's micrographs.

    A data set with neither labels nor a user's estimate of its particle count gets the mean of the
    others.
    """
    shares = {}
    groups = grouped_by_dataset(pool.micrographs)
    for name, group in groups.items():
        per_pixel = density(group)
        if per_pixel is not None:
            disc = math.pi * float(np.mean([m.disc for m in group])) ** 2
            shares[name] = min(per_pixel * disc, MOST_PARTICLE)
    if not shares:
        raise InputError(
            "fixmatch.labelling: this rule needs the approximate number of particles per "
            f"micrograph, which clicks do not give. Set datasets.{next(iter(groups))}."
            "expected_particles."
        )
    return dict.fromkeys(groups, float(np.mean(list(shares.values())))) | shares


def _rounds(pool: Pool) -> int:
    """Return the number of rounds: 2 if the median data set has no labels, else 1.

    Proteins without labels profit from a second teacher, better than the first, which was trained
    on another protein. If each protein has labels, a second round gains nothing, and loses on
    crowded micrographs (docs/experiments.md, entries 8 and 31).
    """
    return 1 if pool.labelled.median_particles(grouped_by_dataset(pool.micrographs)) else 2


def _trusted(f1: float) -> float:
    """Return the weight of pseudo-labels for the validation F1 of their teacher."""
    return float(np.clip((f1 - BAD_F1) / (GOOD_F1 - BAD_F1), LEAST_WEIGHT, 1.0))


def _drawn(
    micrographs: Sequence[Micrograph], pool_size: int, rng: np.random.Generator
) -> list[int]:
    """Draw the indices of the micrographs that a teacher picks in a round, from each data set.

    Each data set gives `pool_size` micrographs, or the fraction `SHARE_DRAWN` if that is more, but
    at most an equal part of the total `MOST_DRAWN` (or of `pool_size`, if that is larger).
    """
    places = _places(micrographs)
    most = max(1, max(pool_size, MOST_DRAWN) // len(places))
    chosen: list[int] = []
    for held in places.values():
        n = min(max(pool_size, int(len(held) * SHARE_DRAWN)), most, len(held))
        chosen += [held[int(i)] for i in rng.choice(len(held), n, replace=False)]
    return sorted(chosen)


def _summary(counts: NDArray[np.float64]) -> Diagnostics:
    """Return diagnostics of drawn labels from the pixel counts of `_count`."""
    positive, negative, area, true_positive, judged_positive, hidden_positive = counts.tolist()
    return {
        "keep_background": negative / max(area - positive, 1),
        "pseudo_positive_rate": positive / max(area, 1),
        "pseudo_precision": true_positive / judged_positive if judged_positive else math.nan,
        "pseudo_recall": true_positive / hidden_positive if hidden_positive else math.nan,
    }


def _places(micrographs: Sequence[Micrograph]) -> dict[str, list[int]]:
    """Map data sets to the indices of their micrographs."""
    places: dict[str, list[int]] = {}
    for place, micrograph in enumerate(micrographs):
        places.setdefault(micrograph.dataset, []).append(place)
    return places


def _area(sheet: Micrograph) -> NDArray[np.bool_]:
    inside = np.zeros(sheet.image.shape, bool)
    y0, x0, y1, x1 = sheet.area
    inside[y0:y1, x0:x1] = True
    return inside


def _count(
    labels: NDArray[np.int8], known: NDArray[np.bool_], hidden: NDArray[np.int8]
) -> NDArray[np.float64]:
    """Count pixels: pseudo-label positive, negative, usable; and against hidden labels.

    Hidden labels serve for diagnostics only.
    """
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
    """Return diagnostics of a batch's pseudo-labels; `pseudo_*` compare with hidden labels."""
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
