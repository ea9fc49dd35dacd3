"""One trainer for every arm: supervised, and FixMatch with any labelling rule."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from fewpick.atomic import atomic_path
from fewpick.canonical import canonical
from fewpick.errors import InputError
from fewpick.network.device import failures_told, select_device
from fewpick.network.unet import UNet
from fewpick.training.crops import LabelledCrops
from fewpick.training.cuda_graphs import forward_passes
from fewpick.training.ema import Ema
from fewpick.training.fixmatch import Diagnostics, Pool, Student, make_consistency
from fewpick.training.losses import bce_dice
from fewpick.training.schedule import check_steps, learning_rate, round_of
from fewpick.training.training_set import Micrograph
from fewpick.training.validation import UNKNOWN_SCORE, Validation, validate, validation_micrographs
from fewpick.training.views import strong

logger = logging.getLogger(__name__)

GRADIENT_NORM = 1.0
# Share of the labelled views that are strong, in every arm.
STRONG_FRACTION = 0.5
# Checks in a row with too many or too few pseudo-particles before the guard acts.
GUARD_CHECKS = 2
# Share of a round that a new student is given before its score is judged.
GUARD_PATIENCE = 0.5
# Where no validation labels tell when to stop, supervised training ends after so many steps for
# each labelled particle: a network learns five particles by heart after some fifty steps, and has
# not learned twenty-five by heart after two hundred (docs/experiments.md, entry 13).
STEPS_PER_PARTICLE = 10
# Networks of one training have seeds this far apart, further than any two seeds of a configuration.
NETWORKS_APART = 1_000_003
# Plain numbers of a run that a checkpoint holds.
COUNTERS = (
    *("step", "seconds", "last_loss", "lambda_scale", "drifting", "best_score", "start_f1"),
)


class Stopped(Exception):
    """A training was asked to stop, and did so; the same call goes on from its checkpoint."""


@failures_told()
def train(
    hyperparameters: Mapping[str, Any],
    micrographs: Sequence[Micrograph],
    *,
    warm_start: UNet | None = None,
    device: str = "auto",
    checkpoint: Path | None = None,
    on_step: Callable[..., None] = lambda n, **values: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[UNet, pd.DataFrame]:
    """Train one network.

    Without `warm_start` this is the supervised warm start of `warm_start_steps` steps; with it,
    the remaining steps of an arm, supervised or with the unlabelled micrographs as well. The
    labelling `objects` divides them into rounds: in each, the best network so far draws labels on
    unlabelled micrographs, and a new network learns from them. The returned weights are the
    exponential moving average at the best validation score, the warm start itself included; or the
    last one, where `keep` says so. Without enough validation labels they are the last ones too, but
    those of a supervised training end after `STEPS_PER_PARTICLE` for each labelled particle.

    Parameters
    ----------
    hyperparameters: as `config.resolve_arm` or `config.warm_start` gives them
    micrographs: all parts of the split; test micrographs are not looked at
    warm_start: network to go on from
    device: auto, cpu or cuda
    checkpoint: file to save the state in now and then and to resume from; removed at the end.
        A checkpoint of other hyperparameters or of the other kind of device is ignored.
    on_step: called after each step with the number of steps done since the last call (more than
        one after resuming) and the current validation score
    stop: asked after each step; when true, the state is saved and the training ends early

    Returns
    -------
    network, on the CPU; history, one row per logged step

    Raises
    ------
    InputError
        If no training micrograph is labelled, the loss is no longer finite, or a GPU fails.
    Stopped
        If `stop` said so before the last step.
    """
    run = _Run(hyperparameters, micrographs, warm_start, select_device(device))
    key = canonical([dict(hyperparameters), warm_start is not None, run.device.type])
    if checkpoint is not None and checkpoint.exists():
        run.resume(checkpoint, key)
    logger.info("%d of %d steps to do, on %s", run.steps - run.step, run.steps, run.device)
    told = 0
    while run.step < run.steps:
        run.advance()
        on_step(run.step - told, val_f1=run.validation.f1, loss=run.last_loss)
        told = run.step
        stopping = run.step < run.steps and stop()
        due = stopping or run.step % run.settings["checkpoint_steps"] == 0
        if checkpoint is not None and due:
            run.save(checkpoint, key)
        if stopping:
            raise Stopped(f"stopped after step {run.step} of {run.steps}")
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    run.student.load_state_dict(run.best)
    return run.student.cpu(), pd.DataFrame(run.history, columns=_columns(run.history))


def _new_network(hyperparameters: Mapping[str, Any], device: torch.device, number: int = 0) -> UNet:
    """The `number`-th network of a seed, drawn without touching the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(hyperparameters["seed"] + NETWORKS_APART * number)
        network = UNet(**hyperparameters["model"])
    return _placed(network, device)


