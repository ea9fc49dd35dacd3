"""Point the workflow's links at the user's files.

A new link gets the modification time of its file. A link redirected to another file gets the
current time, so that Snakemake, which uses the later time of link and file, compares the contents;
if the inventory shows that only the path has changed, it keeps the time of the file.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from fewpick.data.inventory import listed_fingerprints, same_file
from fewpick.errors import InputError
from fewpick.inputs import FOLDER, original, target


def keep_links(
    links: Mapping[str, str], inventories: Mapping[str, str | Path], *, busy: bool = False
) -> None:
    """Create missing links, and redirect those whose file has another path now.

    Parameters
    ----------
    links : mapping of str to str
        Link to path, as written in the configuration.
    inventories : mapping of str to path
        Data set to its table of `fewpick.data.inventory`, which may not exist yet.
    busy : bool
        Whether a run is active in this folder, whose inputs must not be replaced.

    Raises
    ------
    InputError
        When a link cannot be written, or would replace an input of an active run.
    """
    moved = {}
    for link, path in links.items():
        if not os.path.lexists(link):
            _write(link, path, os.stat(path).st_mtime_ns)
        # A copy of the results may contain files instead of links.
        elif not os.path.islink(link) or os.readlink(link) != target(path):
            moved[link] = path
    if not moved:
        return
    listed = {
        link: row
        for table in map(Path, inventories.values())
        if table.is_file()
        for link, row in listed_fingerprints(table).items()
    }
    for link, path in moved.items():
        time = os.stat(path).st_mtime_ns
        same = (
            os.lstat(link).st_mtime_ns == time
            and link in listed
            and same_file(Path(path), *listed[link])
        )
        if busy and not same:
            raise InputError(
                f"{path}: another run in this folder is reading {original(link)} instead. "
                "Wait until it has finished, or use another folder (snakemake --directory). If "
                "no run is active, delete .snakemake/locks."
            )
        _write(link, path, time if same else None)


def _write(link: str, path: str, time: int | None) -> None:
    """Write a link with a modification time in ns; None for the current time."""
    temporary = Path(f"{link}.{uuid.uuid4().hex}")
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.symlink_to(target(path))
        if time is not None:
            os.utime(temporary, ns=(time, time), follow_symlinks=False)
        temporary.replace(link)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(
            f"{link}: cannot create this symbolic link ({error.strerror}). Delete {FOLDER} if it "
            "was copied here, or run in a folder that allows links (snakemake --directory)."
        ) from error
