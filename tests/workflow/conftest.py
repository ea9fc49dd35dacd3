from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest
from workspace import Workspace, small_workspace


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which the workflow has run to its end; not to be changed.

    The first of pytest's workers that needs it makes it for all.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "done"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            small_workspace(folder).run()
            done.touch()
    return Workspace.at(folder)


@pytest.fixture
def workspace(finished: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the finished workspace."""
    return finished.copy(tmp_path)


@pytest.fixture
def fresh(tmp_path: Path) -> Workspace:
    """A workspace in which nothing has run."""
    return small_workspace(tmp_path)
