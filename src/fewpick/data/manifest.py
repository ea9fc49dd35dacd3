"""Join a data set's micrographs with its coordinates: the first stage of the workflow."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from fewpick.annotation.annotate import FULL
from fewpick.annotation.frame import read_in_frame
from fewpick.coordinates.picks import NoParticles, Picks, Points
from fewpick.coordinates.star import check_names
from fewpick.errors import InputError
from fewpick.geometry import UNSET, alike, believable, fitting_radius
from fewpick.image_evidence.each_orientation import UNCLEAR
from fewpick.image_evidence.orientation import Orientation, measure_orientation
from fewpick.micrographs import Header, shapes_of
from fewpick.micrographs.listing import shown

logger = logging.getLogger(__name__)

SAME_PARTICLE = 0.5  # particle radii; no two particles are that close
NAMED = 8  # micrographs named in a message
CONCLUSIVE = 50  # particles; with fewer, a frame that stays unclear means nothing
REFUSED = 8.0  # evidence for the other y direction above which the data set is refused


def build_manifest(
    spec: Mapping[str, Any],
    micrographs: Mapping[Path, Header],
    left_out: Mapping[Path, str] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Build the manifest and the coordinates of one data set.

    Parameters
    ----------
    spec : dict
        The data set's block of the configuration: `coordinates` (none: nothing is annotated),
        `format`, `y_axis`, `scale`, `pixel_size`, and `particle_radius` or
        `particle_diameter_angstrom`.
    micrographs : dict
        Path to header, in the order wanted (`fewpick.micrographs.read_headers`).
    left_out : dict, optional
        Micrographs to ignore, to the reason (`fewpick.micrographs.sort_out`). Their coordinates
        are ignored, too.

    Returns
    -------
    manifest : DataFrame
        One row per micrograph: micrograph, path, ny, nx (px), pixel_size (Angstrom, NaN when
        unknown), annotated (bool), n_particles, own_orientation (the verdict on this micrograph);
        and, the same in each row, orientation (the verdict on all) and left_out (number of
        micrographs).
    coordinates : DataFrame
        micrograph, x, y (px, internal frame).

    Raises
    ------
    InputError
        When files cannot be used, names do not match or cannot be written as STAR, a coordinate
        lies outside its image, a particle is larger than it, or the images clearly contradict
        `y_axis`.
    """
    left_out = left_out or {}
    _tell_left_out(left_out, len(micrographs))
    headers = {path.name: header for path, header in micrographs.items()}
    paths = {path.name: path for path in micrographs}
    check_names(list(micrographs))
    pixel_sizes = {
        name: spec.get("pixel_size") or header.pixel_size for name, header in headers.items()
    }
    radii = _radii(spec, headers, paths)
    points, picks = {}, {}
    if spec.get("coordinates"):
        try:
            picks = read_in_frame(
                spec["coordinates"],
                shapes_of(micrographs),
                left_out=list(left_out),
                paths=paths,
                fmt=spec.get("format"),
                y_axis=spec.get("y_axis", "down"),
                scale=spec.get("scale", 1.0),
            )
        except NoParticles:
            # A partial annotation may consist of areas and negatives only.
            if spec.get("annotation", FULL) == FULL:
                raise
        points = {name: held.xy for name, held in picks.items()}
        _doubt_neighbours(spec["coordinates"], points, radii)
        _doubt_scores(spec["coordinates"], picks)
    _doubt_pixel_sizes(spec, headers, picks, paths)
    orientation = _check_orientation(spec, {paths[name]: xy for name, xy in points.items()}, radii)
    manifest = pd.DataFrame(
        {
            "micrograph": list(headers),
            "path": [str(paths[name]) for name in headers],
            "ny": [header.ny for header in headers.values()],
            "nx": [header.nx for header in headers.values()],
            "pixel_size": [size or np.nan for size in pixel_sizes.values()],
            "annotated": [name in points for name in headers],
            "n_particles": [len(points.get(name, ())) for name in headers],
            "orientation": orientation.verdict,
            "own_orientation": [
                _own(orientation, paths[name], points.get(name)) for name in headers
            ],
            "left_out": len(left_out),
        }
    )
    named = [name for name in headers if name in points]
    xy = np.concatenate([np.empty((0, 2)), *(points[name] for name in named)])
    coordinates = pd.DataFrame(
        {
            "micrograph": np.repeat(np.array(named, dtype=object), [len(points[n]) for n in named]),
            "x": xy[:, 0],
            "y": xy[:, 1],
        }
    )
    return manifest, coordinates


