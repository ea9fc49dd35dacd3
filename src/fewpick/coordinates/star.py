"""RELION STAR: one particle table (3.0, and 3.1 to 5), or one file per micrograph.

Coordinates are pixels of the micrograph in the internal frame. A RELION job folder contains one
`*_autopick.star` per micrograph and an `autopick.star` that lists them. Source:
https://relion.readthedocs.io/en/latest/Reference/Conventions.html
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fewpick.atomic import atomic_path
from fewpick.coordinates.picks import (
    NoParticles,
    Picks,
    Points,
    given,
    make_picks,
    refuse_slices,
    rows_by_name,
)
from fewpick.coordinates.star_blocks import (
    check_word,
    floats,
    loop_head,
    loop_row,
    optional_floats,
    read_blocks,
    star_text,
)
from fewpick.coordinates.text import read_text
from fewpick.errors import InputError
from fewpick.micrographs.layout import places

X, Y = "rlnCoordinateX", "rlnCoordinateY"
SCORE = "rlnAutopickFigureOfMerit"
GROUP, PIXEL_SIZE = "rlnOpticsGroup", "rlnMicrographPixelSize"
IMAGE_PIXEL_SIZE = "rlnImagePixelSize"
ORIGINS_ANGSTROM = ("rlnOriginXAngst", "rlnOriginYAngst")
ORIGINS_PX = ("rlnOriginX", "rlnOriginY")  # up to RELION 3.0
SLICE, TOMOGRAM = "rlnCoordinateZ", "rlnTomoName"
NAME, FILE = "rlnMicrographName", "rlnMicrographCoordinates"
IMAGE = "rlnImageName"
COLUMNS = (
    *(X, Y, SCORE, NAME, FILE, GROUP, PIXEL_SIZE, IMAGE_PIXEL_SIZE, SLICE, IMAGE),
    *(*ORIGINS_ANGSTROM, *ORIGINS_PX),
)
# Ending of the files in a folder, name of their list, and what replaces it up to RELION 3.1.
ENDING, LIST, SUFFIX = "_autopick.star", "autopick.star", "coords_suffix_autopick.star"
NO_SCORE = -999.0  # RELION's mark for a missing score, as in manual picks
# crYOLO's mark, compared as text: fewpick writes a real score of this value with decimals.
CRYOLO_NO_SCORE = "-9999"

logger = logging.getLogger(__name__)


def sniff(head: str) -> bool:
    """Return whether a file with this beginning is a STAR file."""
    return any(line.startswith("data_") for line in head.splitlines())


def is_index(path: Path) -> bool:
    """Return whether the file only lists the files that contain the picks."""
    return f"_{FILE}" in read_text(path)


def read(path: Path) -> dict[str, Picks]:
    """Read one file; micrograph names as written, or the file's stem if there is none.

    Refined origins (`rlnOriginXAngst`) are subtracted, as RELION does when it extracts again.
    """
    blocks = read_blocks(path, COLUMNS)
    tables = [block for block in blocks.values() if X in block and Y in block]
    if len(tables) > 1:
        raise InputError(f"{path}: contains {len(tables)} blocks with coordinates. Keep one.")
    if any(TOMOGRAM in block for block in [*tables, *blocks.values()]):
        raise InputError(
            f"{path}: contains picks of tomograms (_{TOMOGRAM}). Use picks of micrographs."
        )
    if tables:
        return _read_table(path, tables[0], blocks.get("optics"))
    lists = [block for block in blocks.values() if NAME in block and FILE in block]
    if lists:
        return _read_listed(path, lists[0])
    raise InputError(
        f"{path}: has no columns _{X} and _{Y}. Give a particle or autopick STAR file."
    )


def _of_groups(path: Path, block: pd.DataFrame, optics: pd.DataFrame | None, column: str) -> Points:
    """Look up a column of the optics table for each particle; NaN if missing."""
    if column in block:
        return optional_floats(path, block, column)
    if optics is None or column not in optics:
        return np.full(len(block), np.nan)
    values = optional_floats(path, optics, column)
    if GROUP not in block or GROUP not in optics:
        return np.full(len(block), values[0] if len(values) == 1 else np.nan)
    by_group = dict(zip(optics[GROUP].astype(str), values.tolist(), strict=True))
    return np.array([by_group.get(str(group), np.nan) for group in block[GROUP]], np.float64)


def _read_table(path: Path, block: pd.DataFrame, optics: pd.DataFrame | None) -> dict[str, Picks]:
    x, y = floats(path, block, X), floats(path, block, Y)
    pixel_sizes = _of_groups(path, block, optics, PIXEL_SIZE)
    origins = _origins(path, block, optics, pixel_sizes)
    score = None
    if SCORE in block:
        score = optional_floats(path, block, SCORE)
        marked = block[SCORE].astype(str).str.strip().to_numpy() == CRYOLO_NO_SCORE
        score[(score == NO_SCORE) | marked] = np.nan
    # Checked before origins are subtracted, so that a message quotes the numbers in the file.
    make_picks(path, x, y)
    everything = make_picks(path, x - origins[:, 0], y - origins[:, 1], score)
    names = [path.stem] * len(block)
    if NAME in block:
        names = block[NAME].fillna("").astype(str).to_list()
        if "" in names:
            row = names.index("") + 1
            raise InputError(f"{path}: row {row} has no _{NAME}. Export the file again.")
    elif IMAGE in block and block[IMAGE].astype(str).str.split("@").str[-1].nunique() > 1:
        raise InputError(
            f"{path}: has particles of several stacks (_{IMAGE}) but no _{NAME}. Add the column "
            "with the micrograph of each particle, or use the picks they were extracted from."
        )
    if SLICE in block:
        refuse_slices(path, names, optional_floats(path, block, SLICE))
    if not names and NAME not in block:
        return {path.stem: everything}
    if not names:
        raise NoParticles(path)
    picks = {}
    for name, rows in rows_by_name(names).items():
        size = float(pixel_sizes[rows[0]])
        picks[name] = Picks(
            everything.xy[rows],
            given(None if everything.score is None else everything.score[rows]),
            pixel_size=size if size > 0 else None,
            moved=float(np.abs(origins[rows]).max(initial=0)),
        )
    return picks


def _origins(
    path: Path, block: pd.DataFrame, optics: pd.DataFrame | None, pixel_sizes: Points
) -> Points:
    """Return the shift of the particle centres by refinement, (n, 2) px of the micrograph."""
    zero = np.zeros((len(block), 2))
    for columns, unit in ((ORIGINS_ANGSTROM, np.ones(len(block))), (ORIGINS_PX, None)):
        if not set(columns) <= set(block.columns):
            continue
        found = np.column_stack([optional_floats(path, block, column) for column in columns])
        found = np.nan_to_num(found)
        if not found.any():
            return zero
        if unit is None:  # px of the extracted image, which may be scaled
            unit = _of_groups(path, block, optics, IMAGE_PIXEL_SIZE)
        found *= (unit / pixel_sizes)[:, None]
        if not np.isfinite(found).all():
            logger.warning(
                "%s: refined origins (_%s) are not applied, because the file lacks their pixel "
                "size (_%s%s). Extract the particles again with recentring, and use those.",
                *(path, columns[0], PIXEL_SIZE),
                "" if columns is ORIGINS_ANGSTROM else f" and _{IMAGE_PIXEL_SIZE}",
            )
            return zero
        distance = np.hypot(*found.T)
        logger.warning(
            "%s: refined origins (_%s) are applied; they move centres by a median of %.1f px "
            "and at most %.1f px.",
            *(path, columns[0], np.median(distance), distance.max()),
        )
        return found
    return zero


def _read_listed(path: Path, block: pd.DataFrame) -> dict[str, Picks]:
    picks: dict[str, Picks] = {}
    for name, listed in zip(block[NAME], block[FILE], strict=True):
        if pd.isna(name) or pd.isna(listed) or not name or not listed:
            raise InputError(f"{path}: a row lacks a micrograph or file. Export the file again.")
        if name in picks:
            raise InputError(f"{path}: lists {name} twice. Keep one line.")
        held = read(_find(path, Path(listed)))
        if len(held) != 1:
            raise InputError(
                f"{path}: {listed} contains {len(held)} micrographs instead of only {name}. "
                "Export the files again."
            )
        picks[name] = next(iter(held.values()))
    return picks


def _find(index: Path, listed: Path) -> Path:
    """Find a listed file: next to the index, or relative to a project folder above it."""
    for base in (Path(), *index.absolute().parents):
        if (base / listed).is_file():
            return base / listed
    if (index.parent / listed.name).is_file():
        return index.parent / listed.name
    raise InputError(f"{index}: lists {listed}, which does not exist. Copy it next to this file.")


def check_names(paths: Iterable[Path]) -> None:
    """Reject micrographs whose paths STAR files cannot contain, before any is picked.

    Raises
    ------
    InputError
        When a path contains a space, quote or comment mark.
    """
    for path in paths:
        check_word(path, str(path))


@dataclass(frozen=True)
class RelionOptics:
    """The optics block of a RELION project, and the optics group of each micrograph.

    Attributes
    ----------
    block : dict
        Column to the values of all groups, as written in the project's file.
    groups : dict
        Micrograph, as named in the project, to its group.
    path : Path or None
        The list of micrographs that they come from.
    root : Path or None
        Project folder, to which RELION's paths are relative.
    """

    block: Mapping[str, Sequence[str]]
    groups: Mapping[str, str]
    path: Path | None = None
    root: Path | None = None


def write(
    path: Path,
    picks: Mapping[str, Picks],
    *,
    names: Mapping[str, str] | None = None,
    pixel_size: float | None = None,
    optics: RelionOptics | None = None,
) -> None:
    """Write one particle table, or a folder with one file per micrograph and their list.

    `names` gives the micrograph name to write for a key, such as the path inside a RELION
    project; `pixel_size` (angstrom), or that of each micrograph, goes into the optics table;
    `optics` is the optics table of a project, which replaces it.
    """
    names = names or {}
    words = {key: check_word(path, names.get(key, key)) for key in picks}
    if path.suffix != ".star":
        _write_folder(path, picks, words, optics)
        return
    scored = any(held.score is not None for held in picks.values())
    sizes = {key: pixel_size or held.pixel_size for key, held in picks.items()}
    if optics is None:
        optics = _own_optics({words[key]: size for key, size in sizes.items()})
    # Coordinates first: STAR readers may mistake a line that starts with a name for a new block.
    columns = [X, Y, *([SCORE] if scored else []), NAME, GROUP]
    # Row by row: as text, the picks of thousands of micrographs would fill the memory.
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(star_text({"optics": optics.block}))
        file.write(loop_head("particles", columns))
        for key, held in picks.items():
            ends = (words[key], optics.groups[words[key]])
            rows = zip(*_columns(held, scored).values(), strict=True)
            file.writelines(loop_row((*row, *ends)) for row in rows)
        file.write("\n")


def _own_optics(sizes: Mapping[str, float | None]) -> RelionOptics:
    """Make an optics table of pixel sizes only, with one group for each."""
    # Grouped by the digits that are written, because pixel sizes may differ by rounding.
    said = {name: "None" if size is None else f"{size:.6f}" for name, size in sizes.items()}
    kinds = list(dict.fromkeys(said.values())) or ["None"]
    block = {
        "rlnOpticsGroupName": [f"opticsGroup{i}" for i in range(1, len(kinds) + 1)],
        GROUP: [str(i) for i in range(1, len(kinds) + 1)],
    }
    if kinds != ["None"]:
        block[PIXEL_SIZE] = kinds
    return RelionOptics(block, {name: str(kinds.index(size) + 1) for name, size in said.items()})


def folder_files(
    folder: Path, keys: Iterable[str], optics: RelionOptics | None = None
) -> dict[str, Path]:
    """Return the files of a folder of picks by micrograph, and its lists under "" and SUFFIX."""
    lists = {"": folder / LIST} | ({SUFFIX: folder / SUFFIX} if optics is not None else {})
    return places(folder, keys, ENDING) | lists


def _write_folder(
    folder: Path, picks: Mapping[str, Picks], words: Mapping[str, str], optics: RelionOptics | None
) -> None:
    files = folder_files(folder, picks, optics)
    index: dict[str, list[str]] = {NAME: [], FILE: []}
    for key in picks:
        file = files[key]
        index[NAME].append(words[key])
        index[FILE].append(check_word(folder, _listed(file, optics)))
    for key, held in picks.items():
        loop = _columns(held, scored=held.score is not None)
        with atomic_path(files[key]) as temporary:
            temporary.write_text(star_text({"": loop}), encoding="utf-8")
    with atomic_path(files[""]) as temporary:
        temporary.write_text(star_text({"coordinate_files": index}), encoding="utf-8")
    if optics is not None and optics.path is not None:
        with atomic_path(files[SUFFIX]) as temporary:
            temporary.write_text(_listed(optics.path, optics) + "\n", encoding="utf-8")


def _listed(file: Path, optics: RelionOptics | None) -> str:
    """Return a path as written in a list: relative to the project folder, if known."""
    root = None if optics is None else optics.root
    if root is not None and root.resolve() in file.resolve().parents:
        return file.resolve().relative_to(root.resolve()).as_posix()
    return file.as_posix() if root is None else file.resolve().as_posix()


def _columns(picks: Picks, scored: bool) -> dict[str, list[str]]:
    columns = {
        X: [f"{x:.4f}" for x in picks.xy[:, 0]],
        Y: [f"{y:.4f}" for y in picks.xy[:, 1]],
    }
    if scored:
        score = np.full(len(picks), NO_SCORE) if picks.score is None else picks.score
        columns[SCORE] = [f"{value:.6f}" for value in np.nan_to_num(score, nan=NO_SCORE)]
    return columns
