"""Read TIFF, PNG and JPG.

Values and rows are returned as stored: tags that ask a viewer to rotate the image or to show it as
a negative are reported, but not applied. TIFF of every compression is read by tifffile, and only
palettes and colours are converted to grey values.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import imagecodecs  # noqa: F401  # used by tifffile to decode LZW, PackBits, JPEG and others
import numpy as np
import tifffile
from PIL import Image
from tifffile import PHOTOMETRIC

from fewpick.errors import InputError
from fewpick.micrographs.decoding import JPEG, PNG, TIFF, Header, check_sides, other_format

logger = logging.getLogger(__name__)

Image.MAX_IMAGE_PIXELS = None  # Pillow takes images as large as micrographs for attacks

PNG_DEPTH = 24  # byte of a PNG file with the number of bits per channel
ORIENTATION, UPRIGHT = 274, 1  # a tag of TIFF and EXIF, and its value for rows from the top
GREY = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)

Array = np.ndarray[Any, Any]


def read_picture_header(path: Path) -> Header:
    """Read the size.

    Raises
    ------
    InputError
        When the file contains several images, or one without grey values.
    """
    if _is_tiff(path):
        with tifffile.TiffFile(path) as tiff:
            page = _only_page(path, tiff)
            ny, nx = page.imagelength, page.imagewidth
    else:
        with Image.open(path) as picture:
            ny, nx = _sides(path, picture)
    return Header(int(ny), int(nx), None)


def read_picture(path: Path) -> Array:
    """Read the grey values, (ny, nx).

    Raises
    ------
    InputError
        As `read_picture_header`.
    """
    return _read_tiff(path) if _is_tiff(path) else _read_png_or_jpg(path)


def _is_tiff(path: Path) -> bool:
    """Decide by the first bytes, so that a TIFF file named .png is decoded correctly."""
    with path.open("rb") as file:
        content = other_format(file.read(8))
    if content not in (None, TIFF, PNG, JPEG):
        raise InputError(
            f"{path}: is {content}, although its suffix says otherwise. Convert it to MRC or TIFF."
        )
    return content == TIFF


def _doubt_orientation(path: Path, value: object) -> None:
    if value != UPRIGHT:
        logger.warning(
            "%s: its orientation tag (%s) asks viewers to rotate the image; the rows are used "
            "as stored. If the coordinates were picked on the rotated image, save it again "
            "upright.",
            *(path, value),
        )


# ---------------------------------------------------------------------------------------- TIFF


def _page(page: tifffile.TiffPage | tifffile.TiffFrame) -> tifffile.TiffPage:
    return page.aspage()


def _only_page(path: Path, tiff: tifffile.TiffFile) -> tifffile.TiffPage:
    every = [_page(page) for page in tiff.pages]
    pages = [page for page in every if not page.is_reduced] or every  # no thumbnails
    held = (tiff.imagej_metadata or {}).get("images", 1) if tiff.is_imagej else 1
    if len(pages) != 1 or held != 1:
        raise InputError(
            f"{path}: contains {max(len(pages), int(held))} images. Give one motion-corrected "
            "micrograph per file (sum the frames of a movie)."
        )
    page = pages[0]
    samples = page.samplesperpixel
    colour = page.photometric not in GREY and samples in (3, 4)
    palette = page.photometric == PHOTOMETRIC.PALETTE and samples == 1
    alpha = page.photometric in GREY and samples == 1 + len(page.extrasamples)
    if page.imagedepth != 1 or not (samples == 1 or colour or palette or alpha):
        raise InputError(f"{path}: has shape {page.shape}. Give a two-dimensional image.")
    check_sides(path, page.imagelength, page.imagewidth)
    return page


def _read_tiff(path: Path) -> Array:
    with tifffile.TiffFile(path) as tiff:
        page = _only_page(path, tiff)
        data: Array = page.asarray()
        photometric, samples = page.photometric, page.samplesperpixel
        if samples > 1 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            data = np.moveaxis(data, 0, -1)
        if photometric == PHOTOMETRIC.MINISWHITE:
            logger.warning(
                "%s: stored as a negative (0 is white); using the values as stored.", path
            )
        tag = page.tags.get(ORIENTATION)
        _doubt_orientation(path, UPRIGHT if tag is None else int(tag.value))
        if np.iscomplexobj(data):
            raise InputError(f"{path}: contains complex values. Give a real-valued image.")
        if photometric == PHOTOMETRIC.PALETTE:
            colours = np.moveaxis(np.asarray(page.colormap), 0, -1)
            # 16-bit palettes store 8-bit colours in the upper byte.
            if colours.max() > 255:
                colours = colours >> 8
            return _to_grey(path, colours[data])
        if samples == 1:
            return data
        if photometric in GREY:
            return data[..., 0]
        jpeg = page.compression in (tifffile.COMPRESSION.JPEG, tifffile.COMPRESSION.OJPEG)
        if photometric == PHOTOMETRIC.RGB or (photometric == PHOTOMETRIC.YCBCR and jpeg):
            return _to_grey(path, data)
        if photometric in (PHOTOMETRIC.YCBCR, PHOTOMETRIC.CIELAB):
            return data[..., 0]
        raise InputError(
            f"{path}: {PHOTOMETRIC(photometric).name} colours have no grey values. Save the "
            "image in greyscale."
        )


# ------------------------------------------------------------------------------- PNG and JPG


def _sides(path: Path, picture: Image.Image) -> tuple[int, int]:
    frames = getattr(picture, "n_frames", 1)
    if frames != 1:
        raise InputError(
            f"{path}: contains {frames} images. Give one motion-corrected micrograph per file."
        )
    nx, ny = picture.size
    check_sides(path, ny, nx)
    return ny, nx


def _read_png_or_jpg(path: Path) -> Array:
    with Image.open(path) as picture:
        _sides(path, picture)
        _doubt_orientation(path, picture.getexif().get(ORIENTATION, UPRIGHT))
        if picture.format == "PNG" and picture.mode in ("RGB", "RGBA", "LA"):
            _doubt_depth(path)
        if picture.mode == "1":
            return np.asarray(picture.convert("L"))
        if picture.mode in ("LA", "La"):
            return np.asarray(picture)[..., 0]
        if picture.mode in ("L", "F", "I") or picture.mode.startswith("I;16"):
            return np.asarray(picture)
        return _to_grey(path, np.asarray(picture.convert("RGB")))


def _doubt_depth(path: Path) -> None:
    """Warn about a PNG with 16 bits per channel, of which the decoder keeps eight."""
    with path.open("rb") as file:
        file.seek(PNG_DEPTH)
        if file.read(1) == bytes([16]):
            logger.warning(
                "%s: only the upper 8 of 16 bits of its colours are used. Save the image in "
                "greyscale, without colour or transparency.",
                path,
            )


def _to_grey(path: Path, colour: Array) -> Array:
    """Reduce (ny, nx, 3 or 4) to grey: exact for equal channels, else luminance (ITU-R 601-2)."""
    red, green, blue = (colour[..., channel] for channel in range(3))
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return red
    logger.warning("%s: colour image; using its luminance.", path)
    return 0.299 * red + 0.587 * green + 0.114 * blue
