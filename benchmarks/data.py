"""Micrographs to measure with: noise and dark discs, in files as the workflow writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd

from fewpick.config.complete import complete
from fewpick.config.hyperparameters import resolve_arm
from fewpick.config.schema import load_schema
from fewpick.data.masks import draw_mask
from fewpick.geometry import frame_for
from fewpick.sampling.training_set import Micrograph
from fewpick.stacks import Stack, write_stack, write_table

ROOT = Path(__file__).parents[1]
SIZE = 768  # px, the default target size
RADIUS = 18.0  # px, of a particle
PARTICLES = 120  # per micrograph


def defaults() -> dict[str, Any]:
    """A configuration of one arm, all else at the defaults of the schema."""
    return _configuration({"method": "supervised"})


def hyperparameters(**arm: Any) -> dict[str, Any]:
    """Those of an arm, all else at the defaults of the schema."""
    return resolve_arm(_configuration(arm), "supervised", 0.1, 0)


def _configuration(arm: dict[str, Any]) -> dict[str, Any]:
    dataset = {"simulate": {}, "particle_diameter_angstrom": 180}
    return complete({"datasets": {"d": dataset}, "arms": {"supervised": arm}}, load_schema())


def micrographs(folder: Path, n: int) -> list[Micrograph]:
    """`n` preprocessed micrographs mapped from a stack: 2 labelled, the last 4 for validation."""
    rng = np.random.default_rng(0)
    frame, area = frame_for(SIZE, SIZE, SIZE), (0, 0, SIZE, SIZE)
    noise = rng.normal(size=(SIZE, SIZE)).astype(np.float32)
    points = [rng.uniform(RADIUS, SIZE - RADIUS, (PARTICLES, 2)) for _ in range(n)]
    masks = (draw_mask(frame, SIZE, xy, RADIUS / 2) for xy in points)
    shape = (n, SIZE, SIZE)
    write_stack(folder / "masks.mrcs", masks, shape=shape, dtype=np.int8)
    names = [f"{i}.mrc" for i in range(n)]
    for kind in ("masks", "stack"):
        write_table(pd.DataFrame({"micrograph": names}), folder / f"{kind}.tsv")
    discs = Stack(folder / "masks.mrcs").images
    # The same noise in another place each time: what is measured does not depend on it.
    images = (np.roll(noise, 37 * i) - (discs[i] == 1) for i in range(n))
    write_stack(folder / "stack.mrcs", images, shape=shape, dtype=np.float16)
    stack: Any = Stack(folder / "stack.mrcs").images
    masked: Any = discs
    made = []
    for i, name in enumerate(names):
        split = "val" if i >= n - 4 else "train"
        labelled = split == "val" or i < 2
        made.append(
            Micrograph(
                "d",
                name,
                split,
                stack[i],
                masked[i],
                RADIUS,
                RADIUS / 2,
                area,
                frame,
                (area,) if labelled else (),
                points[i] if labelled else np.empty((0, 2)),
            )
        )
    return made


def write_micrograph(path: Path, size: int = 4096) -> None:
    """A micrograph as a microscope's software writes it: float32, with a few hot pixels."""
    rng = np.random.default_rng(1)
    image = rng.normal(100, 10, (size, size)).astype(np.float32)
    image[rng.integers(size, size=20), rng.integers(size, size=20)] = 10_000
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(image)
        mrc.voxel_size = 1.0
