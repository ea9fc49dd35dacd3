"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets: $FEWPICK_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("FEWPICK_DATA", REAL_DATA))
    if not (folder / "empiar10017").is_dir():
        pytest.skip(
            f"NO REAL DATA at {folder}: set FEWPICK_DATA to the folder that holds empiar10017/"
        )
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files with whole workflows first, so that no core waits for a long one at the end."""
    order = ("workflow", "badinput", "browser", "cluster", "container", "unit")
    root = Path(__file__).parent
    items.sort(key=lambda item: order.index(item.path.relative_to(root).parts[0]))
