"""Find and read micrographs: MRC (also gzip, bzip2), TIFF, PNG and JPG.

An image is the array its reader returns, row 0 first. MRC stores the bottom row of the picture
first and the other formats the top row; nothing is flipped here (see `fewpick.data.manifest`).
"""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import tifffile
from PIL import Image

from fewpick.errors import InputError

logger = logging.getLogger(__name__)

MRC_SUFFIXES = (".mrc", ".map", ".mrc.gz", ".mrc.bz2")
TIFF_SUFFIXES = (".tif", ".tiff")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
IMAGE_SUFFIXES = MRC_SUFFIXES + TIFF_SUFFIXES + PICTURE_SUFFIXES

MRC_MODES = (0, 1, 2, 6, 12)
# Shares above which a warning is due: of rows with one value throughout, of pixels at one end of
# the grey values.
BLANK, CLIPPED = 0.05, 0.1
LARGEST_SIDE = 65_536  # px; above it a header is broken rather than a detector large

Image.MAX_IMAGE_PIXELS = None  # Pillow takes images as large as micrographs for attacks

Image32 = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Rows = np.ndarray[tuple[int], np.dtype[np.float32]]


@dataclass(frozen=True)
class Header:
    """Size and scale of a micrograph: `ny` rows, `nx` columns, `pixel_size` in Angstrom or None."""

    ny: int
    nx: int
    pixel_size: float | None


def image_suffix(name: str) -> str | None:
    """Return the image suffix of a file name as spelled in it (".mrc.gz"), None without one."""
    lower = name.lower()
    found = [suffix for suffix in IMAGE_SUFFIXES if lower.endswith(suffix)]
    return name[-max(map(len, found)) :] if found else None


def stem(name: str) -> str:
    """Return a file name without its image suffix; other dots stay ("a.bin_avg.png")."""
    return name.removesuffix(image_suffix(name) or "")


def list_micrographs(*sources: str | Path) -> list[Path]:
    """List the micrographs of folders, globs and single files, sorted by name.

    `~` and variables such as `$HOME` in a source are expanded.

    Raises
    ------
    InputError
        When a source has none, or when two micrographs share a name or a stem, so that their
        coordinates and picks would be mixed up.
    """
    paths = [path for source in sources for path in _images(source)]
    paths.sort(key=lambda path: (path.name, len(path.parts), path))
    seen: dict[str, Path] = {}
    for path in paths:
        if set(path.name) & set("\t\r\n"):
            raise InputError(
                f"{path.parent}: the name {path.name!r} holds a tab or newline. Rename it."
            )
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{str(path).encode(errors='backslashreplace').decode()}: the name is not UTF-8 "
                "text. Rename it (convmv -f latin1 -t utf8 does many)."
            ) from None
        other = seen.setdefault(stem(path.name), path)
        # Links between folders show a `**` one file many times.
        if other is not path and not (other.name == path.name and other.samefile(path)):
            raise InputError(
                f"{path}: the name {stem(path.name)!r} is also that of {other}. "
                "Rename one, or narrow the glob."
            )
    return list(seen.values())


def expand(source: str | Path) -> str:
    """Replace `~` and variables such as `$HOME` at the places where a shell would."""
    return os.path.expandvars(os.path.expanduser(source))


def _images(source: str | Path) -> list[Path]:
    """List the images of one folder or glob; a single file is a glob too."""
    folder = Path(expand(source))
    if folder.is_dir():
        found = list(folder.iterdir())
    elif folder.is_file():  # whatever brackets its name holds
        found = [folder]
    else:
        found = [Path(match) for match in glob.glob(str(folder), recursive=True)]
    for path in found:
        if image_suffix(path.name) and path.is_symlink() and not path.exists():
            raise InputError(
                f"{path}: the link leads nowhere ({os.readlink(path)}). Mount what it leads to, or "
                "remove the link."
            )
    paths = [
        p for p in found if image_suffix(p.name) and not p.name.startswith(".") and p.is_file()
    ]
    if not paths:
        what = "is not there" if not found and not folder.is_dir() else "holds no micrograph"
        what += _others(found)
        raise InputError(
            f"{source}: {what}. Give a folder or a glob of single, motion-corrected images "
            f"({', '.join(IMAGE_SUFFIXES)})."
        )
    return paths


