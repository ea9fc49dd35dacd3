from __future__ import annotations

from pathlib import Path

import pytest
from workspace import Workspace, small_workspace


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which the workflow has run to its end; not to be changed."""
    workspace = small_workspace(tmp_path_factory.mktemp("finished"))
    workspace.run()
    return workspace


@pytest.fixture
def workspace(finished: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the finished workspace."""
    return finished.copy(tmp_path)


@pytest.fixture
def fresh(tmp_path: Path) -> Workspace:
    """A workspace in which nothing has run."""
    return small_workspace(tmp_path)
