"""Interpret the annotation of a data set.

`full`: everything unmarked is background. `areas`: the same, but only inside fully marked areas;
marks elsewhere are clicks. `clicks`: the marks are particles, and everything else is unknown.
Positions marked as "not a particle" (negatives) are background in all three.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from fewpick.annotation.areas import EDGES, Areas, inside_any, read_areas
from fewpick.annotation.frame import read_in_frame
from fewpick.annotation.rectangles import disjoint
from fewpick.coordinates.picks import NoParticles, Points
from fewpick.errors import InputError
from fewpick.geometry import particle_radii

logger = logging.getLogger(__name__)

KINDS = FULL, AREAS, CLICKS = ("full", "areas", "clicks")
NONE = "none"
# Size of micrographs that are not used; their areas are read and dropped.
ANY_SHAPE = (1 << 40, 1 << 40)
# A negative closer than this to a mark contradicts it, in particle radii.
SAME_PLACE = 0.5

AREA_COLUMNS = ["micrograph", *EDGES]


@dataclass(frozen=True)
class Annotation:
    """The annotation of a data set.

    Attributes
    ----------
    manifest : the manifest with the columns annotation (full, areas, clicks or none), n_areas and
        n_negatives; `annotated` is true for micrographs with any annotation
    areas : table with micrograph, x0, y0, x1, y1, px of the original, x1 and y1 exclusive; areas
        of one micrograph do not overlap
    negatives : table with micrograph, x, y, px of the original
    """

    manifest: pd.DataFrame
    areas: pd.DataFrame
    negatives: pd.DataFrame


def annotate(
    spec: Mapping[str, Any],
    manifest: pd.DataFrame,
    coordinates: pd.DataFrame,
    left_out: Collection[str] = (),
) -> Annotation:
    """Read areas and negatives, and classify the annotation of each micrograph.

    Parameters
    ----------
    spec : the data set's block of the configuration, with `annotation`, `areas` and `negatives`;
        the last two are in px of the micrographs, x = column, y = row of the array
    manifest, coordinates : from `manifest.build_manifest`
    left_out : names of micrographs that are not used; their areas and negatives are dropped

    Raises
    ------
    InputError
        If a file cannot be used, names no micrograph of the data set, or extends beyond an image.
    """
    kind = spec.get("annotation", FULL)
    shapes = {
        str(name): (int(ny), int(nx))
        for name, ny, nx in manifest[["micrograph", "ny", "nx"]].itertuples(index=False)
    }
    marks = {str(name): xy[["x", "y"]].to_numpy() for name, xy in coordinates.groupby("micrograph")}
    areas: dict[str, Areas] = {}
    if spec.get("areas"):
        areas = _read_areas(spec, shapes, left_out)
    negatives: dict[str, Points] = {}
    if spec.get("negatives"):
        negatives = _read_negatives(spec, shapes, left_out)
        radii = particle_radii(spec, manifest)
        negatives = _without_contradictions(spec["negatives"], negatives, marks, radii)
    if areas:
        _warn_marks_outside(str(spec.get("coordinates")), marks, areas)
    named = manifest["micrograph"].astype(str)
    said = [
        FULL
        if kind == FULL and is_annotated
        else AREAS
        if len(areas.get(name, ()))
        # A micrograph that is listed without marks or areas is not annotated.
        else CLICKS
        if len(marks.get(name, ())) or len(negatives.get(name, ()))
        else NONE
        for name, is_annotated in zip(named, manifest["annotated"], strict=True)
    ]
    manifest = manifest.assign(
        annotated=[what != NONE for what in said],
        annotation=said,
        n_areas=[len(areas.get(name, ())) for name in named],
        n_negatives=[len(negatives.get(name, ())) for name in named],
    )
    rows = [(name, *area) for name in named for area in areas.get(name, np.empty((0, 4))).tolist()]
    spots = [(name, *xy) for name in named for xy in negatives.get(name, np.empty((0, 2))).tolist()]
    return Annotation(
        manifest,
        pd.DataFrame(rows, columns=AREA_COLUMNS),
        pd.DataFrame(spots, columns=["micrograph", "x", "y"]),
    )


def _read_areas(
    spec: Mapping[str, Any], shapes: Mapping[str, tuple[int, int]], left_out: Collection[str]
) -> dict[str, Areas]:
    """Return the areas of each micrograph, made disjoint."""
    path = spec["areas"]
    held, match = read_areas(path, {**shapes, **dict.fromkeys(left_out, ANY_SHAPE)})
    if match.unmatched_keys:
        logger.warning(
            "%s: %s left out: %s.",
            path,
            _counted(len(match.unmatched_keys), "name", "is", "are"),
            match.summary(),
        )
    areas = {name: disjoint(found) for name, found in held.items() if name in shapes}
    overlapping = [name for name in areas if _size(areas[name]) < _size(held[name])]
    if overlapping:
        logger.warning(
            "%s: areas overlap on %s, first on %s; overlaps count once. Merge overlapping areas.",
            *(path, _counted(len(overlapping), "micrograph"), overlapping[0]),
        )
    return areas


def _read_negatives(
    spec: Mapping[str, Any], shapes: Mapping[str, tuple[int, int]], left_out: Collection[str]
) -> dict[str, Points]:
    """Return the negatives by micrograph."""
    try:
        held = read_in_frame(spec["negatives"], shapes, left_out=left_out)
    except NoParticles:
        return {}
    return {name: picks.xy for name, picks in held.items()}


def _without_contradictions(
    path: str,
    negatives: Mapping[str, Points],
    marks: Mapping[str, Points],
    radii: Mapping[str, float],
) -> dict[str, Points]:
    """Drop negatives that are also marked as particles."""
    kept, dropped = {}, []
    for name, xy in negatives.items():
        clear = np.ones(len(xy), bool)
        if len(xy) and len(marks.get(name, ())):
            distance, _ = cKDTree(marks[name]).query(xy)
            clear = distance >= SAME_PLACE * radii[name]
        kept[name] = xy[clear]
        dropped += [name] * int((~clear).sum())
    if dropped:
        logger.warning(
            "%s: %s, first on %s; ignoring the negative. Remove one of the two labels.",
            path,
            _counted(
                len(dropped),
                "negative",
                "is also marked as a particle",
                "are also marked as particles",
            ),
            dropped[0],
        )
    return kept


def _warn_marks_outside(path: str, marks: Mapping[str, Points], areas: Mapping[str, Areas]) -> None:
    """Warn about marks outside the areas, and about areas drawn on the wrong micrograph."""
    none = np.empty((0, 4), np.int64)
    outside = {
        name: xy[~inside_any(xy, areas.get(name, none))]
        for name, xy in marks.items()
        if not inside_any(xy, areas.get(name, none)).all()
    }
    if not outside:
        return
    total, n = sum(map(len, marks.values())), sum(map(len, outside.values()))
    logger.warning(
        "%s: %d of %s outside the areas, on %s; these count as clicks, and their surroundings "
        "as not annotated.",
        *(path, n, _counted(total, "mark", "is", "are"), _counted(len(outside), "micrograph")),
    )
    for name, held in areas.items():
        empty = held[[not inside_any(marks.get(name, none[:, :2]), area).any() for area in held]]
        for other, xy in outside.items():
            if other != name and (misplaced := int(inside_any(xy, empty).sum())) > 1:
                logger.warning(
                    "%s: %d marks of %s are where %s has an area without marks. If the area was "
                    "drawn on another micrograph, correct the name in the table of areas.",
                    *(path, misplaced, other, name),
                )
                return


def _size(areas: Areas) -> int:
    return int(np.prod(areas[:, 2:] - areas[:, :2], axis=1).sum())


def _counted(n: int, noun: str, one: str = "", many: str = "") -> str:
    """Return "1 mark is", "3 marks are"."""
    verb = one if n == 1 else many
    return f"{n} {noun}{'' if n == 1 else 's'}{' ' if verb else ''}{verb}"


def require_full(dataset: str, manifest: pd.DataFrame) -> None:
    """Reject a data set that cannot be used for scoring, because not all particles are marked.

    Raises
    ------
    InputError
        If a micrograph is annotated by areas or clicks.
    """
    partly = manifest[manifest["annotation"].isin([AREAS, CLICKS])]
    if len(partly):
        raise InputError(
            f"datasets.{dataset}.annotation: {partly['micrograph'].iloc[0]} is annotated by "
            f"{partly['annotation'].iloc[0]}, but a comparison needs micrographs on which every "
            "particle is marked. Run the target picks (snakemake picks), which trains on all "
            "labels, or set annotation: full if every particle is marked."
        )
