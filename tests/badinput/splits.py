"""Splits and labels that leave nothing to learn from, to choose by or to score on."""

from __future__ import annotations

from collections.abc import Mapping

from badinput.book import Case, Refused, Right
from badinput.project import NAMES, Make, Project, both

EMPTY = "X-Coordinate,Y-Coordinate\n"
PARTS = ("train", "train", "train", "train", "val", "test")


def file(parts: Mapping[str, str], start: str = "", sep: str = "\t", end: str = "\n") -> Make:
    """A split file with these lines."""

    def make(project: Project) -> None:
        lines = [f"micrograph{sep}split", *(f"{name}{sep}{part}" for name, part in parts.items())]
        text = start + end.join(lines) + end
        suffix = "csv" if sep == "," else "tsv"
        project.path(f"split.{suffix}").write_bytes(text.encode())
        project.edit(split_file=f"split.{suffix}")

    return make


def parts(*given: str) -> dict[str, str]:
    """Micrograph -> part."""
    return dict(zip(NAMES, given, strict=True))


def empty(*names: str) -> Make:
    """No particles on some micrographs."""

    def make(project: Project) -> None:
        for name in names:
            project.points(name).write_text(EMPTY)

    return make


def ratio(value: float) -> Make:
    return lambda project: project.set("splits", labeled_ratios=[value])


def only(*names: str) -> Make:
    """Coordinates of some micrographs only."""

    def make(project: Project) -> None:
        for name in set(NAMES) - set(names):
            project.points(name).unlink()

    return make


CASES = [
    Case(
        "two annotated micrographs",
        "the first afternoon of a project",
        only("m0", "m1"),
        Refused("mine", "2 annotated micrographs", "Annotate at least three"),
    ),
    Case(
        "a split file without validation micrographs",
        "written for a program without validation",
        file(parts(*PARTS) | {"m4": "train"}),
        Refused("split.tsv", "no annotated micrograph is assigned to val", "at least one to each"),
    ),
    Case(
        "a split file without test micrographs",
        "all labels were meant for training",
        file(parts(*PARTS) | {"m5": "val"}),
        Refused("split.tsv", "no annotated micrograph is assigned to test", "at least one to each"),
    ),
    Case(
        "a split file with other names for the parts",
        "other programs use valid",
        file(parts(*PARTS) | {"m4": "valid"}),
        Refused("split.tsv", "'valid'", "Use one of train, val, test"),
    ),
    Case(
        "a split file that names a micrograph twice",
        "copied lines",
        file(parts(*PARTS) | {"m3.mrc": "test"}),
        Refused("split.tsv", "'m3.mrc'", "Remove"),
    ),
    Case(
        "a split file that names a missing micrograph",
        "micrographs removed later",
        file(parts(*PARTS) | {"m9": "train"}),
        Refused("split.tsv", "'m9'", "Correct or remove"),
    ),
    Case(
        "a split file from a spreadsheet",
        "a UTF-8 byte order mark, Windows line endings, commas",
        file(parts(*PARTS), start="\ufeff", sep=",", end="\r\n"),
        Right({"training micrographs": 4}),
    ),
    Case(
        "a split file with semicolons",
        "a spreadsheet set to German or French",
        file(parts(*PARTS), sep=";"),
        Refused("split.tsv", "micrograph;split", "separated by a tab"),
    ),
    Case(
        "a ratio that selects less than one micrograph",
        "1 % of four micrographs",
        ratio(0.01),
        Right({"labelled micrographs": 1, "labelled particles": 15}),
    ),
    Case(
        "everything labelled",
        "the upper limit to compare with",
        ratio(1.0),
        Right({"labelled micrographs": 4, "labelled particles": 60}),
    ),
    Case(
        "a ratio in percent",
        "5 for 5 %",
        ratio(5),
        Refused("config.yaml", "splits.labeled_ratios[0] is 5", "a number in (0, 1]"),
    ),
    Case(
        "training micrographs without particles",
        "empty holes were annotated as empty, and all of them ended up in training",
        both(file(parts(*PARTS)), empty("m0", "m1", "m2", "m3")),
        Refused("mine", "4 train micrographs", "split_file"),
    ),
    Case(
        "no particle on any micrograph",
        "the wrong job was exported",
        empty(*NAMES),
        Refused("mine", "train micrographs", "Check coordinates"),
    ),
    Case(
        "tiles larger than the micrograph",
        "a tile size in original pixels",
        lambda project: project.set("splits", unit="tile", tile_size=512),
        Refused("mine", "no tile", "lower splits.tile_size"),
    ),
]
