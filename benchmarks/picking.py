"""Inference and picking at 768 px against the forward passes alone, and against Topaz."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import mrcfile
import numpy as np
import torch

from benchmarks.data import SIZE, hyperparameters, micrographs
from benchmarks.measure import Figure, clock, interleave, milliseconds, ratio
from benchmarks.preprocessing import marginal
from fewpick.network.model_file import save_model
from fewpick.network.unet import UNet
from fewpick.picking.candidates import find

VIEWS = 4
NMS_RADIUS = 1.0
OURS = """
import sys
import mrcfile, torch
from fewpick.network.model_file import load_model
from fewpick.network.inference import find_peaks, predict
torch.set_num_threads(1)
network = load_model(sys.argv[1]).network
for path in sys.argv[2:]:
    with mrcfile.open(path) as mrc:
        image = torch.from_numpy(mrc.data.copy())[None, None]
    find_peaks(predict(network, image, 4)[0, 0].numpy(), 18.0, (0, 0, 768, 768))
"""


def figures(device: torch.device, rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        sheet = micrographs(Path(folder), 6)[-1]  # one for validation: it is also scored by pixel
        network = _network().to(device).eval()
        image = torch.from_numpy(np.asarray(sheet.image, np.float32)).to(device)[None, None]
        turned = [torch.rot90(image, k, (-2, -1)).contiguous() for k in range(VIEWS)]

        @torch.no_grad()
        def bare() -> None:
            mean = torch.zeros_like(image)
            for k, view in enumerate(turned):
                mean += torch.rot90(torch.sigmoid(network(view)), -k, (-2, -1))
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


def against_topaz(topaz: Path, rounds: int = 1) -> Figure:
    """Whole processes on one core, on the same preprocessed image, by the pretrained network."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = np.random.default_rng(0).normal(size=(SIZE, SIZE)).astype(np.float32)
        paths = [str(folder / f"{i}.mrc") for i in range(3)]
        for path in paths:
            with mrcfile.new(path) as mrc:
                mrc.set_data(image)
        save_model(folder / "model.safetensors", _network(), hyperparameters(method="supervised"))
        extract = ["extract", "-r", "18", "-d", "-1", "--num-workers", "0", "-j", "1"]
        extract += ["-o", f"{name}/picks.txt"]
        commands = {
            "topaz": [str(topaz), *extract],
            "fewpick": [sys.executable, "-c", OURS, f"{name}/model.safetensors"],
        }
        seconds = marginal(commands, paths, rounds)
    return Figure(
        "topaz extract, by fewpick's inference and picking",
        seconds["topaz"] / seconds["fewpick"],
        mark=8,
        at_least=True,
        detail={"seconds per micrograph": seconds},
    )


def _network() -> UNet:
    torch.manual_seed(0)
    return UNet(**hyperparameters(method="supervised")["model"])