def _own(orientation: Orientation, path: Path, xy: Points | None) -> str:
    """Return the verdict on the coordinate frame of one micrograph."""
    if path in orientation.each:
        return orientation.each[path].verdict
    return "not checked" if xy is not None and len(xy) else "no points"


def _scale_cure(verdict: str, scale: float) -> str:
    """Suggest the scale at which the points fit."""
    if not verdict.startswith("scale by "):
        return ""
    return f" If they fit after scaling, set scale: {scale * float(verdict.split()[2]):.3g}."


def left_out_table(left_out: Mapping[Path, str]) -> pd.DataFrame:
    """Return a table with the columns micrograph, path, reason."""
    rows = [(path.name, str(path), reason) for path, reason in left_out.items()]
    return pd.DataFrame(rows, columns=["micrograph", "path", "reason"])


def _tell_left_out(left_out: Mapping[Path, str], n_good: int) -> None:
    for reason in left_out.values():
        logger.warning("left out: %s", reason)
    if left_out:
        total = n_good + len(left_out)
        if not n_good:
            raise InputError(
                f"{next(iter(left_out))}: this and all other micrographs ({total} in all) are "
                "broken, so on_bad_micrograph: skip leaves none. Copy them again."
            )
        logger.warning(
            "%d of %d micrographs were left out, with their coordinates (on_bad_micrograph: skip).",
            *(len(left_out), total),
        )


def _radii(
    spec: Mapping[str, Any],
    headers: Mapping[str, Header],
    paths: Mapping[str, Path],
) -> dict[str, float]:
    """Return the particle radius of each micrograph, px."""
    radii = {}
    for name, header in headers.items():
        try:
            radii[name] = fitting_radius(
                spec,
                header.ny,
                header.nx,
                pixel_size=spec.get("pixel_size"),
                header=header.pixel_size,
            )
        except InputError as error:
            raise InputError(f"{paths[name]}: {error}") from None
    return radii


def _doubt_neighbours(
    source: str, points: Mapping[str, Points], radii: Mapping[str, float]
) -> None:
    """Warn about overlapping particles, for example from two lists of the same particles."""
    doubled = {
        name: len(cKDTree(xy).query_pairs(SAME_PARTICLE * radii[name]))
        for name, xy in points.items()
    }
    if total := sum(doubled.values()):
        worst = max(doubled, key=lambda name: doubled[name])
        logger.warning(
            "%s: %d pairs of points are closer than %g radii, most of them (%d) on %s. Were two "
            "lists merged? Remove the duplicates.",
            *(source, total, SAME_PARTICLE, doubled[worst], worst),
        )


def _doubt_scores(source: str, picks: Mapping[str, Picks]) -> None:
    """Warn about candidates that the program which scored them would not pick itself."""
    scored = [(held.score, held.usual_score) for held in picks.values() if held.score is not None]
    every = np.concatenate([np.empty(0), *(score for score, _ in scored)])
    usual = max((least for _, least in scored), default=0.0)
    if low := sum(np.count_nonzero(score < least) for score, least in scored):
        logger.warning(
            "%s: %d of %d points have scores below %g, down to %.3g, so this seems to be a list of "
            "candidates. All of them are used as labels. To leave out the uncertain ones: fewpick "
            "convert --min-score S.",
            *(source, low, len(every), usual, np.nanmin(every)),
        )


