"""Read and write the files of an External job in a RELION project.

RELION calls `EXECUTABLE --in_mics MICROGRAPHS.star --o External/job005/ ... --j THREADS` from the
project's folder. The job writes picks, `RELION_OUTPUT_NODES.star` and one of the files
`RELION_JOB_EXIT_SUCCESS`, `_FAILURE` and `_ABORTED`; the last one after the user requested it with
`RELION_JOB_ABORT_NOW`. Up to RELION 3.1 picks are named by a suffix: `coords_suffix_autopick.star`
contains the list of micrographs, and the picks of `MotionCorr/job002/Movies/a.mrc` lie in
`External/job005/Movies/a_autopick.star`. From RELION 4 on `autopick.star` lists the same files.
Sources: https://relion.readthedocs.io/en/latest/Reference/Using-RELION.html and the RELION 3.1.3
programs, with which this is tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from fewpick.atomic import atomic_path
from fewpick.coordinates import Picks
from fewpick.coordinates.star import (
    ENDING,
    FILE,
    GROUP,
    LIST,
    NAME,
    NO_SCORE,
    PIXEL_SIZE,
    SCORE,
    SUFFIX,
    X,
    Y,
)
from fewpick.coordinates.star_blocks import check_word, floats, read_blocks, star_text
from fewpick.errors import InputError
from fewpick.micrographs import stem
from fewpick.micrographs.layout import JOB

ENDINGS = ("SUCCESS", "FAILURE", "ABORTED")
# Type of a coordinate node: a number up to RELION 3.1, a label from 4 on.
TYPE_NUMBER, TYPE_LABEL = "2", "MicrographCoordsGroup.star.relion"
PIPELINE = "default_pipeline.star"


def read_micrographs_star(path: Path) -> dict[str, float | None]:
    """Read the list of micrographs of a RELION job.

    Returns
    -------
    micrograph, as named in the file (relative to the project folder) -> angstrom per px, None if
    not given

    Raises
    ------
    InputError
        When it is not such a list, or lists a micrograph twice.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file. Pass a micrographs STAR file with --in_mics.")
    blocks = read_blocks(path, (NAME, GROUP, PIXEL_SIZE))
    lists = [block for block in blocks.values() if NAME in block]
    if len(lists) != 1 or lists[0].empty:
        raise InputError(
            f"{path}: contains no list of micrographs (_{NAME}). Pass the STAR file of a motion "
            "correction, CTF or selection job."
        )
    (table,) = lists
    names = [str(name) for name in table[NAME]]
    if (twice := table[NAME].duplicated()).any():
        raise InputError(f"{path}: lists {table.loc[twice, NAME].iloc[0]} twice. Keep one line.")
    sizes: dict[str, float] = {}
    optics = blocks.get("optics")
    if optics is not None and {GROUP, PIXEL_SIZE} <= set(optics.columns):
        sizes = dict(zip(optics[GROUP], floats(path, optics, PIXEL_SIZE).tolist(), strict=True))
    groups = table[GROUP] if GROUP in table else pd.Series([""] * len(names))
    return {name: sizes.get(group) for name, group in zip(names, groups, strict=True)}


def coordinate_file(job: Path, micrograph: str) -> Path:
    """Return where RELION looks for the picks of a micrograph made by another job."""
    inside = JOB.sub("", micrograph, count=1) if JOB.match(micrograph) else micrograph
    return job / Path(inside).parent / (stem(Path(inside).name) + ENDING)


def write_coordinates(job: Path, micrograph: str, picks: Picks) -> None:
    """Write the picks of one micrograph, even if there are none, as a table without a name."""
    score = np.full(len(picks), NO_SCORE) if picks.score is None else picks.score
    columns = zip((X, Y, SCORE), (*picks.xy.T, score), strict=True)
    loop = {name: [f"{value:.4f}" for value in values] for name, values in columns}
    with atomic_path(coordinate_file(job, micrograph)) as temporary:
        temporary.write_text(star_text({"": loop}), encoding="utf-8")


def write_outputs(job: Path, micrographs_star: Path, micrographs: list[str]) -> None:
    """Write the lists of picks and the node from which other jobs take them."""
    suffix_file = job / SUFFIX
    with atomic_path(suffix_file) as temporary:
        temporary.write_text(f"{micrographs_star}\n", encoding="utf-8")
    files = {name: check_word(job, str(coordinate_file(job, name))) for name in micrographs}
    listed = {NAME: list(files), FILE: list(files.values())}
    with atomic_path(job / LIST) as temporary:
        temporary.write_text(star_text({"coordinate_files": listed}), encoding="utf-8")
    by_label = _types_are_labels(Path(PIPELINE))
    node = job / LIST if by_label else suffix_file
    column = "rlnPipeLineNodeTypeLabel" if by_label else "rlnPipeLineNodeType"
    kind = TYPE_LABEL if by_label else TYPE_NUMBER
    nodes = {"rlnPipeLineNodeName": [check_word(job, str(node))], column: [kind]}
    with atomic_path(job / "RELION_OUTPUT_NODES.star") as temporary:
        temporary.write_text(star_text({"output_nodes": nodes}), encoding="utf-8")


class Aborted(Exception):
    """The user asked RELION to abort the job."""


def check_abort(job: Path) -> None:
    """Raise `Aborted` if the user has requested it."""
    if (job / "RELION_JOB_ABORT_NOW").exists():
        raise Aborted


@contextmanager
def job_ending(job: Path) -> Iterator[None]:
    """Write the file that tells RELION how the job ended, and remove earlier ones."""
    job.mkdir(parents=True, exist_ok=True)
    for ending in ENDINGS:
        (job / f"RELION_JOB_EXIT_{ending}").unlink(missing_ok=True)
    ending = "FAILURE"
    try:
        yield
        ending = "SUCCESS"
    except (Aborted, KeyboardInterrupt):
        ending = "ABORTED"
        (job / "RELION_JOB_ABORT_NOW").unlink(missing_ok=True)
        raise
    finally:
        (job / f"RELION_JOB_EXIT_{ending}").touch()


def _types_are_labels(pipeline: Path) -> bool:
    """Return whether the project is from RELION 4 or newer; assumed if there is no project."""
    try:
        text = pipeline.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return "_rlnPipeLineProcessTypeLabel" in text
