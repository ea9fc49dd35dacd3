"""Interpret the annotation of a data set.

`full`: everything unmarked is background. `areas`: this holds inside the areas that were fully
marked; marks elsewhere are clicks. `clicks`: the marks are particles, and nothing else is known.
Places marked as "not a particle" (negatives) are background in all three.
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
from fewpick.annotation.rectangles import disjoint
from fewpick.coordinates.frame import read_in_frame
from fewpick.coordinates.picks import NoParticles, Points
from fewpick.errors import InputError
from fewpick.geometry import particle_radii

logger = logging.getLogger(__name__)

KINDS = FULL, AREAS, CLICKS = ("full", "areas", "clicks")
NONE = "none"
# For a micrograph that is not used: its areas are read and dropped.
ANY_SHAPE = (1 << 40, 1 << 40)
# A negative closer than this to a mark contradicts it, in particle radii.
SAME_PLACE = 0.5

AREA_COLUMNS = ["micrograph", *EDGES]


@dataclass(frozen=True)
class Annotation:
    """The marks of a data set and what they imply for the rest.

    Attributes
    ----------
    manifest : the manifest with the columns annotation (full, areas, clicks or none), n_areas and
        n_negatives, and `annotated` true wherever anything is said
    areas : micrograph x0 y0 x1 y1, px of the original frame, x1 and y1 exclusive; areas of one
        micrograph do not overlap
    negatives : micrograph x y, px of the original frame
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
    """Read areas and negatives, and classify how each micrograph is annotated.

    Parameters
    ----------
    spec : the data set's block of the configuration: `annotation`, `areas` and `negatives`, both in
        pixels of the micrographs' arrays, rows counted from the first one
    manifest, coordinates : as `manifest.build_manifest` returns them
    left_out : names of micrographs that are not used; their areas and negatives are dropped

    Raises
    ------
    InputError
        When a file cannot be used, names no micrograph of the data set, or extends beyond an image.
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
        _tell_marks_outside(str(spec.get("coordinates")), marks, areas)
    named = manifest["micrograph"].astype(str)
    said = [
        FULL
        if kind == FULL and is_annotated
        else AREAS
        if len(areas.get(name, ()))
        # Without areas, a micrograph listed without marks is not annotated.
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
    """Areas of each micrograph, none overlapping."""
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
            "%s: areas overlap on %s, first %s; each place counts once. Merge overlapping areas.",
            *(path, _counted(len(overlapping), "micrograph"), overlapping[0]),
        )
    return areas


def _read_negatives(
    spec: Mapping[str, Any], shapes: Mapping[str, tuple[int, int]], left_out: Collection[str]
) -> dict[str, Points]:
    """Places that are no particle, by micrograph."""
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
    """Return the negatives that are not marked as particles as well."""
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
            "%s: %s on a marked particle (so on %s) and not used. Remove one of the two.",
            *(path, _counted(len(dropped), "negative", "lies", "lie"), dropped[0]),
        )
    return kept


def _tell_marks_outside(path: str, marks: Mapping[str, Points], areas: Mapping[str, Areas]) -> None:
    """Report how many marks are clicks, and whether areas were drawn on the wrong micrograph."""
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
        "count as not annotated.",
        *(path, n, _counted(total, "mark", "lies", "lie"), _counted(len(outside), "micrograph")),
    )
    for name, held in areas.items():
        empty = held[[not inside_any(marks.get(name, none[:, :2]), area).any() for area in held]]
        for other, xy in outside.items():
            if other != name and (misplaced := int(inside_any(xy, empty).sum())) > 1:
                logger.warning(
                    "%s: %d marks of %s lie where %s has an area without marks. Was the area "
                    "drawn on another micrograph? Correct the name in the table of areas.",
                    *(path, misplaced, other, name),
                )
                return


def _size(areas: Areas) -> int:
    return int(np.prod(areas[:, 2:] - areas[:, :2], axis=1).sum())


def _counted(n: int, noun: str, one: str = "", many: str = "") -> str:
    """Return "1 mark lies", "3 marks lie"."""
    verb = one if n == 1 else many
    return f"{n} {noun}{'' if n == 1 else 's'}{' ' if verb else ''}{verb}"


def require_full(dataset: str, manifest: pd.DataFrame) -> None:
    """Reject a data set whose picks cannot be scored because not all of its particles are marked.

    Raises
    ------
    InputError
        When a micrograph is annotated by areas or clicks.
    """
    partly = manifest[manifest["annotation"].isin([AREAS, CLICKS])]
    if len(partly):
        raise InputError(
            f"datasets.{dataset}.annotation: {partly['micrograph'].iloc[0]} is annotated by "
            f"{partly['annotation'].iloc[0]}, but a comparison needs micrographs on which every "
            "particle is marked. Run the target picks (snakemake picks), which trains on all "
            "labels, or set annotation: full if every particle is marked."
        )