def _doubt_pixel_sizes(
    spec: Mapping[str, Any],
    headers: Mapping[str, Header],
    picks: Mapping[str, Picks],
    paths: Mapping[str, Path],
) -> None:
    """Warn where headers, coordinates and configuration contradict each other."""
    known = {name: header.pixel_size for name, header in headers.items() if header.pixel_size}
    declared = spec.get("pixel_size")
    others = {}
    for name, held in picks.items():
        size, said = declared or known.get(name), held.pixel_size
        if size and said and not alike(size, said):
            others[name] = said, size
    if others:
        name, (said, size) = next(iter(others.items()))
        logger.warning(
            "%s: gives %.4g angstrom per pixel for %s, which has %.4g (affects %d of %d: %s). "
            "Were the points picked on images of a different size (set scale), or is the header "
            "wrong (set pixel_size)?",
            *(spec["coordinates"], said, name, size, len(others), len(picks), shown(others)),
        )
    if declared or not known:
        return
    if absurd := [name for name, size in known.items() if not believable(size)]:
        logger.warning(
            "%s: the header says %.4g angstrom per pixel, which is implausible for "
            "single-particle micrographs (affects %d). Set pixel_size.",
            *(paths[absurd[0]], known[absurd[0]], len(absurd)),
        )
    usual = float(np.median(list(known.values())))
    odd = [name for name, size in known.items() if not alike(size, usual)]
    if spec.get("particle_radius") and odd and not absurd:
        logger.warning(
            "%s: pixel sizes range from %.4g to %.4g angstrom, but particle_radius is the same "
            "number of px for all. %d of %d differ from the others: %s. Set "
            "particle_diameter_angstrom, or pixel_size if headers are wrong.",
            *(paths[odd[0]], min(known.values()), max(known.values()), len(odd), len(known)),
            shown(odd, NAMED),
        )
    unset = [name for name, size in known.items() if size == UNSET]
    if unset and spec.get("particle_diameter_angstrom"):
        logger.warning(
            "%s: the header says exactly 1 angstrom per pixel, which programs write when they "
            "do not know the pixel size (affects %d micrographs). Set pixel_size explicitly, "
            "even if it is 1.",
            *(paths[unset[0]], len(unset)),
        )


def _check_orientation(
    spec: Mapping[str, Any],
    points: Mapping[Path, Points],
    radii: Mapping[str, float],
) -> Orientation:
    """Return the verdicts on the coordinate frame; warn about doubtful ones, refuse a wrong one."""
    if not any(map(len, points.values())):
        return Orientation(UNCLEAR, {}, 0, 0)
    found = measure_orientation(points, {path: radii[path.name] for path in points})
    logger.info("orientation: %s", found.summary())
    if found.verdict == "flip_y suspected" and found.evidence.get("flip_y", 0) >= REFUSED:
        declared = spec.get("y_axis", "down")
        right = "up" if declared == "down" else "down"
        raise InputError(
            f"{spec['coordinates']}: with y_axis: {declared} the points miss the particles: "
            f"{found.summary()}. Set y_axis: {right}."
        )
    if found.verdict.endswith("suspected"):
        logger.warning(
            "%s: the points may be in a different frame from the images: %s. Inspect a few "
            "before you trust any score.%s",
            *(spec["coordinates"], found.summary()),
            _scale_cure(found.verdict, spec.get("scale", 1.0)),
        )
    elif found.verdict == UNCLEAR and found.n_particles >= CONCLUSIVE:
        logger.warning(
            "%s: the images show no particles at the points: %s. With more than a few hundred "
            "particles, this suggests a wrong scale or the wrong micrographs.",
            spec["coordinates"],
            found.summary(),
        )
    for line in found.warnings():
        logger.warning("%s", line)
    return found
