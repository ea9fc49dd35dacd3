"""Choose which micrographs are held out, and what of the rest is labelled.

Every draw ranks its candidates by a hash of the seed and their own names, and takes the first
ones. The labels at a smaller ratio are therefore a subset of those at a larger one, and adding a
micrograph to the data set does not change the rank of the others.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fewpick.data.masks import valid_area
from fewpick.errors import InputError
from fewpick.geometry import Frame, inside
from fewpick.micrographs.listing import shown
from fewpick.micrographs.names import match_names

PARTS = ("train", "val", "test")
UNITS = ("micrograph", "tile", "particle")
VALIDATIONS = ("full", "matched", "none")
# Labels are drawn from each data set, or from all of them together.
DRAWS = ("per_dataset", "pooled")
# The validation and test parts may deviate from their fractions by this share, so that adding or
# removing a micrograph hardly ever moves another.
SLACK = 0.2

Window = tuple[int, int, int, int]

logger = logging.getLogger(__name__)


def split_micrographs(
    dataset: str,
    names: Sequence[str],
    annotated: Sequence[bool],
    *,
    seed: int,
    val_fraction: float = 0.15,
    test_fraction: float = 0.2,
    split_file: str | Path | None = None,
    labels: str = "use",
) -> pd.DataFrame:
    """Split the annotated micrographs of a data set into train, val and test.

    A hash gives each micrograph a number in [0, 1) that is compared with the fractions; if a part
    then deviates from its fraction by more than a fifth, or is empty, the micrographs nearest to
    the limit move. Micrographs without annotation become the unlabelled pool `unannotated`.

    Parameters
    ----------
    dataset : name of the data set
    names, annotated : the micrographs, and whether each has been annotated
    seed : a different seed gives a different split
    val_fraction, test_fraction : shares of the annotated micrographs
    split_file : table with the columns micrograph and split, tab separated (comma separated if
        its name ends in .csv), which replaces the draw; it must name every annotated micrograph
    labels : `use`, `validate_only` or `none`; with `none` a data set need not be annotated

    Returns
    -------
    table with the columns dataset micrograph split, sorted by micrograph

    Raises
    ------
    InputError : fewer than three annotated micrographs, fractions that leave nothing to train on,
        or a split file that cannot be used or leaves a part empty
    """
    parts = dict.fromkeys(names, "unannotated")
    known = sorted(name for name, is_known in zip(names, annotated, strict=True) if is_known)
    if labels == "none" and not known:
        logger.info("%s: nothing is annotated; using all of it as unlabelled data", dataset)
    elif split_file is not None:
        parts |= _read_split_file(Path(split_file), list(names), set(known))
    else:
        parts |= _draw_split(dataset, known, seed, val_fraction, test_fraction)
    table = pd.DataFrame({"micrograph": sorted(parts)})
    table.insert(0, "dataset", dataset)
    table["split"] = table["micrograph"].map(parts)
    return table


def label_subset(
    dataset: str,
    split: pd.DataFrame,
    geometry: pd.DataFrame,
    coordinates: pd.DataFrame,
    *,
    ratio: float,
    seed: int,
    particle_radius: Mapping[str, float],
    border: float = 0.0,
    unit: str = "micrograph",
    tile_size: int = 96,
    validation: str = "full",
    expected_particles: float | None = None,
    count: int | None = None,
) -> pd.DataFrame:
    """Choose what is labelled in a data set.

    Parameters
    ----------
    dataset : name of the data set
    split : as `split_micrographs` returns it; rows of other data sets are ignored
    geometry : concatenated tables of all preprocessed shards of the data set
    coordinates : micrograph x y, original frame
    ratio : labelled share of the units of the training micrographs, in (0, 1]; at least one unit
        is labelled
    seed : a different seed gives different labels
    particle_radius : micrograph -> original pixels
    border : width of the border without annotation, original pixels
    unit : what one label is. A whole `micrograph`; a `tile` that lies wholly inside the annotated
        area and contains a particle (the ratio refers to all tiles); or one clicked `particle`,
        which says nothing about the rest
    tile_size : edge of a tile, target pixels
    expected_particles : approximate number of particles per micrograph, if known
    count : number of training units to label, which overrides `ratio`; 0 for no labels
    validation : `full` labels all validation micrographs, `matched` as many units as for training,
        `none` none

    Returns
    -------
    table with one row per micrograph and the columns

    dataset micrograph split
    labelled : all, part or none
    n_labeled_particles : number of labelled particles
    radius : particle radius, target pixels
    area : JSON [y0, x0, y1, x1], half open, target pixels: the image without padding and border
    windows : JSON list of such areas: where the mask is known
    points : JSON list of [x, y], target frame: the labelled particles
    expected : expected number of particles, NaN if unknown

    Raises
    ------
    InputError : a ratio outside (0, 1], or no unit that contains a particle
    """
    if not 0 < ratio <= 1:
        raise InputError(
            f"splits.labeled_ratios: {ratio:g} is not in (0, 1]. Use fractions, not %."
        )
    if unit not in UNITS:
        raise InputError(f"splits.unit: {unit!r} is unknown. Use one of {', '.join(UNITS)}.")
    if validation not in VALIDATIONS:
        raise InputError(
            f"splits.validation: {validation!r} is unknown. Use one of {', '.join(VALIDATIONS)}."
        )
    mine = split[split["dataset"] == dataset]
    parts = dict(zip(mine["micrograph"], mine["split"], strict=True))
    micrographs = _annotations(geometry, coordinates, sorted(parts), border)

    def draw(part: str, unit: str, n: int | None) -> list[_Unit]:
        chosen = [m for m in micrographs if parts[m.name] == part]
        units = [u for m in chosen for u in _units(m, unit, tile_size)]
        if n is None:
            n = max(1, _round(ratio * _total(chosen, units, unit, tile_size)))
        if n == 0:
            return []
        if n > len(units):
            # Validation may well have fewer micrographs than are labelled for training.
            logger.log(
                logging.WARNING if part == "train" else logging.INFO,
                "%s: wanted %d labelled %ss in the %s part, but only %d qualify; using all of "
                "them.",
                *(dataset, n, unit, part, len(units)),
            )
        ranked = _ranked(units, seed, dataset)
        if not ranked:
            raise InputError(
                f"{dataset}: no {unit} of the {len(chosen)} {part} micrographs contains a "
                "particle in the annotated area. Check coordinates and border"
                + (", lower splits.tile_size" if unit == "tile" else "")
                + ", or choose the micrographs with split_file."
            )
        return ranked[:n]

    labels = draw("train", unit, count)
    if validation == "matched":
        labels += draw("val", unit, len(labels))
    elif validation == "full":
        labels += [u for m in micrographs if parts[m.name] == "val" for u in _units(m)]

    labels_of: dict[str, list[_Unit]] = {m.name: [] for m in micrographs}
    for label in labels:
        labels_of[label.micrograph].append(label)
    rows = []
    for m in micrographs:
        labels = labels_of[m.name]
        points = np.concatenate([np.empty((0, 2)), *(label.points for label in labels)])
        whole = any(label.window == m.area for label in labels)
        rows.append(
            {
                "dataset": dataset,
                "micrograph": m.name,
                "split": parts[m.name],
                "labelled": "all" if whole else "part" if labels else "none",
                "n_labeled_particles": len(points),
                "radius": particle_radius[m.name] * m.frame.scale,
                "area": m.area,
                "windows": tuple(label.window for label in labels if label.window),
                "points": points.round(4),
                "expected": math.nan if expected_particles is None else expected_particles,
            }
        )
    return pd.DataFrame(rows)


class Source(NamedTuple):
    """What can be labelled in one data set; see `label_subset`."""

    geometry: pd.DataFrame
    coordinates: pd.DataFrame
    border: float


def label_counts(
    sources: Mapping[str, Source],
    labels: Mapping[str, str],
    split: pd.DataFrame,
    draw: str,
    *,
    ratio: float,
    seed: int,
    unit: str = "micrograph",
    tile_size: int = 96,
) -> dict[str, int | None]:
    """Return the number of training units to label in each data set; None leaves it to the ratio.

    Parameters
    ----------
    sources : all data sets
    labels : data set -> `use`, `validate_only` or `none`
    draw : `per_dataset` or `pooled`
    split, ratio, seed, unit, tile_size : as in `label_subset`

    Raises
    ------
    InputError : labels are pooled, and no unit of the pool contains a particle
    """
    used = {name: source for name, source in sources.items() if labels[name] == "use"}
    counts: dict[str, int | None] = dict.fromkeys(sources, 0)
    if draw == "pooled":
        counts |= _pooled_counts(used, split, ratio, seed, unit, tile_size)
    else:
        counts |= dict.fromkeys(used)
    for name, count in counts.items():
        if count == 0:
            logger.warning(
                "%s: nothing is labelled for training at ratio %g (%s); its micrographs are "
                "used unlabelled, and its rows show what the labels of the other data sets "
                "achieve.",
                name,
                ratio,
                f"labels: {labels[name]}" if labels[name] != "use" else f"splits.draw: {draw}",
            )
    return counts


def _pooled_counts(
    sources: Mapping[str, Source],
    split: pd.DataFrame,
    ratio: float,
    seed: int,
    unit: str,
    tile_size: int,
) -> dict[str, int]:
    """Draw by the rank that units have in their own data set, so that labels stay nested."""
    units: list[tuple[str, _Unit]] = []
    total = 0
    for dataset, source in sources.items():
        mine = split[(split["dataset"] == dataset) & (split["split"] == "train")]
        names = sorted(mine["micrograph"])
        chosen = _annotations(source.geometry, source.coordinates, names, source.border)
        found = [u for m in chosen for u in _units(m, unit, tile_size)]
        units += [(dataset, u) for u in found]
        total += _total(chosen, found, unit, tile_size)
    if not any(len(u.points) for _, u in units):
        raise InputError(
            f"{', '.join(sources)}: no {unit} of the training micrographs contains a particle in "
            "the annotated area. Check coordinates and border."
        )
    # As in `_ranked`: nobody would begin with an empty micrograph.
    units.sort(key=lambda held: (_score(seed, held[0], "label", *held[1].key), held[0]))
    first = next(i for i, (_, held) in enumerate(units) if len(held.points))
    units.insert(0, units.pop(first))
    drawn = [dataset for dataset, _ in units[: max(1, _round(ratio * total))]]
    return {dataset: drawn.count(dataset) for dataset in sources}


@dataclass(frozen=True)
class _Annotation:
    """One micrograph and its particles; `area` and `points` in the target frame."""

    name: str
    frame: Frame
    area: Window
    points: NDArray[np.float64]


@dataclass(frozen=True)
class _Unit:
    """One thing to label: particles, and the window in which the mask becomes known with them."""

    micrograph: str
    window: Window | None
    points: NDArray[np.float64]
    key: tuple[str | int, ...] = field(default=())


def _draw_split(
    dataset: str, names: Sequence[str], seed: int, val_fraction: float, test_fraction: float
) -> dict[str, str]:
    if not (val_fraction > 0 and test_fraction > 0 and val_fraction + test_fraction < 1):
        raise InputError(
            f"splits: val_fraction {val_fraction:g} and test_fraction {test_fraction:g} must be "
            "positive and sum to less than 1."
        )
    if (n := len(names)) < len(PARTS):
        raise InputError(
            f"{dataset}: {n} annotated micrograph{'s' * (n != 1)} cannot be split into train, val "
            "and test. Annotate at least three."
        )
    score = {name: _score(seed, dataset, "split", name) for name in names}
    ranked = sorted(names, key=lambda name: (score[name], name))

    def size(low: float, fraction: float) -> int:
        drawn = sum(low <= value < low + fraction for value in score.values())
        least, most = (_round(n * fraction * (1 + slack)) for slack in (-SLACK, SLACK))
        return max(1, min(max(drawn, least), most))

    n_test = min(size(0.0, test_fraction), n - 2)
    n_val = min(size(test_fraction, val_fraction), n - n_test - 1)
    parts = ["test"] * n_test + ["val"] * n_val + ["train"] * (n - n_test - n_val)
    return dict(zip(ranked, parts, strict=True))


def _read_split_file(path: Path, names: list[str], annotated: set[str]) -> dict[str, str]:
    """Return micrograph -> part from the user's table."""
    try:
        table = pd.read_csv(
            path, sep="," if path.suffix == ".csv" else "\t", dtype=str, keep_default_na=False
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as a table ({error}). Write the columns micrograph and split, "
            "separated by a tab (a comma in .csv files)."
        ) from None
    if missing := {"micrograph", "split"} - set(table.columns):
        raise InputError(
            f"{path}: no column {' and '.join(sorted(missing))}, only {', '.join(table.columns)}. "
            "Write a header line: micrograph, split, separated by a tab (a comma in .csv files)."
        )
    table = table.apply(lambda column: column.str.strip())
    for row in table.itertuples():
        if row.split not in PARTS:
            raise InputError(
                f"{path}: split {row.split!r} of {row.micrograph!r} is unknown. "
                f"Use one of {', '.join(PARTS)}."
            )
    if (twice := table["micrograph"].duplicated()).any():
        raise InputError(
            f"{path}: duplicate micrograph {table.loc[twice, 'micrograph'].iloc[0]!r}. Remove "
            "one line."
        )
    match = match_names(names, table["micrograph"], path)
    if match.unmatched_keys:
        key, why = next(iter(match.unmatched_keys.items()))
        n = len(match.unmatched_keys)
        unmatched = "1 name does not match" if n == 1 else f"{n} names do not match"
        raise InputError(
            f"{path}: {unmatched} any micrograph of the data set: {key!r} {why}. Correct or "
            "remove the lines."
        )
    parts = {match.matched[row.micrograph]: row.split for row in table.itertuples()}
    for name, part in parts.items():
        if name not in annotated and part != "train":
            raise InputError(
                f"{path}: {name!r} is not annotated, so it cannot be used as {part}. Annotate "
                "it, or set it to train, where it is used unlabelled."
            )
    if unnamed := sorted(annotated - set(parts)):
        raise InputError(
            f"{path}: lacks annotated micrographs: {shown(map(repr, unnamed))}. Assign each of "
            "them a split."
        )
    parts = {name: part for name, part in parts.items() if name in annotated}
    for part in PARTS:
        if part not in parts.values():
            raise InputError(
                f"{path}: no annotated micrograph is assigned to {part}. Assign at least one to "
                f"each of {', '.join(PARTS)}."
            )
    return parts


