"""Make overlapping rectangles of whole pixels disjoint."""

from __future__ import annotations

import numpy as np

from fewpick.annotation.areas import Areas


def disjoint(areas: Areas) -> Areas:
    """Split rectangles into ones that do not overlap and cover the same pixels.

    Parameters
    ----------
    areas : (n, 4) int64 array of x0, y0, x1, y1, the last two exclusive
    """
    kept: list[tuple[int, int, int, int]] = []
    for area in areas.tolist():
        pieces = [tuple(area)]
        for other in kept:
            pieces = [part for piece in pieces for part in _outside(piece, other)]
        kept += pieces
    return np.array(kept, np.int64).reshape(-1, 4)


def _outside(
    area: tuple[int, int, int, int], other: tuple[int, int, int, int]
) -> list[tuple[int, int, int, int]]:
    """Return up to four rectangles that make up `area` without `other`."""
    x0, y0, x1, y1 = area
    a0, b0, a1, b1 = other
    left, right, top, bottom = max(x0, a0), min(x1, a1), max(y0, b0), min(y1, b1)
    if left >= right or top >= bottom:
        return [area]
    parts = [
        (x0, y0, x1, top),
        (x0, bottom, x1, y1),
        (x0, top, left, bottom),
        (right, top, x1, bottom),
    ]
    return [part for part in parts if part[0] < part[2] and part[1] < part[3]]