def _others(found: Sequence[Path]) -> str:
    """Say which files there are instead of micrographs."""
    suffixes = Counter(path.suffix for path in found if path.is_file())
    if not suffixes:
        return ""
    suffix, many = suffixes.most_common(1)[0]
    return f", but {many} files of {suffix or 'no suffix'}"


def read_header(path: str | Path) -> Header:
    """Read size and pixel size without the pixels.

    Raises
    ------
    InputError
        When the file is missing, not an image of its suffix, truncated or holds several images.
    """
    path = Path(path)
    suffix = _checked_suffix(path)
    if suffix in MRC_SUFFIXES:
        with _mrc(path) as mrc:
            return _mrc_header(path, mrc)
    with _readable(path):
        if suffix in TIFF_SUFFIXES:
            with tifffile.TiffFile(path) as tiff:
                ny, nx = _tiff_page(path, tiff).shape[:2]
        else:
            with Image.open(path) as picture:
                nx, ny = picture.size
                _check_sides(path, ny, nx)
    return Header(int(ny), int(nx), None)


def read_headers(paths: Iterable[Path]) -> dict[Path, Header]:
    """Read the headers of several micrographs; see `read_header`."""
    return {path: read_header(path) for path in paths}


def shapes_of(headers: Mapping[Path, Header]) -> dict[str, tuple[int, int]]:
    """Sizes by the micrographs' names: name -> (ny, nx), px."""
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
        As `read_header`, and when the image is constant or holds NaN or infinite values.
    """
    path = Path(path)
    suffix = _checked_suffix(path)
    pixel_size = None
    if suffix in MRC_SUFFIXES:
        with _mrc(path) as mrc:
            header = _mrc_header(path, mrc)
            pixel_size, data = header.pixel_size, _read_mrc(path, mrc, header)
    else:
        with _readable(path):
            data = _read_tiff(path) if suffix in TIFF_SUFFIXES else _read_picture(path)
    # A float64 value may overflow to infinity, which the next check reports.
    with np.errstate(over="ignore"):
        image = np.ascontiguousarray(data, dtype=np.float32)
    if image.size == 0:  # a TIFF may say that it has pixels and hold none
        raise InputError(f"{path}: holds no pixel. Copy or process the micrograph again.")
    lows, highs = image.min(axis=1), image.max(axis=1)  # NaN and infinities carry through
    _check_values(path, image, float(lows.min()), float(highs.max()))
    _doubt_values(path, image, lows, highs)
    return image, pixel_size


def sort_out(paths: Sequence[Path], on_bad: str = "stop") -> tuple[list[Path], dict[Path, str]]:
    """Leave out broken micrographs, where that is wanted.

    The answer depends on the files alone, so that every stage that asks gets the same one.

    Parameters
    ----------
    paths : list of paths
    on_bad : str
        "skip" reads every image to find those that cannot be used; "stop" passes all on, and the
        first reading of a broken one ends the stage.

    Returns
    -------
    good : list of paths
    left_out : dict
        Path to the reason, a message as `read_micrograph` gives it.
    """
    left_out = {}
    for path in paths if on_bad == "skip" else ():
        try:
            read_header(path)
            read_micrograph(path)
        except InputError as error:
            left_out[path] = str(error)
    return [path for path in paths if path not in left_out], left_out


def _checked_suffix(path: Path) -> str:
    suffix = (image_suffix(path.name) or "").lower()
    if not suffix:
        raise InputError(
            f"{path}: {path.suffix or 'no suffix'} is not a micrograph format. "
            f"Use one of {', '.join(IMAGE_SUFFIXES)}."
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file. Check the path.")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes). Copy it again or remove it.")
    return suffix


def _check_values(path: Path, image: Image32, low: float, high: float) -> None:
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = ~np.isfinite(image)
        row, column = np.argwhere(bad)[0]
        raise InputError(
            f"{path}: {int(bad.sum())} pixels are NaN or infinite, the first "
            f"({image[row, column]}) at row {row}, column {column}. "
            "Process the micrograph again or remove it."
        )
    if low == high:
        raise InputError(
            f"{path}: every pixel is {low:g}. Copy or process the micrograph again, or remove it."
        )


def _doubt_values(path: Path, image: Image32, lows: Rows, highs: Rows) -> None:
    """Warn of an image that may be incomplete or clipped; it can be used all the same.

    `lows` and `highs` are the least and the greatest value of each row.
    """
    blank = np.flatnonzero(lows == highs)
    if len(blank) > BLANK * len(image):
        logger.warning(
            "%s: %d of %d rows hold one value throughout, the first is row %d. The file may be "
            "incomplete. Look at it, and copy or process it again.",
            *(path, len(blank), len(image), blank[0]),
        )
        return
    for word, ends, value in (("highest", highs, highs.max()), ("lowest", lows, lows.min())):
        # Only rows that reach the value are counted: few, but where values are clipped.
        if (share := (image[ends == value] == value).sum() / image.size) > CLIPPED:
            logger.warning(
                "%s: %.0f %% of the pixels have the %s value, %g: grey values are clipped there. "
                "Export the micrograph again with a wider range, or as 32-bit MRC.",
                *(path, 100 * share, word, value),
            )


def _check_sides(path: Path, ny: int, nx: int) -> None:
    if not (0 < nx <= LARGEST_SIDE and 0 < ny <= LARGEST_SIDE):
        raise InputError(f"{path}: the header says {nx} x {ny} pixels. Write the file again.")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises on a broken file into an InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except MemoryError:
        raise InputError(
            f"{path}: reading it takes more memory than there is. Copy it again, its header may be "
            "broken; or run where there is more memory."
        ) from None
    except Exception as error:
        # Third-party decoders raise about anything on bytes they do not expect.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path}: cannot be read ({reason}). Copy it again; it may be truncated or in "
            "another format than its suffix says."
        ) from error


# ---------------------------------------------------------------------------------------- MRC


@contextmanager
def _mrc(path: Path) -> Iterator[Any]:
    """Open the header alone: the sizes in a broken one must not drive an allocation."""
    with _readable(path), mrcfile.open(path, header_only=True) as mrc:
        _check_mrc(path, mrc)
        yield mrc


def _compressed(mrc: Any) -> bool:
    return isinstance(mrc, mrcfile.gzipmrcfile.GzipMrcFile | mrcfile.bzip2mrcfile.Bzip2MrcFile)


def _check_mrc(path: Path, mrc: Any) -> None:
    header = mrc.header
    mode, nx, ny, nz = (int(header[key]) for key in ("mode", "nx", "ny", "nz"))
    if mode not in MRC_MODES:
        raise InputError(
            f"{path}: MRC mode {mode} is not a real-valued image. Convert it to mode 2 "
            "(`newstack -mode 2`) or use one of the modes 0, 1, 2, 6, 12."
        )
    _check_sides(path, ny, nx)
    if nz != 1:
        raise InputError(
            f"{path}: holds {nz} images. Give one motion-corrected micrograph per file "
            "(sum the frames of a movie; split a stack)."
        )
    if not _compressed(mrc):
        itemsize = mrcfile.utils.dtype_from_mode(mode).itemsize
        expected = header.nbytes + int(header.nsymbt) + ny * nx * itemsize
        actual = path.stat().st_size
        if actual != expected:
            raise InputError(
                f"{path}: {actual} bytes where a {nx} x {ny} image of mode {mode} takes "
                f"{expected}. Copy the file again; it is truncated or its header is wrong."
            )


def _mrc_header(path: Path, mrc: Any) -> Header:
    header = mrc.header
    sizes = []
    for axis, samples in (("x", header.mx), ("y", header.my)):
        length, samples = float(header.cella[axis]), int(samples)
        sizes.append(length / samples if samples > 0 else 0.0)
    x, y = sizes
    pixel_size = x if np.isfinite(x) and x > 0 else None
    if pixel_size is not None and abs(x - y) > 0.01 * x:
        logger.warning("%s: pixels of %g x %g Angstrom; %g is used for both axes.", path, x, y, x)
    return Header(int(header.ny), int(header.nx), pixel_size)


def _read_mrc(path: Path, mrc: Any, header: Header) -> np.ndarray[Any, Any]:
    """Read the pixels, (ny, nx), in the type of the file."""
    data: np.ndarray[Any, Any]
    if _compressed(mrc):
        with mrcfile.open(path) as whole:
            data = whole.data
    else:
        # mrcfile reads into memory that it first fills with zeros, which takes three times as
        # long as reading. A mapping would be as fast, but kills the process when a disk fails.
        dtype = mrcfile.utils.data_dtype_from_header(mrc.header)
        offset = mrc.header.nbytes + int(mrc.header.nsymbt)
        data = np.fromfile(path, dtype, header.ny * header.nx, offset=offset)
    if data.dtype == np.int8:
        # IMOD before 4.2.23 wrote mode 0 unsigned and says so in its own flags.
        stamp, flags = np.frombuffer(
            mrc.header.extra2.tobytes(), dtype=mrc.header.mode.dtype, count=2, offset=40
        )
        if stamp == 1146047817 and not flags & 1:
            data = data.view(np.uint8)
    return data.reshape(header.ny, header.nx)


# ------------------------------------------------------------------------- TIFF and pictures


def _tiff_page(path: Path, tiff: tifffile.TiffFile) -> tifffile.TiffPage:
    if len(tiff.pages) != 1:
        raise InputError(
            f"{path}: holds {len(tiff.pages)} images. Give one motion-corrected micrograph per "
            "file (sum the frames of a movie)."
        )
    page = tiff.pages.first
    colour = page.ndim == 3 and page.shape[2] in (3, 4)
    if page.ndim != 2 and not colour:
        raise InputError(f"{path}: has shape {page.shape}. Give a two-dimensional image.")
    _check_sides(path, *page.shape[:2])
    return page


def _read_tiff(path: Path) -> np.ndarray[Any, Any]:
    with tifffile.TiffFile(path) as tiff:
        page = _tiff_page(path, tiff)
        # tifffile leaves LZW, JPEG and some predictors to a large optional package that Pillow's
        # libtiff makes unnecessary; palettes too are Pillow's.
        palette = page.photometric == tifffile.PHOTOMETRIC.PALETTE
        if palette or page.compression not in (1, 8, 32946) or page.predictor == 3:
            return _read_picture(path)
        data = page.asarray()
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            logger.warning(
                "%s: stored as a negative (0 is white); values are used as stored.", path
            )
    if np.iscomplexobj(data):
        raise InputError(f"{path}: complex values. Give a real-valued image.")
    return _to_grey(path, data) if data.ndim == 3 else data


def _read_picture(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as picture:
        _check_sides(path, *picture.size[::-1])
        if picture.mode == "1":
            return np.asarray(picture.convert("L"))
        if picture.mode in ("LA", "La"):
            return np.asarray(picture)[..., 0]
        if picture.mode in ("L", "F", "I") or picture.mode.startswith("I;16"):
            return np.asarray(picture)
        return _to_grey(path, np.asarray(picture.convert("RGB")))


def _to_grey(path: Path, colour: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Reduce (ny, nx, 3 or 4) to grey: exact for equal channels, else luminance (ITU-R 601-2)."""
    red, green, blue = (colour[..., channel] for channel in range(3))
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return red
    logger.warning("%s: a colour image; its luminance is used.", path)
    return 0.299 * red + 0.587 * green + 0.114 * blue
