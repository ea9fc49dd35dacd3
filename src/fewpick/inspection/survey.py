"""Survey micrographs and coordinates, and derive the settings of a configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fewpick.annotation.annotate import AREAS as AREAS_KIND
from fewpick.annotation.annotate import FULL
from fewpick.annotation.frame import read_in_frame
from fewpick.config.schema import default
from fewpick.coordinates import detect_format, read_picks
from fewpick.coordinates.picks import Points
from fewpick.errors import InputError
from fewpick.geometry import UNSET, believable, fitting_radius, frame_for, one_pixel_size
from fewpick.image_evidence.orientation import measure_orientation
from fewpick.image_evidence.particle_size import measure_radius, neighbour_distance
from fewpick.micrographs import list_micrographs, read_headers, shapes_of
from fewpick.micrographs.listing import shown

# Formats that hold the particle diameter (box formats do not: boxes are larger than particles).
SIZED = ("csv", "coco")
# Warn if the sizes from the images and from the file differ by more than this factor.
DISAGREE = 1.4
# Number of particles that a tile should contain, and range of its edge, px of the target size.
TILE_PARTICLES, TILE_EDGES = 7, (48, 192)
# With this many training micrographs, whole micrographs are the unit of labelling, else tiles.
MANY_MICROGRAPHS = 10
# Minimum number of test micrographs, and the largest fraction they may take.
TEST_MICROGRAPHS, MOST_TEST = 3, 0.34
PARTS = 3  # train, validation, test
# Marks look like clicks if no micrograph has more than this many, and no more than this fraction of
# the micrographs have any.
CLICKS_PER_MICROGRAPH, CLICKED_PART = 30, 0.5
# Files that `fewpick label` writes next to its marks.
AREAS, NEGATIVES, SETTINGS = ".areas.tsv", ".negatives", ".settings.yaml"


@dataclass
class Survey:
    """The findings on a data set and the derived settings. Lengths are in px of the micrographs.

    Attributes
    ----------
    n_micrographs, n_annotated, n_particles : int
    shapes : set of (ny, nx)
    pixel_size : angstrom; None if the files do not say or disagree
    y_axis : down or up, according to the images
    orientation : the evidence, one line
    radius : particle radius
    radius_source : where it comes from, in words
    border : margin without particles
    splits : keys of the section `splits`
    warnings : messages for the user
    annotation : full, areas or clicks
    areas, negatives : files next to the coordinates; None if there are none
    """

    n_micrographs: int
    n_annotated: int
    n_particles: int
    shapes: set[tuple[int, int]]
    pixel_size: float | None
    y_axis: str
    orientation: str
    radius: float
    radius_source: str
    border: int
    splits: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    annotation: str = FULL
    areas: str | None = None
    negatives: str | None = None


def look(
    micrographs: str,
    coordinates: str,
    *,
    radius: float | None = None,
    pixel_size: float | None = None,
    diameter_angstrom: float | None = None,
    scale: float = 1.0,
    fmt: str | None = None,
    annotation: str | None = None,
) -> Survey:
    """Survey a data set.

    Parameters
    ----------
    micrographs : folder or glob
    coordinates : folder or file of centres
    radius : particle radius, px; estimated from the images by default
    pixel_size : angstrom; read from the headers by default
    diameter_angstrom : particle diameter, instead of `radius`
    scale : px of the micrographs per unit of the coordinates
    fmt : format of the coordinates
    annotation : full, areas or clicks; by default, areas if there is a table of areas next to the
        coordinates, else full unless the counts look like clicks

    Raises
    ------
    InputError
        If files cannot be read, names do not match, points are outside their images, the counts
        look like clicks and `annotation` is not given, or clicks come without a particle size.
    """
    warnings: list[str] = []
    headers = read_headers(list_micrographs(micrographs))
    paths, shapes = {path.name: path for path in headers}, shapes_of(headers)
    held = pixel_size or one_pixel_size(header.pixel_size for header in headers.values())
    said = next((header.pixel_size for header in headers.values() if header.pixel_size), None)
    if held is None and said is not None:
        if not believable(said):
            warnings.append(
                f"The headers give {said:g} angstrom per pixel, which is implausible for "
                "single-particle micrographs; ignoring it. Pass --pixel-size."
            )
        else:
            sizes = {path: header.pixel_size or math.nan for path, header in headers.items()}
            usual = float(np.nanmedian(list(sizes.values())))
            odd = [path.name for path, size in sizes.items() if not abs(size / usual - 1) < 1e-3]
            warnings.append(
                f"The headers give different pixel sizes, {usual:.4g} angstrom and others on "
                f"{shown(odd, 8)}; specifying the particle size in pixels."
            )
    if held == UNSET and not pixel_size and radius is None and diameter_angstrom is not None:
        warnings.append(
            "The headers say exactly 1 angstrom per pixel, which programs write when they do not "
            "know the pixel size. If it is not 1, pass --pixel-size."
        )
    size: dict[str, float] = {}
    if radius is not None:
        size = {"particle_radius": radius}
    elif diameter_angstrom is not None:
        size = {"particle_diameter_angstrom": diameter_angstrom}
        if held is None and (said is None or believable(said)):
            raise InputError(
                f"{micrographs}: a diameter in angstrom needs a single pixel size, but the files "
                f"give {'none' if said is None else 'several'}. Pass --pixel-size."
            )
    if size:
        for path, header in headers.items():
            try:
                radius = fitting_radius(
                    size, header.ny, header.nx, pixel_size=held, header=header.pixel_size
                )
            except InputError as error:
                raise InputError(f"{path}: {error}") from None
    pixel_size = held

    def points_for(y_axis: str) -> dict[Path, Points]:
        read = read_in_frame(coordinates, shapes, fmt=fmt, y_axis=y_axis, scale=scale, paths=paths)
        return {paths[name]: picks.xy for name, picks in read.items()}

    points = points_for("down")
    beside = {
        key: _beside(coordinates, suffix)
        for key, suffix in (("areas", AREAS), ("negatives", NEGATIVES), ("settings", SETTINGS))
    }
    if annotation is None:
        annotation = (
            AREAS_KIND if beside["areas"] else _annotation_by_counts(coordinates, points, shapes)
        )
    if annotation != FULL:
        if radius is None:
            radius = _drawn_radius(beside["settings"])
        if radius is None:
            raise InputError(
                f"{coordinates}: the particle size cannot be estimated while only some particles "
                "are marked. Pass --diameter PX (fewpick label has a tool to measure it)."
            )
        return _survey_of_marks(
            points, paths, shapes, pixel_size, radius, annotation, beside, warnings
        )
    y_axis, given = "down", radius
    guess = given or measure_radius(points) or _guess(points, shapes)
    found = measure_orientation(points, guess)
    if found.verdict == "flip_y suspected":
        y_axis, points = "up", points_for("up")
        guess = given or measure_radius(points) or guess
        found = measure_orientation(points, guess)
    warnings += found.warnings()
    if found.verdict != "ok" and not found.warnings():
        warnings.append(
            f"The images do not confirm the positions of the points ({found.verdict}). Check "
            "y_axis, check that micrographs and coordinates belong together, and inspect a few."
        )
    radius, source = _radius(coordinates, fmt, scale, points, given, guess, warnings)
    n_particles = sum(map(len, points.values()))
    peopled = [path for path, xy in points.items() if len(xy)]
    if len(peopled) < PARTS:
        warnings.append(
            f"Only {len(peopled)} of the micrographs {'is' if len(peopled) == 1 else 'are'} "
            f"annotated; a comparison needs at least {PARTS}: one each for training, validation "
            "and test."
        )
    return Survey(
        n_micrographs=len(paths),
        n_annotated=len(points),
        n_particles=n_particles,
        shapes=set(shapes.values()),
        pixel_size=pixel_size,
        y_axis=y_axis,
        orientation=found.summary(),
        radius=radius,
        radius_source=source,
        border=_border(points, {paths[n]: s for n, s in shapes.items()}, radius),
        splits=_splits(points, {paths[n]: s for n, s in shapes.items()}, radius, warnings),
        warnings=warnings,
    )


def _survey_of_marks(
    points: Mapping[Path, Points],
    paths: Mapping[str, Path],
    shapes: Mapping[str, tuple[int, int]],
    pixel_size: float | None,
    radius: float,
    annotation: str,
    beside: Mapping[str, str | None],
    warnings: list[str],
) -> Survey:
    """Survey a data set with only some particles marked, which allows fewer conclusions."""
    n_particles = sum(map(len, points.values()))
    found = measure_orientation(points, radius)
    if n_particles and found.verdict.endswith("suspected"):
        warnings.append(
            f"The images do not confirm the positions of the marks ({found.verdict}). Check "
            "y_axis, check that micrographs and coordinates belong together, and inspect a few."
        )
    return Survey(
        n_micrographs=len(paths),
        n_annotated=sum(map(bool, map(len, points.values()))),
        n_particles=n_particles,
        shapes=set(shapes.values()),
        pixel_size=pixel_size,
        y_axis="down",
        orientation=found.summary(),
        radius=radius,
        radius_source="as given",
        border=0,
        splits={},
        warnings=warnings,
        annotation=annotation,
        areas=beside["areas"] if annotation == AREAS_KIND else None,
        negatives=beside["negatives"],
    )


def _annotation_by_counts(
    coordinates: str, points: Mapping[Path, Points], shapes: Mapping[str, tuple[int, int]]
) -> str:
    """Assume full annotation, unless the counts look like clicks: then require an answer."""
    counts = [len(xy) for xy in points.values() if len(xy)]
    few = bool(counts) and max(counts) <= CLICKS_PER_MICROGRAPH
    if not few or len(counts) > CLICKED_PART * len(shapes):
        return FULL
    raise InputError(
        f"{coordinates}: {sum(counts)} marks on {len(counts)} of {len(shapes)} micrographs look "
        "like clicks on some of the particles. Pass --annotation clicks if these micrographs "
        "contain unmarked particles, or --annotation full if every particle is marked."
    )


def _beside(coordinates: str, suffix: str) -> str | None:
    """Return the file that accompanies a coordinate file: labels.areas.tsv for labels.star."""
    path = Path(coordinates)
    if suffix == NEGATIVES:
        suffix += path.suffix
    other = path.with_name(path.stem + suffix)
    return str(other) if path.is_file() and other.is_file() else None


def _drawn_radius(settings: str | None) -> float | None:
    """Read the particle radius, px, from the settings that `fewpick label` wrote."""
    held = yaml.safe_load(Path(settings).read_text()) if settings else None
    diameter = held.get("diameter") if isinstance(held, dict) else None
    return diameter / 2 if isinstance(diameter, int | float) and diameter > 0 else None


def _guess(points: Mapping[Path, Points], shapes: Mapping[str, tuple[int, int]]) -> float:
    """Guess an initial radius if it cannot be measured from the images."""
    distance = neighbour_distance(points)
    return distance / 2 if distance else min(map(min, shapes.values())) / 40


def _radius(
    coordinates: str,
    fmt: str | None,
    scale: float,
    points: Mapping[Path, Points],
    given: float | None,
    guess: float,
    warnings: list[str],
) -> tuple[float, str]:
    """Return the particle radius, px, and where it comes from."""
    if given is not None:
        return given, "as given"
    measured = measure_radius(points)
    written = _written_diameter(coordinates, fmt, scale)
    if written is not None:
        if measured and not 1 / DISAGREE <= 2 * measured / written <= DISAGREE:
            warnings.append(
                f"The particle diameter is {written:g} px according to the file and about "
                f"{2 * measured:.0f} px according to the images. Check which is right and set "
                "particle_radius."
            )
        return round(written / 2, 1), "half the diameter in the coordinate file"
    if measured is not None:
        return float(round(measured)), "estimated from the images, to within about 20 %"
    warnings.append(
        "The particle size could not be measured; particle_radius is a guess. Set it yourself."
    )
    return float(round(guess)), "guessed from the distance between neighbours"


def _written_diameter(coordinates: str, fmt: str | None, scale: float) -> float | None:
    """Return the particle diameter in a coordinate file, px of the micrograph; None without one."""
    path = Path(coordinates)
    one = next((p for p in sorted(path.iterdir()) if p.is_file()), None) if path.is_dir() else path
    if one is None or (fmt or detect_format(one)) not in SIZED:
        return None
    diameters = {held.diameter for held in read_picks(coordinates, fmt=fmt, scale=scale).values()}
    known = [diameter for diameter in diameters if diameter]
    return float(np.median(known)) if known else None


def _border(
    points: Mapping[Path, Points], shapes: Mapping[Path, tuple[int, int]], radius: float
) -> int:
    """Return the margin without any points, px, or 0 if it could be due to chance."""
    margins = [
        np.minimum(xy, np.array(shapes[path][::-1]) - 1 - xy).min()
        for path, xy in points.items()
        if len(xy)
    ]
    least = math.floor(min(margins, default=0))
    return max(least, 0) if least > 1.2 * radius else 0


def _splits(
    points: Mapping[Path, Points],
    shapes: Mapping[Path, tuple[int, int]],
    radius: float,
    warnings: list[str],
) -> dict[str, Any]:
    """Choose the section `splits`, with labelled ratios from about ten particles to all."""
    peopled = {path: xy for path, xy in points.items() if len(xy)}
    n = len(peopled)
    if n == 0:
        return {}
    usual = default("splits.test_fraction")
    test = max(usual, min(TEST_MICROGRAPHS / n, MOST_TEST)) if n >= PARTS else MOST_TEST
    splits: dict[str, Any] = {"seeds": [0, 1, 2]}
    if test > usual:
        splits["test_fraction"] = math.ceil(100 * test) / 100
    n_train = max(1, round(n * (1 - default("splits.val_fraction") - test)))
    if n_train >= MANY_MICROGRAPHS:
        shares = {max(1, k) / n_train for k in (1, round(0.1 * n_train), round(0.3 * n_train))}
        splits["labeled_ratios"] = [*_rounded(shares), 1.0]
        return splits
    # Few micrographs: the unit of labelling is a tile with a handful of particles.
    density = float(np.mean([len(xy) / math.prod(shapes[path]) for path, xy in peopled.items()]))
    longest = max(map(max, shapes.values()))
    target_size = default("preprocess.target_size")
    edge = math.sqrt(TILE_PARTICLES / density) * target_size / longest
    edge = int(min(max(8 * round(edge / 8), TILE_EDGES[0]), TILE_EDGES[1]))
    frame = frame_for(*next(iter(shapes.values())), target_size)
    tiles = n_train * -(-frame.height // edge) * -(-frame.width // edge)
    splits |= {"unit": "tile", "tile_size": edge}
    splits["labeled_ratios"] = _rounded({min(k / tiles, 1.0) for k in (1, 4, 16)})
    if n < 2 * PARTS:
        warnings.append(
            f"With {n} annotated micrograph{'' if n == 1 else 's'}, there are few test "
            "micrographs, so intervals will be wide. Annotate more if you can."
        )
    return splits


def _rounded(shares: set[float]) -> list[float]:
    """Sort, and round up to two digits, so that no ratio loses its only label."""

    def up(share: float) -> float:
        digits = 1 - math.floor(math.log10(share))
        return min(1.0, math.ceil(share * 10**digits - 1e-9) / 10**digits)

    return sorted({up(share) for share in shares})
