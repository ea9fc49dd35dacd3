"""Files that look like another format, or like pixels, and were read as such."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fewpick.annotation.frame import read_in_frame
from fewpick.coordinates import Picks, detect_format, read_picks, write_picks
from fewpick.errors import InputError

SHAPES = {"a.mrc": (224, 288), "b.mrc": (224, 288)}


def put(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def table(*columns: str, second: str = "b.mrc") -> str:
    """Two particles on two micrographs: csv with x, y and further columns."""
    rows = [
        {"x": "10", "y": "20", "name": "a.mrc"},
        {"x": "30", "y": "40", "name": second},
    ]
    lines = [",".join(columns)]
    lines += [",".join(row.get(column, row["name"]) for column in columns) for row in rows]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("column", ["filename", "image", "micrograph_name", "mic", "label", "path"])
def test_names_in_a_column_of_another_name_are_not_ignored(tmp_path: Path, column: str) -> None:
    file = put(tmp_path / "picks.csv", table(column, "x", "y"))
    with pytest.raises(InputError, match=f"picks.csv: column '{column}' .* Rename it to 'micro"):
        read_picks(file)


def test_one_name_or_other_columns_are_ignored(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", table("filename", "x", "y", second="a.mrc"))
    put(tmp_path / "b.csv", "class_id,x,y,image_width\n1,10,20,288\n2,30,40,288\n")
    assert [len(held) for held in read_picks(tmp_path).values()] == [2, 2]


def test_particles_of_several_stacks_without_micrographs_are_refused(tmp_path: Path) -> None:
    head = "data_\n\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnImageName\n"
    file = put(tmp_path / "particles.star", head + "1 2 1@a.mrcs\n3 4 1@b.mrcs\n")
    with pytest.raises(InputError, match=r"several stacks .* no _rlnMicrographName"):
        read_picks(file)
    put(file, head + "1 2 1@a.mrcs\n3 4 2@a.mrcs\n")
    assert [len(held) for held in read_picks(file).values()] == [2]
    # As RELION extracts them: the stacks do not matter beside the micrographs.
    head += "_rlnMicrographName\n"
    put(file, head + "1 2 1@x/a.mrcs a.mrc\n3 4 1@x/b.mrcs b.mrc\n")
    assert sorted(read_picks(file)) == ["a.mrc", "b.mrc"]


def test_tables_of_boxes_may_have_corners(tmp_path: Path) -> None:
    file = put(tmp_path / "a.csv", "x,y,Width,Height\n10,20,8,8\n")
    with pytest.raises(InputError, match="'width' and 'height', so x and y may be corners"):
        read_picks(file)
    # ImageJ writes the centre as X, Y and the corner as BX, BY.
    put(file, " ,Area,X,Y,BX,BY,Width,Height\n1,64,10,20,6,16,8,8\n")
    np.testing.assert_array_equal(read_picks(file)["a"].xy, [[10, 20]])


def test_scores_in_a_column_of_another_name_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = put(tmp_path / "a.csv", "x,y,Confidence\n10,20,0.5\n")
    assert read_picks(file)["a"].score is None
    assert "a.csv: column 'confidence' is not used" in caplog.text
    assert "rename it to 'score'" in caplog.text


def test_four_columns_of_numbers_are_boxes_only_if_square(tmp_path: Path) -> None:
    assert detect_format(put(tmp_path / "a.txt", "10 20 8 8\n")) == "box"
    file = put(tmp_path / "b.txt", "1 100.5 60.25 0.9\n2 40 30 0.8\n")  # number, x, y, score
    assert detect_format(file) != "box"
    with pytest.raises(InputError, match="column 'x_coord' is missing"):
        read_picks(file)


def test_fractions_are_not_pixels(tmp_path: Path) -> None:
    points = [[0.25, 0.5], [0.75, 0.125], [1, 0]]
    file = put(tmp_path / "a.json", json.dumps({"a.mrc": points}))
    with pytest.raises(
        InputError, match=r"all 3 points lie between 0 and 1.*Multiply x by the wid"
    ):
        read_in_frame(file, SHAPES)
    put(file, json.dumps({"a.mrc": [*points, [10, 20]]}))
    assert len(read_in_frame(file, SHAPES)["a.mrc"]) == 4


def locations(path: Path, x: float, y: float, pixel_size: float = 1.06) -> Path:
    dtype = [
        ("location/micrograph_path", "S40"),
        ("location/micrograph_shape", "u4", (2,)),
        ("location/center_x_frac", "f4"),
        ("location/center_y_frac", "f4"),
        ("location/micrograph_psize_A", "f4"),
    ]
    rows = [(b"J1/imported/00012_a.mrc", (224, 288), x, y, pixel_size)] * 2
    with path.open("wb") as file:
        np.save(file, np.array(rows, dtype))
    return path


def test_cryosparc_locations_of_zero_are_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"are 0 for all 2 particles.*passthrough"):
        read_picks(locations(tmp_path / "a.cs", 0, 0))


def test_cryosparc_pixel_size_is_that_of_the_pixels_returned(tmp_path: Path) -> None:
    file = locations(tmp_path / "a.cs", 0.5, 0.25)
    assert next(iter(read_picks(file).values())).pixel_size == 1.06
    binned = read_picks(file, shapes={"a.mrc": (112, 144)})
    assert next(iter(binned.values())).pixel_size == 2.12
    unknown = read_picks(locations(tmp_path / "b.cs", 0.5, 0.25, 0))
    assert next(iter(unknown.values())).pixel_size is None


def test_crYOLO_marks_a_missing_score_by_9999(tmp_path: Path) -> None:
    head = "data_\n\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnAutopickFigureOfMerit\n"
    assert read_picks(put(tmp_path / "a.star", head + "1 2 -9999\n3 4 -9999\n"))["a"].score is None
    score = read_picks(put(tmp_path / "a.star", head + "1 2 0.5\n3 4 -9999\n"))["a"].score
    np.testing.assert_array_equal(score, [0.5, np.nan])


def test_EMAN2_info_files_are_named(tmp_path: Path) -> None:
    file = put(tmp_path / "a_info.json", json.dumps({"boxes": [[1, 2, "manual"]], "quality": 5}))
    with pytest.raises(InputError, match=r"info file of EMAN2 .*e2boxer"):
        read_picks(file)


def test_star_rows_longer_than_the_header(tmp_path: Path) -> None:
    file = put(tmp_path / "a.star", "data_\n\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n1 10 20\n")
    with pytest.raises(InputError, match="2 columns in its header, but 3 in its rows"):
        read_picks(file)


def test_a_micrograph_without_picks_does_not_cost_the_scores(tmp_path: Path) -> None:
    picks = {
        "Movies/a.mrc": Picks(np.array([[1.0, 2.0]]), np.array([0.5])),
        "Movies/b.mrc": Picks(np.empty((0, 2))),
    }
    write_picks(tmp_path / "a.txt", picks, fmt="topaz")
    # Topaz compares names with those of files, without folders.
    assert (tmp_path / "a.txt").read_text().endswith("score\na\t1.0000\t2.0000\t0.500000\n")
    picks["More/a.mrc"] = picks["Movies/a.mrc"]
    write_picks(tmp_path / "a.txt", picks, fmt="topaz")
    assert sorted(read_picks(tmp_path / "a.txt")) == ["More/a", "Movies/a"]
