"""cryoSPARC .cs (read-only): a numpy structured array of centres as fractions of the micrograph.

cryoSPARC counts y from the other end: y = (1 - center_y_frac) * ny. It imports RELION STAR, so this
format is not written. Source: https://tools.cryosparc.com and https://github.com/asarnow/pyem
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from fewpick.coordinates.picks import Picks, make_picks, rows_by_name
from fewpick.errors import InputError
from fewpick.micrographs.names import Micrographs, match_names

NAME, SHAPE = "location/micrograph_path", "location/micrograph_shape"
X, Y = "location/center_x_frac", "location/center_y_frac"
PIXEL_SIZE = "location/micrograph_psize_A"
SCORE = "pick_stats/ncc_score"
SHIFTS = ("alignments2D/shift", "alignments3D/shift")
COMPRESSED = b"\x95CSDAT"  # first bytes of cryoSPARC's own compressed format

logger = logging.getLogger(__name__)


def sniff(head: str) -> bool:
    """Return whether a file with this beginning is a cryoSPARC .cs file."""
    return head[1:6] == "NUMPY"


def read(
    path: Path,
    shapes: Mapping[str, tuple[int, int]] | None = None,
    micrographs: Micrographs | None = None,
) -> dict[str, Picks]:
    """Read the file; `shapes` (ny, nx) of the micrographs take precedence over those it records.

    The paths in `micrographs` distinguish micrographs of the same name in different folders.
    """
    table = _load(path)
    fields = table.dtype.names or ()
    if not {NAME, X, Y} <= set(fields):
        raise InputError(
            f"{path}: has no {X}, {Y} and {NAME}. Give the .cs file (or its passthrough) that "
            "contains the particle locations."
        )
    try:
        x, y = (table[field].astype(np.float64, casting="same_kind") for field in (X, Y))
        score = table[SCORE].astype(np.float64) if SCORE in fields else None
        sizes = table[PIXEL_SIZE].astype(np.float64) if PIXEL_SIZE in fields else np.zeros(len(x))
        text = table[NAME]
        names = (
            np.char.decode(text, "utf-8") if text.dtype.kind == "S" else text.astype(str)
        ).tolist()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}: a location field has the wrong type ({error}). Export the file again."
        ) from None
    for values, field in ((x, X), (y, Y)):
        # Recentred particles may lie slightly outside the image; pixels instead of fractions lie
        # far outside.
        if values.ndim != 1 or not (np.abs(values - 0.5) <= 1).all():
            raise InputError(
                f"{path}: {field} contains values outside 0 to 1. Export the file again."
            )
    if not names or "" in names:
        raise InputError(
            f"{path}: contains no particles, or a particle without a micrograph. "
            "Export the file again."
        )
    if len(x) > 1 and not (x.any() or y.any()):
        raise InputError(
            f"{path}: {X} and {Y} are 0 for all {len(x)} particles, so their locations are not in "
            "this file. Use the job's passthrough file, or the picks."
        )
    rows_of = rows_by_name(names)
    at_hand = match_names(micrographs or list(shapes), rows_of, path).matched if shapes else {}
    for field in sorted(set(SHIFTS) & set(fields)):
        if np.nan_to_num(table[field].astype(np.float64)).any():
            logger.warning(
                "%s: refined shifts (%s) are not applied. To use them, export the particles as "
                "STAR, or extract them again with recentring.",
                *(path, field),
            )
            break
    picks = {}
    for key, rows in rows_of.items():
        recorded = None
        if SHAPE in fields and table[SHAPE].shape == (len(table), 2):
            recorded = tuple(int(side) for side in table[SHAPE][rows[0]])
        shape = shapes[at_hand[key]] if key in at_hand and shapes else recorded
        if shape is None:
            raise InputError(f"{path}: {key} has no {SHAPE}. Pass the micrographs as well.")
        ny, nx = shape
        held_score = None if score is None else score[rows]
        held = make_picks(path, x[rows] * nx, (1 - y[rows]) * ny, held_score)
        # For these micrographs, which may be binned; rounded, as float32 turns 1.06 to 1.0599999.
        size = float(f"{sizes[rows[0]] * (recorded or shape)[1] / nx:.6g}")
        picks[key] = replace(held, pixel_size=size if 0 < size < np.inf else None)
    return picks


def _load(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        if file.read(len(COMPRESSED)) == COMPRESSED:
            raise InputError(
                f"{path}: is in cryoSPARC's compressed format. Save it as a numpy array with "
                "cryosparc-tools (Dataset.load, then save), or export the particles as STAR."
            )
    try:
        table = np.load(path, allow_pickle=False)
    except Exception as error:
        # A damaged header can make numpy raise nearly anything, including MemoryError.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a cryoSPARC table ({reason}). Export it again.") from error
    if not isinstance(table, np.ndarray) or table.ndim != 1:
        raise InputError(f"{path}: not a table of particles. Export the file again.")
    return table
