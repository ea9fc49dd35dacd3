"""Names that the files of the user keep wherever they lie.

Snakemake knows an input by its path, and makes everything again when data was moved. So the rules
name links under `results/inputs` instead, whose folders are the keys of the configuration:
`results/inputs/datasets/mine/micrographs/a.mrc`. Each start of the workflow points them at the
files that the configuration names (`fewpick.data.links`).
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "results/inputs"
# Stands in a link between the working directory and a path that is relative to it.
MARK = "/./"


def target(path: str) -> str:
    """Where a link to `path` leads: absolute, since the folder of results may be a link itself."""
    return path if os.path.isabs(path) else f"{Path.cwd()}{MARK}{path}"


def original(path: str | Path) -> str:
    """Return the path of the file that a link stands for, spelled as in the configuration.

    A path that is none of the workflow's links stays as it is.
    """
    if not str(path).startswith(f"{FOLDER}/") or not os.path.islink(path):
        return str(path)
    leads = os.readlink(path)
    return leads.partition(MARK)[2] or leads
