"""Estimate how long a run takes on this machine by timing a few steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fewpick.network.inference import predict
from fewpick.network.unet import UNet
from fewpick.training.losses import bce_dice
from fewpick.training.schedule import check_steps

REPEATS = 3
# A real step also draws and transforms its views, and updates weights and their moving average.
OVERHEAD = 1.15


@dataclass(frozen=True)
class Rates:
    """Seconds on this machine with one thread.

    Attributes
    ----------
    learn : per training view
    look : per view of a micrograph at inference
    """

    learn: float
    look: float


def measure(hyperparameters: Mapping[str, Any], target_size: int, device: torch.device) -> Rates:
    """Time training steps and inference on a micrograph, after a warm-up.

    Parameters
    ----------
    hyperparameters : from `config.hyperparameters.resolve_arm`
    target_size : edge of the preprocessed micrographs, px
    device : where training will run
    """
    network = UNet(**hyperparameters["model"]).to(device)
    settings = hyperparameters["training"]
    batch, size = settings["batch_size"], settings["crop_size"]
    views = torch.randn(batch, 1, size, size, device=device)
    labels = (torch.rand(batch, 1, size, size, device=device) < 0.1).to(torch.int8)
    micrograph = torch.randn(1, 1, target_size, target_size, device=device)

    def step() -> None:
        network.train()
        loss = bce_dice(network(views), labels)
        loss.backward()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return Rates(
            learn=_seconds(step, device) / batch,
            look=_seconds(lambda: predict(network, micrograph, 1), device),
        )
    finally:
        torch.set_num_threads(threads)


def training_seconds(hyperparameters: Mapping[str, Any], rates: Rates, n_validation: int) -> float:
    """Return the seconds of one training without warm start: steps, checks, teacher's picks."""
    settings = hyperparameters["training"]
    steps = settings["steps"] - settings["warm_start_steps"]
    views = settings["batch_size"]
    fixmatch = hyperparameters.get("fixmatch")
    teacher = 0
    if fixmatch:
        views += fixmatch["unlabeled_batch_size"]
        teacher = fixmatch.get("pool_size", 0) * (fixmatch.get("rounds") or 1)
        teacher *= fixmatch["teacher_views"]
    learning = steps * views * rates.learn * OVERHEAD
    return learning + (_checks(settings, steps, n_validation) + teacher) * rates.look


def warm_start_seconds(
    hyperparameters: Mapping[str, Any], rates: Rates, n_validation: int
) -> float:
    """Return the seconds of the warm start that arms share."""
    settings = hyperparameters["training"]
    steps = settings["warm_start_steps"]
    learning = steps * settings["batch_size"] * rates.learn * OVERHEAD
    return float(learning + _checks(settings, steps, n_validation) * rates.look)


def _checks(settings: Mapping[str, Any], steps: int, n_validation: int) -> int:
    """Count the views of micrographs that a training validates on, including before step 1."""
    looked_at = min(settings["validation_micrographs"], n_validation)
    checks = len(check_steps(steps, settings["checks"])) if steps else 0
    return int((checks + 1) * looked_at * settings["validation_views"])


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the median time of a few calls after a first one."""
    taken = []
    for _ in range(REPEATS + 1):
        begin = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begin)
    return sorted(taken[1:])[REPEATS // 2]
