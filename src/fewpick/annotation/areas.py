"""Read and write areas in which every particle is marked, as a table of rectangles.

Columns micrograph, x0, y0, x1, y1, one area per line, in whole px of the original micrograph; x1
and y1 are exclusive. A point is inside if x0 <= x < x1 and y0 <= y < y1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fewpick.atomic import atomic_path
from fewpick.coordinates.delimited import parse_table
from fewpick.coordinates.text import read_text
from fewpick.errors import InputError
from fewpick.micrographs.names import Match, match_names

NAME = "micrograph"
EDGES = ("x0", "y0", "x1", "y1")

Areas = NDArray[np.int64]


def read_areas(
    path: str | Path, shapes: Mapping[str, tuple[int, int]]
) -> tuple[dict[str, Areas], Match]:
    """Read areas of the given micrographs.

    Parameters
    ----------
    path : file, delimited by tabs, commas or spaces
    shapes : micrograph name -> (ny, nx), px

    Returns
    -------
    areas : micrograph name -> (n, 4) int64 array of x0, y0, x1, y1; empty if the file has only a
        header
    match : which micrograph each name in the file refers to, if any

    Raises
    ------
    InputError
        If a column is missing, an edge is not a whole number, an area is empty or extends beyond
        its image, or no name matches a micrograph.
    """
    path = Path(path)
    table = parse_table(path, read_text(path))
    missing = [column for column in (NAME, *EDGES) if column not in table.columns]
    if missing:
        raise InputError(
            f"{path}: column {missing[0]!r} is missing; the header is "
            f"{', '.join(table.columns)}. The columns must be {NAME}, {', '.join(EDGES)}."
        )
    names = table.strings(NAME)
    if not names:
        return {}, Match({}, {}, list(shapes))
    edges = np.column_stack([table.numbers(column) for column in EDGES])
    match = match_names(list(shapes), names, path)
    areas: dict[str, list[NDArray[np.float64]]] = {}
    for (line, _), name, area in zip(table.rows, names, edges, strict=True):
        where = f"{path}: line {line}"
        if (area != np.rint(area)).any():
            raise InputError(f"{where}: {_shown(area)} are not whole numbers. Round them.")
        if area[0] >= area[2] or area[1] >= area[3]:
            raise InputError(
                f"{where}: the area {_shown(area)} is empty. It needs x0 < x1 and y0 < y1."
            )
        if name not in match.matched:
            continue
        micrograph = match.matched[name]
        ny, nx = shapes[micrograph]
        if area[0] < 0 or area[1] < 0 or area[2] > nx or area[3] > ny:
            raise InputError(
                f"{where}: the area {_shown(area)} extends beyond {micrograph}, which has {nx} x "
                f"{ny} px. Check whether it was drawn on another micrograph or a rescaled one."
            )
        areas.setdefault(micrograph, []).append(area)
    return {name: np.array(held).astype(np.int64) for name, held in areas.items()}, match


def write_areas(path: str | Path, areas: Mapping[str, ArrayLike]) -> None:
    """Write areas, (n, 4) each, as a tab-delimited table; without any, only the header."""
    lines = ["\t".join((NAME, *EDGES))]
    for name, held in areas.items():
        for area in np.asarray(held, np.int64).reshape(-1, 4):
            lines.append("\t".join([name, *map(str, area)]))
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def overlapping(areas: ArrayLike, area: ArrayLike) -> NDArray[np.intp]:
    """Return the indices of those `areas`, (n, 4), that share a pixel with `area`, (4,)."""
    held, one = np.asarray(areas).reshape(-1, 4), np.asarray(area)
    return np.flatnonzero((held[:, :2] < one[2:]).all(1) & (one[:2] < held[:, 2:]).all(1))


def inside_any(xy: ArrayLike, areas: ArrayLike) -> NDArray[np.bool_]:
    """Return a mask of the points ((n, 2) x, y) inside one of the areas, (m, 4)."""
    points = np.asarray(xy, np.float64).reshape(-1, 1, 2)
    held = np.asarray(areas).reshape(1, -1, 4)
    within = (held[..., :2] <= points) & (points < held[..., 2:])
    return np.asarray(within.all(-1).any(-1))


def _shown(area: NDArray[np.float64]) -> str:
    return ", ".join(f"{name}={edge:g}" for name, edge in zip(EDGES, area, strict=True))
