"""Train any arm: supervised, or FixMatch with any labelling rule."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fewpick.canonical import canonical
from fewpick.errors import InputError
from fewpick.network.device import report_gpu_errors, select_device
from fewpick.network.unet import UNet
from fewpick.sampling.crops import LabelledCrops
from fewpick.sampling.training_set import Micrograph, grouped_by_dataset
from fewpick.sampling.views import strong
from fewpick.training.best import STEPS_PER_PARTICLE, Best
from fewpick.training.checkpoint import Checkpoint, Part
from fewpick.training.cuda_graphs import ForwardPasses
from fewpick.training.ema import Ema
from fewpick.training.fixmatch import Consistency, Diagnostics, Pool, Student, make_consistency
from fewpick.training.guard import Guard, Guards
from fewpick.training.history import in_dataset
from fewpick.training.labelling import LabelledBatch
from fewpick.training.learner import Learner, Streams, new_network, placed
from fewpick.training.losses import bce_dice
from fewpick.training.recorder import Recorder
from fewpick.training.schedule import Schedule
from fewpick.tuning.validation import Validator, validation_micrographs

logger = logging.getLogger(__name__)

# With fewer labelled particles than this in the median data set, a new network is trained on the
# pseudo-labels, because one that has seen a handful of labels (or those of another protein) many
# times overfits them. With more labels, a new network would only have less time to learn from them
# than the supervised arm (docs/experiments.md).
FEW_PARTICLES = 50
# Fraction of the labelled views that are strong, in every arm.
STRONG_FRACTION = 0.5


class Stopped(Exception):
    """Training stopped early on request; the same call resumes from its checkpoint."""


@report_gpu_errors()
def train(
    hyperparameters: Mapping[str, Any],
    micrographs: Sequence[Micrograph],
    *,
    warm_start: UNet | None = None,
    rival: UNet | None = None,
    device: str = "auto",
    checkpoint: Path | None = None,
    on_step: Callable[..., None] = lambda n, **values: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[UNet, pd.DataFrame]:
    """Train one network.

    Without `warm_start` this is the supervised warm start of `warm_start_steps` steps. With it,
    these are the remaining steps of an arm, supervised or also using unlabelled micrographs. The
    labelling `objects` divides them into rounds: in each, the best network so far draws labels on
    unlabelled micrographs, on which a new network is trained (or, with many labels, a copy of the
    best one).

    The returned weights are the exponential moving average at the best validation score, including
    that of the warm start, or the last one if `training.keep` is `last`. Without enough validation
    labels they are the last ones too, but in supervised training those after `STEPS_PER_PARTICLE`
    steps per labelled particle.

    Parameters
    ----------
    hyperparameters : mapping
        From `config.hyperparameters.resolve_arm` or `warm_start`.
    micrographs : sequence of Micrograph
        All parts of the split; test micrographs are not used.
    warm_start : UNet, optional
        The network to continue from.
    rival : UNet, optional
        A network of another training with the same labels. It is returned unless this training
        reaches a better validation score, and draws pseudo-labels as long as it is the best.
    device : str
        auto, cpu or cuda.
    checkpoint : Path, optional
        File to save the state to regularly and to resume from; removed at the end. A checkpoint
        from other hyperparameters or another kind of device is ignored.
    on_step : callable
        Called after each step with the number of steps done since the last call (more than one
        after resuming), the current validation F1 and the last loss.
    stop : callable
        Called after each step; if it returns true, the state is saved and training stops early.

    Returns
    -------
    network : UNet
        On the CPU.
    history : DataFrame
        One row per check.

    Raises
    ------
    InputError
        If no training micrograph is labelled, the loss is no longer finite, or a GPU fails.
    Stopped
        If `stop` returned true before the last step.
    """
    training = Trainer(hyperparameters, micrographs, warm_start, select_device(device), rival)
    schedule, kept = training.schedule, None
    if checkpoint is not None:
        key = canonical([dict(hyperparameters), warm_start is not None, training.device.type])
        kept = Checkpoint(checkpoint, key)
        if kept.resume(training.parts(), training.device):
            logger.info("resumed at step %d from %s", schedule.step, checkpoint)
    left = schedule.steps - schedule.step
    logger.info("%d of %d steps left, on %s", left, schedule.steps, training.device)
    reported = 0
    while not schedule.done:
        training.advance()
        on_step(
            schedule.step - reported,
            val_f1=training.validator.latest.f1,
            loss=training.recorder.last_loss,
        )
        reported = schedule.step
        stopping = not schedule.done and stop()
        due = stopping or schedule.step % training.settings["checkpoint_steps"] == 0
        if kept is not None and due:
            kept.save(training.parts())
        if stopping:
            raise Stopped(f"stopped after step {schedule.step} of {schedule.steps}")
    if kept is not None:
        kept.remove()
    return training.best_network().cpu(), training.recorder.table()


class Trainer:
    """One phase of a training: the warm start, or an arm that continues from it.

    Parameters
    ----------
    hyperparameters, micrographs, warm_start, rival : as for `train`
    device : torch.device

    Attributes
    ----------
    datasets : list of str
        Names of all data sets, with labels or without.
    schedule, streams, learner, ema, passes, validator, best, guards, recorder, consistency
        The parts, each with its own state. `consistency` is the rule for unlabelled micrographs;
        None in supervised training.
    """

    def __init__(
        self,
        hyperparameters: Mapping[str, Any],
        micrographs: Sequence[Micrograph],
        warm_start: UNet | None,
        device: torch.device,
        rival: UNet | None = None,
    ) -> None:
        self.hyperparameters, self.device = hyperparameters, device
        self.settings = settings = dict(hyperparameters["training"])
        self.fixmatch = hyperparameters.get("fixmatch") if warm_start is not None else None
        self.streams = Streams(hyperparameters["seed"], int(warm_start is not None), device)
        self.labelled = LabelledCrops(micrographs, settings["crop_size"])
        self.datasets = list(grouped_by_dataset(micrographs))
        validation = validation_micrographs(micrographs, settings["validation_micrographs"])
        self.validator = Validator(
            validation, device, settings["validation_views"], settings["nms_radius"]
        )
        self.consistency = self._consistency(micrographs, validation)
        self.passes = ForwardPasses(self._shapes(), device)
        if warm_start is None:
            self._take(new_network(hyperparameters, device))
        else:
            self._take(placed(copy.deepcopy(warm_start), device))
        warm_steps = settings["warm_start_steps"]
        self.schedule = Schedule(
            warm_steps if warm_start is None else max(settings["steps"] - warm_steps, 0),
            settings["checks"],
            rounds=self.consistency.rounds if self.consistency else 1,
            peak=settings["learning_rate"],
        )
        self.steps_before = 0 if warm_start is None else warm_steps
        first = self.validator.check(self.ema.network)
        by_score = settings["keep"] == "best" and bool(validation)
        last_step = math.inf
        if settings["keep"] == "best" and self.consistency is None:
            last_step = STEPS_PER_PARTICLE * self.labelled.n_particles
        self.best = Best(self.ema.network, first, by_score=by_score, last_step=last_step)
        if rival is not None and by_score:
            other = placed(copy.deepcopy(rival), device)
            self.best.offer(other, self.validator.check(other), self.steps_before)
        self.guards = Guards(
            {
                name: Guard(
                    name,
                    on=self.fixmatch is not None and self.fixmatch["guard"],
                    start_f1=first.of(name).f1,
                    prevalence=prevalence,
                    n_particles=self.labelled.n_particles_of[name],
                    new_students=self._new_students(),
                )
                for name, prevalence in self.labelled.prevalence_of.items()
            }
        )
        self.recorder = Recorder("warm_start" if warm_start is None else hyperparameters["method"])

    def advance(self) -> None:
        """Take one optimiser step, and validate if the schedule has a check there."""
        begin = time.monotonic()
        if self.schedule.begins_round:
            self._begin_round()
        student = self.learner.network
        passes = self.passes.of(student)
        student.train()
        images, labels = self._labelled_batch()
        diagnostics: Diagnostics = {"loss_unlabelled": 0.0}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = passes[0](images).float()
            loss = bce_dice(logits, labels)
            diagnostics["loss_labelled"] = loss.detach()
            if self.consistency is not None:
                unlabelled, found = self.consistency.loss(
                    self._strong_pass(passes[1]),
                    self._teacher(),
                    self.streams.rng,
                    self.streams.generator,
                    LabelledBatch(logits, labels),
                )
                weight = self._weight()
                diagnostics |= found
                diagnostics |= {"loss_unlabelled": unlabelled.detach(), "lambda": weight}
                loss = loss + weight * unlabelled
        diagnostics["loss"] = loss.detach()
        rate = self.schedule.learning_rate
        self.learner.learn(loss, rate)
        self.ema.update(student)
        self._note(diagnostics)
        self.schedule.step += 1
        if self.schedule.checking:
            self._check(rate, begin)
        else:
            self.recorder.seconds += time.monotonic() - begin

    def best_network(self) -> UNet:
        """Return the student with the best weights."""
        self.learner.network.load_state_dict(self.best.weights)
        return self.learner.network

    def parts(self) -> dict[str, Part]:
        """Return all parts with a state, by name."""
        parts: dict[str, Part] = {
            "schedule": self.schedule,
            "streams": self.streams,
            "learner": self.learner,
            "ema": self.ema,
            "passes": self.passes,
            "validator": self.validator,
            "best": self.best,
            "guards": self.guards,
            "recorder": self.recorder,
        }
        return parts | ({"consistency": self.consistency} if self.consistency else {})

    def _consistency(
        self, micrographs: Sequence[Micrograph], validation: Sequence[Micrograph]
    ) -> Consistency | None:
        if self.fixmatch is None:
            return None
        return make_consistency(
            self.fixmatch,
            Pool(
                [m for m in micrographs if m.split in ("train", "unannotated")],
                validation,
                self.labelled,
                [m for m in micrographs if m.split in ("train", "val") and len(m.points)],
                self.fixmatch["unlabeled_batch_size"],
                self.settings["crop_size"],
                self.device,
                self.settings["nms_radius"],
            ),
        )

    def _strong_pass(self, recorded: Student) -> Student:
        assert self.fixmatch is not None
        if self.fixmatch.get("student_mode") != "evaluation":
            return recorded
        # The bug under study: predicting as the teacher left the student in evaluation mode.
        return lambda images: self.learner.network.eval()(images)

    def _shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of a step's batches: the labelled and, if any, the unlabelled one."""
        n, edge = self.settings["batch_size"], self.labelled.size
        shapes: list[tuple[int, ...]] = [(n, 1, edge, edge)]
        if self.fixmatch is not None:
            n, edge = self.fixmatch["unlabeled_batch_size"], self.settings["crop_size"]
            shapes.append((n, 1, edge, edge))
        return shapes

    def _take(self, network: UNet) -> None:
        """Make `network` the student, with a fresh moving average and optimiser."""
        self.learner = Learner(
            network,
            learning_rate=self.settings["learning_rate"],
            weight_decay=self.settings["weight_decay"],
        )
        self.ema = Ema(network, self.settings["ema_decay"])
        self.passes.forget()

    def _begin_round(self) -> None:
        """Let the best network so far draw the labels on which it or a new network is trained.

        A network overfits a few labels, and any network that continues from it inherits that. A new
        one, trained on thousands of drawn particles, does not.
        """
        if self.consistency is None or not self.consistency.draws:
            return
        teacher = self.best_network()
        self.consistency.draw(teacher, self.streams.rng)
        if self._new_students():
            student = new_network(self.hyperparameters, self.device, self.schedule.round + 1)
        else:
            student = copy.deepcopy(teacher)
        self._take(student)

    def _new_students(self) -> bool:
        """Return whether each round starts with a new network."""
        if self.fixmatch is None or self.consistency is None or not self.consistency.draws:
            return False
        wanted = self.fixmatch["student"]
        few = self.labelled.median_particles(self.datasets) < FEW_PARTICLES
        return few if wanted == "auto" else wanted == "new"

    def _labelled_batch(self) -> tuple[Tensor, Tensor]:
        """Draw labelled views, some of them strong."""
        rng = self.streams.rng
        images, labels = self.labelled.draw(self.settings["batch_size"], rng, self.device)
        chosen = np.flatnonzero(rng.random(len(images)) < STRONG_FRACTION)
        if len(chosen):
            images[chosen] = strong(images[chosen], rng, self.streams.generator)
        return images, labels

    def _teacher(self) -> UNet:
        assert self.fixmatch is not None
        return self.ema.network if self.fixmatch["teacher"] == "ema" else self.learner.network

    def _weight(self) -> float:
        """Return the unlabelled loss's weight, which rises linearly over a round's first `ramp`."""
        assert self.fixmatch is not None
        ramp, progress = self.fixmatch["ramp"], self.schedule.progress(1)
        rise = min(1.0, progress / ramp) if ramp else 1.0
        return float(self.guards.trust * self.fixmatch["weight"] * rise)

    def _note(self, diagnostics: Diagnostics) -> None:
        """Record a step; converting to float waits for the GPU."""
        self.recorder.add({name: float(value) for name, value in diagnostics.items()})
        if not math.isfinite(self.recorder.last_loss):
            raise InputError(
                f"training: the loss is {self.recorder.last_loss} at step {self.schedule.step}. "
                "Lower training.learning_rate."
            )

    def _check(self, rate: float, begin: float) -> None:
        """Validate, keep the best weights, and return to them if training drifts."""
        step = self.schedule.step
        validation = self.validator.check(self.ema.network)
        self.best.offer(self.ema.network, validation, self.steps_before + step)
        self.recorder.seconds += time.monotonic() - begin
        row = self.recorder.write(step, rate, validation, self.labelled.prevalence)
        pooled = row.get("pseudo_positive_rate", math.nan)
        watched = self.labelled.prevalence_of
        rates = {n: row.get(in_dataset("pseudo_positive_rate", n), pooled) for n in watched}
        f1s = {name: validation.of(name).f1 for name in watched}
        if not self.schedule.judging:
            return
        if drifting := self.guards.drifting(step, self.schedule.progress(), rates, f1s):
            assert self.consistency is not None
            for name in drifting:
                self.consistency.distrust(name)
            self._take(self.best_network())
