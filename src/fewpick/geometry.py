"""Coordinate frames and particle sizes.

There are two frames. The *original frame* is in px of the micrograph as its reader returns it; the
*target frame* is in px of the preprocessed square. Points are float64 arrays (n, 2) of x, y, with x
the column, y the row, and 0-based pixel centres.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from fewpick.errors import InputError

Scalar = TypeVar("Scalar", bound=np.generic)

# Edges of squares and views are multiples of this, because the network halves its input repeatedly.
GRAIN = 32
# Limits for the edge of the square, px: smaller ones show no detail, larger ones exhaust memory.
SMALLEST_INPUT, LARGEST_INPUT = 64, 4096

PIXEL_SIZES = (0.25, 100.0)  # angstrom, from the finest super-resolution to maps of a grid square
PIXEL_SIZE_TOLERANCE = 0.05  # relative; calibrations differ by less
UNSET = 1.0  # angstrom; written by programs that do not know the pixel size
SAME_PIXEL_SIZE = 1e-4  # relative; above rounding errors, far below differences in magnification


@dataclass(frozen=True)
class Frame:
    """The map between one micrograph and its preprocessed square.

    `x_t = x * scale + pad_x` and `y_t = y * scale + pad_y`: Fourier resampling maps sample 0 to
    sample 0, so there is no half-pixel term.

    Attributes
    ----------
    scale : target px per original px, the same for both axes
    pad_x, pad_y : padding before the first image column and row, target px
    ny, nx : size of the micrograph, original px
    height, width : extent of the image inside the square, target px
    """

    scale: float
    pad_x: float
    pad_y: float
    ny: int
    nx: int
    height: int
    width: int

    @property
    def size(self) -> int:
        """Edge of the square that the longer axis fills, target px."""
        return max(self.height, self.width)

    def to_target(self, xy: ArrayLike) -> NDArray[np.float64]:
        """Map points (n, 2) from the original frame to the target frame."""
        return _points(xy) * self.scale + (self.pad_x, self.pad_y)

    def to_original(self, xy: ArrayLike) -> NDArray[np.float64]:
        """Map points (n, 2) from the target frame to the original frame."""
        return (_points(xy) - (self.pad_x, self.pad_y)) / self.scale

    def without_padding(self, square: NDArray[Scalar]) -> NDArray[Scalar]:
        """Return the part of a preprocessed square that the image covers, (height, width)."""
        left, top = round(self.pad_x), round(self.pad_y)
        return square[top : top + self.height, left : left + self.width]

    def with_padding(self, xy: ArrayLike) -> NDArray[np.float64]:
        """Map points (n, 2) from an image without padding to the target frame."""
        return _points(xy) + np.array([round(self.pad_x), round(self.pad_y)])

    def to_row(self) -> dict[str, float | int]:
        """Return the fields as columns of a geometry table."""
        return asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[Any, Any]) -> Frame:
        """Read a frame from a row of a geometry table."""
        scale, pad_x, pad_y = (float(row[key]) for key in ("scale", "pad_x", "pad_y"))
        ny, nx, height, width = (int(row[key]) for key in ("ny", "nx", "height", "width"))
        return cls(scale, pad_x, pad_y, ny, nx, height, width)


def frame_for(ny: int, nx: int, target_size: int) -> Frame:
    """Fit a micrograph of (ny, nx) px into a square of `target_size` px.

    The longer axis fills the square exactly. The shorter one covers `ceil(n * scale)` px; the rest
    of the square is padding.
    """
    longest = max(ny, nx)
    return Frame(
        scale=target_size / longest,
        pad_x=0.0,
        pad_y=0.0,
        ny=ny,
        nx=nx,
        height=-(-ny * target_size // longest),
        width=-(-nx * target_size // longest),
    )


def input_size(ny: int, nx: int, diameter: float, particle_px: float) -> int:
    """Return the edge of the square in which a particle is about `particle_px` px wide.

    The edge is the multiple of `GRAIN` nearest to `max(ny, nx) * particle_px / diameter`. It is off
    by at most 16 px, which changes the particle's size by 5 % at 320 px and 2 % at 768 px.

    Parameters
    ----------
    ny, nx : size of the micrograph, original px
    diameter : particle diameter, original px
    particle_px : wanted particle diameter, target px

    Raises
    ------
    InputError
        If the edge is outside [`SMALLEST_INPUT`, `LARGEST_INPUT`].
    """
    wanted = max(ny, nx) * particle_px / diameter
    size = GRAIN * math.floor(wanted / GRAIN + 0.5)
    if SMALLEST_INPUT <= size <= LARGEST_INPUT:
        return size
    small = size < SMALLEST_INPUT
    raise InputError(
        f"particles {diameter:g} px wide in {nx} x {ny} px need an image of {wanted:.0f} px to "
        f"be {particle_px:g} px wide; the limits are {SMALLEST_INPUT} to {LARGEST_INPUT} px. "
        f"Check the particle size, or {'raise' if small else 'lower'} preprocess.particle_px."
    )


def padded_length(n: int, longest: int, target_size: int) -> tuple[int, int]:
    """Return the length to pad an axis of `n` px to, and its length after resampling, target px.

    Resampling between these two lengths scales by exactly `target_size / longest`, so both axes
    have the same scale whatever the shape of the micrograph. The first is at most `longest`.
    """
    common = math.gcd(longest, target_size)
    step_before, step_after = longest // common, target_size // common
    steps = -(-n // step_before)
    return steps * step_before, steps * step_after


def inside(xy: ArrayLike, ny: int, nx: int, border: float = 0.0) -> NDArray[np.bool_]:
    """Return a mask of the points (n, 2) of the original frame inside the annotated area.

    The area excludes `border` original px along each edge: `border <= x <= nx - 1 - border`, and
    likewise for y. Points that are not finite are outside.
    """
    x, y = _points(xy).T
    return (x >= border) & (x <= nx - 1 - border) & (y >= border) & (y <= ny - 1 - border)


def particle_radius(spec: Mapping[str, Any], pixel_size: float | None) -> float:
    """Return the particle radius in original px, from a data set's configuration.

    Parameters
    ----------
    spec : configuration of the data set, with `particle_radius` (original px) or
        `particle_diameter_angstrom`
    pixel_size : angstrom per original px; None, NaN or 0 if unknown

    Raises
    ------
    InputError
        If neither key is given, the size is not positive, or a diameter in angstrom has no pixel
        size.
    """
    radius, diameter = spec.get("particle_radius"), spec.get("particle_diameter_angstrom")
    if radius is not None:
        if not radius > 0:
            raise InputError(
                f"particle_radius: {radius} is not positive. Set it in pixels, above 0."
            )
        return float(radius)
    if diameter is None:
        raise InputError(
            "datasets: no particle size given. "
            "Set particle_radius (original pixels) or particle_diameter_angstrom."
        )
    if not diameter > 0:
        raise InputError(f"particle_diameter_angstrom: {diameter} is not positive.")
    if pixel_size is None or not pixel_size > 0:
        raise InputError(
            f"particle_diameter_angstrom: {diameter} needs a pixel size, but the micrographs "
            "have none. Set pixel_size (angstrom per pixel), or particle_radius in pixels."
        )
    return float(diameter) / 2 / float(pixel_size)


def believable(pixel_size: float) -> bool:
    """Return whether a pixel size is plausible in angstrom (and not, say, in metres or nm)."""
    return PIXEL_SIZES[0] <= pixel_size <= PIXEL_SIZES[1]


def alike(one: float, other: float) -> bool:
    """Whether two pixel sizes may be calibrations of the same magnification."""
    return abs(one - other) <= PIXEL_SIZE_TOLERANCE * min(one, other)


def one_pixel_size(sizes: Iterable[float | None]) -> float | None:
    """Return the pixel size in angstrom if all agree within rounding, else None.

    Headers store the size of the image in 32 bits, so pixel sizes of images of different sizes
    differ in the last digits.
    """
    held = [size if size is not None and believable(size) else None for size in sizes]
    known = [size for size in held if size is not None]
    if not known or len(known) < len(held):
        return None
    if max(known) - min(known) > SAME_PIXEL_SIZE * min(known):
        return None
    return float(f"{np.median(known):.6g}")


def fitting_radius(
    spec: Mapping[str, Any],
    ny: int,
    nx: int,
    *,
    pixel_size: float | None = None,
    header: float | None = None,
) -> float:
    """Return the particle radius in original px, and check that it is plausible for a micrograph.

    Parameters
    ----------
    spec : as for `particle_radius`
    ny, nx : size of the micrograph, original px
    pixel_size : angstrom per px given by the user; None uses the header
    header : angstrom per px in the file's header

    Raises
    ------
    InputError
        As for `particle_radius`, and if the radius depends on an implausible pixel size in the
        header, or the particle is smaller than a pixel or larger than the micrograph. The message
        does not contain the file name.
    """
    size = pixel_size or header
    by_header = spec.get("particle_radius") is None and not pixel_size and bool(header)
    if by_header and header is not None and header > 0 and not believable(header):
        raise InputError(
            f"the header says {header:g} angstrom per pixel, which is implausible for "
            "single-particle micrographs. Set the pixel size (pixel_size, --pixel-size)."
        )
    radius = particle_radius(spec, size)
    said = f" (at {header:g} angstrom per pixel, from the header)" if by_header else ""
    if radius < 1:
        raise InputError(
            f"a particle of radius {radius:g} px{said} is smaller than a pixel. Correct "
            "particle_radius (in px), or particle_diameter_angstrom and pixel_size (--diameter, "
            "--diameter-angstrom, --pixel-size)."
        )
    if 2 * radius > min(ny, nx):
        raise InputError(
            f"a particle of radius {radius:g} px{said} does not fit into {nx} x {ny} px. Correct "
            "particle_radius (in px of the original micrograph), or particle_diameter_angstrom "
            "and pixel_size (--diameter, --diameter-angstrom, --pixel-size); or remove the file."
        )
    return radius


def _points(xy: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(xy, dtype=np.float64).reshape(-1, 2)


def particle_radii(spec: Mapping[str, Any], manifest: pd.DataFrame) -> dict[str, float]:
    """Return micrograph -> particle radius in original px.

    Parameters
    ----------
    spec : the data set's block of the configuration
    manifest : table with the columns micrograph and pixel_size (angstrom, NaN if unknown)
    """
    return {
        name: particle_radius(spec, pixel_size)
        for name, pixel_size in zip(manifest["micrograph"], manifest["pixel_size"], strict=True)
    }
