"""What labs really bring: files that other programs write a little differently than expected."""

from __future__ import annotations

from collections.abc import Callable

import mrcfile
import numpy as np
import tifffile
from badinput.book import Case, Refused, Right
from badinput.coordinates import relion_job, star, text
from badinput.project import NAMES, NY, Make, Project, both, image, write_mrc
from numpy.typing import NDArray

XY = NDArray[np.float64]


def header_bytes(**changes: bytes) -> Make:
    """Change bytes of m3's MRC header, `at_{offset}` to what."""

    def make(project: Project) -> None:
        content = bytearray(project.micrograph().read_bytes())
        for key, value in changes.items():
            at = int(key.removeprefix("at_"))
            content[at : at + len(value)] = value
        project.micrograph().write_bytes(content)

    return make


def unsigned_bytes(project: Project) -> None:
    """Write m3 with 8 bits, 0 to 255, as programs that know no signed bytes do."""
    values = np.clip(128 + 20 * image("m3"), 0, 255).round().astype(np.uint8)
    write_mrc(project.micrograph(), values.view(np.int8))
    with mrcfile.open(project.micrograph(), "r+") as mrc:
        mrc.header["dmin"], mrc.header["dmax"] = values.min(), values.max()


def signed_lzw(project: Project) -> None:
    """Write m3 as a TIFF of signed integers, with LZW."""
    values = (300 * image("m3")).astype(np.int16)
    tifffile.imwrite(project.path("micrographs/m3.tif"), values, compression="lzw")
    project.micrograph().unlink()


def companions(project: Project) -> None:
    """Put what motion correction leaves beside each micrograph."""
    for name in NAMES:
        write_mrc(project.path(f"micrographs/{name}_noDW.mrc"), image(name))
        write_mrc(project.path(f"micrographs/{name}_PS.mrc"), image(name)[:64, :64])


def some(names: tuple[str, ...], change: Callable[[XY], XY]) -> Make:
    """Change the points of some micrographs."""
    return lambda project: project.rewrite(lambda name, xy: change(xy) if name in names else xy)


def rows(content: str, change: Callable[[list[str]], list[str]]) -> str:
    """Change the rows of particles of a STAR file, as lists of words."""
    lines = content.split("\n")
    for at, line in enumerate(lines):
        if ".mrc" in line:
            lines[at] = "\n".join("\t".join(change(part.split("\t"))) for part in [line])
    return "\n".join(lines)


def two_folders(content: str) -> str:
    """Write each row twice: of the micrographs at hand, and of another folder's."""
    here = rows(content, lambda words: [*words[:2], f"micrographs/{words[2]}", *words[3:]])
    there = rows(content, lambda words: ["20.5", *words[1:2], f"Grid2/{words[2]}", *words[3:]])
    return here.rstrip("\n") + "\n" + "\n".join(x for x in there.split("\n") if "Grid2" in x)


def with_columns(names: str, change: Callable[[list[str]], list[str]]) -> Callable[[str], str]:
    """Add columns at the end, and change the rows."""

    def make(content: str) -> str:
        added = "".join(f"_{name} #{i}\n" for i, name in enumerate(names.split(), start=5))
        at = content.index("_rlnOpticsGroup #4\n") + len("_rlnOpticsGroup #4\n")
        return rows(content[:at] + added + content[at:], change)

    return make


def notes(project: Project) -> None:
    """Add what RELION leaves in the folder of a job."""
    for name, content in {
        "note.txt": " ++++ Executing new job\n",
        "job.star": "data_job\n\n_rlnJobTypeLabel relion.autopick.log\n",
        "job_pipeline.star": "data_pipeline_general\n\n_rlnPipeLineJobCounter 13\n",
    }.items():
        project.path(f"AutoPick/job009/{name}").write_text(content)


def in_metres(project: Project) -> None:
    """Write the pixel size in metres."""
    for name in NAMES:
        write_mrc(project.micrograph(name), image(name), 2e-10)


