"""Find and read micrographs: MRC (also gzip, bzip2), TIFF, PNG and JPG.

An image is the array its reader returns, row 0 first. MRC stores the bottom row of the picture
first and the other formats the top row; nothing is flipped here (see `fewpick.data.manifest`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from fewpick.errors import InputError
from fewpick.micrographs.decoding import Header, checked_suffix, readable
from fewpick.micrographs.listing import (
    IMAGE_SUFFIXES,
    MRC_SUFFIXES,
    expand,
    image_suffix,
    list_micrographs,
    stem,
)
from fewpick.micrographs.mrc import read_mrc, read_mrc_header
from fewpick.micrographs.pictures import read_picture, read_picture_header

__all__ = [
    "IMAGE_SUFFIXES",
    "Header",
    "Image32",
    "expand",
    "image_suffix",
    "list_micrographs",
    "read_header",
    "read_headers",
    "read_micrograph",
    "shapes_of",
    "sort_out",
    "stem",
]

logger = logging.getLogger(__name__)

# Fractions above which to warn: of constant rows, of pixels at one end of the grey values.
BLANK, CLIPPED = 0.05, 0.1

Image32 = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Rows = np.ndarray[tuple[int], np.dtype[np.float32]]


def read_header(path: str | Path) -> Header:
    """Read size and pixel size without the pixels.

    Raises
    ------
    InputError
        When the file is missing, truncated, not what its suffix says, or contains several images.
    """
    path = Path(path)
    suffix = checked_suffix(path)
    with readable(path):
        if suffix in MRC_SUFFIXES:
            return read_mrc_header(path)
        return read_picture_header(path)


def read_headers(paths: Iterable[Path]) -> dict[Path, Header]:
    """Read the headers of several micrographs; see `read_header`."""
    return {path: read_header(path) for path in paths}


def shapes_of(headers: Mapping[Path, Header]) -> dict[str, tuple[int, int]]:
    """Return the size of each micrograph: name -> (ny, nx), px."""
    return {path.name: (header.ny, header.nx) for path, header in headers.items()}


def read_micrograph(path: str | Path) -> tuple[Image32, float | None]:
    """Read a micrograph.

    Returns
    -------
    image : (ny, nx) float32 array
    pixel_size : float or None
        Angstrom; None when the file does not say.

    Raises
    ------
    InputError
        As `read_header`, and when the image is constant or contains NaN or infinite values.
    """
    path = Path(path)
    suffix = checked_suffix(path)
    pixel_size = None
    with readable(path):
        if suffix in MRC_SUFFIXES:
            data, pixel_size = read_mrc(path)
        else:
            data = read_picture(path)
    # A float64 value may overflow to infinity, which the next check reports.
    with np.errstate(over="ignore"):
        image = np.ascontiguousarray(data, dtype=np.float32)
    if image.size == 0:  # a TIFF may declare pixels but contain none
        raise InputError(f"{path}: contains no pixels. Copy or process the micrograph again.")
    lows, highs = image.min(axis=1), image.max(axis=1)  # NaN and infinity propagate
    _check_values(path, image, float(lows.min()), float(highs.max()))
    _doubt_values(path, image, lows, highs)
    return image, pixel_size


def sort_out(paths: Sequence[Path], on_bad: str = "stop") -> tuple[list[Path], dict[Path, str]]:
    """Leave out broken micrographs if requested.

    The result depends only on the files, so that every stage gets the same one.

    Parameters
    ----------
    paths : list of paths
    on_bad : str
        "skip" reads every image to find those that cannot be used; "stop" returns all, and a stage
        stops when it reads a broken one.

    Returns
    -------
    good : list of paths
    left_out : dict
        Path to the reason, the message of `read_micrograph`.
    """
    left_out = {}
    for path in paths if on_bad == "skip" else ():
        try:
            read_header(path)
            read_micrograph(path)
        except InputError as error:
            left_out[path] = str(error)
    return [path for path in paths if path not in left_out], left_out


def _check_values(path: Path, image: Image32, low: float, high: float) -> None:
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = ~np.isfinite(image)
        row, column = np.argwhere(bad)[0]
        raise InputError(
            f"{path}: {'1 pixel is' if (n := int(bad.sum())) == 1 else f'{n} pixels are'} NaN or "
            f"infinite, the first ({image[row, column]}) at row {row}, column {column}. "
            "Process the micrograph again or remove it."
        )
    if low == high:
        raise InputError(
            f"{path}: every pixel is {low:g}. Copy or process the micrograph again, or remove it."
        )


def _doubt_values(path: Path, image: Image32, lows: Rows, highs: Rows) -> None:
    """Warn about an image that may be incomplete or clipped, but is still usable.

    `lows` and `highs` are the least and the greatest value of each row.
    """
    blank = np.flatnonzero(lows == highs)
    if len(blank) > BLANK * len(image):
        logger.warning(
            "%s: %d of %d rows are constant, starting with row %d. The file may be incomplete. "
            "Inspect it, and copy or process it again.",
            *(path, len(blank), len(image), blank[0]),
        )
        return
    for word, ends, value in (("highest", highs, highs.max()), ("lowest", lows, lows.min())):
        # Only rows that reach the value are counted: few, unless values are clipped.
        if (share := (image[ends == value] == value).sum() / image.size) > CLIPPED:
            logger.warning(
                "%s: %.0f %% of the pixels have the %s value, %g, so the grey values are "
                "clipped. Export the micrograph again with a wider range, or as 32-bit MRC.",
                *(path, 100 * share, word, value),
            )
