"""Picking: against the forward passes alone, and from files to picks, against Topaz."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.data import (
    RADIUS,
    SIZE,
    defaults,
    hyperparameters,
    micrographs,
    write_micrograph,
)
from benchmarks.measure import Figure, clock, interleave, marginal, milliseconds, ratio
from fewpick.network.device import inference_dtype
from fewpick.network.model_file import save_model
from fewpick.network.unet import UNet
from fewpick.picking.candidates import find

VIEWS = int(defaults()["picking"]["views"])
NMS_RADIUS = 1.0
# Topaz reduces by whole numbers: 4096 px to 819, as near to our 768 as it comes.
TOPAZ_SCALE = 5
# Micrographs of the longer run; one is that of the shorter.
FILES = 5


def figures(device: torch.device, rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        sheet = micrographs(Path(folder), 6)[-1]  # one for validation: it is also scored by pixel
        network = _network().to(device).eval()
        image = torch.from_numpy(np.asarray(sheet.image, np.float32)).to(device)[None, None]
        turned = [torch.rot90(image, k, (-2, -1)).contiguous() for k in range(VIEWS)]

        dtype = inference_dtype("auto", device)  # as `find` applies it

        @torch.no_grad()
        def bare() -> None:
            mean = torch.zeros_like(image)
            for k, view in enumerate(turned):
                with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                    logits = network(view)
                mean += torch.rot90(torch.sigmoid(logits.float()), -k, (-2, -1))
            mean /= VIEWS

        def ours() -> None:
            list(find(network, [sheet], device, views=VIEWS, nms_radius=NMS_RADIUS))

        times = interleave({"picking": ours, "forward": bare}, rounds, clock(device))
        found = list(find(network, [sheet], device, views=VIEWS, nms_radius=NMS_RADIUS))
    return [
        Figure(
            "inference and picking at 768 px, by the forward passes alone",
            ratio(times, "picking", "forward"),
            mark=1.25,
            detail={"milliseconds": milliseconds(times), "peaks": len(found[0].xy)},
        )
    ]


def from_files(topaz: Path | None, rounds: int = 3) -> list[Figure]:
    """Whole programs on one core, from 4096 x 4096 MRC files to picks, as a user calls them.

    Starting up is taken off by the difference of one file and `FILES`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [str(folder / f"{i}.mrc") for i in range(FILES)]
        for path in paths:
            write_micrograph(Path(path))
        model = folder / "picker.safetensors"
        save_model(model, _network(), hyperparameters(method="supervised"), _use())
        ours = [sys.executable, "-m", "fewpick.cli", "pick", str(model), "--device", "cpu"]
        ours += ["--force", "-o", f"{name}/picks.star"]
        seconds = {"fewpick": marginal({"fewpick": ours}, paths, rounds)["fewpick"]}
        if topaz is not None:
            reduced = [f"{name}/out/{Path(path).name}" for path in paths]
            prepare = [str(topaz), "preprocess", "-s", str(TOPAZ_SCALE), "-d", "-1", "-t", "0"]
            prepare += ["-j", "1", "-o", f"{name}/out"]
            extract = [str(topaz), "extract", "-r", str(round(RADIUS)), "-d", "-1"]
            extract += ["--num-workers", "0", "-j", "1", "-o", f"{name}/picks.txt"]
            seconds |= marginal({"topaz preprocess": prepare}, paths, 1)
            seconds |= marginal({"topaz extract": extract}, reduced, 1)
    detail = {"seconds per micrograph": seconds}
    found = [
        Figure("fewpick pick, each 4096 x 4096 MRC", seconds["fewpick"], "s", 0.4, detail=detail)
    ]
    if topaz is not None:
        theirs = seconds["topaz preprocess"] + seconds["topaz extract"]
        title = "topaz preprocess and extract, by fewpick pick"
        value = theirs / seconds["fewpick"]
        found.append(Figure(title, value, mark=30, at_least=True, detail=detail))
    return found


def _use() -> dict[str, Any]:
    """What a model file says of picking, for a model trained on files of `write_micrograph`."""
    particle = {"radius": RADIUS * 4096 / SIZE, "border": 0, "longest": 4096, "pixel_size": 1.0}
    return {
        "target_size": SIZE,
        "normalise": "robust",
        "lowpass_angstrom": None,
        "picking": {"views": VIEWS, "nms_radius": NMS_RADIUS},
        "threshold": {"threshold": 0.5},
        "particles": {"d": particle},
        "radius_scale": 0.5,
    }


def _network() -> UNet:
    torch.manual_seed(0)
    return UNet(**hyperparameters(method="supervised")["model"])