def _annotations(
    geometry: pd.DataFrame, coordinates: pd.DataFrame, names: Sequence[str], border: float
) -> list[_Annotation]:
    frames = {row["micrograph"]: Frame.from_row(row) for row in geometry.to_dict("records")}
    points = {str(name): xy[["x", "y"]] for name, xy in coordinates.groupby("micrograph")}
    annotations = []
    for name in names:
        frame = frames[name]
        rows, columns = valid_area(frame, frame.size, border)
        xy = points[name].to_numpy(np.float64) if name in points else np.empty((0, 2))
        xy = frame.to_target(xy[inside(xy, frame.ny, frame.nx, border)])
        area = (rows.start, columns.start, rows.stop, columns.stop)
        annotations.append(_Annotation(name, frame, area, xy))
    return annotations


def _units(m: _Annotation, unit: str = "micrograph", tile_size: int = 0) -> Iterator[_Unit]:
    """Yield all units that could be labelled in a micrograph."""
    if unit == "micrograph":
        yield _Unit(m.name, m.area, m.points, (m.name,))
    elif unit == "tile":
        y0, x0, y1, x1 = m.area
        pixels = np.floor(m.points + 0.5).astype(int)  # those that contain the centres
        tiles = pixels // tile_size * tile_size
        for left, top in np.unique(tiles, axis=0).tolist():
            if top >= y0 and left >= x0 and top + tile_size <= y1 and left + tile_size <= x1:
                held = m.points[(tiles == (left, top)).all(axis=1)]
                window = (top, left, top + tile_size, left + tile_size)
                yield _Unit(m.name, window, held, (m.name, top, left))
    else:
        for point, original in zip(m.points, m.frame.to_original(m.points), strict=True):
            # A particle is identified by its position, so that the order of the file is irrelevant.
            key = (m.name, f"{original[0]:.2f}", f"{original[1]:.2f}")
            yield _Unit(m.name, None, point[None], key)


def _total(
    micrographs: Sequence[_Annotation], units: Sequence[_Unit], unit: str, tile_size: int
) -> int:
    """Return the number of units that a ratio refers to, including tiles that do not qualify."""
    return sum(_n_tiles(m, tile_size) for m in micrographs) if unit == "tile" else len(units)


def _n_tiles(m: _Annotation, tile_size: int) -> int:
    return -(-m.frame.height // tile_size) * -(-m.frame.width // tile_size)


def _ranked(units: Sequence[_Unit], seed: int, dataset: str) -> list[_Unit]:
    """Return units in the order of labelling; none if no unit contains a particle.

    Nobody would begin with an empty micrograph, so the first unit has particles.
    """
    ranked = sorted(units, key=lambda unit: (_score(seed, dataset, "label", *unit.key), unit.key))
    first = next((i for i, unit in enumerate(ranked) if len(unit.points)), None)
    return [] if first is None else [ranked.pop(first), *ranked]


def _round(value: float) -> int:
    """Return the nearest whole number; a half goes up, unlike in `round`."""
    return math.floor(value + 0.5)


def _score(*key: str | int) -> float:
    """Return a number in [0, 1) that depends on the key alone, on every machine."""
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
