"""Coordinates of another frame, scale or layout, and files that were edited on the way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from badinput.book import Case, Refused, Right
from badinput.project import NAMES, NX, NY, PIXEL_SIZE, RADIUS, Make, Project, both, points
from numpy.typing import NDArray

NAME = "coordinates/m3.csv"
Change = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def moved(change: Change) -> Make:
    """Change the points of every micrograph."""
    return lambda project: project.rewrite(lambda _, xy: change(xy))


def moved_one(change: Change) -> Make:
    """Change the points of m3."""
    return lambda project: project.rewrite(lambda name, xy: change(xy) if name == "m3" else xy)


def text(change: Callable[[str], str], encoding: str = "utf-8") -> Make:
    """Change the text of m3's file."""

    def make(project: Project) -> None:
        path = project.points()
        path.write_bytes(change(path.read_text()).encode(encoding))

    return make


def last_line(line: str) -> Make:
    """Put another last line into m3's file."""
    return text(lambda content: content.rstrip("\n").rsplit("\n", 1)[0] + f"\n{line}\n")


def doubled(offset: float) -> Change:
    """Every third point again, this far away."""
    return lambda xy: np.concatenate([xy, xy[::3] + np.array([offset, 0])])


def star(change: Callable[[str], str], pixel_size: float | None = None) -> Make:
    """One STAR file with all points, and its text changed."""

    def make(project: Project) -> None:
        path = project.one_file("particles.star", pixel_size=pixel_size)
        path.write_text(change(path.read_text()))

    return make


def json_file(change: Callable[[str], str]) -> Make:
    """One JSON file with all points, and its text changed."""

    def make(project: Project) -> None:
        path = project.one_file("coordinates.json")
        path.write_text(change(path.read_text()))

    return make


def relion_job(project: Project) -> None:
    """A folder of RELION's automatic picking: the list, and the files a level below."""
    project.one_file("AutoPick/job009", fmt="star")
    folder = project.path("AutoPick/job009")
    (folder / "Movies").mkdir()
    for path in folder.glob("m*.star"):
        path.rename(folder / "Movies" / path.name)
    index = folder / "autopick.star"
    index.write_text(index.read_text().replace("job009/", "job009/Movies/"))


def two_lists(project: Project) -> None:
    """The same micrograph in two files of a folder."""
    content = project.points().read_text()
    project.path("coordinates/m3_autopick.csv").write_text(content)


def spreadsheet(content: str) -> str:
    """What a European spreadsheet makes of it."""
    return content.replace(",", ";").replace(".", ",")


def without(*names: str) -> Make:
    """No file for some micrographs."""

    def make(project: Project) -> None:
        for name in names:
            project.points(name).unlink()

    return make


HEADER = "X-Coordinate,Y-Coordinate\n"

