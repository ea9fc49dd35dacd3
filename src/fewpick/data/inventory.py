"""List the micrographs and coordinate files of a data set in one small table.

Hundreds of jobs need the manifest, and for each of them Snakemake compares the names of all inputs
of the manifest. This one table is therefore its input instead of thousands of files. The table
contains a fingerprint of each file, so that it changes whenever a file does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from fewpick.inputs import original
from fewpick.micrographs import Header, read_headers, sort_out
from fewpick.stacks import read_table

COLUMNS = ["kind", "path", "ny", "nx", "pixel_size", "left_out", "sha256"]
MICROGRAPH, COORDINATES = "micrograph", "coordinates"
# Bytes that distinguish images: the header and some rows of noise. Reading thousands of micrographs
# in full would take hours.
HEAD = 1 << 16


def inventory_table(
    micrographs: Sequence[str | Path], coordinates: Iterable[str | Path], on_bad: str = "stop"
) -> pd.DataFrame:
    """List the files of one data set.

    Parameters
    ----------
    micrographs, coordinates : paths, or the workflow's links to them
    on_bad : what to do with broken micrographs, as in `fewpick.micrographs.sort_out`

    Returns
    -------
    table with the columns kind and path (as given); for micrographs ny, nx (px) and pixel_size
    (angstrom), or left_out (the reason); sha256 of each usable file, for micrographs of its head

    Raises
    ------
    InputError
        When a micrograph is broken and `on_bad` is "stop".
    """
    given = {Path(original(path)): str(path) for path in micrographs}
    good, left_out = sort_out(list(given), on_bad)
    rows: list[dict[str, object]] = [
        {"kind": MICROGRAPH, "path": given[path], "sha256": _fingerprint(path, HEAD)} | vars(header)
        for path, header in read_headers(good).items()
    ]
    rows += [
        {"kind": MICROGRAPH, "path": given[path], "left_out": reason}
        for path, reason in left_out.items()
    ]
    rows += [
        {"kind": COORDINATES, "path": str(path), "sha256": _fingerprint(Path(path))}
        for path in coordinates
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"ny": "Int64", "nx": "Int64"})  # integers, though some are missing


def micrographs_of(table: pd.DataFrame) -> tuple[dict[Path, Header], dict[Path, str]]:
    """Return the micrographs to use with their headers, and those left out with the reasons."""
    listed = table[table["kind"] == MICROGRAPH]
    bad = listed["left_out"].notna()
    headers = {
        Path(original(path)): Header(
            int(ny), int(nx), None if pd.isna(pixel_size) else float(pixel_size)
        )
        for path, ny, nx, pixel_size in listed.loc[
            ~bad, ["path", "ny", "nx", "pixel_size"]
        ].itertuples(index=False)
    }
    left_out = listed.loc[bad, ["path", "left_out"]].itertuples(index=False)
    return headers, {Path(original(path)): str(reason) for path, reason in left_out}


def listed_fingerprints(table: Path) -> dict[str, tuple[str, str]]:
    """Return kind and sha256 of each file that a table lists as usable, by its path there."""
    listed = read_table(table).dropna(subset=["sha256"])
    columns = (listed[name] for name in ("path", "kind", "sha256"))
    return {path: (kind, sha256) for path, kind, sha256 in zip(*columns, strict=True)}


def same_file(path: Path, kind: str, sha256: str) -> bool:
    """Return whether a file still has the listed content."""
    return _fingerprint(path, HEAD if kind == MICROGRAPH else -1) == sha256


def _fingerprint(path: Path, n_bytes: int = -1) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(n_bytes)).hexdigest()
