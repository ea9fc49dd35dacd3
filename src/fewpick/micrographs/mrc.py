"""MRC files, plain or compressed with gzip or bzip2: header, pixel size and values.

Some programs in use write the byte order, map id or sign of integers wrongly, so these are inferred
from header and values together. Source: https://www.ccpem.ac.uk/mrc_format/mrc2014.php and
https://bio3d.colorado.edu/imod/doc/mrc_format.txt
"""

from __future__ import annotations

import bz2
import gzip
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import mrcfile
import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from fewpick.errors import InputError
from fewpick.micrographs.decoding import LARGEST_SIDE, Header, check_sides, other_format

logger = logging.getLogger(__name__)

MODES = (0, 1, 2, 6, 12)
KNOWN_MODES = (*MODES, 3, 4, 101)
SIZE = HEADER_DTYPE.itemsize
STAMPS = {b"\x44\x44": "<", b"\x44\x41": "<", b"\x11\x11": ">"}
# IMOD's fields at bytes 152 and 156: a stamp, and flags of which the first means signed bytes.
IMOD_STAMP, SIGNED_BYTES = 1146047817, 1
# Neighbouring pixels differ less when integers are read correctly; a ratio below this is clear.
SMOOTHER = 0.8

Array = np.ndarray[Any, Any]


def read_mrc_header(path: Path) -> Header:
    """Read size and pixel size.

    Raises
    ------
    InputError
        When it is not an MRC file of one real-valued image, or its length does not match its
        header.
    """
    return _summary(path, _header(path))


def read_mrc(path: Path) -> tuple[Array, float | None]:
    """Read the pixels, (ny, nx) in the type of the file, and the pixel size in angstrom or None.

    Raises
    ------
    InputError
        As `read_mrc_header`.
    """
    header = _header(path)
    summary = _summary(path, header)
    dtype = mrcfile.utils.dtype_from_mode(int(header["mode"]))
    dtype = dtype.newbyteorder(header.dtype["mode"].byteorder)
    count, offset = summary.ny * summary.nx, SIZE + int(header["nsymbt"])
    if _packed(path):
        with _opened(path) as file:
            file.seek(offset)
            content = file.read(count * dtype.itemsize)
            more = file.read(1)  # also makes gzip compare its checksum
        if len(content) != count * dtype.itemsize or more:
            raise InputError(
                f"{path}: contains {'more' if more else 'fewer'} pixels than the {summary.nx} x "
                f"{summary.ny} of its header. Copy the file again; it is truncated or its header "
                "is wrong."
            )
        data = np.frombuffer(content, dtype)
    else:
        data = np.fromfile(path, dtype, count, offset=offset)
    return _as_meant(path, header, data.reshape(summary.ny, summary.nx)), summary.pixel_size


def _packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3)[:2] in (b"\x1f\x8b", b"BZ")


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        magic = file.read(3)
    opener: Any = open
    if magic[:2] == b"\x1f\x8b":
        opener = gzip.open
    elif magic == b"BZh":
        opener = bz2.open
    with opener(path, "rb") as file:
        yield file


def _header(path: Path) -> np.void:
    with _opened(path) as file:
        raw = file.read(SIZE)
    if len(raw) < SIZE:
        raise InputError(
            f"{path}: {len(raw)} bytes, but the header alone takes {SIZE}. Copy the file again; "
            "it is truncated."
        )
    length = None if _packed(path) else path.stat().st_size
    header = _in_its_byte_order(path, raw, length)
    mode, nx, ny, nz = (int(header[key]) for key in ("mode", "nx", "ny", "nz"))
    if mode not in MODES:
        raise InputError(
            f"{path}: MRC mode {mode} is not a real-valued image. Convert it to mode 2 "
            "(`newstack -mode 2`) or use one of the modes 0, 1, 2, 6, 12."
        )
    check_sides(path, ny, nx)
    if nz != 1:
        raise InputError(
            f"{path}: contains {nz} images. Give one motion-corrected micrograph per file (sum "
            "the frames of a movie; split a stack)."
        )
    expected = _expected(header)
    if length is not None and length != expected:
        raise InputError(
            f"{path}: {length} bytes, but a {nx} x {ny} image of mode {mode} takes {expected}. "
            "Copy the file again; it is truncated or its header is wrong."
        )
    return header


def _expected(header: np.void) -> int:
    """Return the number of bytes of one image according to the header."""
    itemsize = mrcfile.utils.dtype_from_mode(int(header["mode"])).itemsize
    return SIZE + int(header["nsymbt"]) + int(header["ny"]) * int(header["nx"]) * int(itemsize)


