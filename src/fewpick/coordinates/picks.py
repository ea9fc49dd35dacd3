"""The points of one micrograph, independent of the file format."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fewpick.errors import InputError

FARTHEST = 1e6  # px; larger than any micrograph, so a larger value must be wrong

Points = NDArray[np.float64]


class NoParticles(InputError):
    """A valid file without particles, in a format that names micrographs by their particles."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: contains no particles, and therefore names no micrograph. To record empty "
            "micrographs, use json or one file per micrograph."
        )


@dataclass(frozen=True, eq=False)
class Picks:
    """Particle centres of one micrograph.

    Attributes
    ----------
    xy : (n, 2) float64 array
        x = column, y = row, 0-based pixel centres, as the file gives them.
    score : (n,) float64 array or None
        The picker's figure of merit; higher is better. NaN for points without one, such as those
        added by a person.
    diameter : float or None
        Box size or particle diameter in px, when the file gives one.
    pixel_size : float or None
        Angstrom per px of `xy`, when the file gives it.
    moved : float
        Largest shift by refined origins, px; points may lie outside the image by this much.
    usual_score : float
        Lowest score that the program which wrote the file picks by default; a list with lower ones
        is a list of candidates. Topaz's scores are log odds, so at 0 a particle is as probable as
        background.
    """

    xy: Points
    score: Points | None = None
    diameter: float | None = None
    pixel_size: float | None = None
    moved: float = 0.0
    usual_score: float = 0.0

    def __len__(self) -> int:
        """Return the number of picks."""
        return len(self.xy)

    def scaled(self, factor: float) -> Picks:
        """Return the same picks in pixels that are smaller by `factor`."""
        diameter = None if self.diameter is None else self.diameter * factor
        size = None if self.pixel_size is None else self.pixel_size / factor
        return replace(
            self,
            xy=self.xy * factor,
            diameter=diameter,
            pixel_size=size,
            moved=self.moved * factor,
        )

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Picks:
        """Return some of the picks, by a mask or by their numbers."""
        score = None if self.score is None else self.score[rows]
        return replace(self, xy=self.xy[rows], score=score)

    def above(self, least: float) -> Picks:
        """Return the picks with at least this score, and those without one."""
        if self.score is None:
            return self
        return self.take(~(self.score < least))  # NaN compares false


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
        When a coordinate is not finite or larger than any detector; the message starts with
        `where`.
    """
    xy = np.column_stack([np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()])
    bad = ~(np.abs(xy) <= FARTHEST).all(axis=1)  # NaN compares false
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{where}: point {row + 1} is x={xy[row, 0]:g}, y={xy[row, 1]:g}, which is not a "
            "pixel position. Export the file again."
        )
    if score is not None:
        score = np.asarray(score, np.float64).ravel()
        score = np.where(np.isfinite(score), score, np.nan)
    if diameter is not None and not 0 < diameter <= FARTHEST:
        raise InputError(f"{where}: the size {diameter:g} px is impossible. Correct it.")
    return Picks(xy, given(score), diameter)


def given(values: Points | None) -> Points | None:
    """Return None if all values are missing."""
    return None if values is None or np.isnan(values).all() else values


def refuse_slices(where: object, names: Iterable[str], z: ArrayLike) -> None:
    """Reject points from several slices, which would be projected onto each other.

    Parameters
    ----------
    where: the file, for the message
    names: micrograph of each point
    z: slice of each point, NaN if none is given

    Raises
    ------
    InputError
        When one micrograph has points of different z.
    """
    values = np.asarray(z, np.float64).ravel()
    for name, rows in rows_by_name(names).items():
        held = values[rows]
        held = held[np.isfinite(held)]
        if len(held) and held.min() != held.max():
            raise InputError(
                f"{where}: {name}: points from z={held.min():g} to z={held.max():g} come from "
                "several slices of a tomogram. Use picks of micrographs."
            )


def rows_by_name(names: Iterable[str]) -> dict[str, NDArray[np.intp]]:
    """Return the row numbers of each name, in order of first appearance."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    return {name: np.array(held) for name, held in rows.items()}
