"""The list of micrographs of a RELION project, which provides names and optics for picks.

RELION compares micrograph names as written in its own lists, relative to the project folder, and
takes voltage and spherical aberration from the optics table of the particles. Both are therefore
copied from `micrographs_ctf.star`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from fewpick.coordinates import Picks, match_names
from fewpick.coordinates.star import GROUP, NAME, RelionOptics
from fewpick.coordinates.star_blocks import read_blocks
from fewpick.coordinates.text import read_text
from fewpick.errors import InputError

logger = logging.getLogger(__name__)


def read_relion_list(path: Path) -> RelionOptics:
    """Read `micrographs_ctf.star`, or the list of another job of RELION 3.1 or newer.

    Raises
    ------
    InputError
        When the file is not such a list.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file. Pass the micrographs_ctf.star of a CTF job.")
    columns = re.findall(r"^[ \t]*_(\S+)", read_text(path), re.MULTILINE)
    blocks = read_blocks(path, columns)
    lists = [block for name, block in blocks.items() if NAME in block and name != "optics"]
    optics = blocks.get("optics")
    if len(lists) != 1 or lists[0].empty:
        raise InputError(
            f"{path}: contains no list of micrographs (_{NAME}). Pass the micrographs_ctf.star "
            "of a CTF job."
        )
    if optics is None or GROUP not in optics or GROUP not in lists[0]:
        raise InputError(
            f"{path}: has no optics table. Pass a micrographs_ctf.star written by RELION 3.1 or "
            "newer."
        )
    names, groups = (lists[0][column].astype(str).to_list() for column in (NAME, GROUP))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: lists {twice} twice. Keep one line.")
    block = {str(column): optics[column].astype(str).to_list() for column in optics}
    if strangers := sorted(set(groups) - set(block[GROUP])):
        raise InputError(
            f"{path}: micrographs belong to optics group {strangers[0]}, which is missing from "
            "the optics table. Pass the file as RELION wrote it."
        )
    above = [Path.cwd(), *path.absolute().parents]
    root = next((folder for folder in above if (folder / names[0]).is_file()), None)
    return RelionOptics(block, dict(zip(names, groups, strict=True)), path, root)


def relion_names(optics: RelionOptics, micrographs: Mapping[str, Path]) -> dict[str, str]:
    """Return the names of micrographs in the list of a project.

    Parameters
    ----------
    optics : RelionOptics
        As `read_relion_list` returns it.
    micrographs : dict
        Name to path.

    Raises
    ------
    InputError
        When the list lacks a micrograph, or lists one twice.
    """
    match = match_names(micrographs, optics.groups, optics.path)
    if missing := match.unmatched_micrographs:
        raise InputError(
            f"{optics.path}: does not list {micrographs[missing[0]]}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + (
                ". Pass the list of the job that these micrographs come from, or only micrographs "
                "that it lists."
            )
        )
    return {name: key for key, name in match.matched.items()}


def named_as_in(optics: RelionOptics, picks: Mapping[str, Picks]) -> dict[str, Picks]:
    """Rename picks as in the list of a project; picks of other micrographs are left out.

    Raises
    ------
    InputError
        When no pick belongs to a listed micrograph, or two names mean the same one.
    """
    match = match_names({name: Path(name) for name in optics.groups}, picks, optics.path)
    if match.unmatched_keys:
        lost = sum(len(picks[key]) for key in match.unmatched_keys)
        logger.warning("%s: %d points are left out: %s.", optics.path, lost, match.summary())
    return {name: picks[key] for key, name in match.matched.items()}
