"""Make the label tables of the final training and its cross-validation folds.

There is no test set. Instead, the quality of the picks is estimated by folds: each leaves out some
of the labels, trains like the final training, and is judged on what it left out. Folds leave out
whole micrographs if enough of them contain particles; if not, every area and every group of clicks
is split into as many parts as there are folds.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from fewpick.annotation.annotate import AREAS, FULL
from fewpick.annotation.areas import EDGES
from fewpick.coordinates.picks import Points
from fewpick.data.masks import Window, area_windows, rows_of, valid_area
from fewpick.errors import InputError
from fewpick.geometry import Frame, inside, particle_radii
from fewpick.sampling.training_set import in_windows

logger = logging.getLogger(__name__)

NOWHERE: Points = np.empty((0, 2))


@dataclass(frozen=True)
class Piece:
    """Labels of one micrograph that are left out together, in px of the target frame.

    Attributes
    ----------
    window : y0, x0, y1, x1 of an area in which every particle is marked; None for clicks
    points, negatives : (n, 2) x, y of particles and non-particles
    """

    dataset: str
    micrograph: str
    window: Window | None
    points: Points
    negatives: Points = field(default_factory=lambda: NOWHERE)

    @property
    def key(self) -> tuple[str, str]:
        """Return data set and micrograph."""
        return self.dataset, self.micrograph


@dataclass(frozen=True)
class Sheet:
    """One micrograph without its labels, lengths in px of the target frame.

    Attributes
    ----------
    area : y0, x0, y1, x1 of the image without padding and border
    radius : particle radius
    expected : expected number of particles; None if unknown
    """

    dataset: str
    micrograph: str
    frame: Frame
    area: Window
    radius: float
    expected: float | None

    @property
    def key(self) -> tuple[str, str]:
        """Return data set and micrograph."""
        return self.dataset, self.micrograph


@dataclass(frozen=True)
class Labelled:
    """Micrographs and labels of one or more data sets."""

    sheets: list[Sheet]
    pieces: list[Piece]


def collect(
    dataset: str,
    spec: Mapping[str, Any],
    manifest: pd.DataFrame,
    geometry: pd.DataFrame,
    coordinates: pd.DataFrame,
    areas: pd.DataFrame,
    negatives: pd.DataFrame,
    expected_particles: float | None = None,
    *,
    use: bool = True,
) -> Labelled:
    """Convert all labels of a data set to the target frame.

    Parameters
    ----------
    dataset : its name
    spec : particle size and border, as configured
    manifest, areas, negatives : from `annotation.annotate`
    geometry : concatenated tables of all preprocessed shards
    coordinates : table with micrograph, x, y in px of the original
    expected_particles : approximate number of particles per micrograph, if known
    use : False ignores all labels
    """
    border = float(spec.get("border") or 0)
    radii = particle_radii(spec, manifest)
    frames = {str(row["micrograph"]): Frame.from_row(row) for row in geometry.to_dict("records")}
    marks, spots = rows_of(coordinates, ("x", "y")), rows_of(negatives, ("x", "y"))
    parts = rows_of(areas, EDGES)
    sheets, pieces = [], []
    for name, kind in zip(manifest["micrograph"], manifest["annotation"], strict=True):
        frame = frames[name]
        rows, columns = valid_area(frame, frame.size, border)
        area = (rows.start, columns.start, rows.stop, columns.stop)
        radius = radii[name] * frame.scale
        sheets.append(Sheet(dataset, name, frame, area, radius, expected_particles))

        def known(xy: Points, frame: Frame = frame) -> Points:
            return frame.to_target(xy[inside(xy, frame.ny, frame.nx, border)])

        points = known(marks.get(name, NOWHERE))
        windows: list[Window] = []
        if kind == FULL:
            windows = [area]
        elif kind == AREAS:
            windows = area_windows(frame, frame.size, parts[name], border)
        for window in windows:
            pieces.append(Piece(dataset, name, window, points[in_windows(points, [window])]))
        clicks = points[~in_windows(points, windows)]
        clicked = Piece(dataset, name, None, clicks, known(spots.get(name, NOWHERE)))
        if len(clicked.points) or len(clicked.negatives):
            pieces.append(clicked)
    return Labelled(sheets, pieces if use else [])


def join(parts: Iterable[Labelled], folds: int) -> Labelled:
    """Join the labels of several data sets.

    Raises
    ------
    InputError
        If fewer particles are marked than there are folds, or fewer than two.
    """
    parts = list(parts)
    joined = Labelled(
        [s for part in parts for s in part.sheets], [p for part in parts for p in part.pieces]
    )
    n = sum(len(piece.points) for piece in joined.pieces)
    needed = max(folds, 2)
    if n < needed:
        raise InputError(
            f"datasets.{parts[0].sheets[0].dataset}.coordinates: {n} marked "
            f"particle{'' if n == 1 else 's'} inside the border, but training and evaluation "
            f"need at least {needed}. Mark about ten with fewpick label, or pick without labels "
            "with fewpick pick general."
        )
    return joined


def label_table(labels: Labelled, held: Sequence[Piece] = ()) -> pd.DataFrame:
    """Return the label table of a training, in the same format as `splits.label_subset`.

    Parameters
    ----------
    labels : labels to train on
    held : labels left out, for the column `held`: JSON of areas (x0, y0, x1, y1), points in them,
        clicks and negatives, all in px of the original, and the particle diameter
    """
    rows = []
    for sheet in labels.sheets:
        mine = [piece for piece in labels.pieces if piece.key == sheet.key]
        points = _joined(piece.points for piece in mine)
        negatives = _joined(piece.negatives for piece in mine)
        windows = [piece.window for piece in mine if piece.window]
        left_out = [piece for piece in held if piece.key == sheet.key]
        rows.append(
            {
                "dataset": sheet.dataset,
                "micrograph": sheet.micrograph,
                "split": "train" if mine else "unannotated",
                "labelled": "all" if sheet.area in windows else "part" if mine else "none",
                "n_labeled_particles": len(points),
                "radius": sheet.radius,
                "area": sheet.area,
                "windows": tuple(windows),
                "points": points.round(4),
                "negatives": negatives.round(4),
                "expected": math.nan if sheet.expected is None else sheet.expected,
                "held": json.dumps(_original(sheet, left_out)) if left_out else "",
            }
        )
    return pd.DataFrame(rows)


def folds_of(labels: Labelled, n: int) -> list[tuple[Labelled, list[Piece]]]:
    """Return what each of `n` folds trains on, and what it leaves out.

    Every label is left out once, except that a fold with no particle left to train on leaves
    nothing out.
    """
    if not n:
        return []
    peopled = {piece.key for piece in labels.pieces if len(piece.points)}
    if len(peopled) >= n:
        pieces = labels.pieces
        fold = _by_micrograph(pieces, n)
        folds = [fold[piece.key] for piece in pieces]
    else:
        split = [_split(piece, n) for piece in labels.pieces]
        pieces = [part for parts in split for part in parts]
        # Each piece starts with another fold; otherwise small pieces would all go to the first.
        folds = [(i + j) % n for j, parts in enumerate(split) for i in range(len(parts))]
    found = []
    for k in range(n):
        held = [piece for piece, fold in zip(pieces, folds, strict=True) if fold == k]
        kept = [piece for piece, fold in zip(pieces, folds, strict=True) if fold != k]
        if not any(len(piece.points) for piece in kept):
            logger.warning("fold %d: no particle left to train on, so it leaves nothing out", k)
            held, kept = [], labels.pieces
        found.append((Labelled(labels.sheets, kept), held))
    return found


def _by_micrograph(pieces: Sequence[Piece], n: int) -> dict[tuple[str, str], int]:
    """Assign micrographs to folds with about equal numbers of particles."""
    counts: dict[tuple[str, str], int] = {}
    for piece in pieces:
        counts[piece.key] = counts.get(piece.key, 0) + len(piece.points)
    held = [0] * n
    fold = {}
    for key in sorted(counts, key=lambda key: (-counts[key], _hash(key))):
        fold[key] = min(range(n), key=lambda k: (held[k], k))
        held[fold[key]] += counts[key]
    return fold


def _split(piece: Piece, n: int) -> list[Piece]:
    """Split an area into strips, or clicks into groups, along the longer side."""
    if piece.window is None:
        groups = [_grouped(xy, n) for xy in (piece.points, piece.negatives)]
        return [
            replace(piece, points=points, negatives=negatives)
            for points, negatives in zip(*groups, strict=True)
            if len(points) or len(negatives)
        ]
    y0, x0, y1, x1 = piece.window
    if y1 - y0 >= x1 - x0:
        ends = np.linspace(y0, y1, n + 1).round().astype(int).tolist()
        windows = [(a, x0, b, x1) for a, b in pairwise(ends)]
    else:
        ends = np.linspace(x0, x1, n + 1).round().astype(int).tolist()
        windows = [(y0, a, y1, b) for a, b in pairwise(ends)]
    return [
        replace(piece, window=window, points=piece.points[in_windows(piece.points, [window])])
        for window in windows
        if window[0] < window[2] and window[1] < window[3]
    ]


def _grouped(xy: Points, n: int) -> list[Points]:
    """Split points into `n` groups of about equal size along the axis of larger extent."""
    axis = int(np.argmax(np.ptp(xy, axis=0))) if len(xy) else 0
    return np.array_split(xy[np.argsort(xy[:, axis], kind="stable")], n)


def _original(sheet: Sheet, held: Sequence[Piece]) -> dict[str, Any]:
    """Return the labels left out of one micrograph, in px of the original."""
    corners = [
        sheet.frame.to_original([[x0 - 0.5, y0 - 0.5], [x1 - 0.5, y1 - 0.5]]).ravel().tolist()
        for y0, x0, y1, x1 in (piece.window for piece in held if piece.window)
    ]

    def points(chosen: Iterable[Points]) -> list[list[float]]:
        found: list[list[float]] = sheet.frame.to_original(_joined(chosen)).round(3).tolist()
        return found

    return {
        "areas": corners,
        "points": points(piece.points for piece in held if piece.window),
        "clicks": points(piece.points for piece in held if not piece.window),
        "negatives": points(piece.negatives for piece in held),
        "diameter": 2 * sheet.radius / sheet.frame.scale,
    }


def _joined(parts: Iterable[Points]) -> Points:
    return np.concatenate([NOWHERE, *parts])


def _hash(key: tuple[str, ...]) -> bytes:
    return hashlib.sha256(json.dumps(key).encode()).digest()
