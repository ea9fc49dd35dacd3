"""Join a data set's micrographs with its coordinates: the first stage of the workflow.

Here coordinates enter the internal frame, x = column and y = row of the image array, 0-based.
With `y_axis: up` the file counts rows from the other end, and y becomes `ny - y`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fewpick.coordinates import Picks, match_names, read_picks
from fewpick.coordinates.picks import Points
from fewpick.errors import InputError
from fewpick.geometry import particle_radius
from fewpick.micrographs import Header, read_header
from fewpick.orientation import measure_orientation

log = logging.getLogger(__name__)

TOLERANCE = 1.0  # px beyond the edge that rounding and the flip explain
Y_AXES = ("down", "up")
REFUSED = 8.0  # evidence for the other y direction above which the data set is refused


def build_manifest(
    spec: Mapping[str, Any], micrographs: Sequence[Path]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Build the manifest and the coordinates of one data set.

    Parameters
    ----------
    spec: dict
        The data set's block of the configuration: `coordinates` (none: nothing is annotated),
        `format`, `y_axis`, `scale`, `pixel_size`, and `particle_radius` or
        `particle_diameter_angstrom`.
    micrographs: list of paths
        As `fewpick.micrographs.list_micrographs` returns them.

    Returns
    -------
    manifest: DataFrame
        One row per micrograph: micrograph, path, ny, nx (px), pixel_size (Angstrom, NaN when
        unknown), annotated ("true" or "false"), n_particles, orientation (the verdict, the same
        in each row).
    coordinates: DataFrame
        micrograph, x, y (px, internal frame).

    Raises
    ------
    InputError
        When files cannot be used, names do not match, a coordinate lies outside its image, or the
        images clearly contradict `y_axis`.
    """
    headers = {path.name: read_header(path) for path in micrographs}
    paths = {path.name: path for path in micrographs}
    points = _annotations(spec, headers)
    pixel_sizes = {
        name: spec.get("pixel_size") or header.pixel_size for name, header in headers.items()
    }
    orientation = _check_orientation(
        spec, {paths[name]: xy for name, xy in points.items()}, pixel_sizes
    )
    manifest = pd.DataFrame(
        {
            "micrograph": list(headers),
            "path": [str(paths[name]) for name in headers],
            "ny": [header.ny for header in headers.values()],
            "nx": [header.nx for header in headers.values()],
            "pixel_size": [size or np.nan for size in pixel_sizes.values()],
            "annotated": ["true" if name in points else "false" for name in headers],
            "n_particles": [len(points.get(name, ())) for name in headers],
            "orientation": orientation,
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


def _y_axis(spec: Mapping[str, Any]) -> str:
    y_axis = spec.get("y_axis", "down")
    if y_axis not in Y_AXES:
        raise InputError(f"y_axis: {y_axis!r} is not a direction. Use down or up.")
    return str(y_axis)


def _annotations(spec: Mapping[str, Any], headers: Mapping[str, Header]) -> dict[str, Points]:
    """Return (n, 2) points in the internal frame per annotated micrograph."""
    if not spec.get("coordinates"):
        return {}
    source = Path(spec["coordinates"])
    picks = read_picks(
        source,
        fmt=spec.get("format"),
        shapes={name: (header.ny, header.nx) for name, header in headers.items()},
        scale=float(spec.get("scale", 1.0)),
    )
    if not picks:
        raise InputError(f"{source}: names no micrograph. Check that it is the right file.")
    try:
        match = match_names(list(headers), picks)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    lost = sum(len(picks[key]) for key in match.unmatched_keys)
    total = sum(map(len, picks.values()))
    log.info("%s: %d of %d coordinates used", source, total - lost, total)
    if match.unmatched_keys:
        log.warning(
            "%s: %d of %d coordinates are left out: %s", source, lost, total, match.summary()
        )
    if match.unmatched_micrographs:
        log.info(
            "%s: %d micrographs have no coordinates and count as unlabelled",
            source,
            len(match.unmatched_micrographs),
        )
    flip = _y_axis(spec) == "up"
    return {
        name: _in_image(f"{source}: {name}", picks[key], headers[name], flip)
        for key, name in match.matched.items()
    }


def _in_image(where: str, picks: Picks, header: Header, flip: bool) -> Points:
    """Return the points in the internal frame, each once and inside the image."""
    xy = picks.xy.copy()
    if flip:
        xy[:, 1] = header.ny - xy[:, 1]
    size = np.array([header.nx, header.ny])
    outside = ((xy < -TOLERANCE) | (xy > size - 1 + TOLERANCE)).any(axis=1)
    if outside.any():
        x, y = picks.xy[np.flatnonzero(outside)[0]]
        raise InputError(
            f"{where}: {int(outside.sum())} of {len(xy)} points lie outside the image of "
            f"{header.nx} x {header.ny} px, the first at x={x:g}, y={y:g}. Were they picked on "
            "images of another size (set scale), or on other micrographs?"
        )
    xy = np.clip(xy, 0, size - 1)
    once = np.sort(np.unique(xy, axis=0, return_index=True)[1])
    if len(once) < len(xy):
        log.warning("%s: %d points given twice are used once.", where, len(xy) - len(once))
    return xy[once]


def _check_orientation(
    spec: Mapping[str, Any],
    points: Mapping[Path, Points],
    pixel_sizes: Mapping[str, float | None],
) -> str:
    """Return the verdict on the frame, having warned of a doubtful and refused a wrong one."""
    if not any(map(len, points.values())):
        return "unclear"
    first = next(path.name for path, xy in points.items() if len(xy))
    found = measure_orientation(points, particle_radius(spec, pixel_sizes[first]))
    log.info("orientation: %s", found.summary())
    declared = _y_axis(spec)
    if found.verdict == "flip_y suspected" and found.evidence["flip_y"] >= REFUSED:
        right = "up" if declared == "down" else "down"
        raise InputError(
            f"{spec['coordinates']}: y_axis: {declared} puts the points beside the particles: "
            f"{found.summary()}. Set y_axis: {right}."
        )
    if found.verdict.endswith("suspected"):
        log.warning(
            "%s: the points may be in another frame than the images: %s. Look at a few before "
            "you trust any score.",
            spec["coordinates"],
            found.summary(),
        )
    elif found.verdict == "unclear":
        log.warning(
            "%s: the images show no particle at the points: %s. With more than a few hundred "
            "particles this hints at another scale or at other micrographs.",
            spec["coordinates"],
            found.summary(),
        )
    return found.verdict
