"""Stable paths for the user's files, wherever they are.

Snakemake identifies an input by its path, and would rerun everything after data was moved. The
rules therefore use links under `results/inputs`, in folders named after the keys of the
configuration: `results/inputs/datasets/mine/micrographs/a.mrc`. At each start, the workflow points
them to the files named in the configuration (`fewpick.data.links`).
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "results/inputs"
# In a link's target, separates the working directory from a path relative to it.
MARK = "/./"


def target(path: str) -> str:
    """Return the absolute target for a link to `path`; the results folder may itself be a link."""
    return path if os.path.isabs(path) else f"{Path.cwd()}{MARK}{path}"


def original(path: str | Path) -> str:
    """Return the target of a link, as written in the configuration.

    A path that is not one of the workflow's links is returned unchanged.
    """
    if not str(path).startswith(f"{FOLDER}/") or not os.path.islink(path):
        return str(path)
    leads = os.readlink(path)
    return leads.partition(MARK)[2] or leads
