"""Read coordinates in the internal frame of the micrographs.

x = column and y = row of the image array, 0-based. With `y_axis: up` a file counts rows from the
other end, and y becomes `ny - y`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fewpick.coordinates import read_picks
from fewpick.coordinates.picks import Picks, Points
from fewpick.errors import InputError
from fewpick.micrographs.names import Micrographs, match_names

logger = logging.getLogger(__name__)

TOLERANCE = 1.0  # px beyond the edge that rounding and the flip can explain
Y_AXES = ("down", "up")
FEW = 2  # points that may lie in the first pixel of an image by chance


def read_in_frame(
    path: str | Path,
    shapes: Mapping[str, tuple[int, int]],
    *,
    fmt: str | None = None,
    y_axis: str = "down",
    scale: float = 1.0,
    left_out: Collection[str | Path] = (),
    paths: Mapping[str, Path] | None = None,
) -> dict[str, Picks]:
    """Read coordinates and convert them to the frame of the micrographs they name.

    Parameters
    ----------
    path : path
        File or folder.
    shapes : dict
        Micrograph name to (ny, nx), px.
    fmt : str, optional
        Format; recognised when left out.
    y_axis : str
        "down": y counts rows from the first of the array; "up": from the last.
    scale : float
        Pixels of the micrograph per unit of the coordinates.
    left_out : names or paths
        Further micrographs, whose points are dropped. They take part in name matching, so that none
        of their points go to other micrographs.
    paths: dict, optional
        Micrograph name to path, to distinguish coordinates of other folders.

    Returns
    -------
    picks : dict
        Micrograph name to `Picks` inside the image, without duplicates; micrographs that the file
        does not name are absent.

    Raises
    ------
    InputError
        When the file cannot be used, no name matches, or a point lies outside its image by more
        than rounding explains.
    """
    if y_axis not in Y_AXES:
        raise InputError(f"y_axis: {y_axis!r} is not a direction. Use down or up.")
    at_hand = {name: (paths or {}).get(name, name) for name in shapes}
    at_hand |= {Path(other).name: other for other in left_out}
    known = {**shapes, **dict.fromkeys((Path(other).name for other in left_out), (1, 1))}
    micrographs: Micrographs = list(at_hand) if paths is None else at_hand
    picks = read_picks(path, fmt=fmt, shapes=known, micrographs=micrographs, scale=scale)
    if not picks:
        raise InputError(f"{path}: names no micrograph. Check that it is the right file.")
    match = match_names(micrographs, picks, path)
    matched = {key: name for key, name in match.matched.items() if name in shapes}
    _refuse_fractions(path, [picks[key].xy for key in matched])
    lost = sum(len(picks[key]) for key in match.unmatched_keys)
    total = sum(map(len, picks.values()))
    used = sum(len(picks[key]) for key in matched)
    logger.info("%s: %d of %d coordinates used.", path, used, total)
    if match.unmatched_keys:
        logger.warning(
            "%s: %d of %d coordinates are left out: %s.", path, lost, total, match.summary()
        )
    if match.unmatched_micrographs:
        logger.info(
            "%s: has no coordinates for %d micrographs; these count as not annotated.",
            path,
            len(match.unmatched_micrographs),
        )
    return {
        name: _in_image(f"{path}: {name}", picks[key], shapes[name], flip=y_axis == "up")
        for key, name in matched.items()
    }


def _refuse_fractions(path: str | Path, points: Sequence[Points]) -> None:
    """Reject points between 0 and 1: fractions of the image, which would all be in its corner."""
    xy = np.concatenate([np.empty((0, 2)), *points])
    if len(np.unique(xy, axis=0)) > FEW and (xy >= 0).all() and (xy <= 1).all():
        raise InputError(
            f"{path}: all {len(xy)} points lie between 0 and 1, the first at x={xy[0, 0]:g}, "
            f"y={xy[0, 1]:g}; they seem to be fractions of the image size. Multiply x by the "
            "width and y by the height of the micrograph, px."
        )


def _in_image(where: str, picks: Picks, shape: tuple[int, int], *, flip: bool) -> Picks:
    ny, nx = shape
    xy = picks.xy.copy()
    if flip:
        xy[:, 1] = ny - xy[:, 1]
    last = np.array([nx - 1, ny - 1])
    beyond = np.maximum(-xy, xy - last).max(axis=1, initial=-np.inf)
    # Recentring may push particles near an edge across it.
    lost = (beyond > TOLERANCE) & (beyond <= TOLERANCE + picks.moved)
    if lost.any():
        logger.warning(
            "%s: %d points that refined origins move outside the image are left out.",
            *(where, lost.sum()),
        )
        xy, beyond, picks = xy[~lost], beyond[~lost], picks.take(~lost)
    outside = beyond > TOLERANCE
    if outside.any():
        x, y = picks.xy[np.flatnonzero(outside)[0]]
        raise InputError(
            f"{where}: {int(outside.sum())} of {len(xy)} points lie outside the image of "
            f"{nx} x {ny} px, the first at x={x:g}, y={y:g}. Were they picked on images of "
            "another size (set scale), or on other micrographs?"
        )
    xy = np.clip(xy, 0, last)
    once = np.sort(np.unique(xy, axis=0, return_index=True)[1])
    if len(once) < len(xy):
        logger.warning("%s: %d duplicate points are used once.", where, len(xy) - len(once))
    return replace(picks, xy=xy).take(once)
