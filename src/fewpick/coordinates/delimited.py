"""Delimited tables with a header line, shared by csv and Topaz files."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewpick.coordinates.picks import (
    NoParticles,
    Picks,
    make_picks,
    refuse_slices,
    rows_by_name,
)
from fewpick.coordinates.text import number, optional_number, read_text
from fewpick.errors import InputError
from fewpick.micrographs import image_suffix

logger = logging.getLogger(__name__)

# Names of a third coordinate, which micrographs do not have.
SLICES = ("z", "z_coord", "Z-Coordinate", "slice")
# Columns that only tables of boxes have. In ImageJ's, BX and BY are the corners, X and Y centres.
SIDES, IMAGEJ_CORNER = ("width", "height", "w", "h", "box_width", "box_height"), "bx"
OTHER_SCORES = ("confidence", "probability", "fom", "figure_of_merit", "rlnAutopickFigureOfMerit")
NAMING = re.compile(r"micrograph|image|file|path|name|\bmic\b|\bimg\b")  # in lower-case headers


def read_columns(
    path: Path,
    *,
    x: Sequence[str],
    y: Sequence[str],
    name: Sequence[str],
    score: str,
    diameter: str | None = None,
) -> dict[str, Picks]:
    """Read picks by column name, ignoring case.

    Parameters
    ----------
    path : path
        The table.
    x, y, name : list of str
        Possible names of the column, the usual one first. Without a name column, the stem of the
        file is the key.
    score, diameter : str
        Names of optional columns.

    Raises
    ------
    InputError
        When a column is missing, a value is not a number, or it is unclear whether x and y are
        corners of boxes or which column names the micrographs.
    """
    table = parse_table(path, read_text(path))
    _refuse_corners(table)
    if not table.held(name):
        _refuse_other_names(table, name[-1] if len(name) == 1 else "micrograph")
    everything = make_picks(path, table.numbers(table.find(x)), table.numbers(table.find(y)))
    scores = table.optional_numbers(score)
    if scores is None and (others := table.held(OTHER_SCORES)):
        logger.warning(
            "%s: column %r is not used. If it contains the scores of the picks, rename it to %r.",
            *(path, others[0], score.lower()),
        )
    sizes = table.optional_numbers(diameter) if diameter is not None else None

    slices = next(iter(table.held(SLICES)), None)

    def picks_of(rows: np.ndarray) -> Picks:
        held_scores = None if scores is None else scores[rows]
        size = np.empty(0) if sizes is None else sizes[rows]
        size = size[~np.isnan(size) & (size != 0)]  # blank or 0: size unknown
        median = float(np.median(size)) if len(size) else None
        xy = everything.xy[rows]
        return make_picks(path, xy[:, 0], xy[:, 1], held_scores, median)

    named = bool(table.held(name))
    names = table.strings(table.find(name)) if named else [path.stem] * len(everything)
    if slices is not None:
        refuse_slices(path, names, table.numbers(slices, blank=True))
    if not named:
        return {path.stem: picks_of(np.arange(len(everything)))}
    if "" in names:
        line = table.rows[names.index("")][0]
        raise InputError(f"{path}: line {line} names no micrograph. Correct or remove the line.")
    if not names:
        raise NoParticles(path)
    return {key: picks_of(rows) for key, rows in rows_by_name(names).items()}


@dataclass(frozen=True)
class Table:
    """A delimited text table: lower-case column names, and rows of (line number, fields)."""

    path: Path
    columns: list[str]
    rows: list[tuple[int, list[str]]]
    decimal_comma: bool

    def held(self, names: Sequence[str]) -> list[str]:
        """List those of `names` that are columns, ignoring case."""
        return [name.lower() for name in names if name.lower() in self.columns]

    def find(self, names: Sequence[str]) -> str:
        """Return the one column that has one of the names, the usual one first.

        Raises
        ------
        InputError
            When none of them, or several, exist.
        """
        held = self.held(names)
        if not held:
            raise InputError(
                f"{self.path}: column {names[0]!r} is missing; the header is "
                f"{self.columns!r:.200}. Add the header or set the correct format."
            )
        if len(held) > 1:
            raise InputError(
                f"{self.path}: the columns {' and '.join(map(repr, held))} mean the same. "
                "Remove one."
            )
        return held[0]

    def strings(self, column: str) -> list[str]:
        """Return a column as text, without surrounding blanks."""
        at = self.columns.index(column.lower())
        return [fields[at].strip() for _, fields in self.rows]

    def numbers(self, column: str, *, blank: bool = False) -> list[float]:
        """Return a column as numbers; with `blank`, empty fields become NaN."""
        swap = "," if self.decimal_comma else "."
        return [
            (optional_number if blank else number)(
                f"{self.path}: line {line}", field.replace(swap, ".")
            )
            for (line, _), field in zip(self.rows, self.strings(column), strict=True)
        ]

    def optional_numbers(self, column: str) -> np.ndarray | None:
        """Return a column as (n,) float64 with NaN for empty fields; None without the column."""
        if column.lower() not in self.columns:
            return None
        return np.array(self.numbers(column, blank=True))


def _refuse_corners(table: Table) -> None:
    sides = table.held(SIDES)
    if len(sides) >= 2 and IMAGEJ_CORNER not in table.columns:
        raise InputError(
            f"{table.path}: has the columns {sides[0]!r} and {sides[1]!r}, so x and y may be "
            "corners of boxes instead of centres. If they are corners, add half the width and "
            "height. Then remove these two columns."
        )


def _refuse_other_names(table: Table, wanted: str) -> None:
    """Reject a table whose micrograph names seem to be in an unrecognised column."""
    for column in filter(None, table.columns):
        values = set(table.strings(column))
        named = NAMING.search(column) or all(image_suffix(value) for value in values)
        if len(values) > 1 and named:
            raise InputError(
                f"{table.path}: column {column!r} seems to name the micrographs. Rename it to "
                f"{wanted!r}, or remove it if all points belong to one micrograph."
            )


def parse_table(path: Path, text: str) -> Table:
    """Split a table with a header line, delimited by tab, comma, semicolon or spaces.

    Semicolons come from spreadsheets that also use decimal commas.

    Raises
    ------
    InputError
        When there is no header, a column is duplicated or a line has a different number of fields.
    """
    lines = text.split("\n")
    first = next((i for i, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise InputError(
            f"{path}: the file is empty. For a micrograph without particles, keep the header line."
        )
    delimiter = next((mark for mark in "\t;," if mark in lines[first]), " ")
    try:
        reader = csv.reader(
            lines, delimiter=delimiter, skipinitialspace=delimiter == " ", strict=True
        )
        rows = []
        for fields in reader:
            if delimiter == " ":
                fields = [field for field in fields if field]
            if any(field.strip() for field in fields):
                rows.append((reader.line_num, fields))
    except csv.Error as error:
        raise InputError(f"{path}: not a table ({error}). Export the file again.") from None
    columns = [field.strip().lower() for field in rows.pop(0)[1]]
    named = [name for name in columns if name]
    if len(set(named)) != len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise InputError(f"{path}: duplicate column {twice!r}. Remove one.")
    for line, fields in rows:
        while len(fields) > len(columns) and not fields[-1].strip():
            fields.pop()
        if len(fields) != len(columns):
            raise InputError(
                f"{path}: line {line} has {len(fields)} of the header's {len(columns)} fields. "
                "Export the file again; it may be truncated or use decimal commas."
            )
    return Table(path, columns, rows, decimal_comma=delimiter == ";")
