"""TIFF, PNG and JPG: each tag has one meaning, whatever the compression and the file's name."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from fewpick.errors import InputError
from fewpick.micrographs import Header, read_header, read_micrograph

SHAPE = (37, 52)
COMPRESSIONS = [None, "deflate", "adobe_deflate", "lzw", "packbits", "zstd", "lzma"]
LOSSLESS = [c for c in COMPRESSIONS if c is not None]


def values(dtype: str) -> np.ndarray:
    """An image over the whole range of its type, that any flip or wrap alters."""
    count = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (count / 7 - 100).astype(kind)
    info = np.iinfo(kind)
    span = float(info.max) - float(info.min)
    return np.rint(float(info.min) + count / count.max() * span * 0.99).astype(kind)


def check(path: Path, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(read_micrograph(path)[0], expected.astype(np.float32))
    assert read_header(path) == Header(expected.shape[0], expected.shape[1], None)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float16", "float32"]
)
def test_types_and_compressions(tmp_path: Path, dtype: str, compression: str | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values(dtype), compression=compression)
    check(tmp_path / "a.tif", values(dtype))


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize(
    "layout",
    [
        {"byteorder": ">"},
        {"tile": (16, 32)},
        {"rowsperstrip": 5},
        {"bigtiff": True},
        {"byteorder": ">", "bigtiff": True, "tile": (16, 16)},
    ],
    ids=lambda layout: " ".join(layout),
)
def test_layouts(tmp_path: Path, layout: dict[str, Any], compression: str | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values("int16"), compression=compression, **layout)
    check(tmp_path / "a.tif", values("int16"))


@pytest.mark.parametrize("compression", ["lzw", "deflate", "zstd"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_predictors(tmp_path: Path, dtype: str, compression: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values(dtype), compression=compression, predictor=True)
    check(tmp_path / "a.tif", values(dtype))


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_orientation_tags_turn_nothing_and_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, orientation: int, compression: str | None
) -> None:
    tag = (274, "H", 1, orientation, False)
    tifffile.imwrite(tmp_path / "a.tif", values("uint8"), compression=compression, extratags=[tag])
    check(tmp_path / "a.tif", values("uint8"))
    assert (f"its orientation tag ({orientation})" in caplog.text) == (orientation != 1)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_exif_turns_nothing_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    exif = Image.Exif()
    exif[274] = 6
    rows = np.repeat(np.linspace(0, 250, SHAPE[0])[:, None], SHAPE[1], 1).astype(np.uint8)
    rows += np.arange(SHAPE[1], dtype=np.uint8) % 5
    Image.fromarray(rows).save(tmp_path / name, exif=exif)
    image, _ = read_micrograph(tmp_path / name)
    assert image.shape == SHAPE
    assert np.abs(image - rows).max() < 20
    assert read_header(tmp_path / name) == Header(*SHAPE, None)
    assert "its orientation tag (6)" in caplog.text


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_negative_is_used_as_stored_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, compression: str | None
) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", values("uint8"), photometric="miniswhite", compression=compression
    )
    check(tmp_path / "a.tif", values("uint8"))
    assert "stored as a negative" in caplog.text


@pytest.mark.parametrize("compression", [None, "lzw", "packbits"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_grey_stored_as_colour(tmp_path: Path, planar: str, compression: str | None) -> None:
    grey = values("uint16")
    colour = np.stack([grey] * 3, -1 if planar == "contig" else 0)
    tifffile.imwrite(
        tmp_path / "a.tif",
        colour,
        photometric="rgb",
        planarconfig=planar,
        compression=compression,
    )
    check(tmp_path / "a.tif", grey)


def test_grey_with_a_mask_and_thumbnails(tmp_path: Path) -> None:
    grey = values("uint8")
    tifffile.imwrite(
        tmp_path / "alpha.tif",
        np.stack([grey, np.full_like(grey, 255)], -1),
        photometric="minisblack",
        planarconfig="contig",
        extrasamples=["unassalpha"],
    )
    check(tmp_path / "alpha.tif", grey)
    with tifffile.TiffWriter(tmp_path / "thumbnail.tif") as tiff:
        tiff.write(grey)
        tiff.write(grey[::4, ::4], subfiletype=1)
    check(tmp_path / "thumbnail.tif", grey)
    tifffile.imwrite(tmp_path / "alone.tif", grey, subfiletype=1)
    check(tmp_path / "alone.tif", grey)


def test_a_stack_of_imagej_with_one_page_is_refused(tmp_path: Path) -> None:
    stack = np.stack([values("uint16")] * 3)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True)
    for read in (read_header, read_micrograph):
        with pytest.raises(InputError, match=r"a\.tif: contains 3 images"):
            read(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", LOSSLESS)
def test_a_cut_file_is_refused_or_doubted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, compression: str
) -> None:
    noise = np.random.default_rng(1).normal(0, 50, (200, 300)).astype(np.int16)
    tifffile.imwrite(tmp_path / "a.tif", noise, compression=compression, rowsperstrip=8)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: len(content) // 2])
    with caplog.at_level(logging.WARNING), pytest.raises(InputError, match=r"a\.tif"):
        read_micrograph(tmp_path / "a.tif")


def test_the_content_tells_the_decoder(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values("int8"), compression="lzw")
    for name in ("really_tiff.png", "really_tiff.jpg"):
        (tmp_path / name).write_bytes((tmp_path / "a.tif").read_bytes())
        check(tmp_path / name, values("int8"))
    Image.fromarray(values("uint8")).save(tmp_path / "a.png")
    for name in ("really_png.tif", "really_png.jpg"):
        (tmp_path / name).write_bytes((tmp_path / "a.png").read_bytes())
        check(tmp_path / name, values("uint8"))
    for name in ("a_volume.png", "a_volume.tif"):
        (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n".ljust(3000, b"\0"))
        with pytest.raises(InputError, match=f"{name}: is an HDF5 file"):
            read_header(tmp_path / name)


def test_colours_of_16_bits_lose_half_of_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grey = values("uint16")
    Image.fromarray(grey).save(tmp_path / "grey.png")
    check(tmp_path / "grey.png", grey)
    assert not caplog.records
    content = imagecodecs.png_encode(np.stack([grey] * 3, -1))
    (tmp_path / "colour.png").write_bytes(content)
    check(tmp_path / "colour.png", grey >> 8)
    assert "colour.png: only the upper 8 of 16 bits of its colours are used" in caplog.text
