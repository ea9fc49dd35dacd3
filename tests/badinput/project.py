"""A small sound data set, and what breaks it."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import yaml
from numpy.typing import NDArray

from fewpick.coordinates import Picks, write_picks

NAMES = tuple(f"m{i}" for i in range(6))
NY, NX, RADIUS, PER_MICROGRAPH = 144, 192, 6.0, 15
PIXEL_SIZE = 2.0

CONFIG: dict[str, Any] = {
    "datasets": {
        "mine": {
            "micrographs": "micrographs",
            "coordinates": "coordinates",
            "particle_radius": RADIUS,
        }
    },
    "preprocess": {"target_size": NX},
    "splits": {"labeled_ratios": [0.5]},
    "training": {"crop_size": 64},
    "model": {"widths": [8, 8, 8]},
    "arms": {"supervised": {"method": "supervised"}},
    "resources": {"device": "cpu"},
}


@dataclass(frozen=True)
class Project:
    """A working directory with `config.yaml`, `micrographs/` and `coordinates/`."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name

    def micrograph(self, name: str = "m3") -> Path:
        return self.folder / f"micrographs/{name}.mrc"

    def points(self, name: str = "m3") -> Path:
        return self.folder / f"coordinates/{name}.csv"

    def edit(self, **keys: Any) -> None:
        """Set keys of the data set; None removes one."""
        config = yaml.safe_load(self.path("config.yaml").read_text())
        held = config["datasets"]["mine"] | keys
        config["datasets"]["mine"] = {k: v for k, v in held.items() if v is not None}
        self.path("config.yaml").write_text(yaml.safe_dump(config))

    def set(self, section: str, **keys: Any) -> None:
        """Set keys of a section of the configuration."""
        config = yaml.safe_load(self.path("config.yaml").read_text())
        config.setdefault(section, {}).update(keys)
        self.path("config.yaml").write_text(yaml.safe_dump(config))

    def rewrite(self, change: Callable[[str, NDArray[np.float64]], NDArray[np.float64]]) -> None:
        """Write other points: `change(name, xy)` of each micrograph."""
        picks = {f"{name}.mrc": Picks(change(name, points(name))) for name in NAMES}
        write_picks(self.path("coordinates"), picks, fmt="csv")

    def one_file(self, name: str, **options: Any) -> Path:
        """Put all points into one file instead, in the format of its suffix."""
        shutil.rmtree(self.path("coordinates"))
        picks = {f"{key}.mrc": Picks(points(key)) for key in NAMES}
        write_picks(self.path(name), picks, **options)
        self.edit(coordinates=name)
        return self.path(name)


# What makes a case of a sound project.
Make = Callable[[Project], object]


def both(first: Make, second: Make) -> Make:
    """One after the other."""

    def make(project: Project) -> None:
        first(project)
        second(project)

    return make


def points(name: str) -> NDArray[np.float64]:
    """(15, 2) centres x, y of a micrograph, three radii apart and clear of the edges."""
    rng = np.random.default_rng(100 + NAMES.index(name))
    found: list[NDArray[np.float64]] = []
    while len(found) < PER_MICROGRAPH:
        xy = rng.uniform(2 * RADIUS, (NX - 2 * RADIUS, NY - 2 * RADIUS)).round(2)
        if all(np.hypot(*(xy - other)) > 3 * RADIUS for other in found):
            found.append(xy)
    return np.array(found)


@cache
def image(name: str) -> NDArray[np.float32]:
    """(144, 192) noise with a dark disc on each point."""
    values = np.random.default_rng(NAMES.index(name)).normal(0, 1, (NY, NX)).astype(np.float32)
    rows, columns = np.mgrid[:NY, :NX]
    for x, y in points(name):
        values[(columns - x) ** 2 + (rows - y) ** 2 <= RADIUS**2] -= 2
    return values


def sound(folder: Path) -> Project:
    """Write the data set and its configuration into an empty folder."""
    project = Project(folder)
    project.path("micrographs").mkdir()
    project.path("config.yaml").write_text(yaml.safe_dump(CONFIG))
    for name in NAMES:
        write_mrc(project.micrograph(name), image(name))
    project.rewrite(lambda _, xy: xy)
    return project


def write_mrc(
    path: Path, values: NDArray[Any], pixel_size: float | None = PIXEL_SIZE, **header: Any
) -> None:
    """Write an MRC file; `header` sets its fields afterwards."""
    with warnings.catch_warnings(), mrcfile.new(path, overwrite=True) as mrc:
        warnings.simplefilter("ignore", RuntimeWarning)  # of NaN
        mrc.set_data(values)
        if pixel_size is not None:
            mrc.voxel_size = pixel_size
        for key, value in header.items():
            mrc.header[key] = value
