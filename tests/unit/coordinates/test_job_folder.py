"""Which files of a folder are read, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fewpick.coordinates import Picks, read_picks, write_picks
from fewpick.errors import InputError

ONE = Picks(np.array([[1.0, 2.0]]), diameter=8.0)


@pytest.mark.parametrize("fmt", ["csv", "box", "star"])
def test_files_below_others_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fmt: str
) -> None:
    write_picks(tmp_path, dict.fromkeys(["a.mrc", "b.mrc", "more/c.mrc"], ONE), fmt=fmt)
    assert len(read_picks(tmp_path)) == 2
    assert "coordinate files in its subfolders are not read (more/c" in caplog.text


def test_one_table_or_list_stands_for_the_files_below(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_picks(tmp_path, dict.fromkeys(["Movies/a.mrc", "Movies/b.mrc"], ONE), fmt="star")
    assert sorted(read_picks(tmp_path)) == ["Movies/a.mrc", "Movies/b.mrc"]
    (tmp_path / "autopick.star").unlink()
    write_picks(tmp_path / "particles.star", {"Movies/a.mrc": ONE})
    assert list(read_picks(tmp_path)) == ["Movies/a.mrc"]
    assert not caplog.records


def test_a_file_with_a_name_of_relion_is_named(tmp_path: Path) -> None:
    write_picks(tmp_path / "labels.csv", {"a.mrc": ONE})
    with pytest.raises(InputError, match=r"no coordinate files; labels\.csv is skipped"):
        read_picks(tmp_path)
    assert list(read_picks(tmp_path / "labels.csv")) == ["a.mrc"]
