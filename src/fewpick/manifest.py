"""Join a data set's micrographs with its coordinates: the first stage of the workflow."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fewpick.coordinates.frame import read_in_frame
from fewpick.coordinates.picks import Points
from fewpick.errors import InputError
from fewpick.geometry import particle_radius
from fewpick.micrographs import read_header
from fewpick.orientation import measure_orientation

log = logging.getLogger(__name__)

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
    points = {}
    if spec.get("coordinates"):
        picks = read_in_frame(
            spec["coordinates"],
            {name: (header.ny, header.nx) for name, header in headers.items()},
            fmt=spec.get("format"),
            y_axis=spec.get("y_axis", "down"),
            scale=spec.get("scale", 1.0),
        )
        points = {name: held.xy for name, held in picks.items()}
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
    if found.verdict == "flip_y suspected" and found.evidence["flip_y"] >= REFUSED:
        declared = spec.get("y_axis", "down")
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