CASES = [
    Case(
        "coordinates with y counted from the other end",
        "CryoPPP tables, and picks on TIFF or JPG copies",
        moved(lambda xy: np.column_stack([xy[:, 0], NY - xy[:, 1]])),
        Refused("coordinates", "y_axis: down", "Set y_axis: up"),
    ),
    Case(
        "the same, and `y_axis: up`",
        "the fix for the case above",
        both(
            moved(lambda xy: np.column_stack([xy[:, 0], NY - xy[:, 1]])),
            lambda project: project.edit(y_axis="up"),
        ),
        Right(),
    ),
    Case(
        "coordinates with x counted from the other end",
        "images mirrored on export",
        moved(lambda xy: np.column_stack([NX - 1 - xy[:, 0], xy[:, 1]])),
        Right({"changed annotations": 6}, (("coordinates", "flip_x suspected", "Inspect a few"),)),
    ),
    Case(
        "coordinates with x and y swapped",
        "scripts that write row, column",
        moved(lambda xy: xy[:, ::-1]),
        Refused("coordinates", "image of 192 x 144 px", "another size"),
    ),
    Case(
        "coordinates picked on images binned by 4",
        "Topaz and other pickers work on smaller images",
        moved(lambda xy: xy / 4),
        Right(
            {"changed annotations": 6},
            (("coordinates", "scale by 3.99 suspected", "set scale: 3.99"),),
        ),
    ),
    Case(
        "the same, and `scale: 4`",
        "the fix for the case above",
        both(moved(lambda xy: xy / 4), lambda project: project.edit(scale=4)),
        Right(),
    ),
    Case(
        "coordinates picked on images twice as large",
        "super-resolution before binning",
        moved(lambda xy: xy * 2),
        Refused("coordinates: m0.mrc", "image of 192 x 144 px", "set scale"),
    ),
    Case(
        "coordinates in angstrom",
        "tables of other programs",
        moved(lambda xy: xy * PIXEL_SIZE),
        Refused("coordinates: m0.mrc", "image of 192 x 144 px", "set scale"),
    ),
    Case(
        "coordinates of other micrographs with the same names",
        "sessions that number their images in the same way",
        lambda project: project.rewrite(lambda name, _: points(NAMES[NAMES.index(name) - 1])),
        Right(
            {"changed annotations": 6},
            (("coordinates", "no particles at the points", "wrong micrographs"),),
        ),
    ),
    Case(
        "a pixel size in the STAR file that contradicts the headers",
        "particles from a job on binned micrographs",
        star(lambda content: content, pixel_size=2 * PIXEL_SIZE),
        Right(warnings=(("particles.star", "4 angstrom", "set scale"),)),
    ),
    Case(
        "every third point duplicated",
        "two merged exports",
        moved(doubled(0)),
        Right(
            warnings=tuple(
                (f"coordinates: {name}.mrc", "5 duplicate points", "used once") for name in NAMES
            )
        ),
    ),
    Case(
        "every third point duplicated, one pixel apart",
        "merged picks of two programs",
        moved(doubled(1)),
        Right(
            {"particles": 120, "changed annotations": 6},
            (("coordinates", "30 pairs of points", "Remove the duplicates"),),
        ),
    ),
    Case(
        "a point at x = -300",
        "boxes that extend beyond the edge, or another coordinate frame",
        last_line("-300,20"),
        Refused("coordinates: m3.mrc", "x=-300", "another size"),
    ),
    Case(
        "points half a pixel outside the image because of rounding",
        "coordinates counted from the corner of a pixel",
        last_line("-0.5,143.6"),
        Right({"changed annotations": 1}),
    ),
    Case(
        "a point at x = 10000000",
        "a lost decimal point",
        last_line("10000000,20"),
        Refused(NAME, "x=1e+07", "Export the file again"),
    ),
    Case(
        "a NaN coordinate",
        "scripts that divide by zero",
        last_line("nan,20"),
        Refused(NAME, "'nan'", "Correct the file"),
    ),
    Case(
        "an empty coordinate file (0 bytes)",
        "a program that was killed or found nothing",
        text(lambda content: ""),
        Refused(NAME, "the file is empty", "keep the header line"),
    ),
    Case(
        "a coordinate file with only a header",
        "a micrograph on which nothing was picked",
        text(lambda content: HEADER),
        Right({"particles": 75, "changed annotations": 1}),
    ),
    Case(
        "a particle table without particles",
        "a selection that kept no particles",
        star(lambda content: content[: content.index("_rlnOpticsGroup #4") + 18] + "\n"),
        Refused("particles.star", "no particles", "json"),
    ),
    Case(
        "a coordinate file truncated in its last line",
        "an interrupted transfer",
        text(lambda content: content.rstrip("\n").rsplit(",", 1)[0]),
        Refused(NAME, "line 16 has 1 of the header's", "Export the file again"),
    ),
    Case(
        "a coordinate file with a UTF-8 byte order mark and Windows line endings",
        "saved by a spreadsheet",
        text(lambda content: "\ufeff" + content.replace("\n", "\r\n")),
        Right(),
    ),
    Case(
        "a coordinate file in UTF-16",
        "saved by a spreadsheet as Unicode text",
        text(str, "utf-16"),
        Right(),
    ),
    Case(
        "decimal commas, with semicolons as separators",
        "a spreadsheet set to German or French",
        text(spreadsheet),
        Right(),
    ),
    Case(
        "decimal commas, with commas as separators",
        "decimal points replaced by hand",
        text(lambda content: content.replace(".", ",")),
        Refused(NAME, "line 2 has 4 of the header's", "decimal commas"),
    ),
    Case(
        "a coordinate file without its header",
        "concatenated tables",
        text(lambda content: content.split("\n", 1)[1]),
        Refused(NAME, "column 'X-Coordinate' is missing", "Add the header"),
    ),
    Case(
        "a text file among the coordinate files",
        "people keep notes",
        lambda project: project.path("coordinates/README.txt").write_text("Picked by hand.\n"),
        Refused("coordinates", "README.txt", "Set the format"),
    ),
    Case(
        "the folder of a RELION job",
        "it contains the list, with the picks in a subfolder",
        relion_job,
        Right(),
    ),
    Case(
        "two coordinate files for one micrograph",
        "a second round of picking in the same folder",
        two_lists,
        Refused("m3.mrc", "'m3' and 'm3_autopick'", "Remove or rename one"),
    ),
    Case(
        "JSON points with three numbers",
        "scripts that append the score",
        json_file(lambda content: content.replace("]", ", 0.9]", 1)),
        Refused("coordinates.json: m0.mrc", "0.9]", "Write [x, y]"),
    ),
    Case(
        "JSON numbers written as text",
        "scripts that read csv and write JSON",
        json_file(lambda content: content.replace("[[", '[["', 1).replace(",", '",', 1)),
        Refused("coordinates.json: m0.mrc", "is not a number", "Correct the file"),
    ),
    Case(
        "JSON with a trailing comma",
        "manual editing",
        json_file(lambda content: content.replace("]]", "],]", 1)),
        Refused("coordinates.json", "not valid JSON", "Export the file again"),
    ),
    Case(
        "micrographs without a coordinate file",
        "only some micrographs were picked",
        without("m0", "m1"),
        Right({"annotated": 4, "particles": 60, "changed annotations": 2}),
    ),
    Case(
        "a particle radius larger than the image",
        "angstrom instead of pixels, or a typo",
        lambda project: project.edit(particle_radius=5400),
        Refused("micrographs/m0.mrc", "radius 5400 px", "Correct particle_radius"),
    ),
    Case(
        "a particle radius of a tenth of a pixel",
        "nanometres instead of pixels",
        lambda project: project.edit(particle_radius=RADIUS / 60),
        Refused("micrographs/m0.mrc", "radius 0.1 px", "Correct particle_radius"),
    ),
    Case(
        "a particle radius that makes discs cover most of the image",
        "the diameter was given as the radius, in angstrom",
        lambda project: project.edit(particle_radius=10 * RADIUS),
        Right(
            warnings=(
                ("coordinates", "pairs of points", "Remove the duplicates"),
                ("coordinates", "no particles at the points", "wrong scale"),
                ("discs cover", "% of the annotated area", "pixels of the original micrograph"),
            )
        ),
    ),
    Case(
        "a border that covers the whole micrograph",
        "angstrom instead of pixels",
        lambda project: project.edit(border=100),
        Refused("m0.mrc", "a border of 100 px", "Lower border"),
    ),
]
