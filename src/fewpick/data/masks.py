"""Draw training masks: a disc on each particle, and -1 where nothing is known.

If only parts of a micrograph are annotated, the mask is known inside areas in which every particle
is marked, and close to clicks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt

from fewpick.annotation.areas import EDGES, inside_any
from fewpick.errors import InputError
from fewpick.geometry import Frame, inside
from fewpick.stacks import table_path, write_stack, write_table

PARTICLE, BACKGROUND, UNKNOWN = 1, 0, -1
# px; tolerance for rounding of corners that lie on a pixel.
EPSILON = 1e-6
# Discs that cover more than this share of the annotated area are probably too large.
HIGH_PREVALENCE = 0.5

# Ring around a clicked particle that must be background, in particle radii: outside the particle,
# and too close to it for a neighbour.
CLEAR = (0.8, 1.4)

Window = tuple[int, int, int, int]

TABLE_COLUMNS = ["micrograph", "annotated", "disc", "prevalence", "n_particles"]

logger = logging.getLogger(__name__)


def valid_area(frame: Frame, target_size: int, border: float = 0.0) -> tuple[slice, slice]:
    """Return the rows and columns of the target frame whose pixels lie in the annotated area.

    Pixels and points have the same test: `geometry.inside`.
    """
    steps = np.arange(target_size, dtype=np.float64)
    centres = frame.to_original(np.column_stack([steps, steps]))
    # Along one axis at a time, with the other held at the middle of the micrograph.
    columns = np.column_stack([centres[:, 0], np.full(target_size, (frame.ny - 1) / 2)])
    rows = np.column_stack([np.full(target_size, (frame.nx - 1) / 2), centres[:, 1]])
    return (
        _run(inside(rows, frame.ny, frame.nx, border)),
        _run(inside(columns, frame.ny, frame.nx, border)),
    )


def draw_mask(
    frame: Frame,
    target_size: int,
    xy: ArrayLike | None,
    particle_radius: float,
    radius_scale: float = 0.5,
    border: float = 0.0,
    *,
    areas: ArrayLike | None = None,
    negatives: ArrayLike = (),
) -> NDArray[np.int8]:
    """Draw the mask of one micrograph.

    Parameters
    ----------
    frame : map between the micrograph and the square
    target_size : edge of the square, px
    xy : (n, 2) particle centres in the original frame; None when the micrograph has not been
        annotated, which is not the same as having no particles
    particle_radius : original pixels
    radius_scale : radius of the disc in particle radii
    border : width of the border without annotation, original pixels
    areas : (n, 4) x0, y0, x1, y1, original frame, the last two exclusive: where every particle is
        marked. None: everywhere inside the border. Points outside are clicks
    negatives : (n, 2) points that are not particles, original frame

    Returns
    -------
    (T, T) int8: 1 where `(x - cx)^2 + (y - cy)^2 <= r^2` for a particle, 0 on background, -1 in
    padding, border and unannotated micrographs, outside areas, and along their edges, where the
    disc of a particle outside may reach in
    """
    mask = np.full((target_size, target_size), UNKNOWN, np.int8)
    if xy is None:
        return mask
    valid = valid_area(frame, target_size, border)
    radius = particle_radius * frame.scale
    disc = radius_scale * radius
    if areas is None:
        known = np.ones_like(mask, bool)
    else:
        known = np.zeros_like(mask, bool)
        for y0, x0, y1, x1 in area_windows(frame, target_size, areas, border):
            known[y0:y1, x0:x1] = True
        clicked = frame.to_target(np.asarray(xy)[~inside_any(xy, areas)])
        draw_clicks(mask, clicked, frame.to_target(negatives), radius, disc)
        beyond = np.zeros_like(known)
        beyond[valid] = ~known[valid]
        if beyond.any():
            known &= distance_transform_edt(~beyond) > disc
    mask[known] = BACKGROUND
    draw_discs(mask, frame.to_target(xy), disc, PARTICLE)
    hidden = np.ones_like(known)
    hidden[valid] = False
    mask[hidden] = UNKNOWN
    return mask


def area_windows(
    frame: Frame, target_size: int, areas: ArrayLike, border: float = 0.0
) -> list[Window]:
    """Map areas (n, 4) x0, y0, x1, y1, original frame, to windows y0, x0, y1, x1, target frame.

    A window contains the target pixels whose centres lie in its area, inside the border; areas
    without any are left out.
    """
    rows, columns = valid_area(frame, target_size, border)
    corners = np.asarray(areas, np.float64).reshape(-1, 2, 2)
    ends = np.ceil(corners * frame.scale + (frame.pad_x, frame.pad_y) - EPSILON).astype(int)
    windows = []
    for (x0, y0), (x1, y1) in ends.tolist():
        y0, y1 = max(y0, rows.start), min(y1, rows.stop)
        x0, x1 = max(x0, columns.start), min(x1, columns.stop)
        if y0 < y1 and x0 < x1:
            windows.append((y0, x0, y1, x1))
    return windows


def draw_clicks(
    canvas: NDArray[np.int8], xy: ArrayLike, negatives: ArrayLike, radius: float, disc: float
) -> None:
    """Draw what is known from clicks, in place; everything else stays as it is.

    No other particle can overlap a clicked one, so the ring from `CLEAR[0]` to `CLEAR[1]` particle
    radii around it is background.

    Parameters
    ----------
    canvas : (h, w) int8
    xy, negatives : (n, 2) centres x, y in pixels of the canvas
    radius, disc : of the particle and of the drawn disc, px
    """
    draw_discs(canvas, xy, CLEAR[1] * radius, BACKGROUND)
    draw_discs(canvas, xy, CLEAR[0] * radius, UNKNOWN)
    draw_discs(canvas, negatives, disc, BACKGROUND)
    draw_discs(canvas, xy, disc, PARTICLE)


def draw_discs(canvas: NDArray[np.int8], xy: ArrayLike, radius: float, value: int) -> None:
    """Set the pixels of `canvas` with `(x - cx)^2 + (y - cy)^2 <= radius^2` to `value`, in place.

    Parameters
    ----------
    canvas : (h, w) int8
    xy : (n, 2) centres x, y in pixels of the canvas; discs may extend beyond its edges
    """
    for x, y in np.asarray(xy, np.float64).reshape(-1, 2):
        top, left = max(int(np.ceil(y - radius)), 0), max(int(np.ceil(x - radius)), 0)
        window = canvas[top : max(int(y + radius) + 1, 0), left : max(int(x + radius) + 1, 0)]
        rows = np.arange(top, top + window.shape[0])[:, None]
        columns = np.arange(left, left + window.shape[1])
        window[(columns - x) ** 2 + (rows - y) ** 2 <= radius**2] = value


def mask_shard(
    geometry: pd.DataFrame,
    manifest: pd.DataFrame,
    coordinates: pd.DataFrame,
    output: str | Path,
    particle_radius: dict[str, float],
    radius_scale: float = 0.5,
    border: float = 0.0,
    *,
    areas: pd.DataFrame | None = None,
    negatives: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Draw the masks of one shard into an int8 stack and its table.

    Parameters
    ----------
    geometry : table of the preprocessed shard
    manifest : rows of the data set's manifest (micrograph, path, ny, nx, annotated, and annotation
        where not all is annotated in full)
    coordinates : micrograph x y, original frame
    output : the stack, `.mrcs`; the table goes beside it as `.tsv`
    particle_radius : micrograph -> original pixels
    radius_scale, border : as in `draw_mask`
    areas, negatives : micrograph x0 y0 x1 y1, and micrograph x y, as `annotation.annotate` returns
        them

    Returns
    -------
    table with the columns micrograph annotated disc prevalence n_particles: the radius of the discs
    in target pixels, the share of particle pixels in the annotated area (NaN if there is none, as
    with clicks), and the number of marked particles inside the border

    Raises
    ------
    InputError : discs smaller than a pixel, a border that leaves no area, or a micrograph that had
        another size when the manifest was made
    """
    annotated = manifest.set_index("micrograph")["annotated"]
    _check_unchanged(geometry, manifest)
    points = {name: xy[["x", "y"]].to_numpy() for name, xy in coordinates.groupby("micrograph")}
    # The width of the stack of images, in which micrographs fill squares of different sizes.
    edge = int(geometry[["height", "width"]].to_numpy().max(initial=0))
    parts = rows_of(areas, EDGES)
    spots = rows_of(negatives, ("x", "y"))
    partly = _partly_annotated(manifest)
    rows: list[dict[str, object]] = []

    def images() -> Iterator[NDArray[np.int8]]:
        for values in geometry.to_dict("records"):
            name, frame = values["micrograph"], Frame.from_row(values)
            xy = points.get(name, np.empty((0, 2))) if annotated[name] else None
            radius = particle_radius[name]
            _check_sizes(name, frame, radius, radius_scale, border)
            within = parts.get(name, np.empty((0, 4))) if name in partly else None
            mask = draw_mask(
                *(frame, edge, xy, radius, radius_scale, border),
                areas=within,
                negatives=spots.get(name, np.empty((0, 2))),
            )
            rows.append(
                {
                    "micrograph": name,
                    "annotated": str(xy is not None).lower(),
                    "disc": radius_scale * radius * frame.scale,
                    "prevalence": _prevalence(mask, frame, within, border),
                    "n_particles": 0
                    if xy is None
                    else int(inside(xy, frame.ny, frame.nx, border).sum()),
                }
            )
            yield mask

    write_stack(output, images(), shape=(len(geometry), edge, edge), dtype=np.int8)
    table = pd.DataFrame(rows, columns=TABLE_COLUMNS)
    write_table(table, table_path(output))
    high = table[table["prevalence"] > HIGH_PREVALENCE]
    if len(high):
        logger.warning(
            "%s: discs cover %.0f %% of the annotated area of %s, and more than %.0f %% on %d "
            "of %d micrographs. Check that the particle radius is in pixels of the original "
            "micrograph, or lower masks.radius_scale (now %g).",
            output,
            100 * high["prevalence"].max(),
            high.sort_values("prevalence")["micrograph"].iloc[-1],
            100 * HIGH_PREVALENCE,
            len(high),
            len(table),
            radius_scale,
        )
    return table


