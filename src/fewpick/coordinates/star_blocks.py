"""STAR syntax, shared by RELION and CBOX files."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import starfile

from fewpick.coordinates.picks import Points
from fewpick.coordinates.text import number, optional_number, read_text
from fewpick.errors import InputError

AGAIN = "__again"  # in the name of a duplicate column
# The message of pandas when rows and header differ in length.
LENGTHS = re.compile(r"Expected axis has (\d+) elements, new values have (\d+)")
Loop = Mapping[str, Sequence[str]]


def read_blocks(path: Path, columns: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Read the loops of a STAR file by block name; values of `columns` stay text.

    Raises
    ------
    InputError
        When the file is not STAR, or has a duplicate block or column.
    """
    # starfile reads a comment as the only row of an otherwise empty table.
    lines = read_text(path).split("\n")
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    names = re.findall(r"^[ \t]*data_(.*?)[ \t]*$", text, re.MULTILINE)
    if not names:
        raise InputError(f"{path}: contains no STAR data block. Export the file again.")
    for name in names:
        # starfile would end the table at a micrograph named data_1.mrc and drop the rest.
        if " " in name or "\t" in name or names.count(name) > 1:
            raise InputError(
                f"{path}: {'data_' + name!r:.60} is not a unique block name. Keep one block of "
                "each name, and start no line with a micrograph named data_..."
            )
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".star") as plain:
        # starfile guesses the encoding as for Python source: give it UTF-8.
        plain.write(_marked(text))
        plain.flush()
        try:
            blocks = starfile.read(plain.name, always_dict=True, parse_as_string=list(columns))
        except Exception as error:
            # starfile lets through whatever its dependencies raise.
            reason = " ".join(str(error).split())
            if found := LENGTHS.search(reason):
                reason = f"a table has {found[2]} columns in its header, but {found[1]} in its rows"
            raise InputError(
                f"{path}: not a readable STAR file ({reason}). Export the file again."
            ) from error
    return {
        name: _once(path, name, _table(block))
        for name, block in blocks.items()
        if isinstance(block, pd.DataFrame | dict)
    }


def _table(block: pd.DataFrame | dict[str, object]) -> pd.DataFrame:
    """Return a block as a table; name-value pairs become a single row."""
    return block if isinstance(block, pd.DataFrame) else pd.DataFrame([block], dtype=object)


def _marked(text: str) -> str:
    """Rename duplicate columns of a block, because starfile needs unique names."""
    lines, seen = text.split("\n"), set[str]()
    for at, line in enumerate(lines):
        words = line.split(maxsplit=1)
        if line.lstrip().startswith("data_"):
            seen.clear()
        elif words and words[0].startswith("_"):
            if words[0] in seen:
                lines[at] = f"{words[0]}{AGAIN}{at} {''.join(words[1:])}"
            seen.add(words[0])
    return "\n".join(lines)


def _once(path: Path, name: str, block: pd.DataFrame) -> pd.DataFrame:
    """Drop duplicate columns with equal values."""
    for column in [column for column in block.columns if AGAIN in str(column)]:
        first = str(column).split(AGAIN)[0]
        if not block[column].astype(str).equals(block[first].astype(str)):
            raise InputError(
                f"{path}: data_{name} has two columns _{first} with different values. Remove one."
            )
        block = block.drop(columns=column)
    return block


def floats(path: Path, block: pd.DataFrame, column: str) -> Points:
    """Return a text column as (n,) float64; missing values are errors.

    Raises
    ------
    InputError
        When a value is not a number.
    """
    values = []
    for row, value in enumerate(block[column].to_list(), start=1):
        if pd.isna(value) or value == "":
            raise InputError(f"{path}: row {row} has no _{column}. Export the file again.")
        values.append(number(f"{path}: row {row}, _{column}", str(value)))
    return np.array(values, dtype=np.float64)


def optional_floats(path: Path, block: pd.DataFrame, column: str) -> Points:
    """Return a text column as (n,) float64 with NaN for missing values.

    Raises
    ------
    InputError
        When a value is neither a number nor a missing value.
    """
    values = [
        np.nan if pd.isna(value) else optional_number(f"{path}: row {row}, _{column}", str(value))
        for row, value in enumerate(block[column].to_list(), start=1)
    ]
    return np.array(values, dtype=np.float64)


def star_text(blocks: Mapping[str, Loop]) -> str:
    """Format loops of text values as a STAR file."""
    parts = []
    for name, loop in blocks.items():
        rows = zip(*loop.values(), strict=True)
        parts += [loop_head(name, loop), *map(loop_row, rows), "\n"]
    return "".join(parts)


def loop_head(name: str, columns: Iterable[str]) -> str:
    """Return the header of a loop, to be followed by its rows and an empty line."""
    numbered = [f"_{column} #{i}" for i, column in enumerate(columns, start=1)]
    return "\n".join(["", "# version 30001", "", f"data_{name}", "", "loop_", *numbered]) + "\n"


def loop_row(values: Iterable[str]) -> str:
    """Return one row of a loop."""
    return "\t".join(values) + "\n"


def check_word(path: Path, value: str) -> str:
    """Check that a STAR file can contain a name, and return it.

    Raises
    ------
    InputError
        When it is empty or contains a space, quote or comment mark.
    """
    if not re.fullmatch(r"[^\s\"'#]+", value):
        raise InputError(
            f"{path}: the name {value!r} contains a space, quote or '#', which STAR files do not "
            "allow. Rename the file, or link it under another name (ln -s)."
        )
    return value