def scores(content: str) -> str:
    """Give each point a score, but the last."""
    head, *body = content.strip().split("\n")
    return "\n".join([f"{head},Score", *(f"{line},0.5" for line in body[:-1]), f"{body[-1]},nan"])


UPSIDE_DOWN = ("m0", "m1", "m2")

CASES = [
    Case(
        "an MRC file with machine stamp 44 00 00 00",
        "SerialEM",
        header_bytes(at_212=b"\x44\0\0\0"),
        Right(),
    ),
    Case(
        "an MRC file without MAP id and machine stamp",
        "programs from before the year 2000",
        header_bytes(at_208=bytes(8)),
        Right(),
    ),
    Case(
        "an MRC file of mode 0 with unsigned bytes",
        "cisTEM and scripts; the header contains the largest value",
        unsigned_bytes,
        Right(),
    ),
    Case(
        "a TIFF file of signed integers with LZW compression",
        "scripts; some decoders read these as unsigned",
        signed_lzw,
        Right(),
    ),
    Case(
        "`_noDW` and `_PS` files beside the micrographs",
        "a folder of RELION's motion correction",
        companions,
        Right({}, (("micrographs", "12 files", "left out"),)),
    ),
    Case(
        "coordinates of three of six micrographs with y flipped",
        "two people picked, with different programs",
        some(UPSIDE_DOWN, lambda xy: np.column_stack([xy[:, 0], NY - 1 - xy[:, 1]])),
        Right(
            {"changed annotations": 3},
            (("micrographs/m0.mrc", "flip_y", "3 of the 6", "m1.mrc, m2.mrc"),),
        ),
    ),
    Case(
        "coordinates of one micrograph at half the scale",
        "one micrograph was picked on a binned copy",
        some(("m3",), lambda xy: xy / 2),
        Right({"changed annotations": 1}, (("micrographs/m3.mrc", "scale by", "1 of the 6"),)),
    ),
    Case(
        "box corners instead of centres on one micrograph",
        "one micrograph was picked again with another program",
        some(("m3",), lambda xy: xy - 9),
        Right({"changed annotations": 1}, (("micrographs/m3.mrc", "shift by", "1 of the 6"),)),
    ),
    Case(
        "a point without a score",
        "added manually to automatic picks",
        text(scores),
        Right(),
    ),
    Case(
        "a STAR file that also lists micrographs of another folder",
        "two sessions in one table, with the same image names",
        star(two_folders),
        Right({}, (("particles.star", "90 of 180 coordinates", "in a different folder"),)),
    ),
    Case(
        "a STAR file with refined origins",
        "particles after a refinement",
        star(
            with_columns(
                "rlnOriginXAngst rlnOriginYAngst",
                lambda words: [f"{float(words[0]) + 3:.2f}", *words[1:], "6.0", "0.0"],
            ),
            pixel_size=2.0,
        ),
        Right({}, (("particles.star", "refined origins", "3.0 px"),)),
    ),
    Case(
        "a STAR file with z coordinates",
        "picks from a tomogram",
        star(with_columns("rlnCoordinateZ", lambda words: [*words, words[0]])),
        Refused(
            "particles.star", "come from several slices of a tomogram", "Use picks of micrographs"
        ),
    ),
    Case(
        "headers in metres, and a diameter in angstrom",
        "microscope software that uses metres",
        both(
            in_metres,
            lambda project: project.edit(particle_radius=None, particle_diameter_angstrom=24.0),
        ),
        Refused("micrographs/m0.mrc", "2e-10 angstrom per pixel", "Set the pixel size"),
    ),
    Case(
        "the folder of a RELION job, including its notes",
        "as RELION leaves it",
        both(relion_job, notes),
        Right(),
    ),
    Case(
        "coordinate files named by Gautomatch",
        "`_automatch`",
        lambda project: [
            project.points(name).rename(project.path(f"coordinates/{name}_automatch.csv"))
            for name in NAMES
        ],
        Right(),
    ),
]