def _in_its_byte_order(path: Path, raw: bytes, length: int | None) -> np.void:
    """Read the header in the byte order that makes sense, regardless of stamp and map id."""
    headers = {order: np.frombuffer(raw, HEADER_DTYPE.newbyteorder(order))[0] for order in "<>"}
    stamp = STAMPS.get(raw[212:214])
    sane = {order: header for order, header in headers.items() if _sane(header)}
    if stamp in sane:
        order = stamp
    elif sane:
        # Both may be possible; then the file length decides.
        fits = [o for o, h in sane.items() if int(h["mode"]) in MODES and _expected(h) == length]
        order = next(iter([*fits, *sane]))
        if stamp is not None:
            logger.warning("%s: the machine stamp contradicts the header; it is ignored.", path)
    elif stamp is not None and raw[208:211] == b"MAP":
        order = stamp  # later checks report what is broken
    else:
        what = "only zeros" if not any(raw) else other_format(raw) or "no MRC header"
        raise InputError(
            f"{path}: cannot be read ({what} at its start). Copy it again; it may be damaged, or "
            "its format may not match its suffix."
        )
    return headers[order]


def _sane(header: np.void) -> bool:
    sides = [int(header[key]) for key in ("nx", "ny")]
    return int(header["mode"]) in KNOWN_MODES and all(0 < side <= LARGEST_SIDE for side in sides)


def _summary(path: Path, header: np.void) -> Header:
    sizes = []
    for axis, samples in (("x", int(header["mx"])), ("y", int(header["my"]))):
        length = float(header["cella"][axis])
        sizes.append(length / samples if samples > 0 else 0.0)
    x, y = sizes
    axes = tuple(int(header[key]) for key in ("mapc", "mapr", "maps"))
    if sorted(axes) == [1, 2, 3] and axes != (1, 2, 3):
        logger.warning(
            "%s: its header permutes the axes (MAPC, MAPR, MAPS are %d, %d, %d); columns and rows "
            "are used as stored. If the coordinates refer to the permuted axes, write the file "
            "again with the order 1, 2, 3.",
            *(path, *axes),
        )
    pixel_size = x if np.isfinite(x) and x > 0 else None
    if pixel_size is not None and abs(x - y) > 0.01 * x:
        logger.warning("%s: pixels of %g x %g angstrom; %g is used for both axes.", path, x, y, x)
    return Header(int(header["ny"]), int(header["nx"]), pixel_size)


def _as_meant(path: Path, header: np.void, data: Array) -> Array:
    """Read integers as signed or unsigned, according to flags, statistics and values.

    By its mode, bytes are signed; but IMOD before 4.2.23, cisTEM and scripts write unsigned ones.
    """
    if data.dtype.kind not in "iu":
        return data
    bits, order = 8 * data.dtype.itemsize, data.dtype.byteorder
    signed = data.view(np.dtype(f"i{bits // 8}").newbyteorder(order))
    unsigned = data.view(np.dtype(f"u{bits // 8}").newbyteorder(order))
    low, high = int(signed.min()), int(signed.max())
    if low >= 0:
        return data  # signed and unsigned agree on all values
    said = {}
    stamp, flags = np.frombuffer(
        header["extra2"].tobytes(), header.dtype["mode"], count=2, offset=40
    ).tolist()
    if bits == 8 and stamp == IMOD_STAMP:
        said["IMOD's flags"] = bool(flags & SIGNED_BYTES)
    least, most = float(header["dmin"]), float(header["dmax"])
    if np.isfinite([least, most]).all() and least < most:
        if (least, most) == (low, high) or least < 0:
            said[f"its minimum {least:g}"] = True
        elif most > np.iinfo(signed.dtype).max:
            said[f"its maximum {most:g}"] = False
    by_values = _smoother(signed, unsigned)
    by_mode = data.dtype.kind == "i"
    meant = by_values if by_values is not None else next(iter([*said.values(), by_mode]))
    against = [source for source, value in said.items() if value != meant]
    if not said and meant != by_mode:
        against = [f"mode {int(header['mode'])}"]
    if against:
        logger.warning(
            "%s: integers are read as %s, because %s, although %s suggests otherwise. Check that "
            "the image looks right, or convert it to 32-bit MRC where it was made.",
            path,
            "signed" if meant else "unsigned",
            "only then do values vary smoothly" if by_values is not None else "the header says so",
            " and ".join(against),
        )
    return signed if meant else unsigned


def _smoother(signed: Array, unsigned: Array) -> bool | None:
    """Return whether neighbours in a row differ less as signed integers; None if about equally."""
    rows = slice(None, None, max(1, len(signed) // 256))
    one, other = (
        float(np.abs(np.diff(values[rows].astype(np.float32), axis=1)).sum())
        for values in (signed, unsigned)
    )
    if min(one, other) > SMOOTHER * max(one, other):
        return None
    return one < other
