"""Find the coordinate files in the folder of a picker or of a RELION job.

A RELION job writes `note.txt`, `job.star`, `job_pipeline.star`, `summary.star` and lists of
micrographs next to the picks, or one level above them: picks may be in a subfolder named after
that of the movies.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from fewpick.errors import InputError
from fewpick.micrographs.listing import shown

logger = logging.getLogger(__name__)

# Names of RELION files without coordinates.
OTHERS = re.compile(
    r"(note|run|job|job_pipeline|(default|backup)_pipeline.*|summary|.*_summary|job_options"
    r"|(corrected_|filtered_|selected_|.*_)?micrographs(_ctf|_split.*|_selected)?|movies"
    r"|optimisation_set|coords_suffix_.+|run_.*(model|optimiser|sampling)|class_averages"
    r"|backup_selection|labels|gain.*)\.(star|txt|json|csv)",
    re.IGNORECASE,
)
SUFFIX_FILE = re.compile(r"coords_suffix_(.+)\.star")  # up to RELION 3: one line that names a list
ITERATION = re.compile(r"run_(ct\d+_)?it(\d+)_data\.star")


def coordinate_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """List the files that may contain coordinates: in the folder itself, else anywhere below it.

    If the folder itself contains several, those below are skipped with a warning; if it contains
    one, without, because this may be a table or list of all.
    """

    def chosen(found: Collection[Path]) -> list[Path]:
        files = [file for file in _visible(folder, found, suffixes) if not _is_other(file)]
        iterations = [file for file in files if ITERATION.fullmatch(file.name)]
        last = max(iterations, key=_iteration, default=None)  # the others are earlier iterations
        return [file for file in files if file not in iterations or file == last]

    here = chosen(list(folder.iterdir()))
    # Not searched if there is a single file: the tree of a job may be large.
    below = []
    if len(here) != 1:
        below = chosen([file for file in folder.rglob("*") if file.parent != folder])
    if here and below:
        logger.warning(
            "%s: coordinate files in its subfolders are not read (%s), because the folder itself "
            "contains some. Move all of them into one folder, or pass the other folder.",
            *(folder, shown(str(file.relative_to(folder)) for file in below)),
        )
    return here or below


def passed_over(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """List the files of a folder that are skipped because RELION uses their names otherwise."""
    return [file for file in _visible(folder, folder.iterdir(), suffixes) if _is_other(file)]


def _visible(folder: Path, found: Iterable[Path], suffixes: Collection[str]) -> list[Path]:
    return sorted(
        file
        for file in found
        if file.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    )


def _is_other(file: Path) -> bool:
    return OTHERS.fullmatch(file.name) is not None


def _iteration(file: Path) -> int:
    found = ITERATION.fullmatch(file.name)
    return int(found[2]) if found else -1


def listed(file: Path) -> list[Path]:
    """Return the file, or for a suffix file of RELION 3 the files that it refers to.

    Raises
    ------
    InputError
        When it refers to none.
    """
    found = SUFFIX_FILE.fullmatch(file.name)
    if found is None:
        return [file]
    files = sorted(file.parent.rglob(f"*_{found[1]}.star"))
    files = [other for other in files if not OTHERS.fullmatch(other.name)]
    if not files:
        raise InputError(
            f"{file}: refers to files *_{found[1]}.star below {file.parent}, but there are none. "
            "Give the folder that contains them."
        )
    return files
