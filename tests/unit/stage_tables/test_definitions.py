"""What a stage writes, another one reads: the same values, in the types that the class promises."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fewpick.errors import InputError
from fewpick.stage_tables.definitions import LabelTable, ManifestTable, SplitTable

MANIFEST = pd.DataFrame(
    {
        "micrograph": ["001", "NA"],
        "path": ["in/001.mrc", "in/NA.mrc"],
        "ny": [100, 4096],
        "nx": [200, 4096],
        "pixel_size": [1.1, math.nan],
        "annotated": [True, False],
        "n_particles": [3, 0],
        "orientation": ["as given", "as given"],
        "left_out": [0, 0],
    }
)
LABELS = pd.DataFrame(
    {
        "dataset": ["d", "d"],
        "micrograph": ["001", "002"],
        "split": ["train", "unannotated"],
        "labelled": ["part", "none"],
        "n_labeled_particles": [2, 0],
        "radius": [1 / 3, 7.5],
        "area": [(1, 2, 30, 40), (0, 0, 64, 64)],
        "windows": [((1, 2, 11, 12), (11, 2, 21, 12)), ()],
        "points": [np.array([[3.25, 4.5], [5.0, 6.125]]), np.empty((0, 2))],
        "expected": [math.nan, 12.0],
    }
)


def test_a_manifest_keeps_values_and_types(tmp_path: Path) -> None:
    ManifestTable.write(MANIFEST, tmp_path / "manifest.tsv")
    held = ManifestTable.read(tmp_path / "manifest.tsv")
    pd.testing.assert_frame_equal(held, MANIFEST, check_dtype=False)
    types = {name: str(held[name].dtype) for name in ("ny", "nx", "pixel_size", "annotated")}
    assert types == {"ny": "int64", "nx": "int64", "pixel_size": "float64", "annotated": "bool"}
    text = (tmp_path / "manifest.tsv").read_text().splitlines()
    assert text[1] == "001\tin/001.mrc\t100\t200\t1.1\ttrue\t3\tas given\t0"


def test_labels_keep_values_and_types(tmp_path: Path) -> None:
    LabelTable.write(LABELS, tmp_path / "ratio.tsv")
    held = LabelTable.read(tmp_path / "ratio.tsv")
    simple = [c for c in LABELS if c != "points"]
    pd.testing.assert_frame_equal(held[simple], LABELS[simple], check_dtype=False)
    for found, expected in zip(held["points"], LABELS["points"], strict=True):
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected)
    assert held["radius"].dtype == np.float64
    assert held["n_labeled_particles"].dtype == np.int64
    assert "negatives" not in held
    text = (tmp_path / "ratio.tsv").read_text().splitlines()
    assert text[1].endswith(
        "[1, 2, 30, 40]\t[[1, 2, 11, 12], [11, 2, 21, 12]]\t[[3.25, 4.5], [5.0, 6.125]]\t"
    )


def test_a_table_without_rows_keeps_its_types(tmp_path: Path) -> None:
    LabelTable.write(LABELS[:0], tmp_path / "ratio.tsv")
    held = LabelTable.read(tmp_path / "ratio.tsv")
    assert len(held) == 0
    assert held["expected"].dtype == np.float64


def test_other_columns_are_passed_on(tmp_path: Path) -> None:
    negatives = pd.Series([np.array([[1.0, 2.0]]), np.empty((0, 2))])
    LabelTable.write(LABELS.assign(held=["", "x"], negatives=negatives), tmp_path / "labels.tsv")
    held = LabelTable.read(tmp_path / "labels.tsv")
    assert held["held"].fillna("").tolist() == ["", "x"]
    np.testing.assert_array_equal(held["negatives"][0], [[1.0, 2.0]])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("split", "part", r"split\.tsv: column split is missing\. Delete the file and rerun\."),
        ("dataset\tmicrograph", "a\tb", r"column dataset, micrograph is missing"),
    ],
)
def test_a_missing_column_is_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "split.tsv"
    SplitTable.write(LABELS[["dataset", "micrograph", "split"]], path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        SplitTable.read(path)


@pytest.mark.parametrize(
    ("column", "value"),
    [("area", "[1, 2"), ("windows", "[[1, 2, 3]]"), ("points", "[[1, 2], [3]]"), ("radius", "x")],
)
def test_a_field_of_another_type_is_refused(column: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / "ratio.tsv"
    LabelTable.write(LABELS, path)
    table = pd.read_csv(path, sep="\t", dtype=str).assign(**{column: value})
    table.to_csv(path, sep="\t", index=False)
    with pytest.raises(InputError, match=rf"ratio\.tsv: the column {column} cannot be read"):
        LabelTable.read(path)
    ManifestTable.write(MANIFEST, path)
    path.write_text(path.read_text().replace("true", "yes"))
    with pytest.raises(InputError, match=r"the column annotated cannot be read \('yes'\)"):
        ManifestTable.read(path)
