"""The points of one micrograph, whatever file they came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fewpick.errors import InputError

FARTHEST = 1e6  # px; no micrograph reaches there, broken numbers do

Points = NDArray[np.float64]


class NoParticles(InputError):
    """A sound file without a particle, of a format that then names no micrograph either."""


@dataclass(frozen=True, eq=False)
class Picks:
    """Particle centres of one micrograph.

    Attributes
    ----------
    xy : (n, 2) float64 array
        x = column, y = row, 0-based pixel centres, as the file gives them.
    score : (n,) float64 array or None
        The picker's figure of merit; higher is better.
    diameter : float or None
        Box size or particle diameter in px, when the file gives one.
    pixel_size : float or None
        Angstrom per px of `xy`, when the file gives it.
    """

    xy: Points
    score: Points | None = None
    diameter: float | None = None
    pixel_size: float | None = None

    def __len__(self) -> int:
        """Return the number of picks."""
        return len(self.xy)

    def scaled(self, factor: float) -> Picks:
        """Return the same picks in pixels that are `factor` times smaller."""
        diameter = None if self.diameter is None else self.diameter * factor
        size = None if self.pixel_size is None else self.pixel_size / factor
        return Picks(self.xy * factor, self.score, diameter, size)


def make_picks(
    where: object,
    x: ArrayLike,
    y: ArrayLike,
    score: ArrayLike | None = None,
    diameter: float | None = None,
) -> Picks:
    """Build `Picks` from columns of numbers.

    Raises
    ------
    InputError
        When a coordinate is not finite or beyond any detector; the message starts with `where`.
    """
    xy = np.column_stack([np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()])
    bad = ~(np.abs(xy) <= FARTHEST).all(axis=1)  # NaN compares false
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{where}: point {row + 1} is x={xy[row, 0]:g}, y={xy[row, 1]:g}, which is no pixel "
            "position. Write the file again."
        )
    if score is not None:
        score = np.asarray(score, np.float64).ravel()
        if not np.isfinite(score).all():
            row = int(np.flatnonzero(~np.isfinite(score))[0])
            raise InputError(
                f"{where}: the score of point {row + 1} is {score[row]:g}. Write the file again."
            )
    if diameter is not None and not 0 < diameter <= FARTHEST:
        raise InputError(f"{where}: the size {diameter:g} px is not positive. Correct it.")
    return Picks(xy, score, diameter)


def rows_by_name(names: Iterable[str]) -> dict[str, NDArray[np.intp]]:
    """Return the row numbers of each name, in order of first appearance."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    return {name: np.array(held) for name, held in rows.items()}
