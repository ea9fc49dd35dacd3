"""CBOX 1.0, crYOLO's STAR files: one per micrograph, with the corner and size of each box.

Source: https://cryolo.readthedocs.io/en/stable/other/formats.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from fewpick.atomic import atomic_path
from fewpick.coordinates.box import sized_files
from fewpick.coordinates.picks import Picks, make_picks, refuse_slices
from fewpick.coordinates.star_blocks import floats, optional_floats, read_blocks, star_text
from fewpick.errors import InputError

COLUMNS = ("CoordinateX", "CoordinateY", "Width", "Height")
SCORE, SLICE = "Confidence", "CoordinateZ"
USUAL_SCORE = 0.3  # crYOLO's default threshold; its CBOX files go further down


def sniff(head: str) -> bool:
    """Return whether a file with this beginning is a crYOLO CBOX file."""
    return "_cbox_format_version" in head or "data_cryolo" in head


def read(path: Path) -> dict[str, Picks]:
    """Read one file; a table without rows is a micrograph without particles."""
    block = read_blocks(path, (*COLUMNS, SCORE, SLICE)).get("cryolo")
    if block is None or not set(COLUMNS) <= set(block.columns):
        raise InputError(
            f"{path}: has no data_cryolo table with {', '.join('_' + c for c in COLUMNS)}. Give "
            "a CBOX 1.0 file."
        )
    if SLICE in block:
        refuse_slices(path, [path.stem] * len(block), optional_floats(path, block, SLICE))
    x, y, width, height = (floats(path, block, column) for column in COLUMNS)
    if not (width > 0).all() or not (height > 0).all():
        raise InputError(f"{path}: contains a box without width or height. Export the file again.")
    score = optional_floats(path, block, SCORE) if SCORE in block else None
    diameter = float(np.median([width, height])) if len(x) else None
    picks = make_picks(path, x + width / 2, y + height / 2, score, diameter)
    return {path.stem: replace(picks, usual_score=USUAL_SCORE)}


def write(path: Path, picks: Mapping[str, Picks], *, box_size: float | None = None) -> None:
    """Write one file per micrograph with the columns of crYOLO 1.8 and later."""
    for held, file, size in sized_files(path, ".cbox", picks, box_size):
        missing, side = ["<NA>"] * len(held), [f"{size}"] * len(held)
        score = np.full(len(held), np.nan) if held.score is None else held.score
        confidence = ["<NA>" if np.isnan(value) else f"{value:.6f}" for value in score]
        cryolo = {
            "CoordinateX": [f"{x:.4f}" for x in held.xy[:, 0] - size / 2],
            "CoordinateY": [f"{y:.4f}" for y in held.xy[:, 1] - size / 2],
            SLICE: missing,
            "Width": side,
            "Height": side,
            "Depth": missing,
            "EstWidth": side,
            "EstHeight": side,
            SCORE: confidence,
            "NumBoxes": missing,
            "Angle": missing,
        }
        text = star_text({"cryolo": cryolo, "cryolo_include": {"slice_index": []}})
        with atomic_path(file) as temporary:
            temporary.write_text(
                "\ndata_global\n\n_cbox_format_version 1.0\n" + text, encoding="utf-8"
            )