def rows_of(table: pd.DataFrame | None, columns: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return micrograph -> the values of some columns, (n, columns)."""
    if table is None:
        return {}
    return {
        str(name): held[list(columns)].to_numpy(np.float64)
        for name, held in table.groupby("micrograph")
    }


def _partly_annotated(manifest: pd.DataFrame) -> set[str]:
    """Return the micrographs of which only areas or clicks are annotated."""
    if "annotation" not in manifest:
        return set()
    return set(manifest.loc[~manifest["annotation"].isin(["full", "none"]), "micrograph"])


def _prevalence(
    mask: NDArray[np.int8], frame: Frame, areas: NDArray[np.float64] | None, border: float
) -> float:
    """Return the share of particle pixels where every particle is marked; NaN if nowhere."""
    parts = [mask]
    if areas is not None:
        windows = area_windows(frame, len(mask), areas, border)
        parts = [mask[y0:y1, x0:x1] for y0, x0, y1, x1 in windows]
    known = sum(np.count_nonzero(part != UNKNOWN) for part in parts)
    particle = sum(np.count_nonzero(part == PARTICLE) for part in parts)
    return particle / known if known else np.nan


def _run(flags: NDArray[np.bool_]) -> slice:
    """Return the slice that covers a single run of true values."""
    indices = np.flatnonzero(flags)
    return slice(int(indices[0]), int(indices[-1]) + 1) if len(indices) else slice(0, 0)


def _check_unchanged(geometry: pd.DataFrame, manifest: pd.DataFrame) -> None:
    """Refuse micrographs that changed after their coordinates were checked."""
    if strangers := sorted(set(geometry["micrograph"]) - set(manifest["micrograph"])):
        raise InputError(
            f"{strangers[0]}: was broken when it was listed but is readable now, so it changed "
            "during the run. Wait until the file is no longer being written, then rerun."
        )
    listed = manifest.set_index("micrograph").loc[geometry["micrograph"]]
    for now, then in zip(geometry.itertuples(), listed.itertuples(), strict=True):
        if (now.ny, now.nx) != (then.ny, then.nx):
            raise InputError(
                f"{then.path}: {now.nx} x {now.ny} px now, but {then.nx} x {then.ny} px when it "
                "was listed, so it changed during the run. Wait until the file is no longer "
                "being written, then rerun."
            )


def _check_sizes(
    name: str, frame: Frame, radius: float, radius_scale: float, border: float
) -> None:
    # A disc of radius sqrt(1/2) always contains a pixel centre; a smaller one may be empty.
    if (drawn := radius_scale * radius * frame.scale) < 0.71:
        raise InputError(
            f"{name}: particle radius {radius:g} px gives discs of {drawn:.2f} px at target size "
            f"{frame.size}. Raise preprocess.target_size or masks.radius_scale."
        )
    if 2 * border > min(frame.ny, frame.nx) - 1:
        raise InputError(
            f"{name}: a border of {border:g} px leaves nothing of {frame.nx} x {frame.ny} "
            "pixels. Lower border (in px of the original micrograph)."
        )
