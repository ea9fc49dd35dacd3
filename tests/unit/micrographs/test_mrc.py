"""MRC headers as programs in use write them: byte order, map id and sign of integers."""

from __future__ import annotations

import bz2
import gzip
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from fewpick.errors import InputError
from fewpick.micrographs import Header, read_header, read_micrograph

SHAPE = (40, 56)
IMOD, SIGNED = 1146047817, 1
STAMPS = [b"\x44\x44\0\0", b"\x44\0\0\0", b"\x44\x20\x20\x20", b"\0\0\0\0", b"\x11\x11\0\0"]


def write(
    path: Path,
    data: np.ndarray,
    *,
    stamp: bytes | None = None,
    map_id: bytes | None = None,
    least_most: tuple[float, float] | None = None,
    imod: tuple[int, int] | None = None,
    mode: int | None = None,
) -> None:
    """Write an MRC file, and then change what its header says."""
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(data)
        mrc.voxel_size = 2.0
        order = mrc.header.mode.dtype.byteorder
    order = ">" if order == ">" else "<"
    content = bytearray(path.read_bytes())
    if stamp is not None:
        content[212:216] = stamp
    if map_id is not None:
        content[208:212] = map_id
    if least_most is not None:
        content[76:84] = np.array(least_most, order + "f4").tobytes()
    if imod is not None:
        content[152:160] = np.array(imod, order + "i4").tobytes()
    if mode is not None:
        content[12:16] = np.array(mode, order + "i4").tobytes()
    path.write_bytes(content)


