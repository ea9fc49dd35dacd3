"""Preprocessing of a 4096 x 4096 micrograph against what cannot be avoided, and against Topaz."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from scipy import fft

from benchmarks.data import SIZE, write_micrograph
from benchmarks.measure import Figure, clock, interleave, milliseconds, ratio, run
from fewpick.data.preprocess import preprocess_micrograph
from fewpick.micrographs import read_micrograph

# Topaz reduces by whole numbers.
TOPAZ_SCALE = 5
OURS = """
import sys
from pathlib import Path
from fewpick.micrographs import read_micrograph
from fewpick.preprocess import preprocess_micrograph
for path in sys.argv[1:]:
    preprocess_micrograph(read_micrograph(Path(path))[0], 768)
"""


def figures(rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "micrograph.mrc"
        write_micrograph(path)

        def ours() -> None:
            preprocess_micrograph(read_micrograph(path)[0], SIZE)

        def floor() -> None:
            pixels = np.fromfile(path, np.float32, offset=1024).reshape(4096, 4096)
            fft.rfft2(pixels)

        tasks = {"preprocess": ours, "read and rfft2": floor}
        times = interleave(tasks, rounds, clock(torch.device("cpu")))
    return [
        Figure(
            "preprocess 4096 x 4096, by reading the file and one real FFT",
            ratio(times, "preprocess", "read and rfft2"),
            mark=2.0,
            detail={"milliseconds": milliseconds(times)},
        )
    ]


def against_topaz(topaz: Path, rounds: int = 3) -> Figure:
    """Whole processes on one core; starting up is taken off by the difference of 1 and 3 files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [str(folder / f"{i}.mrc") for i in range(3)]
        for path in paths:
            write_micrograph(Path(path))
        prepare = ["preprocess", "-s", str(TOPAZ_SCALE), "-d", "-1", "-t", "0", "-j", "1"]
        prepare += ["-o", f"{name}/out"]
        commands = {
            "topaz": [str(topaz), *prepare],
            "fewpick": [sys.executable, "-c", OURS],
        }
        seconds = marginal(commands, paths, rounds)
    return Figure(
        "topaz preprocess, by fewpick's preprocessing",
        seconds["topaz"] / seconds["fewpick"],
        mark=8,
        at_least=True,
        detail={"seconds per micrograph": seconds},
    )


def marginal(commands: dict[str, list[str]], paths: list[str], rounds: int) -> dict[str, float]:
    """Processor seconds that each command takes per further file, median of the rounds."""
    found: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        run([*command, paths[0]])  # a program's first start reads its libraries from disk
    for _ in range(rounds):
        for name, command in commands.items():
            few, many = run([*command, paths[0]])[0], run([*command, *paths])[0]
            found[name].append((many - few) / (len(paths) - 1))
    return {name: float(np.median(values)) for name, values in found.items()}
