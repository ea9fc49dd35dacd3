"""What marks, areas and negatives say about micrographs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fewpick.annotation.annotate import Annotation, annotate, require_full
from fewpick.annotation.areas import write_areas
from fewpick.annotation.rectangles import disjoint
from fewpick.coordinates import Picks, write_picks
from fewpick.errors import InputError

NAMES = ("m1.mrc", "m2.mrc", "m3.mrc")


def manifest(*annotated: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "micrograph": NAMES,
            "ny": 100,
            "nx": 200,
            "pixel_size": np.nan,
            "annotated": [name in annotated for name in NAMES],
        }
    )


def points(**marks: list[tuple[float, float]]) -> pd.DataFrame:
    rows = [(f"{name}.mrc", x, y) for name, held in marks.items() for x, y in held]
    return pd.DataFrame(rows, columns=["micrograph", "x", "y"])


def read(
    folder: Path,
    marks: pd.DataFrame,
    areas: dict[str, Any] | None = None,
    negatives: dict[str, Any] | None = None,
    kind: str = "areas",
) -> Annotation:
    spec: dict[str, Any] = {"annotation": kind, "particle_radius": 10, "coordinates": "labels"}
    if areas is not None:
        write_areas(folder / "areas.tsv", areas)
        spec["areas"] = str(folder / "areas.tsv")
    if negatives is not None:
        held = {name: Picks(np.array(xy, float)) for name, xy in negatives.items()}
        write_picks(folder / "negatives.star", held)
        spec["negatives"] = str(folder / "negatives.star")
    return annotate(spec, manifest(*marks["micrograph"]), marks)


def test_full_leaves_all_as_it_is(tmp_path: Path) -> None:
    found = read(tmp_path, points(m1=[(5, 5)]), kind="full")
    assert found.manifest["annotation"].tolist() == ["full", "none", "none"]
    assert found.manifest["annotated"].tolist() == [True, False, False]
    assert (len(found.areas), len(found.negatives)) == (0, 0)
    require_full("mine", found.manifest)


def test_each_micrograph_by_what_it_has(tmp_path: Path) -> None:
    """An area without a mark says something, and so does a negative; an empty list does not."""
    marks = points(m1=[(15, 15)])
    found = read(tmp_path, marks, {"m2.mrc": [[0, 0, 50, 50]]}, {"m3.mrc": [(7.5, 8)]})
    assert found.manifest["annotation"].tolist() == ["clicks", "areas", "clicks"]
    assert found.manifest["annotated"].tolist() == [True] * 3
    assert found.manifest["n_areas"].tolist() == [0, 1, 0]
    assert found.manifest["n_negatives"].tolist() == [0, 0, 1]
    assert found.negatives.to_numpy().tolist() == [["m3.mrc", 7.5, 8.0]]
    with pytest.raises(
        InputError, match=r"datasets.mine.annotation: m1.mrc is annotated by clicks"
    ):
        require_full("mine", found.manifest)
    empty = annotate({"annotation": "clicks", "particle_radius": 10}, manifest("m1.mrc"), points())
    assert empty.manifest["annotation"].tolist() == ["none"] * 3


def test_marks_outside_areas_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    marks = points(m1=[(15, 15), (90, 90)], m2=[(1, 1)])
    read(tmp_path, marks, {"m1.mrc": [[10, 10, 50, 50]]})
    assert caplog.messages == [
        "labels: 2 of 3 marks are outside the areas, on 2 micrographs; these count as "
        "clicks, and their surroundings as not annotated."
    ]


def test_an_area_drawn_on_another_micrograph(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marks = points(m1=[(15, 15), (20, 40)])
    read(tmp_path, marks, {"m2.mrc": [[10, 10, 50, 50]]})
    assert "2 marks of m1.mrc are where m2.mrc has an area without marks" in caplog.messages[1]


def test_areas_that_overlap_count_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    areas = {"m1.mrc": [[0, 0, 50, 50], [40, 40, 60, 60], [40, 40, 60, 60]]}
    found = read(tmp_path, points(), areas)
    covered = np.zeros((100, 200), int)
    for x0, y0, x1, y1 in found.areas[["x0", "y0", "x1", "y1"]].to_numpy():
        covered[y0:y1, x0:x1] += 1
    expected = np.zeros_like(covered)
    expected[:50, :50] = expected[40:60, 40:60] = 1
    np.testing.assert_array_equal(covered, expected)
    assert "areas overlap on 1 micrograph, first on m1.mrc" in caplog.text


def test_rectangles_stay_as_they_are_where_none_overlaps() -> None:
    apart = np.array([[0, 0, 5, 5], [5, 0, 9, 5], [0, 5, 5, 6]])
    np.testing.assert_array_equal(disjoint(apart), apart)
    assert disjoint(np.empty((0, 4), np.int64)).shape == (0, 4)


def test_a_negative_on_a_mark_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    marks = points(m1=[(50, 50)])
    found = read(tmp_path, marks, negatives={"m1.mrc": [(54, 50), (56, 50)]}, kind="clicks")
    assert found.negatives.to_numpy().tolist() == [["m1.mrc", 56.0, 50.0]]
    assert "1 negative is also marked as a particle, first on m1.mrc" in caplog.text


def test_no_negatives_yet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The page keeps the file when the last of them is taken back."""
    caplog.set_level(logging.WARNING)
    found = read(
        tmp_path, points(m1=[(50, 50)]), negatives={"m1.mrc": np.empty((0, 2))}, kind="clicks"
    )
    assert len(found.negatives) == 0
    assert caplog.messages == []


def test_names_of_other_micrographs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    areas = {"m1.mrc": [[0, 0, 50, 50]], "other.mrc": [[0, 0, 50, 50]]}
    assert len(read(tmp_path, points(), areas).areas) == 1
    assert "1 name is left out" in caplog.text
    with pytest.raises(InputError, match=r"areas.tsv.*'other.mrc' matches no micrograph"):
        read(tmp_path, points(), {"other.mrc": [[0, 0, 50, 50]]})


def test_areas_of_micrographs_left_out(tmp_path: Path) -> None:
    write_areas(tmp_path / "areas.tsv", {"broken.mrc": [[0, 0, 9000, 9000]]})
    spec = {
        "annotation": "areas",
        "areas": str(tmp_path / "areas.tsv"),
        "particle_radius": 10,
    }
    found = annotate(spec, manifest(), points(), ["broken.mrc"])
    assert found.manifest["annotation"].tolist() == ["none"] * 3
