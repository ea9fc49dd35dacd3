"""RELION STAR: one particle table (3.0, and 3.1 to 5), or one file per micrograph.

Coordinates are pixels of the micrograph in the internal frame. A job folder of RELION holds one
`*_autopick.star` per micrograph and an `autopick.star` that lists them. Source:
https://relion.readthedocs.io/en/latest/Reference/Conventions.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from fewpick.atomic import atomic_path
from fewpick.coordinates.picks import NoParticles, Picks, make_picks, rows_by_name
from fewpick.coordinates.star_blocks import check_word, floats, read_blocks, star_text
from fewpick.coordinates.text import read_text
from fewpick.errors import InputError
from fewpick.micrographs import stem

X, Y = "rlnCoordinateX", "rlnCoordinateY"
SCORE = "rlnAutopickFigureOfMerit"
GROUP, PIXEL_SIZE = "rlnOpticsGroup", "rlnMicrographPixelSize"
NAME, FILE = "rlnMicrographName", "rlnMicrographCoordinates"
NO_SCORE = -999.0  # RELION's own mark, as manual picks carry it


def sniff(head: str) -> bool:
    """Tell whether a file that begins so is a STAR file."""
    return any(line.startswith("data_") for line in head.splitlines())


def is_index(path: Path) -> bool:
    """Tell whether the file only lists the files that hold the picks."""
    return f"_{FILE}" in read_text(path)


def read(path: Path) -> dict[str, Picks]:
    """Read one file; micrograph names as written, or the file's stem where there is none."""
    blocks = read_blocks(path, (X, Y, SCORE, NAME, FILE, GROUP, PIXEL_SIZE))
    tables = [block for block in blocks.values() if X in block and Y in block]
    if len(tables) > 1:
        raise InputError(f"{path}: holds {len(tables)} blocks with coordinates. Keep one.")
    if tables:
        return _read_table(path, tables[0], _pixel_sizes(path, blocks.get("optics")))
    lists = [block for block in blocks.values() if NAME in block and FILE in block]
    if lists:
        return _read_listed(path, lists[0])
    raise InputError(
        f"{path}: has no columns _{X} and _{Y}. Give a particle or autopick STAR file."
    )


def _pixel_sizes(path: Path, optics: pd.DataFrame | None) -> dict[str, float]:
    """Optics group -> angstrom per px of its micrographs, where the file gives it."""
    if optics is None or not {GROUP, PIXEL_SIZE} <= set(optics.columns):
        return {}
    return dict(zip(optics[GROUP], floats(path, optics, PIXEL_SIZE).tolist(), strict=True))


def _read_table(
    path: Path, block: pd.DataFrame, pixel_sizes: Mapping[str, float]
) -> dict[str, Picks]:
    x, y = floats(path, block, X), floats(path, block, Y)
    score = None
    if SCORE in block and not (block[SCORE].isna().all() and len(block)):
        score = floats(path, block, SCORE)
        if len(score) and (score == NO_SCORE).all():
            score = None
    everything = make_picks(path, x, y, score)
    if NAME not in block:
        return {path.stem: everything}
    names = block[NAME].fillna("").astype(str).to_list()
    if "" in names:
        row = names.index("") + 1
        raise InputError(f"{path}: row {row} has no _{NAME}. Write the file again.")
    if not names:
        raise NoParticles(
            f"{path}: holds no particle and so names no micrograph. Use the format json, or one "
            "file per micrograph, to say that micrographs are empty."
        )
    groups = block[GROUP].to_list() if GROUP in block else [""] * len(names)
    return {
        name: Picks(
            everything.xy[rows],
            None if everything.score is None else everything.score[rows],
            pixel_size=pixel_sizes.get(groups[rows[0]]),
        )
        for name, rows in rows_by_name(names).items()
    }


def _read_listed(path: Path, block: pd.DataFrame) -> dict[str, Picks]:
    picks: dict[str, Picks] = {}
    for name, listed in zip(block[NAME], block[FILE], strict=True):
        if pd.isna(name) or pd.isna(listed) or not name or not listed:
            raise InputError(f"{path}: a row lacks a name. Write the file again.")
        if name in picks:
            raise InputError(f"{path}: lists {name} twice. Keep one line.")
        held = read(_find(path, Path(listed)))
        if len(held) != 1:
            raise InputError(f"{path}: {listed} holds {len(held)} micrographs instead of {name}.")
        picks[name] = next(iter(held.values()))
    return picks


def _find(index: Path, listed: Path) -> Path:
    """Find a listed file: beside the index, or from the project folder somewhere above it."""
    for base in (Path(), *index.absolute().parents):
        if (base / listed).is_file():
            return base / listed
    if (index.parent / listed.name).is_file():
        return index.parent / listed.name
    raise InputError(f"{index}: lists {listed}, which is not there. Copy it beside this file.")


def check_names(paths: Iterable[Path]) -> None:
    """Refuse micrographs that STAR files cannot name, before the work of picking them.

    Raises
    ------
    InputError
        When a path holds a space, quote or comment mark.
    """
    for path in paths:
        check_word(path, str(path))


def write(
    path: Path,
    picks: Mapping[str, Picks],
    *,
    names: Mapping[str, str] | None = None,
    pixel_size: float | None = None,
) -> None:
    """Write one particle table, or into a folder one file per micrograph and their list.

    `names` gives the micrograph name to write for a key, such as the path inside a RELION
    project; `pixel_size` (Angstrom) goes into the optics table.
    """
    names = names or {}
    words = {key: check_word(path, names.get(key, key)) for key in picks}
    if path.suffix != ".star":
        _write_folder(path, picks, words)
        return
    scored = any(held.score is not None for held in picks.values())
    # Coordinates first: STAR readers may take a line that starts with a name for a new block.
    loop: dict[str, list[str]] = {
        column: [] for column in (X, Y, SCORE) if scored or column != SCORE
    }
    loop |= {NAME: [], "rlnOpticsGroup": []}
    for key, held in picks.items():
        for column, values in _columns(held, scored).items():
            loop[column] += values
        loop[NAME] += [words[key]] * len(held)
        loop["rlnOpticsGroup"] += ["1"] * len(held)
    optics = {"rlnOpticsGroupName": ["opticsGroup1"], "rlnOpticsGroup": ["1"]}
    if pixel_size is not None:
        optics["rlnMicrographPixelSize"] = [f"{pixel_size:.6f}"]
    with atomic_path(path) as temporary:
        temporary.write_text(star_text({"optics": optics, "particles": loop}), encoding="utf-8")


def _write_folder(folder: Path, picks: Mapping[str, Picks], words: Mapping[str, str]) -> None:
    index: dict[str, list[str]] = {NAME: [], FILE: []}
    for key, held in picks.items():
        file = folder / check_word(folder, f"{stem(key)}_autopick.star")
        loop = _columns(held, scored=held.score is not None)
        with atomic_path(file) as temporary:
            temporary.write_text(star_text({"": loop}), encoding="utf-8")
        index[NAME].append(words[key])
        index[FILE].append(check_word(folder, file.as_posix()))
    with atomic_path(folder / "autopick.star") as temporary:
        temporary.write_text(star_text({"coordinate_files": index}), encoding="utf-8")


def _columns(picks: Picks, scored: bool) -> dict[str, list[str]]:
    columns = {
        X: [f"{x:.4f}" for x in picks.xy[:, 0]],
        Y: [f"{y:.4f}" for y in picks.xy[:, 1]],
    }
    if scored:
        score = np.full(len(picks), NO_SCORE) if picks.score is None else picks.score
        columns[SCORE] = [f"{value:.6f}" for value in score]
    return columns
