from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fewpick.annotation.areas import inside_any, overlapping, read_areas, write_areas
from fewpick.coordinates import read_picks, write_picks
from fewpick.coordinates.picks import NoParticles
from fewpick.errors import InputError

SHAPES = {"a.mrc": (80, 100), "b.mrc": (80, 100)}
HEADER = "micrograph\tx0\ty0\tx1\ty1\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "areas.tsv"
    path.write_text(text)
    return path


def test_areas_come_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "areas.tsv"
    write_areas(path, {"a.mrc": [[0, 0, 100, 80]], "b.mrc": [[1, 2, 3, 4], [5, 6, 7, 8]]})
    areas, match = read_areas(path, SHAPES)
    assert {name: held.tolist() for name, held in areas.items()} == {
        "a.mrc": [[0, 0, 100, 80]],
        "b.mrc": [[1, 2, 3, 4], [5, 6, 7, 8]],
    }
    assert match.unmatched_keys == {}


def test_no_area_is_a_header_alone(tmp_path: Path) -> None:
    path = tmp_path / "areas.tsv"
    write_areas(path, {})
    assert path.read_text() == HEADER
    areas, match = read_areas(path, SHAPES)
    assert areas == {}
    assert match.unmatched_micrographs == ["a.mrc", "b.mrc"]


def test_names_are_matched_and_strangers_named(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER + "Micrographs/a.mrc\t1\t2\t3\t4\nc\t1\t2\t3\t4\n")
    areas, match = read_areas(path, SHAPES)
    assert list(areas) == ["a.mrc"]
    assert list(match.unmatched_keys) == ["c"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("micrograph\tx0\ty0\tx1\na\t1\t2\t3\n", ("'y1'", "The columns must be")),
        (HEADER + "a\t1\t2\tthree\t4\n", ("line 2", "three")),
        (HEADER + "a\t1\t2\t3.5\t4\n", ("line 2", "x1=3.5", "Round")),
        (HEADER + "a\t1\t2\t1\t4\n", ("line 2", "x0=1", "is empty", "x0 < x1")),
        (HEADER + "b\t1\t2\t3\t4\na\t90\t2\t101\t4\n", ("line 3", "x1=101", "100 x 80")),
        (HEADER + "a\t-1\t2\t3\t4\n", ("line 2", "x0=-1", "extends beyond a.mrc")),
        (HEADER + "zzz\t1\t2\t3\t4\n", ("zzz", "matches no micrograph")),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as error:
        read_areas(path, SHAPES)
    assert str(error.value).startswith(str(path))
    for part in parts:
        assert part in str(error.value)


def test_areas_that_touch_do_not_overlap() -> None:
    held = [[0, 0, 10, 10], [10, 0, 20, 10], [30, 30, 40, 40]]
    assert overlapping(held, [5, 5, 10, 9]).tolist() == [0]
    assert overlapping(held, [9, 9, 11, 11]).tolist() == [0, 1]
    assert overlapping(held, [0, 10, 20, 20]).tolist() == []
    assert overlapping([], [0, 0, 1, 1]).tolist() == []


def test_the_far_edges_are_outside() -> None:
    areas = [[0, 0, 10, 10], [20, 0, 30, 10]]
    xy = np.array([[0, 0], [9.9, 9.9], [10, 5], [5, 10], [20, 0]])
    assert inside_any(xy, areas).tolist() == [True, True, False, False, True]
    assert inside_any(xy, []).tolist() == [False] * 5
    assert inside_any([], areas).tolist() == []


@pytest.mark.parametrize("suffix", [".star", ".csv", ".txt"])
def test_files_without_a_particle_can_be_told_from_broken_ones(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"none{suffix}"
    write_picks(path, {})
    with pytest.raises(NoParticles):
        read_picks(path)
