"""The links by which the workflow knows its inputs."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from fewpick.data.inventory import inventory_table
from fewpick.data.links import keep_links
from fewpick.errors import InputError
from fewpick.inputs import original
from fewpick.stacks import write_table

LINK = "results/inputs/datasets/mine/coordinates.csv"
LISTED = {"mine": "results/data/mine/inventory.tsv"}


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of the past that the inventory lists, and the link to it."""
    monkeypatch.chdir(tmp_path)
    path = Path("data/points.csv")
    path.parent.mkdir()
    path.write_text("x,y\n1,2\n")
    os.utime(path, ns=(10**18 + 123, 10**18 + 123))
    keep_links({LINK: str(path)}, LISTED)
    write_table(inventory_table([], [LINK]), LISTED["mine"])
    return path


def is_new() -> bool:
    """Whether the link bears the time of the moment."""
    return time.time() - os.lstat(LINK).st_mtime < 60


def test_a_link_has_the_time_of_its_file_and_stands_for_its_path(file: Path) -> None:
    assert Path(LINK).read_text() == file.read_text()
    assert os.lstat(LINK).st_mtime_ns == file.stat().st_mtime_ns
    assert original(LINK) == "data/points.csv"
    keep_links({LINK: str(file.absolute())}, LISTED)
    assert original(LINK) == str(file.absolute())
    assert not is_new()


def test_other_paths_stand_for_themselves(file: Path) -> None:
    Path("link.csv").symlink_to(file)
    for path in ("link.csv", "results/inputs/nothing.csv", "results/data/mine/inventory.tsv"):
        assert original(path) == path


def test_a_path_may_begin_above_the_working_directory(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the folder of results may be a link itself."""
    Path("run").mkdir()
    Path("disk").mkdir()
    monkeypatch.chdir("run")
    Path("results").symlink_to("../disk")
    keep_links({LINK: "../data/points.csv"}, LISTED)
    assert Path(LINK).is_file()
    assert original(LINK) == "../data/points.csv"


def test_a_moved_file_is_the_same(file: Path) -> None:
    Path("moved").mkdir()
    moved = file.rename("moved/renamed.csv")
    keep_links({LINK: str(moved)}, LISTED, busy=True)
    assert original(LINK) == "moved/renamed.csv"
    assert not is_new()


def test_a_copy_of_the_results_may_hold_the_file_itself(file: Path) -> None:
    Path(LINK).unlink()
    shutil.copy2(file, LINK)
    keep_links({LINK: str(file)}, LISTED)
    assert original(LINK) == str(file)
    assert not is_new()


@pytest.mark.parametrize("content", ["x,y\n1,2\n", "x,y\n9,9\n"])
def test_a_file_of_another_time_is_to_be_compared(file: Path, content: str) -> None:
    Path("other.csv").write_text(content)
    keep_links({LINK: "other.csv"}, LISTED)
    assert is_new()


def test_another_file_of_the_same_time_is_to_be_compared(file: Path) -> None:
    other = Path(shutil.copy2(file, "other.csv"))
    other.write_text("x,y\n9,9\n")
    shutil.copystat(file, other)
    keep_links({LINK: "other.csv"}, LISTED)
    assert is_new()


def test_an_unlisted_file_is_to_be_compared(file: Path) -> None:
    Path(LISTED["mine"]).unlink()
    keep_links({LINK: str(file.rename("moved.csv"))}, LISTED)
    assert is_new()


def test_the_files_of_a_run_at_work_are_not_exchanged(file: Path) -> None:
    Path("other.csv").write_text("x,y\n9,9\n")
    with pytest.raises(InputError, match=r"other\.csv: another run .* is reading data/points\.csv"):
        keep_links({LINK: "other.csv"}, LISTED, busy=True)
    assert original(LINK) == str(file)


def test_where_links_cannot_be_made_it_says_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    link = LINK.replace("mine", "new")
    with pytest.raises(InputError, match=rf"{link}: cannot create this symbolic link \(Operation"):
        keep_links({link: str(file)}, LISTED)
    assert not any(Path(link).parent.iterdir())
