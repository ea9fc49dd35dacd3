"""Micrographs that are broken, odd, or of another kind than their name says."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import tifffile
from badinput.book import Case, Refused, Right
from badinput.project import NAMES, NX, NY, RADIUS, Make, Project, both, image, write_mrc
from numpy.typing import NDArray
from PIL import Image

NAME = "micrographs/m3.mrc"
Change = Callable[[NDArray[np.float32]], NDArray[Any]]


def changed(change: Change, **header: Any) -> Make:
    """Write m3 with different values."""
    return lambda project: write_mrc(project.micrograph(), change(image("m3").copy()), **header)


def bytes_of(change: Callable[[bytes], bytes]) -> Make:
    """Change the bytes of m3."""

    def make(project: Project) -> None:
        path = project.micrograph()
        path.write_bytes(change(path.read_bytes()))

    return make


def header(**fields: int) -> Make:
    """Set fields of the header of m3, and leave the data as it is."""

    def make(project: Project) -> None:
        with mrcfile.open(project.micrograph(), mode="r+", permissive=True) as mrc:
            for key, value in fields.items():
                mrc.header[key] = value

    return make


def instead(suffix: str, write: Callable[[Path], object]) -> Make:
    """Put another file in the place of m3."""

    def make(project: Project) -> None:
        project.micrograph().unlink()
        write(project.path(f"micrographs/m3{suffix}"))

    return make


def region(rows: slice, columns: slice, value: float) -> Change:
    """Fill a part of the image."""

    def fill(values: NDArray[np.float32]) -> NDArray[np.float32]:
        values[rows, columns] = value
        return values

    return fill


def bytes8() -> NDArray[np.uint8]:
    """m3 as 8 bits."""
    return (image("m3") * 20 + 140).clip(0, 255).astype(np.uint8)


def counts16() -> NDArray[np.uint16]:
    """m3 as counts."""
    return (image("m3") * 500 + 20_000).astype(np.uint16)


def truncated(*names: str) -> Make:
    """Cut the ends off some micrographs."""

    def make(project: Project) -> None:
        for path in map(project.micrograph, names):
            path.write_bytes(path.read_bytes()[:-1000])

    return make


def skip(project: Project) -> None:
    project.edit(on_bad_micrograph="skip")


def alpha(path: Path) -> None:
    grey = Image.fromarray(bytes8())
    opacity = Image.fromarray(np.tile(np.arange(NX, dtype=np.uint8), (NY, 1)))
    Image.merge("LA", (grey, opacity)).save(path)


def inverted(project: Project) -> None:
    for name in NAMES:
        write_mrc(project.micrograph(name), -image(name))


def pixel_size(value: float) -> Make:
    """All headers say this pixel size, and the particle is given in angstrom."""

    def make(project: Project) -> None:
        for name in NAMES:
            write_mrc(project.micrograph(name), image(name), value)
        project.edit(particle_radius=None, particle_diameter_angstrom=2 * RADIUS)

    return make


def no_pixel_size(project: Project) -> None:
    for name in NAMES:
        write_mrc(project.micrograph(name), image(name), 0)


def two_magnifications(project: Project) -> None:
    write_mrc(project.micrograph(), image("m3"), 4.0)


def small(project: Project) -> None:
    write_mrc(project.path("micrographs/thumbnail.mrc"), image("m3")[:8, :8])


def movie(path: Path) -> None:
    tifffile.imwrite(path, np.stack([counts16()] * 3), photometric="minisblack")


def only_movies(project: Project) -> None:
    for name in NAMES:
        project.micrograph(name).rename(project.path(f"micrographs/{name}.mrcs"))


WRITTEN_AGAIN = "Copy"
ONE_IMAGE = "one motion-corrected micrograph per file"

CASES = [
    Case(
        "an intact data set",
        "the reference, which must give no warning",
        lambda project: None,
        Right(),
    ),
    Case(
        "a truncated MRC file",
        "an interrupted transfer, or an exhausted quota",
        bytes_of(lambda content: content[:-1000]),
        Refused(NAME, "110616 bytes", "Copy the file again"),
    ),
    Case(
        "an empty MRC file (0 bytes)",
        "the disk was full when it was written",
        bytes_of(lambda content: b""),
        Refused(NAME, "0 bytes", "Copy it again or remove it"),
    ),
    Case(
        "an MRC file with a header but no data",
        "the writing program was killed",
        bytes_of(lambda content: content[:1024]),
        Refused(NAME, "1024 bytes", "Copy the file again"),
    ),
    Case(
        "an MRC file of the right size, filled with zeros",
        "a transfer that preallocated the space and was interrupted",
        bytes_of(lambda content: bytes(len(content))),
        Refused(NAME, "cannot be read", "Copy it again"),
    ),
    Case(
        "an MRC file whose last rows are zero",
        "a transfer that preallocated the space and was interrupted later",
        bytes_of(lambda content: content[:-40_000] + bytes(40_000)),
        Right({"changed images": 1}, ((NAME, "52 of 144 rows", "Inspect it"),)),
    ),
    Case(
        "an MRC header with more columns than the data",
        "an edited header, or a bug in a cropping program",
        header(nx=NX + 8),
        Refused(NAME, "200 x 144", "its header is wrong"),
    ),
    Case(
        "an MRC header with a negative size",
        "a damaged disk block",
        header(nx=-5),
        Refused(NAME, "-5 x 144", "Export the file again"),
    ),
    Case(
        "an MRC file of mode 3",
        "a complex integer transform from an old program",
        header(mode=3),
        Refused(NAME, "mode 3", "newstack -mode 2"),
    ),
    Case(
        "an MRC file of mode 4",
        "a Fourier transform saved next to the micrographs",
        changed(lambda values: np.fft.rfft2(values).astype(np.complex64)),
        Refused(NAME, "mode 4", "newstack -mode 2"),
    ),
    Case(
        "an MRC file of mode 101",
        "4-bit data as SerialEM saves it",
        header(mode=101),
        Refused(NAME, "mode 101", "newstack -mode 2"),
    ),
    Case(
        "a big-endian MRC file",
        "old workstations",
        changed(lambda values: values.astype(">f4")),
        Right(),
    ),
    Case(
        "an MRC file compressed with gzip, with suffix .gz",
        "archives",
        instead(".mrc.gz", lambda path: path.write_bytes(gzip.compress(mrc_bytes()))),
        Right(),
    ),
    Case(
        "an MRC file compressed with bzip2, with suffix .bz2",
        "archives",
        instead(".mrc.bz2", lambda path: path.write_bytes(bz2.compress(mrc_bytes()))),
        Right(),
    ),
    Case(
        "an MRC file compressed with gzip but named .mrc",
        "a file system that compresses, or a download that renames",
        bytes_of(gzip.compress),
        Right(),
    ),
    Case(
        "a truncated compressed MRC file",
        "an interrupted transfer",
        instead(".mrc.bz2", lambda path: path.write_bytes(bz2.compress(mrc_bytes())[:-900])),
        Refused("micrographs/m3.mrc.bz2", "cannot be read", "Copy it again"),
    ),
    Case(
        "a movie as MRC",
        "raw frames instead of the motion-corrected sums",
        changed(lambda values: np.stack([values] * 8)),
        Refused(NAME, "8 images", ONE_IMAGE),
    ),
    Case(
        "a folder of .mrcs stacks",
        "raw movies instead of the motion-corrected sums",
        only_movies,
        Refused("micrographs", "6 files ending in .mrcs", "motion-corrected"),
    ),
    Case(
        "a movie as TIFF",
        "raw frames as written by K3 cameras",
        instead(".tif", movie),
        Refused("micrographs/m3.tif", "3 images", ONE_IMAGE),
    ),
    Case(
        "an image saved as a volume with one slice",
        "tomography programs",
        changed(lambda values: values[None], ispg=1),
        Right(),
    ),
    Case(
        "a TIFF file named .mrc",
        "renamed instead of converted",
        lambda project: tifffile.imwrite(project.micrograph(), counts16()),
        Refused(NAME, "cannot be read", "its format may not match its suffix"),
    ),
    Case(
        "a web page named .mrc",
        "a download that required a login",
        bytes_of(lambda content: b"<!DOCTYPE html><title>Sign in</title>" * 50),
        Refused(NAME, "cannot be read", "its format may not match its suffix"),
    ),
    Case(
        "one NaN pixel",
        "zero divided by zero in the gain correction",
        changed(region(slice(3, 4), slice(5, 6), np.nan)),
        Refused(NAME, "nan) at row 3, column 5", "Process the micrograph again or remove it"),
    ),
    Case(
        "a row of infinite pixels",
        "a dead row of the gain reference",
        changed(region(slice(7, 8), slice(None), np.inf)),
        Refused(NAME, "192 pixels", "Process the micrograph again or remove it"),
    ),
    Case(
        "a constant image",
        "the shutter was closed, or the beam was off",
        changed(region(slice(None), slice(None), 7)),
        Refused(NAME, "every pixel is 7", "remove it"),
    ),
    Case(
        "two broken images, and `on_bad_micrograph: skip`",
        "a few of thousands are always broken",
        both(both(truncated("m1"), changed(region(slice(3, 4), slice(5, 6), np.nan))), skip),
        Right(
            {"micrographs": 4, "annotated": 4, "particles": 60},
            (
                ("left out: micrographs/m1.mrc", "110616 bytes"),
                ("left out: micrographs/m3.mrc", "NaN or infinite"),
                ("2 of 6 micrographs were left out", "on_bad_micrograph: skip"),
            ),
        ),
    ),
    Case(
        "every image broken, and `on_bad_micrograph: skip`",
        "an interrupted transfer of the whole folder",
        both(truncated(*NAMES), skip),
        Refused("micrographs/m0.mrc", "6 in all", "Copy them again"),
    ),
    Case(
        "a saturated image",
        "an 8-bit export with a wrong range of grey values",
        changed(lambda values: np.minimum(values, np.float32(-0.5))),
        Right({"changed images": 1}, ((NAME, "highest value, -0.5", "Export"),)),
    ),
    Case(
        "white particles in every image",
        "images inverted for another picker",
        inverted,
        Right({"changed images": 6}),
    ),
    Case(
        "white particles in one image of six",
        "some images were inverted for another picker",
        changed(lambda values: -values),
        Right({"changed images": 1}, ((NAME, "contrast", "Invert"),)),
    ),
    Case(
        "a hot column",
        "a defect of the camera",
        changed(region(slice(None), slice(40, 41), 1e4)),
        Right(),
    ),
    Case(
        "headers with pixel size 0, and a radius in pixels",
        "programs that do not keep the pixel size",
        no_pixel_size,
        Right(),
    ),
    Case(
        "headers with pixel size 0, and a diameter in angstrom",
        "programs that do not keep the pixel size",
        pixel_size(0.0),
        Refused("micrographs/m0.mrc", "particle_diameter_angstrom: 12", "Set pixel_size"),
    ),
    Case(
        "headers with pixel size 1, and a diameter in angstrom",
        "programs write 1 if they do not know the pixel size",
        pixel_size(1.0),
        Right(warnings=(("m0.mrc", "1 angstrom", "Set pixel_size"),)),
    ),
    Case(
        "headers with two pixel sizes, and a radius in pixels",
        "two magnifications in one folder",
        two_magnifications,
        Right(warnings=(("m3.mrc", "2 to 4 angstrom", "particle_diameter_angstrom"),)),
    ),
    Case(
        "a 16-bit TIFF in strips of 7 rows",
        "cameras choose the strip size by available memory",
        instead(".tif", lambda path: tifffile.imwrite(path, counts16(), rowsperstrip=7)),
        Right(),
    ),
    Case(
        "a PNG with a palette",
        "figures and previews",
        instead(".png", lambda path: Image.fromarray(bytes8()).convert("P").save(path)),
        Right(),
    ),
    Case(
        "a PNG with an alpha channel",
        "pictures from an image editor",
        instead(".png", alpha),
        Right(),
    ),
    Case(
        "a thumbnail among the micrographs",
        "previews in the same folder",
        small,
        Refused("micrographs/thumbnail.mrc", "8 x 8 px", "remove the file"),
    ),
    Case(
        "a folder named like a micrograph",
        "exports with one folder per micrograph",
        lambda project: project.path("micrographs/m9.mrc").mkdir(),
        Right(),
    ),
]


def mrc_bytes() -> bytes:
    """m3 as it is in the sound data set."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_mrc(Path(folder) / "m3.mrc", image("m3"))
        return (Path(folder) / "m3.mrc").read_bytes()