def smooth(low: int, high: int, dtype: str) -> np.ndarray:
    """Waves from `low` to `high`, with both values in them."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    waves = np.sin(rows / 5) * np.cos(columns / 6)
    waves = (waves - waves.min()) / np.ptp(waves)
    return np.rint(low + waves * (high - low)).astype(dtype)


@pytest.mark.parametrize("pack", [None, gzip.compress, bz2.compress])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("map_id", [b"MAP ", b"MAP\0", b"\0\0\0\0", b"abcd"])
@pytest.mark.parametrize("stamp", STAMPS)
def test_byte_order_is_that_which_makes_sense(
    tmp_path: Path,
    stamp: bytes,
    map_id: bytes,
    order: str,
    pack: Callable[[bytes], bytes] | None,
) -> None:
    values = smooth(-300, 900, f"{order}i2")
    write(tmp_path / "a.mrc", values, stamp=stamp, map_id=map_id)
    if pack is not None:
        (tmp_path / "a.mrc").write_bytes(pack((tmp_path / "a.mrc").read_bytes()))
    image, pixel_size = read_micrograph(tmp_path / "a.mrc")
    np.testing.assert_array_equal(image, values)
    assert pixel_size == 2.0
    assert read_header(tmp_path / "a.mrc") == Header(*SHAPE, 2.0)


def test_a_stamp_that_contradicts_the_header_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "a.mrc", smooth(0, 9, "<f4"), stamp=b"\x11\x11\0\0")
    read_micrograph(tmp_path / "a.mrc")
    assert "a.mrc: the machine stamp contradicts the header" in caplog.text
    caplog.clear()
    write(tmp_path / "b.mrc", smooth(0, 9, "<f4"), stamp=bytes(4), map_id=bytes(4))
    read_micrograph(tmp_path / "b.mrc")
    assert not caplog.records


def test_a_height_that_makes_sense_in_both_byte_orders(tmp_path: Path) -> None:
    """256 rows of mode 0 are 65,536 of the other order; the length of the file tells."""
    values = np.arange(256 * 256).reshape(256, 256) % 100
    for order in "<>":
        with mrcfile.new(tmp_path / "a.mrc", overwrite=True) as mrc:
            mrc.set_data(values.astype(f"{order}i1"))
        content = bytearray((tmp_path / "a.mrc").read_bytes())
        header = np.frombuffer(bytes(content[:1024]), "<i4").astype(f"{order}i4")
        content[:64] = header[:16].tobytes()
        content[208:216] = bytes(8)
        (tmp_path / "a.mrc").write_bytes(content)
        np.testing.assert_array_equal(read_micrograph(tmp_path / "a.mrc")[0], values)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"II*\0", "a TIFF file"),
        (b"\x89PNG\r\n", "a PNG file"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"\0\0\0\x04", "a DM4 file"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"\xfd7zXZ\0", "a file compressed with xz"),
        (b"\x28\xb5\x2f\xfd", "a file compressed with zstd"),
        (b"words and words", "no MRC header"),
        (b"", "only zeros"),
    ],
)
def test_what_is_no_mrc_is_named(tmp_path: Path, start: bytes, said: str) -> None:
    (tmp_path / "a.mrc").write_bytes(start.ljust(3000, b"\0"))
    with pytest.raises(InputError, match=rf"a\.mrc: cannot be read \({said} at its start\)"):
        read_header(tmp_path / "a.mrc")


@pytest.mark.parametrize(
    ("low", "high", "unsigned", "header", "doubt"),
    [
        # Statistics that are right, of either kind, are no reason for a word.
        (3, 232, True, {"least_most": (3, 232)}, False),
        (-120, 110, False, {"least_most": (-120, 110)}, False),
        # IMOD's flag.
        (3, 232, True, {"imod": (IMOD, 0), "least_most": (0, 0)}, False),
        (-120, 110, False, {"imod": (IMOD, SIGNED), "least_most": (0, 0)}, False),
        # Nothing is said: the standard, or the values against it with a warning.
        (-120, 110, False, {"least_most": (0, 0)}, False),
        (3, 232, True, {"least_most": (0, 0)}, True),
        (3, 232, True, {"least_most": (-1, -2)}, True),
        # Statistics or flags of another reading than the values.
        (3, 232, True, {"least_most": (-128, 127)}, True),
        (-120, 110, False, {"least_most": (0, 255)}, True),
        (3, 232, True, {"imod": (IMOD, SIGNED), "least_most": (3, 232)}, True),
        (-120, 110, False, {"imod": (IMOD, 0), "least_most": (-120, 110)}, True),
    ],
)
def test_bytes_are_signed_or_not_by_header_and_values(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    low: int,
    high: int,
    unsigned: bool,
    header: dict[str, Any],
    doubt: bool,
) -> None:
    values = smooth(low, high, "u1" if unsigned else "i1")
    write(tmp_path / "a.mrc", values.view(np.int8), **header)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(read_micrograph(tmp_path / "a.mrc")[0], values)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == doubt, said
    if doubt:
        assert f"a.mrc: integers are read as {'un' * unsigned}signed" in said[0]


def test_few_large_bytes_go_by_the_header(tmp_path: Path) -> None:
    """Where hardly a pixel tells the two readings apart, the values decide nothing."""
    values = smooth(20, 90, "u1")
    values[3, 5] = values[20, 30] = 200
    for least_most, expected in (((20, 200), values), ((-56, 90), values.view(np.int8))):
        write(tmp_path / "a.mrc", values.view(np.int8), least_most=least_most)
        np.testing.assert_array_equal(read_micrograph(tmp_path / "a.mrc")[0], expected)


@pytest.mark.parametrize("order", ["<", ">"])
def test_words_of_16_bits_have_the_same_trouble(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, order: str
) -> None:
    values = smooth(30_000, 40_000, f"{order}u2")
    for mode, doubt in ((6, False), (1, False)):  # the statistics say it
        write(tmp_path / "a.mrc", values, mode=mode)
        np.testing.assert_array_equal(read_micrograph(tmp_path / "a.mrc")[0], values)
        assert bool(caplog.records) == doubt
    write(tmp_path / "a.mrc", values, mode=1, least_most=(0, 0))
    np.testing.assert_array_equal(read_micrograph(tmp_path / "a.mrc")[0], values)
    assert "although mode 1 suggests otherwise" in caplog.text


def test_a_packed_file_of_another_length_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.mrc", smooth(0, 9, "f4"))
    content = (tmp_path / "a.mrc").read_bytes()
    for changed, word in ((content[:-8], "fewer"), (content + b"\0", "more")):
        (tmp_path / "b.mrc.gz").write_bytes(gzip.compress(changed))
        with pytest.raises(
            InputError, match=rf"b\.mrc\.gz: contains {word} pixels than the 56 x 40"
        ):
            read_micrograph(tmp_path / "b.mrc.gz")


@pytest.mark.parametrize("axes", [(1, 2, 3), (0, 0, 0), (2, 1, 3)])
def test_permuted_axes_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, axes: tuple[int, int, int]
) -> None:
    image = smooth(-100, 100, "float32")
    write(tmp_path / "a.mrc", image)
    content = bytearray((tmp_path / "a.mrc").read_bytes())
    content[64:76] = np.array(axes, "<i4").tobytes()
    (tmp_path / "a.mrc").write_bytes(content)
    np.testing.assert_array_equal(read_micrograph(tmp_path / "a.mrc")[0], image)
    assert ("MAPC, MAPR, MAPS are 2, 1, 3" in caplog.text) == (axes == (2, 1, 3))
