"""Lay out one file per micrograph inside an output folder.

Names in coordinate files may be absolute, contain `..` or lead through a link out of the folder;
nothing is written outside. Folders in names are kept, except those of a RELION job: RELION looks
for the picks of `MotionCorr/job002/Movies/a.mrc` in `Movies/` below the folder it is given.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from fewpick.errors import InputError
from fewpick.micrographs.listing import stem

JOB = re.compile(r"[A-Za-z0-9]+/job\d+/")  # of a RELION job, at the beginning of a micrograph name
DRIVE = re.compile(r"^[A-Za-z]:")


def places(folder: Path, keys: Iterable[str], ending: str) -> dict[str, Path]:
    """Return the file of each micrograph below a folder.

    Parameters
    ----------
    folder : path
        All files are inside it.
    keys : names of micrographs, with or without folders
    ending : str
        Of the file, after the stem of the micrograph, such as `_autopick.star`.

    Raises
    ------
    InputError
        When two micrographs would share a file, a link leads out of the folder, or the folder is
        a file.
    """
    keys = list(keys)
    there = next((at for at in (folder, *folder.parents) if at.exists()), None)
    if there is not None and not there.is_dir():
        raise InputError(f"{there}: is a file, but a folder is needed here. Choose another name.")
    inner = {key: _inner(key) for key in keys}
    # Of absolute paths, only the parts that differ are kept.
    elsewhere = [inner[key][:-1] for key in keys if _begins_elsewhere(key)]
    paths = ["/".join(["x", *parts]) for parts in elsewhere] or ["x"]
    shared = len(Path(os.path.commonpath(paths)).parts) - 1
    found: dict[str, Path] = {}
    taken: dict[Path, str] = {}
    for key in keys:
        parts = inner[key][shared:] if _begins_elsewhere(key) else inner[key]
        file = folder.joinpath(*parts[:-1], f"{stem(parts[-1])}{ending}")
        other = taken.setdefault(file, key)
        if other != key:
            raise InputError(
                f"{file}: {other!r} and {key!r} would both be written to this file. Rename one, "
                "or write a single file for all micrographs."
            )
        if not _within(folder, file):
            raise InputError(f"{file}: a link points outside {folder}. Choose another folder.")
        found[key] = file
    return found


def _begins_elsewhere(key: str) -> bool:
    parts = key.replace("\\", "/").split("/")
    return parts[0] in ("", "..") or ".." in parts or bool(DRIVE.match(key))


def _inner(key: str) -> list[str]:
    """Return the parts of a name, without those that could lead out of a folder."""
    name = JOB.sub("", DRIVE.sub("", key.replace("\\", "/")), count=1)
    return [part for part in name.split("/") if part not in ("", ".", "..")] or ["unnamed"]


def _within(folder: Path, file: Path) -> bool:
    root = folder.resolve()
    return file.parent.resolve() == root or root in file.parent.resolve().parents


def refuse_existing(
    files: Iterable[Path], cure: str = "Choose another location, or pass --force"
) -> None:
    """Raise if any of the files exists, before the first is written.

    Raises
    ------
    InputError
        When one of them exists.
    """
    there = [file for file in files if os.path.lexists(file)]
    if there:
        more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        raise InputError(f"{there[0]}: already exists{more}. {cure}.")


def one_or_each(path: Path, suffix: str, keys: Iterable[str]) -> Mapping[str, Path]:
    """Return the file for each micrograph: in the folder `path`, or `path` itself for a single one.

    Raises
    ------
    InputError
        When several micrographs would be written to one file.
    """
    keys = list(keys)
    if path.suffix != suffix:
        return places(path, keys, suffix)
    if len(keys) != 1:
        raise InputError(
            f"{path}: a {suffix} file can contain one micrograph, not {len(keys)}. Use a folder."
        )
    return {keys[0]: path}
