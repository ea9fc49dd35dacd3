"""Reading micrographs: values exact in every format, and no broken file read as a good one."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import logging
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fewpick.errors import InputError
from fewpick.micrographs import Header, list_micrographs, read_header, read_micrograph, stem

SHAPE = (37, 52)  # neither square nor even


def ramp(dtype: str) -> np.ndarray:
    """Return an image that any flip, transposition or change of type alters."""
    values = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    if dtype in ("uint8", "int8"):
        values = values % 251 - (125 if dtype == "int8" else 0)
    return values.astype(dtype)


def write_mrc(path: Path, data: np.ndarray, voxel_size: float | None = None) -> None:
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(data)
        if voxel_size is not None:
            mrc.voxel_size = voxel_size


@pytest.mark.parametrize(
    ("dtype", "mode"), [("int8", 0), ("int16", 1), ("float32", 2), ("uint16", 6), ("float16", 12)]
)
def test_mrc_modes_read_exactly(tmp_path: Path, dtype: str, mode: int) -> None:
    path = tmp_path / "a.mrc"
    write_mrc(path, ramp(dtype), 1.25)
    with mrcfile.open(path, header_only=True) as mrc:
        assert mrc.header.mode == mode
    image, pixel_size = read_micrograph(path)
    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, ramp(dtype).astype(np.float32))
    assert pixel_size == pytest.approx(1.25)
    assert read_header(path) == Header(*SHAPE, pixel_size)


def test_mode_0_of_old_imod_is_unsigned(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    write_mrc(path, ramp("uint8").view(np.int8))
    content = bytearray(path.read_bytes())
    content[152:160] = np.array([1146047817, 0], "<i4").tobytes()  # IMOD's stamp, flag 1 unset
    path.write_bytes(content)
    np.testing.assert_array_equal(read_micrograph(path)[0], ramp("uint8"))


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_both_byte_orders(tmp_path: Path, byte_order: str) -> None:
    write_mrc(tmp_path / "a.mrc", ramp("int16").astype(byte_order + "i2"))
    np.testing.assert_array_equal(read_micrograph(tmp_path / "a.mrc")[0], ramp("int16"))


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed_mrc(tmp_path: Path, suffix: str, pack) -> None:  # type: ignore[no-untyped-def]
    plain, packed = tmp_path / "a.mrc", tmp_path / f"b.mrc{suffix}"
    write_mrc(plain, ramp("float32"), 0.8)
    packed.write_bytes(pack(plain.read_bytes()))
    image, pixel_size = read_micrograph(packed)
    np.testing.assert_array_equal(image, ramp("float32"))
    assert read_header(packed) == Header(*SHAPE, pixel_size)
    packed.write_bytes(packed.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"b\.mrc"):
        read_micrograph(packed)


def test_missing_voxel_size_is_none(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", ramp("float32"), 0.0)
    assert read_header(tmp_path / "a.mrc").pixel_size is None
    write_mrc(tmp_path / "b.mrc", ramp("float32"))
    content = bytearray((tmp_path / "b.mrc").read_bytes())
    content[28:40] = bytes(12)  # mx, my, mz
    (tmp_path / "b.mrc").write_bytes(content)
    assert read_header(tmp_path / "b.mrc").pixel_size is None


def test_extended_header_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(ramp("float32"))
        mrc.set_extended_header(np.arange(256, dtype=np.float32))
    np.testing.assert_array_equal(read_micrograph(path)[0], ramp("float32"))


def test_volume_of_one_slice_is_an_image_and_a_stack_is_not(tmp_path: Path) -> None:
    write_mrc(tmp_path / "one.mrc", ramp("float32")[None])
    np.testing.assert_array_equal(read_micrograph(tmp_path / "one.mrc")[0], ramp("float32"))
    write_mrc(tmp_path / "movie.mrc", np.stack([ramp("float32")] * 3))
    for read in (read_header, read_micrograph):
        with pytest.raises(InputError, match=r"movie\.mrc: contains 3 images.*motion-corrected"):
            read(tmp_path / "movie.mrc")


@pytest.mark.parametrize("lost", [1, 4, 500])
def test_truncated_and_overlong_mrc(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "a.mrc"
    write_mrc(path, ramp("float32"))
    content = path.read_bytes()
    for broken in (content[:-lost], content + bytes(lost)):
        path.write_bytes(broken)
        for read in (read_header, read_micrograph):
            with pytest.raises(InputError, match=rf"a\.mrc: {len(broken)} bytes, but"):
                read(path)


@pytest.mark.parametrize(("value", "named"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_values_that_are_no_numbers(tmp_path: Path, value: float, named: str) -> None:
    data = ramp("float32")
    data[5, 7] = value
    tifffile.imwrite(tmp_path / "a.tif", data)
    with pytest.raises(InputError, match=rf"a\.tif: 1 pixel is .*\({named}\) at row 5, column 7"):
        read_micrograph(tmp_path / "a.tif")


def test_float64_beyond_float32_is_refused(tmp_path: Path) -> None:
    data = ramp("float64")
    data[0, 0] = 1e300
    tifffile.imwrite(tmp_path / "a.tif", data)
    with pytest.raises(InputError, match="infinite"):
        read_micrograph(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.mrc", "a.tif", "a.png", "a.jpg"])
def test_empty_constant_missing_and_foreign_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(InputError, match="no such file"):
        read_header(path)
    path.touch()
    with pytest.raises(InputError, match="0 bytes"):
        read_header(path)
    path.write_bytes(b"these are not the bytes of an image " * 100)
    for read in (read_header, read_micrograph):
        with pytest.raises(InputError, match=name):
            read(path)
    data = np.zeros(SHAPE, np.uint8)
    if name == "a.mrc":
        write_mrc(path, data.astype(np.float32))
    elif name == "a.tif":
        tifffile.imwrite(path, data)
    else:
        Image.fromarray(data).save(path)
    with pytest.raises(InputError, match="every pixel is 0"):
        read_micrograph(path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_reads_exactly(tmp_path: Path, dtype: str, compression: str | None) -> None:
    path = tmp_path / "a.tiff"
    tifffile.imwrite(path, ramp(dtype), compression=compression)
    assert read_header(path) == Header(*SHAPE, None)
    np.testing.assert_array_equal(read_micrograph(path)[0], ramp(dtype))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_tiff_of_libtiff(tmp_path: Path, dtype: str, compression: str) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(ramp(dtype)).save(path, compression=compression)
    np.testing.assert_array_equal(read_micrograph(path)[0], ramp(dtype))


def test_tiff_movie_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([ramp("uint8")] * 2), photometric="minisblack")
    with pytest.raises(InputError, match="contains 2 images"):
        read_micrograph(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_reads_exactly(tmp_path: Path, dtype: str) -> None:
    Image.fromarray(ramp(dtype)).save(tmp_path / "a.png")
    assert read_header(tmp_path / "a.png") == Header(*SHAPE, None)
    np.testing.assert_array_equal(read_micrograph(tmp_path / "a.png")[0], ramp(dtype))


def test_jpg_keeps_its_rows(tmp_path: Path) -> None:
    rows = np.repeat(np.linspace(0, 250, SHAPE[0])[:, None], SHAPE[1], 1).astype(np.uint8)
    Image.fromarray(rows).save(tmp_path / "a.JPG", quality=95)
    assert np.abs(read_micrograph(tmp_path / "a.JPG")[0] - rows).max() < 8


def test_grey_stored_as_colour_is_exact_and_colour_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grey = Image.fromarray(ramp("uint8"))
    variants = {
        "rgb.png": grey.convert("RGB"),
        "rgba.png": grey.convert("RGBA"),
        "palette.png": grey.convert("P"),
        "la.png": grey.convert("LA"),
        "palette.tif": grey.convert("P"),
        "rgb.tif": grey.convert("RGB"),
    }
    with caplog.at_level(logging.WARNING):
        for name, picture in variants.items():
            picture.save(tmp_path / name)
            np.testing.assert_array_equal(
                read_micrograph(tmp_path / name)[0], ramp("uint8"), err_msg=name
            )
    assert not caplog.records
    colour = np.stack([ramp("uint8"), np.full(SHAPE, 100, np.uint8), np.zeros(SHAPE, np.uint8)], 2)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    image, _ = read_micrograph(tmp_path / "colour.png")
    np.testing.assert_allclose(image, 0.299 * ramp("uint8") + 58.7, rtol=1e-5)
    assert "colour.png: colour image" in caplog.text


@given(data=st.binary(max_size=3000), name=st.sampled_from(["a.mrc", "a.tif", "a.png", "a.mrc.gz"]))
@settings(max_examples=60, deadline=None)
def test_bytes_of_any_kind_end_in_one_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    path = tmp_path_factory.mktemp("bytes") / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=name):
        read_micrograph(path)


@given(at=st.integers(0, 1023), value=st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_a_damaged_header_never_escapes(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: int
) -> None:
    path = tmp_path_factory.mktemp("header") / "a.mrc"
    write_mrc(path, ramp("float32"), 1.0)
    content = bytearray(path.read_bytes())
    content[at] = value
    path.write_bytes(content)
    with contextlib.suppress(InputError):  # any other exception fails
        assert read_micrograph(path)[0].size == SHAPE[0] * SHAPE[1]


def test_listing_is_sorted_and_ignores_other_files(tmp_path: Path) -> None:
    for name in ("b.mrc", "a.mrc.gz", "c.d.PNG", "notes.txt", "movie.mrcs", "._b.mrc", "x.csv"):
        (tmp_path / name).touch()
    (tmp_path / "folder.mrc").mkdir()
    names = ["a.mrc.gz", "b.mrc", "c.d.PNG"]
    assert [path.name for path in list_micrographs(tmp_path)] == names
    assert [path.name for path in list_micrographs(str(tmp_path / "*"))] == names
    assert [path.name for path in list_micrographs(f"{tmp_path}/[ab].mrc*")] == names[:2]
    assert [stem(name) for name in names] == ["a", "b", "c.d"]


def test_listing_refuses_nothing_and_twins(tmp_path: Path) -> None:
    for empty in (tmp_path, tmp_path / "absent", tmp_path / "*.mrc"):
        with pytest.raises(InputError, match=r"does not exist|contains no micrographs"):
            list_micrographs(empty)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.mrc").touch()
    with pytest.raises(InputError, match=r"two/a\.mrc: .*one.* has the same name, 'a'"):
        list_micrographs(f"{tmp_path}/*/*.mrc")
    (tmp_path / "one" / "a.png").touch()
    with pytest.raises(InputError, match="has the same name"):
        list_micrographs(tmp_path / "one")


def test_real_micrographs(shared_data: Path) -> None:
    for name, count, shape in (
        ("empiar10017", 15, (4096, 4096)),
        ("empiar10146", 13, (1200, 1240)),
        ("empiar10059", 10, (1024, 1024)),
    ):
        paths = list_micrographs(shared_data / name / "micrographs")
        assert len(paths) == count
        image, _ = read_micrograph(paths[0])
        assert image.shape == shape == (read_header(paths[0]).ny, read_header(paths[0]).nx)
        assert image.std() > 0


def test_several_sources_and_what_a_shell_would_expand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one/a.mrc", "one/b.mrc", "two/c.mrc", "two/d[1].mrc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_mrc(tmp_path / name, ramp("float32"))
    monkeypatch.setenv("HOME", str(tmp_path))
    sources = ["~/one/b.mrc", "$HOME/two", f"{tmp_path}/o*e", "${HOME}/two/d[1].mrc"]
    with pytest.raises(InputError, match=r"o\*e: contains no micrographs"):
        list_micrographs(*sources)
    sources[2] = f"{tmp_path}/o*e/*"
    found = [path.relative_to(tmp_path).as_posix() for path in list_micrographs(*sources)]
    assert found == ["one/a.mrc", "one/b.mrc", "two/c.mrc", "two/d[1].mrc"]
