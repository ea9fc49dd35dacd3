"""All labels in one table, and each of them left out once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fewpick.errors import InputError
from fewpick.final.labels import Labelled, collect, folds_of, join, label_table
from fewpick.geometry import frame_for

SIZE, TARGET = 400, 100


def given(
    kinds: dict[str, str],
    marks: Mapping[str, Sequence[tuple[float, float]]],
    areas: Mapping[str, tuple[int, int, int, int]] | None = None,
    negatives: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    border: float = 0,
) -> Labelled:
    """Labels of micrographs of 400 px, seen at 100 px."""
    names = sorted(kinds)
    manifest = pd.DataFrame(
        {
            "micrograph": names,
            "pixel_size": np.nan,
            "annotation": [kinds[name] for name in names],
        }
    )
    geometry = pd.DataFrame(
        [{"micrograph": name} | frame_for(SIZE, SIZE, TARGET).to_row() for name in names]
    )

    def table(held: Any) -> pd.DataFrame:
        rows = [(name, *xy) for name, points in (held or {}).items() for xy in points]
        return pd.DataFrame(rows, columns=["micrograph", "x", "y"])

    rectangles = [(name, *corners) for name, corners in (areas or {}).items()]
    return collect(
        "mine",
        {"particle_radius": 20, "border": border},
        manifest,
        geometry,
        table(marks),
        pd.DataFrame(rectangles, columns=["micrograph", "x0", "y0", "x1", "y1"]),
        table(negatives),
    )


def field(table: pd.DataFrame, name: str, column: str) -> Any:
    (value,) = table.loc[table["micrograph"] == name, column]
    return json.loads(json.dumps(value, default=np.ndarray.tolist))


def test_each_kind_of_annotation() -> None:
    labels = given(
        {"full": "full", "areas": "areas", "clicks": "clicks", "none": "none"},
        {"full": [(40, 80), (4, 4)], "areas": [(100, 100), (300, 300)], "clicks": [(200, 80)]},
        {"areas": (80, 40, 160, 200)},
        {"clicks": [(300, 80)]},
        border=8,
    )
    table = label_table(labels).set_index("micrograph", drop=False)
    assert table["split"].to_dict() == {
        "full": "train",
        "areas": "train",
        "clicks": "train",
        "none": "unannotated",
    }
    assert table["labelled"].to_dict() == {
        "full": "all",
        "areas": "part",
        "clicks": "part",
        "none": "none",
    }
    # The border leaves a mark out; marks beside the area stay, as clicks.
    assert field(table, "full", "points") == [[10, 20]]
    assert field(table, "full", "windows") == [field(table, "full", "area")] == [[2, 2, 98, 98]]
    assert field(table, "areas", "points") == [[25, 25], [75, 75]]
    assert field(table, "areas", "windows") == [[10, 20, 50, 40]]
    assert field(table, "clicks", "windows") == []
    assert field(table, "clicks", "negatives") == [[75, 20]]
    assert (table["radius"] == 5).all()
    assert (table["held"] == "").all()


def held_of(fold: tuple[Labelled, Any]) -> list[dict[str, Any]]:
    return [json.loads(held) for held in label_table(*fold)["held"] if held]


def test_micrographs_are_left_out_where_there_are_enough() -> None:
    marks = {f"m{i}": [(40 * k + 20, 200) for k in range(i + 1)] for i in range(5)}
    labels = given(dict.fromkeys(marks, "clicks"), marks)
    assert folds_of(labels, 0) == []
    folds = folds_of(labels, 3)
    left_out = [{piece.micrograph for piece in held} for _, held in folds]
    assert [sum(len(marks[name]) for name in names) for names in left_out] == [5, 5, 5]
    assert sorted(name for names in left_out for name in names) == sorted(marks)
    for (kept, _), names in zip(folds, left_out, strict=True):
        table = label_table(kept)
        assert set(table.loc[table["split"] == "unannotated", "micrograph"]) == names
        assert table["n_labeled_particles"].sum() == 15 - 5


@pytest.mark.parametrize("kind", ["clicks", "areas", "full"])
def test_a_single_micrograph_is_cut_into_parts(kind: str) -> None:
    """Every mark is left out exactly once, in places apart from each other."""
    marks = [(40 * k + 30.0, 30 * k + 45.0) for k in range(9)]
    areas = {"m": (0, 40, 400, 310)} if kind == "areas" else {}
    labels = given({"m": kind, "n": "none"}, {"m": marks}, areas)
    found = [held_of(fold)[0] for fold in folds_of(labels, 3)]
    key = "clicks" if kind == "clicks" else "points"
    assert sorted(tuple(xy) for held in found for xy in held[key]) == sorted(marks)
    for held in found:
        assert held["diameter"] == 40
        assert len(held["areas"]) == (0 if kind == "clicks" else 1)
        for x0, y0, x1, y1 in held["areas"]:
            assert all(x0 <= x < x1 and y0 <= y < y1 for x, y in held["points"])
    # Together they cover the area, in whole pixels of the target.
    covered = sum((x1 - x0) * (y1 - y0) for held in found for x0, y0, x1, y1 in held["areas"])
    assert covered == {"clicks": 0, "areas": 400 * 272, "full": 400 * 400}[kind]


def test_negatives_are_left_out_too() -> None:
    labels = given({"m": "clicks"}, {"m": [(20, 20), (60, 20), (90, 20)]}, {}, {"m": [(9, 9)]})
    found = [held["negatives"] for fold in folds_of(labels, 3) for held in held_of(fold)]
    assert sorted(found) == [[], [], [[9, 9]]]


def test_a_fold_is_never_left_without_a_particle(caplog: pytest.LogCaptureFixture) -> None:
    """All marks lie in one strip of the area."""
    marks = [(20.0, 10.0), (60.0, 10.0), (90.0, 10.0)]
    labels = given({"m": "areas"}, {"m": marks}, {"m": (0, 0, 100, 300)})
    counts = [
        int(label_table(kept)["n_labeled_particles"].sum()) for kept, _ in folds_of(labels, 3)
    ]
    assert counts == [3, 3, 3]
    assert "fold 0: no particle left to train on" in caplog.text


def test_too_few_marks() -> None:
    labels = given({"m": "clicks"}, {"m": [(20, 20), (60, 20)]})
    assert len(join([labels], 0).pieces) == 1
    with pytest.raises(
        InputError, match=r"datasets.mine.coordinates: 2 marked particles .* at least 3"
    ):
        join([labels], 3)
    with pytest.raises(InputError, match=r"0 marked particles"):
        join([given({"m": "areas"}, {}, {"m": (0, 0, 9, 9)})], 0)
