"""Read and write the label files of one labelling session; each write is atomic.

Next to `labels.star` (marked particles) are `labels.areas.tsv` (areas in which every particle is
marked), `labels.negatives.star` (marked non-particles) and `labels.settings.yaml` (the particle
diameter). Each of these is created once there is something to put in it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from fewpick.annotation.areas import overlapping, read_areas, write_areas
from fewpick.annotation.frame import read_in_frame
from fewpick.atomic import atomic_path
from fewpick.coordinates import FORMATS, Picks, match_names, read_picks, write_picks
from fewpick.coordinates.delimited import parse_table
from fewpick.coordinates.picks import NoParticles
from fewpick.coordinates.text import read_text
from fewpick.errors import InputError

Point = tuple[float, float]
Area = tuple[int, int, int, int]  # x0, y0, x1, y1; x1 and y1 are exclusive

DIGITS = 4  # decimals of a coordinate in the files; points equal to these decimals are the same
# Formats that hold all micrographs in one file.
ONE_FILE = ("star", "csv", "json", "topaz")
# Stands in for the size of a micrograph with an unreadable header, to keep its labels.
ANY_SIZE = (10**9, 10**9)
MARKS, NEGATIVES, AREAS = "marks", "negatives", "areas"
KINDS = (MARKS, NEGATIVES, AREAS)


@dataclass
class OfMicrograph:
    """Labels of one micrograph, in the order they were made (px, x = column, y = row)."""

    marks: list[Point] = field(default_factory=list)
    negatives: list[Point] = field(default_factory=list)
    areas: list[Area] = field(default_factory=list)

    def copy(self) -> OfMicrograph:
        """Return a copy that can be modified independently."""
        return OfMicrograph(list(self.marks), list(self.negatives), list(self.areas))


@dataclass
class Labels:
    """The contents of all label files.

    Attributes
    ----------
    of : micrograph name -> its labels
    names : kind -> micrograph name -> its name in the file
    strangers : kind -> name -> points (n, 2) or areas (n, 4) of micrographs that were not given;
        they are written back unchanged
    diameter : particle diameter, px; None if unknown
    """

    of: dict[str, OfMicrograph]
    names: dict[str, dict[str, str]]
    strangers: dict[str, dict[str, np.ndarray]]
    diameter: float | None = None


class LabelFiles:
    """Read and write one set of label files.

    Parameters
    ----------
    path : file of the marked particles; its suffix determines the format
    shapes : micrograph name -> (ny, nx), px, or `ANY_SIZE`
    written : micrograph name -> the name to write for it

    Raises
    ------
    InputError
        If the format needs one file per micrograph, or cannot be written.
    """

    def __init__(
        self, path: Path, shapes: Mapping[str, tuple[int, int]], written: Mapping[str, str]
    ) -> None:
        self.path, self.shapes, self.written = path, dict(shapes), dict(written)
        suffixes = {name: FORMATS[name].suffixes for name in ONE_FILE}
        found = [name for name in ONE_FILE if path.suffix.lower() in suffixes[name]]
        if not found or path.is_dir():
            known = ", ".join(suffix for held in suffixes.values() for suffix in held)
            raise InputError(
                f"{path}: labels of all micrographs are kept in one file. Choose an -o that ends "
                f"in {known}; fewpick convert converts other formats."
            )
        self.format = found[0]
        self.paths = {
            MARKS: path,
            NEGATIVES: path.with_name(f"{path.stem}.negatives{path.suffix}"),
            AREAS: path.with_name(f"{path.stem}.areas.tsv"),
        }
        self.settings = path.with_name(f"{path.stem}.settings.yaml")

    def signature(self) -> dict[Path, tuple[int, int, int] | None]:
        """Return inode, size and modification time (ns) of each file; None if it is missing."""
        found: dict[Path, tuple[int, int, int] | None] = {}
        for path in (*self.paths.values(), self.settings):
            try:
                stat = path.stat()
            except FileNotFoundError:
                found[path] = None
            else:
                found[path] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        return found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the files against other labelling servers."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with (self.path.parent / f".{self.path.name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def read(self) -> Labels:
        """Read all files; a missing file counts as empty.

        Raises
        ------
        InputError
            If a file cannot be read, if it names none of the micrographs, if a point or an area is
            outside its image, or if areas overlap.
        """
        labels = Labels({name: OfMicrograph() for name in self.shapes}, {}, {})
        for kind in (MARKS, NEGATIVES):
            points, labels.names[kind], labels.strangers[kind] = self._read_points(kind)
            for name, held in points.items():
                setattr(labels.of[name], kind, held)
        self._read_areas(labels)
        for of in labels.of.values():
            # A mark becomes a negative in two writes; if killed in between, the files hold both.
            negatives = set(of.negatives)
            of.marks = [point for point in of.marks if point not in negatives]
        labels.diameter = self._read_diameter()
        return labels

    def write(self, labels: Labels, kinds: Collection[str]) -> None:
        """Write the files of the given kinds, in that order."""
        for kind in kinds:
            names = labels.names[kind]
            held = {
                names.get(name, self._name(kind, name)): getattr(of, kind)
                for name, of in labels.of.items()
                if getattr(of, kind)
            }
            if kind == AREAS:
                write_areas(self.paths[kind], {**labels.strangers[kind], **held})
                continue
            points = {**labels.strangers[kind], **held}
            picks = {name: Picks(np.array(xy, np.float64)) for name, xy in points.items()}
            write_picks(self.paths[kind], picks, fmt=self.format)

    def write_diameter(self, diameter: float) -> None:
        """Write the particle diameter (px) to the settings file next to the labels."""
        text = f"# Particle diameter, px of the micrographs.\ndiameter: {diameter:g}\n"
        with atomic_path(self.settings) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _name(self, kind: str, name: str) -> str:
        return name if kind == AREAS else self.written[name]

    def _read_points(
        self, kind: str
    ) -> tuple[dict[str, list[Point]], dict[str, str], dict[str, np.ndarray]]:
        """Return points by micrograph, the names in the file, and points of other micrographs."""
        path = self.paths[kind]
        if not path.exists():
            return {}, {}, {}
        try:
            everything = read_picks(path, fmt=self.format)
        except NoParticles:
            return {}, {}, {}
        if not everything:
            return {}, {}, {}
        matched = read_in_frame(path, self.shapes, fmt=self.format)
        match = match_names(list(self.shapes), everything, path)
        points = {name: _unique(picks.xy) for name, picks in matched.items()}
        names = {name: key for key, name in match.matched.items()}
        return points, names, {key: everything[key].xy for key in match.unmatched_keys}

    def _read_areas(self, labels: Labels) -> None:
        path = self.paths[AREAS]
        labels.names[AREAS], labels.strangers[AREAS] = {}, {}
        if not path.exists():
            return
        areas, match = read_areas(path, self.shapes)
        labels.names[AREAS] = {name: key for key, name in match.matched.items()}
        for name, held in areas.items():
            for i, area in enumerate(held):
                if len(overlapping(held[:i], area)):
                    raise InputError(
                        f"{path}: two areas of {name} overlap at {', '.join(map(str, area))}. "
                        "Make one of them smaller, or remove it."
                    )
            labels.of[name].areas = [(int(a), int(b), int(c), int(d)) for a, b, c, d in held]
        if match.unmatched_keys:
            table = parse_table(path, read_text(path))
            edges = [table.numbers(edge) for edge in ("x0", "y0", "x1", "y1")]
            for name, *area in zip(table.strings("micrograph"), *edges, strict=True):
                if name in match.unmatched_keys:
                    before = labels.strangers[AREAS].get(name, np.empty((0, 4)))
                    labels.strangers[AREAS][name] = np.vstack([before, area])

    def _read_diameter(self) -> float | None:
        if not self.settings.exists():
            return None
        try:
            value = yaml.safe_load(self.settings.read_text(encoding="utf-8"))["diameter"]
            if isinstance(value, int | float) and 0 < value < ANY_SIZE[0]:
                return float(value)
        except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError):
            pass
        raise InputError(
            f"{self.settings}: has no positive `diameter:`. Correct or remove the file."
        )


def _unique(points: Iterable[Iterable[float]]) -> list[Point]:
    """Round points to `DIGITS` decimals and drop duplicates."""
    rounded = ((round(float(x), DIGITS), round(float(y), DIGITS)) for x, y in points)
    return list(dict.fromkeys(rounded))
