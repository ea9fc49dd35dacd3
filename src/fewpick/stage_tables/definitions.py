"""Read and write manifest, split and label tables with typed columns, one class per table.

On disk a table is tab-separated text, with lists as JSON and booleans as `true` or `false`. In
memory its columns have the types given here: `int64`, `float64`, `bool`, text, tuples for windows
and arrays for points.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fewpick.errors import InputError
from fewpick.inputs import original
from fewpick.stacks import read_table, write_table


def _same(value: Any) -> Any:
    return value


def _flag(value: Any) -> bool:
    return {"true": True, "false": False}[str(value).lower()]


def _window(text: str) -> tuple[int, int, int, int]:
    y0, x0, y1, x1 = map(int, json.loads(text))
    return y0, x0, y1, x1


def _windows(text: str) -> tuple[tuple[int, int, int, int], ...]:
    return tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in json.loads(text))


def _points(text: str) -> NDArray[np.float64]:
    return np.asarray(json.loads(text), np.float64).reshape(-1, 2)


@dataclass(frozen=True)
class Kind:
    """The type of a column.

    Attributes
    ----------
    dtype : str
        The pandas dtype in memory.
    decode, encode : callable
        Convert a field to its value in memory, and back.
    """

    dtype: str
    decode: Callable[[Any], Any] = _same
    encode: Callable[[Any], Any] = _same


TEXT = Kind("object")
PATH = Kind("object", original)  # on disk a path that stays valid if the data folder moves
INTEGER = Kind("int64")
NUMBER = Kind("float64")  # NaN for an empty field
FLAG = Kind("bool", _flag, lambda value: "true" if value else "false")
WINDOW = Kind("object", _window, json.dumps)  # y0, x0, y1, x1; half open
WINDOWS = Kind("object", _windows, json.dumps)
POINTS = Kind("object", _points, lambda value: json.dumps(np.asarray(value).tolist()))  # (n, 2)


class StageTable:
    """A table passed between stages.

    Attributes
    ----------
    COLUMNS : dict of str to Kind
        Required columns.
    OPTIONAL : dict of str to Kind
        Optional columns. Any other columns are kept unchanged.
    """

    COLUMNS: ClassVar[Mapping[str, Kind]] = {}
    OPTIONAL: ClassVar[Mapping[str, Kind]] = {}

    @classmethod
    def read(cls, path: str | Path) -> pd.DataFrame:
        """Read a table and convert its columns.

        Raises
        ------
        InputError
            If a column is missing, or contains a value of the wrong type.
        """
        table = read_table(path)
        if missing := [name for name in cls.COLUMNS if name not in table]:
            raise InputError(
                f"{path}: column {', '.join(missing)} is missing. Delete the file and rerun."
            )
        for name, kind in {**cls.COLUMNS, **cls.OPTIONAL}.items():
            if name not in table or kind is TEXT:
                continue
            try:
                values = [kind.decode(value) for value in table[name]]
                table[name] = pd.Series(values, index=table.index, dtype=kind.dtype)
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{path}: the column {name} cannot be read ({error}). Delete the file and "
                    "rerun."
                ) from None
        return table

    @classmethod
    def write(cls, table: pd.DataFrame, path: str | Path) -> None:
        """Write a table; floats keep full precision."""
        kinds = {**cls.COLUMNS, **cls.OPTIONAL}
        text = {
            name: [kinds[name].encode(value) for value in table[name]]
            for name in table
            if name in kinds and kinds[name].encode is not _same
        }
        write_table(table.assign(**text), path)


class ManifestTable(StageTable):
    """The micrographs of a data set: `results/data/{dataset}/manifest.tsv`.

    ny and nx are in px, pixel_size in angstrom (NaN if unknown); n_particles is the number of
    marked particles. The verdict on the orientation and the number of micrographs left out are the
    same in each row.
    """

    COLUMNS: ClassVar = {
        "micrograph": TEXT,
        "ny": INTEGER,
        "nx": INTEGER,
        "pixel_size": NUMBER,
        "annotated": FLAG,
    }
    OPTIONAL: ClassVar = {
        "path": PATH,
        "n_particles": INTEGER,
        "orientation": TEXT,
        "own_orientation": TEXT,
        "left_out": INTEGER,
        "annotation": TEXT,
        "n_areas": INTEGER,
        "n_negatives": INTEGER,
    }


class SplitTable(StageTable):
    """The part that each micrograph belongs to: `results/splits/seed-{s}/split.tsv`.

    `split` is train, val, test or unannotated.
    """

    COLUMNS: ClassVar = {"dataset": TEXT, "micrograph": TEXT, "split": TEXT}


class LabelTable(StageTable):
    """The labels of each micrograph: `results/splits/seed-{s}/ratio-{r}.tsv`.

    `labelled` is all, part or none. Lengths are in px of the target frame: the particle radius, the
    area (y0, x0, y1, x1) without padding and border, the labelled windows in it, and the labelled
    centres and negatives (x, y). `expected` is the number of particles in the area expected by the
    user or, for the target picks, counted by a network; NaN if unknown.
    """

    COLUMNS: ClassVar = {
        **SplitTable.COLUMNS,
        "labelled": TEXT,
        "n_labeled_particles": INTEGER,
        "radius": NUMBER,
        "area": WINDOW,
        "windows": WINDOWS,
        "points": POINTS,
        "expected": NUMBER,
    }
    OPTIONAL: ClassVar = {"negatives": POINTS}
