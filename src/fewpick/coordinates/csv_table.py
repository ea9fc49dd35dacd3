"""CSV tables of CryoPPP, `X-Coordinate,Y-Coordinate,Diameter[,...]`, and hand-written ones.

Columns are found by name, ignoring case. One file per micrograph, or one for several with a column
of names: `Micrographs Filename`, as in CryoPPP's own tables, or simply `micrograph,x,y[,score]`.
Source: https://github.com/BioinfoMachineLearning/cryoppp
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fewpick.atomic import atomic_path
from fewpick.coordinates.delimited import read_columns
from fewpick.coordinates.picks import Picks
from fewpick.micrographs.layout import places

X, Y, DIAMETER, SCORE = "X-Coordinate", "Y-Coordinate", "Diameter", "Score"
NAME = "Micrographs Filename"
# Column names that people use in hand-written tables.
XS, YS, NAMES = (X, "x", "x_coord"), (Y, "y", "y_coord"), (NAME, "micrograph", "image_name")


def sniff(head: str) -> bool:
    """Return whether a file with this beginning is a CSV table of picks."""
    first = next((line.lower() for line in head.splitlines() if line.strip()), "")
    columns = {column.strip(' "') for column in re.split(r"[,;\s]", first)}
    return any({x.lower(), y.lower()} <= columns for x, y in zip(XS[:2], YS[:2], strict=True))


def read(path: Path) -> dict[str, Picks]:
    """Read one file; a header without rows is a micrograph without particles."""
    return read_columns(path, x=XS, y=YS, name=NAMES, score=SCORE, diameter=DIAMETER)


def write(path: Path, picks: Mapping[str, Picks], *, box_size: float | None = None) -> None:
    """Write one csv with a name column, or a folder with one csv per micrograph without it."""
    if path.suffix == ".csv":
        _write_file(path, picks, named=True, box_size=box_size)
    else:
        for key, file in places(path, picks, ".csv").items():
            _write_file(file, {key: picks[key]}, named=False, box_size=box_size)


def _write_file(
    path: Path, picks: Mapping[str, Picks], *, named: bool, box_size: float | None
) -> None:
    scored = any(held.score is not None for held in picks.values())
    sizes = {key: held.diameter if box_size is None else box_size for key, held in picks.items()}
    sized = any(size is not None for size in sizes.values())
    columns = [NAME] * named + [X, Y] + [DIAMETER] * sized + [SCORE] * scored
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for key, held in picks.items():
            size = sizes[key]
            score = np.full(len(held), np.nan) if held.score is None else held.score
            for (x, y), value in zip(held.xy, score, strict=True):
                row = [key] * named + [f"{x:.4f}", f"{y:.4f}"]
                row += ["" if size is None else f"{size:g}"] * sized
                row += ["" if np.isnan(value) else f"{value:.6f}"] * scored
                writer.writerow(row)
