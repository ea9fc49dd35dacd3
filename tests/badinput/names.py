"""Names of files and folders: spelled in several ways, or with characters that break programs."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Callable

from badinput import stages
from badinput.book import Case, Refused, Right
from badinput.project import NAMES, Make, Project, both
from badinput.stages import workflow

UMLAUT = "Gitter_ä_m3"


def renamed(change: Callable[[str], str], pattern: str = "coordinates/*") -> Make:
    """Rename files by their stems."""

    def make(project: Project) -> None:
        for path in sorted(project.folder.glob(pattern)):
            path.rename(path.with_name(change(path.stem) + path.suffix))

    return make


def alike(change: Callable[[str], str]) -> Make:
    """Rename micrographs and coordinate files alike."""
    return renamed(change, "[mc]*/*")


def one(name: str) -> Make:
    """Rename m3 and its coordinates."""
    return alike(lambda stem: name if stem == "m3" else stem)


def folder(name: str) -> Make:
    """Keep the data in a folder of this name."""

    def make(project: Project) -> None:
        for part in ("micrographs", "coordinates"):
            (project.path(name) / part).parent.mkdir(exist_ok=True)
            project.path(part).rename(project.path(name) / part)
        project.edit(micrographs=f"{name}/micrographs", coordinates=f"{name}/coordinates")

    return make


def decomposed(project: Project) -> None:
    project.micrograph().rename(project.micrograph(unicodedata.normalize("NFD", UMLAUT)))
    project.points().rename(project.points(unicodedata.normalize("NFC", UMLAUT)))


def latin1(project: Project) -> None:
    path = os.fsencode(project.micrograph())
    os.rename(path, path.replace(b"m3", b"m3_\xe4"))


def two_of_one_name(project: Project) -> None:
    project.path("micrographs/second").mkdir()
    shutil.copy(project.micrograph(), project.path("micrographs/second/m3.mrc"))
    project.edit(micrographs="micrographs/**/*.mrc")


def two_suffixes(project: Project) -> None:
    shutil.copy(project.micrograph(), project.path("micrographs/m3.tif"))


def broken_link(project: Project) -> None:
    project.micrograph().unlink()
    project.micrograph().symlink_to("/not/mounted/m3.mrc")


def links(project: Project) -> None:
    project.path("micrographs").rename(project.path("storage"))
    project.path("micrographs").mkdir()
    for name in NAMES:
        project.micrograph(name).symlink_to(project.path(f"storage/{name}.mrc"))


def loop(project: Project) -> None:
    project.path("micrographs/again").symlink_to(project.path("micrographs"))
    project.edit(micrographs="micrographs/**/*.mrc")


def copied(project: Project) -> None:
    project.micrograph("m3_link").symlink_to(project.micrograph())


def nowhere(project: Project) -> None:
    project.edit(micrographs="no such folder/micrographs")


CASES = [
    Case(
        "coordinate files with cryoSPARC's number prefix",
        "cryoSPARC numbers the files it imports",
        renamed(lambda stem: f"004218862910_{stem}"),
        Right(),
    ),
    Case(
        "coordinate files with a job suffix",
        "RELION and crYOLO add one",
        renamed(lambda stem: f"{stem}_autopick"),
        Right(),
    ),
    Case(
        "micrographs with a motion-correction suffix",
        "the picks were named after the movie",
        renamed(lambda stem: f"{stem}_patch_aligned_doseweighted", "micrographs/*"),
        Right(),
    ),
    Case(
        "coordinate files in capital letters",
        "copied via a case-insensitive file system",
        renamed(str.upper),
        Right(),
    ),
    Case(
        "an umlaut encoded as one character in one name and as two in the other",
        "macOS separates letters and accents, Linux does not",
        decomposed,
        Right(),
    ),
    Case(
        "coordinate files with unrelated names",
        "only the micrographs, or only the coordinates, were renamed",
        renamed(lambda stem: f"grid7-{stem}"),
        Refused("coordinates", "'grid7-m0' matches no micrograph", "rename one of them"),
    ),
    Case(
        "one coordinate file with an unrelated name",
        "a typo",
        renamed(lambda stem: "mm3" if stem == "m3" else stem),
        Right(
            {"annotated": 5, "particles": 75, "changed annotations": 1},
            (("coordinates", "15 of 90 coordinates", "nearest: m3"),),
        ),
    ),
    Case(
        "two micrographs with the same name in two folders",
        "one glob that matches two sessions",
        two_of_one_name,
        Refused("micrographs/second/m3.mrc", "'m3'", "Rename one of them, or narrow the glob"),
    ),
    Case(
        "the same micrograph as .mrc and as .tif",
        "a conversion into the same folder",
        two_suffixes,
        Refused("micrographs/m3.tif", "'m3'", "Rename one of them, or narrow the glob"),
    ),
    Case(
        "a space in the name of a micrograph",
        "exports name files by date and time",
        one("m3 Nov 24"),
        Refused("micrographs/m3 Nov 24.mrc", "a space", "or link it"),
    ),
    Case(
        "a space in the name of a folder",
        "shared drives",
        folder("data of Anna"),
        Refused("data of Anna/micrographs/m0.mrc", "a space", "link it under another name"),
    ),
    Case(
        "a quote in the name of a micrograph",
        "exports",
        one("m3'"),
        Refused("micrographs/m3'.mrc", "quote", "Rename the file"),
    ),
    Case(
        "braces in the name of a folder",
        "scripts that failed to fill in a name",
        folder("{user}"),
        Refused("{user}/micrographs/m0.mrc", "braces", "Rename it, or link it"),
    ),
    Case(
        "a semicolon, a dollar sign, an ampersand, an umlaut and a leading dash in names",
        "exports; through the whole workflow up to training",
        both(one("-m3;$1&ä"), folder("a;b$HOME&ü")),
        Right(),
        run=workflow,
    ),
    Case(
        "a newline in the name of a micrograph",
        "copied and pasted names",
        one("m3\n"),
        Refused("micrographs", "'m3\\n.mrc'", "Rename the file"),
    ),
    Case(
        "a leading dash in the name of a micrograph",
        "names by date, with a field left empty",
        one("-m3"),
        Right(),
    ),
    Case(
        "a name that is not UTF-8",
        "archived on Windows, unpacked on Linux",
        latin1,
        Refused("m3_\\udce4.mrc", "not valid UTF-8", "Rename the file"),
    ),
    Case(
        "square brackets in the name of a folder",
        "in a glob they denote a set of characters",
        folder("grid[7]"),
        Right(),
    ),
    Case(
        "micrographs that are symbolic links",
        "symbolic links to files in central storage",
        links,
        Right(),
    ),
    Case(
        "a broken symbolic link",
        "storage that is not mounted",
        broken_link,
        Refused("micrographs/m3.mrc", "/not/mounted/m3.mrc", "Mount"),
    ),
    Case(
        "a folder with a link to itself, searched with `**`",
        "manually created links",
        loop,
        Right(),
    ),
    Case(
        "a folder that does not exist",
        "a typo, or a disk that is not mounted",
        nowhere,
        Refused("no such folder/micrographs", "does not exist", "Give a folder or a glob"),
        run=stages.check,
    ),
]
