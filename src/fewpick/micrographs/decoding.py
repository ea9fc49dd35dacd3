"""What the decoders share: headers, file types, and how a broken file is reported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fewpick.errors import InputError
from fewpick.micrographs.listing import IMAGE_SUFFIXES, image_suffix

LARGEST_SIDE = 65_536  # px; a larger value means a broken header rather than a large detector
# First bytes of some formats.
TIFF, PNG, JPEG = "a TIFF file", "a PNG file", "a JPEG file"
MAGIC = {
    b"II*\0": TIFF,
    b"MM\0*": TIFF,
    b"II+\0": TIFF,
    b"MM\0+": TIFF,
    b"\x89PNG": PNG,
    b"\xff\xd8\xff": JPEG,
    b"GIF8": "a GIF file",
    b"\x89HDF": "an HDF5 file",
    b"PK\x03\x04": "a zip file",
    b"\x1f\x8b": "a file compressed with gzip",
    b"BZh": "a file compressed with bzip2",
    b"\xfd7zXZ": "a file compressed with xz",
    b"\x28\xb5\x2f\xfd": "a file compressed with zstd",
    b"\x1f\x9d": "a file compressed with compress",
    b"\0\0\0\x03": "a DM3 file",
    b"\0\0\0\x04": "a DM4 file",
    b"\x93NUMPY": "a numpy file",
    b"<": "a web page",
}


@dataclass(frozen=True)
class Header:
    """Size and scale of a micrograph: `ny` rows, `nx` columns, `pixel_size` in angstrom or None."""

    ny: int
    nx: int
    pixel_size: float | None


def other_format(start: bytes) -> str | None:
    """Name the format that a file's first bytes belong to; None if unknown."""
    return next((name for magic, name in MAGIC.items() if start.startswith(magic)), None)


def checked_suffix(path: Path) -> str:
    """Return the image suffix, in lower case, of a file that exists and is not empty.

    Raises
    ------
    InputError
        When the suffix is not that of an image, or the file is missing or empty.
    """
    suffix = (image_suffix(path.name) or "").lower()
    if not suffix:
        what = f"{path.suffix} is not a micrograph format" if path.suffix else "has no suffix"
        raise InputError(f"{path}: {what}. Use one of {', '.join(IMAGE_SUFFIXES)}.")
    if not path.is_file():
        raise InputError(f"{path}: no such file. Check the path.")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes). Copy it again or remove it.")
    return suffix


def check_sides(path: Path, ny: int, nx: int) -> None:
    """Reject sizes that no detector has.

    Raises
    ------
    InputError
        When a side is not positive or longer than `LARGEST_SIDE`.
    """
    if not (0 < nx <= LARGEST_SIDE and 0 < ny <= LARGEST_SIDE):
        raise InputError(f"{path}: the header gives {nx} x {ny} pixels. Export the file again.")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises on a broken file into an InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except MemoryError:
        raise InputError(
            f"{path}: not enough memory to read it. Copy it again, as its header may be corrupt, "
            "or run on a machine with more memory."
        ) from None
    except Exception as error:
        # Third-party decoders raise almost anything on unexpected bytes.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path}: cannot be read ({reason}). Copy it again; it may be truncated, or its "
            "format may not match its suffix."
        ) from error
