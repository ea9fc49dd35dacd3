"""List all shards of a data set in one small table.

Training reads every shard. With this table as its input instead of hundreds of files, Snakemake
plans large data sets quickly. The table contains a fingerprint of each file, so that it changes
whenever a file does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from fewpick.errors import InputError
from fewpick.stacks import read_table

# What a shard consists of.
KINDS = ("stack", "masks")


def shard_table(stacks: Sequence[str | Path], masks: Sequence[str | Path]) -> pd.DataFrame:
    """List the shards of one data set.

    Returns
    -------
    table with the columns stack and masks (paths as given), and the sha256 of each
    """
    table = pd.DataFrame({"stack": map(str, stacks), "masks": map(str, masks)})
    for kind in KINDS:
        table[f"{kind}_sha256"] = [_fingerprint(Path(path)) for path in table[kind]]
    return table


def paths(tables: Iterable[str | Path]) -> tuple[list[Path], list[Path]]:
    """Return the stacks and masks that the tables list, in the same order.

    Raises
    ------
    InputError
        When a listed file no longer exists.
    """
    found: tuple[list[Path], list[Path]] = ([], [])
    for table in tables:
        listed = read_table(table)
        for kind, files in zip(KINDS, found, strict=True):
            files += map(Path, listed[kind])
            missing = [str(path) for path in files if not path.exists()]
            if missing:
                raise InputError(
                    f"{table}: lists {missing[0]!r}, which no longer exists. Delete "
                    f"{str(table)!r} and rerun."
                )
    return found


def _fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def by_dataset(paths: Iterable[str | Path]) -> dict[str, list[Path]]:
    """Group paths `.../{dataset}/{shard}.mrcs` by data set."""
    grouped: dict[str, list[Path]] = {}
    for path in map(Path, paths):
        grouped.setdefault(path.parent.name, []).append(path)
    return grouped
