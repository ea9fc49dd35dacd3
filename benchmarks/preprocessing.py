"""Preprocessing of a 4096 x 4096 micrograph against what cannot be avoided."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from scipy import fft

from benchmarks.data import SIZE, write_micrograph
from benchmarks.measure import Figure, clock, interleave, milliseconds, ratio
from fewpick.data.preprocess import preprocess_micrograph
from fewpick.micrographs import read_micrograph


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