def _placed(network: UNet, device: torch.device) -> UNet:
    """The network on its device, ready to learn; convolutions are fastest with channels last."""
    network.to(device).requires_grad_(True)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _columns(history: list[dict[str, Any]]) -> list[str]:
    """Columns of the history; the first ones are there even when no step was left to do."""
    first = ["step", "phase", "loss", "loss_labelled", "loss_unlabelled", "lr"]
    first += [
        "val_pick_f1",
        "val_average_precision",
        "val_threshold",
        "val_pixel_recall",
        "labelled_prevalence",
        "seconds",
    ]
    return list(dict.fromkeys(first + [key for row in history for key in row]))


class _Run:
    """The state of a training, all of it that a checkpoint has to hold."""

    def __init__(
        self,
        hyperparameters: Mapping[str, Any],
        micrographs: Sequence[Micrograph],
        warm_start: UNet | None,
        device: torch.device,
    ) -> None:
        self.settings = settings = dict(hyperparameters["training"])
        self.fixmatch = hyperparameters.get("fixmatch") if warm_start is not None else None
        self.phase = "warm_start" if warm_start is None else hyperparameters["method"]
        warm_steps = settings["warm_start_steps"]
        self.steps = warm_steps if warm_start is None else max(settings["steps"] - warm_steps, 0)
        self.supervised_before = 0 if warm_start is None else warm_steps
        self.hyperparameters = hyperparameters
        self.device = device
        # Phases draw from streams of their own, so that none repeats the crops of another.
        seed = np.random.SeedSequence([hyperparameters["seed"], int(warm_start is not None)])
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator(device).manual_seed(int(seed.generate_state(1)[0]))

        if warm_start is None:
            self.student = _new_network(hyperparameters, device)
        else:
            self.student = _placed(copy.deepcopy(warm_start), device)
        self.labelled = LabelledCrops(micrographs, settings["crop_size"])
        self.validation_set = validation_micrographs(micrographs)[
            : settings["validation_micrographs"]
        ]
        self.consistency = None
        if self.fixmatch is not None:
            self.consistency = make_consistency(
                self.fixmatch,
                Pool(
                    [m for m in micrographs if m.split in ("train", "unannotated")],
                    self.validation_set,
                    self.labelled,
                    [m for m in micrographs if m.split in ("train", "val") and len(m.points)],
                    self.fixmatch["unlabeled_batch_size"],
                    settings["crop_size"],
                    device,
                ),
            )
        self._take(self.student)
        self.rounds = self.consistency.rounds if self.consistency else 1
        self.checks = check_steps(
            self.steps, settings["checks"], early=self.consistency is None, rounds=self.rounds
        )
        self.step = 0
        self.seconds = 0.0
        self.history: list[dict[str, Any]] = []
        self.recent: list[dict[str, float]] = []
        self.last_loss = math.nan
        self.lambda_scale = 1.0
        self.drifting = 0
        self.validation = self._validate()
        self.best_score = self.validation.score
        self.start_f1 = self.validation.f1
        self.best = copy.deepcopy(self.ema.network.state_dict())

    def _take(self, network: UNet) -> None:
        """Make `network` the student, with an average and an optimiser that know nothing yet."""
        self.student = network
        self.ema = Ema(network, self.settings["ema_decay"])
        self.optimiser = torch.optim.AdamW(
            network.parameters(),
            lr=self.settings["learning_rate"],
            weight_decay=self.settings["weight_decay"],
            fused=True,
        )
        self.passes: list[Student] = []

    def _shapes(self) -> list[tuple[int, ...]]:
        """Of the batches of a step: the labelled one, and the unlabelled one if there is one."""
        n, edge = self.settings["batch_size"], self.labelled.size
        shapes: list[tuple[int, ...]] = [(n, 1, edge, edge)]
        if self.fixmatch is not None:
            n, edge = self.fixmatch["unlabeled_batch_size"], self.settings["crop_size"]
            shapes.append((n, 1, edge, edge))
        return shapes

    def _begin_round(self, number: int) -> None:
        """The best network so far draws the labels that a new one learns from.

        A network with a few labels learns them by heart, and whatever goes on from it inherits
        that. A new one, which meets thousands of drawn particles, does not.
        """
        if self.consistency is None or not self.consistency.draws:
            return
        self.student.load_state_dict(self.best)
        self.consistency.draw(self.student, self.rng)
        self._take(_new_network(self.hyperparameters, self.device, number + 1))

    def advance(self) -> None:
        """One optimiser step, and now and then a validation and a row of history."""
        begin = time.monotonic()
        number, first, length = round_of(self.step, self.steps, self.rounds)
        if self.step == first:
            self._begin_round(number)
        rate = learning_rate(self.step - first, length, self.settings["learning_rate"])
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if not self.passes:
            self.passes = forward_passes(self.student, self._shapes(), self.device)
        self.student.train()
        images, labels = self.labelled.draw(self.settings["batch_size"], self.rng, self.device)
        chosen = np.flatnonzero(self.rng.random(len(images)) < STRONG_FRACTION)
        if len(chosen):
            images[chosen] = strong(images[chosen], self.rng, self.generator)

        diagnostics: Diagnostics = {"loss_unlabelled": 0.0}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            loss = bce_dice(self.passes[0](images).float(), labels)
            diagnostics["loss_labelled"] = loss.detach()
            if self.consistency is not None and self.fixmatch is not None:
                teacher = self.ema.network if self.fixmatch["teacher"] == "ema" else self.student
                unlabelled, found = self.consistency.loss(
                    self.passes[1], teacher, self.rng, self.generator
                )
                diagnostics |= found
                diagnostics["loss_unlabelled"] = unlabelled.detach()
                diagnostics["lambda"] = self._weight((self.step - first + 1) / length)
                loss = loss + diagnostics["lambda"] * unlabelled
        diagnostics["loss"] = loss.detach()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), GRADIENT_NORM, foreach=True)
        self.optimiser.step()
        self.ema.update(self.student)
        # Only now is the GPU waited for.
        numbers = {name: float(value) for name, value in diagnostics.items()}
        self.last_loss = numbers["loss"]
        if not math.isfinite(self.last_loss):
            raise InputError(
                f"training: the loss is {self.last_loss} at step {self.step}. "
                "Lower training.learning_rate."
            )
        self.step += 1
        self.recent.append(numbers)

        if self.step in self.checks:
            self.validation = self._validate()
            self._keep_best()
            self.seconds += time.monotonic() - begin
            self._log(rate)
            self._guard()
        else:
            self.seconds += time.monotonic() - begin

    def _weight(self, progress: float) -> float:
        """Weight of the unlabelled loss: it rises linearly over the first `ramp` of a round."""
        assert self.fixmatch is not None
        rise = min(1.0, progress / self.fixmatch["ramp"]) if self.fixmatch["ramp"] else 1.0
        return self.lambda_scale * self.fixmatch["weight"] * rise

    def _validate(self) -> Validation:
        if not self.validation_set:
            return UNKNOWN_SCORE
        views = self.settings["validation_views"]
        return validate(self.ema.network, self.validation_set, self.device, views)

    def _keep_best(self) -> None:
        if self.settings["keep"] == "best" and self.validation_set:
            keep = not self.validation.score < self.best_score
        elif self.settings["keep"] == "best" and self.consistency is None:
            enough = STEPS_PER_PARTICLE * self.labelled.n_particles
            keep = self.supervised_before + self.step <= enough
        else:
            keep = True
        if keep:
            self.best_score = self.validation.score
            self.best = copy.deepcopy(self.ema.network.state_dict())

    def _log(self, rate: float) -> None:
        means = pd.DataFrame(self.recent).mean()
        self.recent = []  # plain floats from here on, which is what a checkpoint may hold
        row = {"step": self.step, "phase": self.phase, "lr": rate, "seconds": self.seconds}
        row |= {"val_pick_f1": self.validation.f1, "val_threshold": self.validation.threshold}
        row |= {"val_average_precision": self.validation.average_precision}
        row |= {"val_pixel_recall": self.validation.pixel_recall}
        row |= {"labelled_prevalence": self.labelled.prevalence} | {
            str(name): float(value) for name, value in means.items()
        }
        self.history.append(row)

    def _guard(self) -> None:
        """Notice a drift towards collapse, go back to the best state and trust the rule less.

        Signs: the share of particles among the pseudo-labels leaves [0.5, 2] x that among the
        labels at `GUARD_CHECKS` checks in a row, or the validation score falls below 0.9 x that of
        the warm start. Few labels tell their share badly: n particles give it to about
        2 / sqrt(n), by which the bounds widen.
        """
        if self.fixmatch is None or not self.fixmatch["guard"]:
            return
        ratio = self.history[-1].get("pseudo_positive_rate", math.nan) / self.labelled.prevalence
        doubt = 1 + 2 / math.sqrt(max(self.labelled.n_particles, 1))
        self.drifting = self.drifting + 1 if ratio < 0.5 / doubt or ratio > 2 * doubt else 0
        # A new student begins below the warm start; it is given time to catch up.
        _, first, length = round_of(self.step, self.steps, self.rounds)
        assert self.consistency is not None
        early = self.consistency.draws and self.step - first < GUARD_PATIENCE * length
        fallen = self.validation.f1 < 0.9 * self.start_f1 and not early
        if self.drifting < GUARD_CHECKS and not fallen:
            return
        self.lambda_scale /= 2
        logger.warning(
            "step %d: drift towards collapse (pseudo-labels have %.2f x the labelled share of "
            "particles, validation F1 %.3f, warm start %.3f); going back to the best state, with "
            "fixmatch.weight x %g",
            self.step,
            ratio,
            self.validation.f1,
            self.start_f1,
            self.lambda_scale,
        )
        self.drifting = 0
        self.student.load_state_dict(self.best)
        self._take(self.student)

    def _state(self) -> dict[str, Any]:
        return {
            "student": self.student.state_dict(),
            "ema": self.ema.network.state_dict(),
            "ema_updates": self.ema.updates,
            "optimiser": self.optimiser.state_dict(),
            "consistency": self.consistency.state() if self.consistency else None,
            "rng": self.rng.bit_generator.state,
            "generator": self.generator.get_state(),
            "best": self.best,
            "validation": list(dataclasses.astuple(self.validation)),
            "recent": self.recent,
            "history": self.history,
            "counters": {name: getattr(self, name) for name in COUNTERS},
        }

    def save(self, path: Path, key: str) -> None:
        with atomic_path(path) as temporary:
            torch.save({"key": key, "state": self._state()}, temporary)

    def resume(self, path: Path, key: str) -> None:
        """Go on from a checkpoint, if it has the same key and can be read."""
        try:
            content = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:  # whatever a damaged file raises, starting over is right
            logger.warning("%s cannot be read (%s); training starts over", path, error)
            return
        if content["key"] != key:
            return
        state = content["state"]
        self.student.load_state_dict(state["student"])
        self.ema.network.load_state_dict(state["ema"])
        self.ema.updates = state["ema_updates"]
        self.optimiser.load_state_dict(state["optimiser"])
        if self.consistency is not None:
            self.consistency.restore(state["consistency"])
        self.rng.bit_generator.state = state["rng"]
        self.generator.set_state(state["generator"].cpu())
        self.best = state["best"]
        self.validation = Validation(*state["validation"])
        self.recent, self.history = state["recent"], state["history"]
        for name, value in state["counters"].items():
            setattr(self, name, value)
        logger.info("resumed at step %d of %d from %s", self.step, self.steps, path)
