"""Areas, clicks and negatives that do not fit the micrographs or each other."""

from __future__ import annotations

import numpy as np
from badinput.book import Case, Refused, Right
from badinput.project import NX, NY, Make, Project, both, points

from fewpick.coordinates import Picks, write_picks

NAME = "areas.tsv"
HEADER = "micrograph\tx0\ty0\tx1\ty1\n"


def areas(*lines: str, header: str = HEADER) -> Make:
    """A table of areas."""

    def make(project: Project) -> None:
        text = header + "".join("\t".join(line.split()) + "\n" for line in lines)
        project.path(NAME).write_text(text)
        project.edit(annotation="areas", areas=NAME)

    return make


def clicks(n: int) -> Make:
    """The first marks of m3, and nothing else."""

    def make(project: Project) -> None:
        project.rewrite(lambda name, xy: xy[: n if name == "m3" else 0])
        project.edit(annotation="clicks")

    return make


def negatives(xy: np.ndarray) -> Make:
    """Clicks, and places of m3 that are no particle."""

    def make(project: Project) -> None:
        write_picks(project.path("negatives.star"), {"m3.mrc": Picks(xy)})
        project.edit(annotation="clicks", negatives="negatives.star")

    return make


def on_the_wrong_one(project: Project) -> None:
    """The area that someone went through on m3 carries the name of m4, where nothing is marked."""
    project.rewrite(lambda name, xy: xy if name == "m3" else xy[:0])
    areas(f"m4 0 0 {NX} {NY}")(project)


def outside(n: int, micrographs: int) -> tuple[str, ...]:
    return ("coordinates", f"{n} of 90 marks are outside", f"on {micrographs} micrograph", "clicks")


WHOLE = f"0 0 {NX} {NY}"

CASES = [
    Case(
        "areas that contain all marks",
        "micrographs annotated completely",
        areas(*(f"m{i} {WHOLE}" for i in range(6))),
        Right({"training micrographs": 6, "labelled particles": 90}),
    ),
    Case(
        "marks outside the areas",
        "a few clicks first, then one complete micrograph",
        areas(f"m0 {WHOLE}"),
        Right({"training micrographs": 6, "labelled particles": 90}, (outside(75, 5),)),
    ),
    Case(
        "an area outside the image",
        "drawn on another micrograph, or on a larger copy",
        areas(f"m0 0 0 {NX} {NY}", "m1 0 0 1000 100"),
        Refused("areas.tsv: line 3", "extends beyond m1.mrc", "or a rescaled one"),
    ),
    Case(
        "an area with zero width",
        "a click where a drag was meant",
        areas("m0 10 10 10 50"),
        Refused("areas.tsv: line 2", "x0=10", "It needs x0 < x1"),
    ),
    Case(
        "areas that overlap",
        "drawn twice",
        areas(*(f"m{i} {WHOLE}" for i in range(6)), "m5 10 10 90 90"),
        Right(
            {"training micrographs": 6, "labelled particles": 90},
            ((NAME, "areas overlap on 1 micrograph, first on m5.mrc", "count once"),),
        ),
    ),
    Case(
        "an area assigned to the wrong micrograph",
        "names swapped in a table",
        on_the_wrong_one,
        Right(
            {"particles": 15, "annotated": 2, "changed annotations": 5},
            (
                ("coordinates", "15 of 15 marks are outside the areas", "clicks"),
                ("15 marks of m3.mrc are where m4.mrc has an area", "correct the name"),
            ),
        ),
    ),
    Case(
        "areas of other micrographs",
        "a table from another session",
        areas(f"session2_1 {WHOLE}"),
        Refused(
            "areas.tsv",
            "'session2_1' matches no micrograph",
            "Check that this file and the micrographs belong",
        ),
    ),
    Case(
        "an area of a missing micrograph",
        "micrographs removed after labelling",
        areas(*(f"m{i} {WHOLE}" for i in range(6)), f"m17 {WHOLE}"),
        Right(
            {"training micrographs": 6, "labelled particles": 90},
            ((NAME, "1 name is left out", "'m17' matches no micrograph"),),
        ),
    ),
    Case(
        "areas without a header",
        "a table written by hand",
        areas(f"m0 1 0 {NX} {NY}", header=""),
        Refused(NAME, "column 'micrograph' is missing", "The columns must be"),
    ),
    Case(
        "an empty table of areas",
        "the labelling page keeps the table when the last area is removed",
        areas(),
        Right({"training micrographs": 6, "labelled particles": 90}),
    ),
    Case(
        "two clicks",
        "a first attempt",
        clicks(2),
        Refused("mine.coordinates", "2 marked particles", "Mark about ten"),
    ),
    Case(
        "a place marked both as a particle and as a non-particle",
        "a click removed from only one list",
        negatives(points("m3")[:2] + np.array([[1.0, 0.0], [9.0, 0.0]])),
        Right(
            {"training micrographs": 6, "labelled particles": 90},
            (
                (
                    "negatives.star",
                    "1 negative is also marked as a particle",
                    "Remove one of the two",
                ),
            ),
        ),
    ),
    Case(
        "a table of areas, and `annotation: clicks`",
        "the key was not changed when the first area was marked",
        both(areas(f"m0 {WHOLE}"), lambda project: project.edit(annotation="clicks")),
        Refused("mine.areas is", "annotation is clicks", "set annotation: areas"),
    ),
    Case(
        "negatives, although every particle is marked",
        "negatives add nothing there",
        both(
            negatives(np.array([[90.0, 90.0]])),
            lambda project: project.edit(annotation="full"),
        ),
        Refused("mine.negatives is", "annotation is full", "or remove negatives"),
    ),
]
