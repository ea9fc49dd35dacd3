"""A training step against the network alone, FixMatch against supervised, and the GPU's share."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.data import SIZE, hyperparameters, micrographs
from benchmarks.measure import Figure, clock, interleave, milliseconds, ratio
from fewpick.network.unet import UNet
from fewpick.training.losses import bce_dice
from fewpick.training.train import Trainer

ARMS: dict[str, dict[str, Any]] = {
    "supervised": {"method": "supervised"},
    "fixmatch": {"method": "fixmatch"},
    "fixmatch_two_thresholds": {
        "method": "fixmatch",
        "labelling": "two_thresholds",
        "fixmatch": {"teacher": "student", "teacher_views": 1, "guard": False},
    },
}
BATCH_SIZES = (2, 4, 8, 16, 32, 64)


def figures(device: torch.device, rounds: int) -> list[Figure]:
    """Steps of three arms, each with the labelled batch of the defaults."""
    with tempfile.TemporaryDirectory() as folder:
        sheets = micrographs(Path(folder), 12)
        values = {name: hyperparameters(**arm) for name, arm in ARMS.items()}
        network = UNet(**values["supervised"]["model"])
        runs = {name: Trainer(values[name], sheets, network, device) for name in ARMS}
        for run in runs.values():
            run.schedule.checks = set()  # validation is not part of a step

        alone = runs["supervised"]
        images, labels = alone.labelled.draw(alone.settings["batch_size"], alone.streams.rng)
        images, labels = images.to(device), labels.to(device)

        def bare() -> None:
            alone.learner.network.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = bce_dice(alone.learner.network(images).float(), labels)
            loss.backward()

        tasks = {name: run.advance for name, run in runs.items()}
        times = interleave({"bare": bare, **tasks}, rounds, clock(device))

        now = clock(device)
        rule, length = runs["fixmatch"].consistency, runs["fixmatch"].schedule.steps
        assert rule is not None
        begin = now()
        rule.draw(runs["fixmatch"].ema.network, runs["fixmatch"].streams.rng)
        drawing = (now() - begin) * rule.rounds / length / float(times["supervised"].mean())
    detail = {"milliseconds": milliseconds(times), "batch": tuple(images.shape)}
    steps = {
        name: ratio(times, name, "supervised") for name in ("fixmatch", "fixmatch_two_thresholds")
    }
    return [
        Figure(
            "training step, by the network's forward and backward pass",
            1 / ratio(times, "supervised", "bare"),
            "of its speed",
            0.95,
            at_least=True,
            detail=detail,
        ),
        Figure(
            "FixMatch step, by a supervised step",
            steps["fixmatch"] + drawing,
            mark=2.5,
            detail={"step": steps["fixmatch"], "its share of drawing pseudo-labels": drawing},
        ),
        Figure(
            "FixMatch step with two thresholds, by a supervised step",
            steps["fixmatch_two_thresholds"],
        ),
    ]


def gpu_figures(device: torch.device) -> list[Figure]:
    """Images per second at full size, share of the matrix peak, and memory, by batch size."""
    network = UNet(**hyperparameters(**ARMS["supervised"])["model"]).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    peak = _matrix_peak(device)
    found = []
    for batch in BATCH_SIZES:
        images = torch.randn(batch, 1, SIZE, SIZE, device=device)
        labels = (torch.rand_like(images) < 0.1).float()

        def step(images: torch.Tensor = images, labels: torch.Tensor = labels) -> None:
            network.zero_grad(set_to_none=True)
            with torch.autocast("cuda", torch.bfloat16):
                loss = bce_dice(network(images).float(), labels)
            loss.backward()

        torch.cuda.reset_peak_memory_stats(device)
        try:
            with FlopCounterMode(display=False) as counter:
                step()
            times = interleave({"step": step}, 10, clock(device))
        except torch.OutOfMemoryError:
            found.append(Figure(f"batch of {batch}: does not fit", float("nan"), ""))
            continue
        seconds = float(times["step"].mean())
        detail = {
            "share of the bf16 matrix peak": counter.get_total_flops() / seconds / peak,
            "memory_gib": torch.cuda.max_memory_allocated(device) / 2**30,
        }
        found.append(
            Figure(
                f"training at 768 px, batch of {batch}",
                batch / seconds,
                "images/s",
                None,
                True,
                detail,
            )
        )
    return found


def _matrix_peak(device: torch.device, size: int = 8192) -> float:
    """Operations per second of a large bf16 matrix product, as it is in practice."""
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    torch.mm(a, a)
    torch.cuda.synchronize(device)
    begin = time.perf_counter()
    for _ in range(10):
        torch.mm(a, a)
    torch.cuda.synchronize(device)
    return 10 * 2 * size**3 / (time.perf_counter() - begin)
