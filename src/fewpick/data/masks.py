"""Training masks: a disc on each particle, and -1 where nothing is known."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from fewpick.errors import InputError
from fewpick.geometry import Frame, inside
from fewpick.stacks import table_path, write_stack, write_table

PARTICLE, BACKGROUND, UNKNOWN = 1, 0, -1
# Discs that cover more than this share of the annotated area have probably been drawn too large.
HIGH_PREVALENCE = 0.5

TABLE_COLUMNS = ["micrograph", "annotated", "disc", "prevalence", "n_particles"]

logger = logging.getLogger(__name__)


def valid_area(frame: Frame, target_size: int, border: float = 0.0) -> tuple[slice, slice]:
    """Rows and columns of the target frame whose pixels lie in the annotated area.

    The same test decides for pixels and for points: see `geometry.inside`.
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
    border : original pixels beside the edges without annotation

    Returns
    -------
    (T, T) int8: 1 where `(x - cx)^2 + (y - cy)^2 <= r^2` for a particle, 0 on background, -1 in
    padding, border and micrographs that are not annotated
    """
    mask = np.full((target_size, target_size), UNKNOWN, np.int8)
    if xy is None:
        return mask
    area = valid_area(frame, target_size, border)
    mask[area] = BACKGROUND
    discs = np.zeros_like(mask)
    draw_discs(discs, frame.to_target(xy), radius_scale * particle_radius * frame.scale, PARTICLE)
    mask[(discs == PARTICLE) & (mask != UNKNOWN)] = PARTICLE
    return mask


def draw_discs(canvas: NDArray[np.int8], xy: ArrayLike, radius: float, value: int) -> None:
    """Set the pixels of `canvas` with `(x - cx)^2 + (y - cy)^2 <= radius^2` to `value`, in place.

    Parameters
    ----------
    canvas : (h, w) int8
    xy : (n, 2) centres x, y in pixels of the canvas; discs may reach over its edges
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
) -> pd.DataFrame:
    """Draw the masks of one shard into an int8 stack and its table.

    Parameters
    ----------
    geometry : table of the preprocessed shard
    manifest : rows of the data set's manifest (micrograph, path, ny, nx, annotated)
    coordinates : micrograph x y, original frame
    output : the stack, `.mrcs`; the table goes beside it as `.tsv`
    particle_radius : micrograph -> original pixels
    radius_scale, border : as in `draw_mask`

    Returns
    -------
    table with the columns micrograph annotated disc prevalence n_particles: the radius of the discs
    in target pixels, the share of particle pixels in the annotated area (NaN without one), and the
    particles inside that area

    Raises
    ------
    InputError : discs smaller than a pixel, a border that leaves no area, or a micrograph that had
        another size when the manifest was made
    """
    # "true" in a table that was just made is True in one that was read.
    annotated = manifest.set_index("micrograph")["annotated"].astype(str).str.lower() == "true"
    _check_unchanged(geometry, manifest)
    points = {name: xy[["x", "y"]].to_numpy() for name, xy in coordinates.groupby("micrograph")}
    # As wide as the stack of images, whose micrographs each fill a square of their own.
    edge = int(geometry[["height", "width"]].to_numpy().max(initial=0))
    rows: list[dict[str, object]] = []

    def images() -> Iterator[NDArray[np.int8]]:
        for values in geometry.to_dict("records"):
            name, frame = values["micrograph"], Frame.from_row(values)
            xy = points.get(name, np.empty((0, 2))) if annotated[name] else None
            radius = particle_radius[name]
            _check_sizes(name, frame, radius, radius_scale, border)
            mask = draw_mask(frame, edge, xy, radius, radius_scale, border)
            known = np.count_nonzero(mask != UNKNOWN)
            rows.append(
                {
                    "micrograph": name,
                    "annotated": str(xy is not None).lower(),
                    "disc": radius_scale * radius * frame.scale,
                    "prevalence": np.count_nonzero(mask == PARTICLE) / known if known else np.nan,
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
            "%s: discs cover %.0f %% of the annotated area of %s, and more than %.0f %% on %d of "
            "%d micrographs. Is the particle radius in pixels of the original micrograph? "
            "Lower particle_radius or masks.radius_scale (now %g).",
            output,
            100 * high["prevalence"].max(),
            high.sort_values("prevalence")["micrograph"].iloc[-1],
            100 * HIGH_PREVALENCE,
            len(high),
            len(table),
            radius_scale,
        )
    return table


def _run(flags: NDArray[np.bool_]) -> slice:
    """The slice that covers a single run of true values."""
    indices = np.flatnonzero(flags)
    return slice(int(indices[0]), int(indices[-1]) + 1) if len(indices) else slice(0, 0)


def _check_unchanged(geometry: pd.DataFrame, manifest: pd.DataFrame) -> None:
    """Refuse micrographs of another size than that which their coordinates were checked by."""
    if strangers := sorted(set(geometry["micrograph"]) - set(manifest["micrograph"])):
        raise InputError(
            f"{strangers[0]}: was broken when it was listed, and is not now; it changed during the "
            "run. Let it rest, and run again."
        )
    listed = manifest.set_index("micrograph").loc[geometry["micrograph"]]
    for now, then in zip(geometry.itertuples(), listed.itertuples(), strict=True):
        if (now.ny, now.nx) != (then.ny, then.nx):
            raise InputError(
                f"{then.path}: {now.nx} x {now.ny} px, and {then.nx} x {then.ny} px when it was "
                "listed; it changed during the run. Let it rest, and run again."
            )


def _check_sizes(
    name: str, frame: Frame, radius: float, radius_scale: float, border: float
) -> None:
    # A disc of radius sqrt(1/2) always holds a pixel centre; a smaller one may be empty.
    if (drawn := radius_scale * radius * frame.scale) < 0.71:
        raise InputError(
            f"{name}: particle radius {radius:g} px gives discs of {drawn:.2f} px at target size "
            f"{frame.size}. Raise preprocess.target_size or masks.radius_scale."
        )
    if 2 * border > min(frame.ny, frame.nx) - 1:
        raise InputError(
            f"{name}: a border of {border:g} px leaves nothing of {frame.ny} x {frame.nx} pixels. "
            "Lower border, which counts original pixels."
        )
