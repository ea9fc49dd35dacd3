"""Where each reader and writer draws the line, and what it says beyond it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewpick.annotation.frame import read_in_frame
from fewpick.coordinates import Picks, detect_format, make_picks, read_picks, write_picks
from fewpick.coordinates.star import check_names
from fewpick.coordinates.text import number, read_text
from fewpick.errors import InputError


def put(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def star(columns: str, *rows: str, block: str = "") -> str:
    names = "\n".join("_rln" + name for name in columns.split())
    return f"\ndata_{block}\n\nloop_\n{names}\n" + "".join(row + "\n" for row in rows) + "\n"


def picks(*xy: tuple[float, float], score: list[float] | None = None, **more: Any) -> Picks:
    held = None if score is None else np.array(score)
    return Picks(np.array(xy, float).reshape(-1, 2), held, **more)


# --------------------------------------------------------------------------------- points


def test_scaled_picks_are_the_same_particles() -> None:
    held = picks((10, 20), score=[0.5], diameter=100.0, pixel_size=2.0).scaled(4)
    np.testing.assert_array_equal(held.xy, [[40, 80]])
    assert held.score == [0.5]
    assert (held.diameter, held.pixel_size) == (400, 0.5)
    bare = picks((10, 20)).scaled(4)
    assert (bare.score, bare.diameter, bare.pixel_size) == (None, None, None)


def test_the_farthest_position_and_size_still_count() -> None:
    held = make_picks("here", [1e6, -1e6], [-1e6, 1e6], [0, -1e300], 1e6)
    assert len(held) == 2
    assert held.diameter == 1e6


@pytest.mark.parametrize(
    ("x", "y", "score", "diameter", "message"),
    [
        ([1, 1000001], [2, 3], None, None, r"point 2 is x=1e\+06, y=3, which"),
        ([1, 2], [2, -1e7], None, None, r"point 2 is x=2, y=-1e\+07, which"),
        ([np.nan, 2], [2, 3], None, None, "point 1 is x=nan, y=2, which"),
        ([1, 2], [2, 3], None, 0, "the size 0 px is impossible"),
        ([1, 2], [2, 3], None, 1.1e6, r"the size 1\.1e\+06 px is impossible"),
    ],
)
def test_points_that_cannot_be(x: Any, y: Any, score: Any, diameter: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^here: {message}"):
        make_picks("here", x, y, score, diameter)


# ----------------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"abc\xff", "byte 3 is not utf-8 text"),
        (b"\xff\xfea", "byte 0 is not utf-16 text|truncated|is not utf-16 text"),
        (b"ab\0c", "contains NUL characters"),
    ],
)
def test_bytes_that_are_no_text(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.txt: .*({message})"):
        read_text(tmp_path / "a.txt")


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        read_text(tmp_path)


def test_every_kind_of_line_end_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n\nd")
    assert read_text(tmp_path / "a.txt") == "a\nb\nc\n\nd"


@pytest.mark.parametrize(
    ("text", "value"), [(" 7 ", 7), ("+.5", 0.5), ("-3.", -3), ("1.5e-3", 0.0015), ("2E+2", 200)]
)
def test_numbers(text: str, value: float) -> None:
    assert number("here", text) == value


@pytest.mark.parametrize("text", ["", ".", "e5", "1 2", "0x1F", "1_000", "inf", "\u0663", "1.2.3"])
def test_no_numbers(text: str) -> None:
    with pytest.raises(InputError, match=r"^here: .* is not a number\. Correct the file"):
        number("here", text)
    with pytest.raises(InputError, match=r"'1,5' is not a number\. Use a decimal point"):
        number("here", "1,5")


# ---------------------------------------------------------------------------------- tables


def test_blank_scores_and_sizes_are_none_given(tmp_path: Path) -> None:
    text = "X-Coordinate,Y-Coordinate,Diameter,Score\n1,2,,\n3,4,,\n"
    held = read_picks(put(tmp_path / "a.csv", text))["a"]
    assert (held.score, held.diameter) == (None, None)
    text = "X-Coordinate,Y-Coordinate,Diameter,Score\n1,2,10,0.5\n3,4,20,0.25\n5,6,90,0\n"
    held = read_picks(put(tmp_path / "a.csv", text))["a"]
    np.testing.assert_array_equal(held.score, [0.5, 0.25, 0])
    assert held.diameter == 20  # the median: one box drawn too large is of no account


def test_scores_and_sizes_stay_with_their_micrograph(tmp_path: Path) -> None:
    text = (
        "Micrographs Filename,X-Coordinate,Y-Coordinate,Diameter,Score\n"
        "a.mrc,1,2,10,0.5\nb.mrc,3,4,,\na.mrc,5,6,10,0.25\n"
    )
    found = read_picks(put(tmp_path / "all.csv", text))
    np.testing.assert_array_equal(found["a.mrc"].score, [0.5, 0.25])
    assert (found["a.mrc"].diameter, found["b.mrc"].diameter) == (10, None)
    assert found["b.mrc"].score is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_name x_coord y_coord\na 1 2\n\n '' 3\n", "line 4 has 2 of the header's 3"),
        ("image_name\tx_coord\ty_coord\na\t1\t2\n\n\t3\t4\n", "line 4 names no micrograph"),
        ("image_name\tx_coord\ty_coord\n", "names no micrograph. To record empty micrographs"),
        ("image_name\tx_coord\ty_coord\tscore\na\t1\t2\t3\na\t1\t2\tx\n", "'x' is not a number"),
        ("image_name\tx_coord\ty_coord\na\tone\t2\n", "line 2: 'one' is not a number"),
        ("image_name\tx_coord\n", "'y_coord' is missing; the header is"),
        ('image_name\tx_coord\ty_coord\n"a\t1\t2\n', "not a table"),
    ],
)
def test_broken_topaz_tables(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"a\.txt: .*{message}"):
        read_picks(put(tmp_path / "a.txt", text), fmt="topaz")


def test_empty_fields_at_the_end_of_a_line_are_passed_over(tmp_path: Path) -> None:
    text = "X-Coordinate,Y-Coordinate\n1,2,,\n3,4, ,\n"
    np.testing.assert_array_equal(
        read_picks(put(tmp_path / "a.csv", text))["a"].xy, [[1, 2], [3, 4]]
    )
    text = "x_coord  y_coord   image_name\n   1   2   a\n10  20  a  \n"
    np.testing.assert_array_equal(
        read_picks(put(tmp_path / "a.txt", text))["a"].xy, [[1, 2], [10, 20]]
    )


def test_topaz_tables_have_scores_for_all_or_none(tmp_path: Path) -> None:
    scored, bare = picks((1, 2), (3, 4), score=[0.5, -0.25]), picks((5, 6))
    write_picks(tmp_path / "a.txt", {"a.mrc": scored, "b.mrc": bare}, fmt="topaz")
    assert (tmp_path / "a.txt").read_text() == (
        "image_name\tx_coord\ty_coord\na\t1.0000\t2.0000\na\t3.0000\t4.0000\nb\t5.0000\t6.0000\n"
    )
    write_picks(tmp_path / "a.txt", {"a.mrc": scored}, fmt="topaz")
    assert (tmp_path / "a.txt").read_text() == (
        "image_name\tx_coord\ty_coord\tscore\n"
        "a\t1.0000\t2.0000\t0.500000\na\t3.0000\t4.0000\t-0.250000\n"
    )
    for name in ("a\tb.mrc", 'a"b.mrc'):
        with pytest.raises(InputError, match="contains a tab or quote"):
            write_picks(tmp_path / "b.txt", {name: bare}, fmt="topaz")


def test_csv_tables_leave_blank_what_is_not_known(tmp_path: Path) -> None:
    both = {"a.mrc": picks((1, 2), score=[0.5]), "b.mrc": picks((3, 4), diameter=10.0)}
    write_picks(tmp_path / "all.csv", both)
    assert (tmp_path / "all.csv").read_text() == (
        "Micrographs Filename,X-Coordinate,Y-Coordinate,Diameter,Score\n"
        "a.mrc,1.0000,2.0000,,0.500000\nb.mrc,3.0000,4.0000,10,\n"
    )
    write_picks(tmp_path / "some", both, fmt="csv", box_size=32, scale=2)
    assert (tmp_path / "some/a.csv").read_text() == (
        "X-Coordinate,Y-Coordinate,Diameter,Score\n0.5000,1.0000,16,0.500000\n"
    )
    assert (tmp_path / "some/b.csv").read_text() == (
        "X-Coordinate,Y-Coordinate,Diameter\n1.5000,2.0000,16\n"
    )


# ------------------------------------------------------------------------------------ STAR


def test_pixel_sizes_are_those_of_the_optics_group(tmp_path: Path) -> None:
    optics = star("OpticsGroup MicrographPixelSize", "1 0.5", "2 1.25", block="optics")
    table = star(
        "CoordinateX CoordinateY MicrographName OpticsGroup",
        *("1 2 b.mrc 2", "3 4 a.mrc 1", "5 6 b.mrc 2"),
        block="particles",
    )
    found = read_picks(put(tmp_path / "a.star", optics + table))
    assert {key: held.pixel_size for key, held in found.items()} == {"b.mrc": 1.25, "a.mrc": 0.5}
    np.testing.assert_array_equal(found["b.mrc"].xy, [[1, 2], [5, 6]])
    halved = read_picks(tmp_path / "a.star", scale=2)
    assert halved["b.mrc"].pixel_size == 0.625
    for other in (star("OpticsGroup Voltage", "1 300", block="optics"), ""):
        found = read_picks(put(tmp_path / "a.star", other + table))
        assert [held.pixel_size for held in found.values()] == [None, None]
    without = table.replace("_rlnOpticsGroup", "_rlnClassNumber")
    assert read_picks(put(tmp_path / "a.star", optics + without))["a.mrc"].pixel_size is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (star("CoordinateX CoordinateY", "1 2") + star("CoordinateX CoordinateY", "1 2", block="b"),
         "contains 2 blocks with coordinates"),
        (star("CoordinateX CoordinateY MicrographName", "1 2 a.mrc", "3 4"),
         "row 2 has no _rlnMicrographName"),
        (star("CoordinateX CoordinateY MicrographName"), "names no micrograph"),
        (star("CoordinateX MicrographName", "1 a.mrc"), "no columns _rlnCoordinateX and"),
        (star("MicrographName MicrographCoordinates", "a.mrc <NA>"), "lacks a micrograph or file"),
        (star("MicrographName MicrographCoordinates", "a.mrc b.star", "a.mrc b.star"),
         r"lists a\.mrc twice"),
        (star("MicrographName MicrographCoordinates", "a.mrc all.star"),
         r"all\.star contains 2 micrographs instead of only a\.mrc"),
        (star("CoordinateX CoordinateY", "1 2") * 2, "is not a unique block name"),
        (star("CoordinateX CoordinateY", "1 2", block="of mine"), "not a unique block name"),
    ],
)  # fmt: skip
def test_star_files_that_say_too_little_or_too_much(
    tmp_path: Path, text: str, message: str
) -> None:
    put(tmp_path / "b.star", star("CoordinateX CoordinateY", "1 2"))
    columns = "CoordinateX CoordinateY MicrographName"
    put(tmp_path / "all.star", star(columns, "1 2 x.mrc", "3 4 y.mrc"))
    with pytest.raises(InputError, match=rf"a\.star: .*{message}"):
        read_picks(put(tmp_path / "a.star", text))


def test_a_listed_file_is_found_beside_its_list(tmp_path: Path) -> None:
    """As when a job folder was copied out of its project."""
    put(tmp_path / "m_autopick.star", star("CoordinateX CoordinateY", "1 2"))
    columns = "MicrographName MicrographCoordinates"
    row = "Motion/m.mrc AutoPick/job1/Movies/m_autopick.star"
    index = put(tmp_path / "autopick.star", star(columns, row, block="coordinate_files"))
    np.testing.assert_array_equal(read_picks(index)["Motion/m.mrc"].xy, [[1, 2]])
    (tmp_path / "m_autopick.star").unlink()
    # A list alone in its folder is read as one, and says what it lacks.
    with pytest.raises(InputError, match="which does not exist"):
        read_picks(tmp_path)


def test_scores_of_star_tables(tmp_path: Path) -> None:
    columns = "CoordinateX CoordinateY AutopickFigureOfMerit"
    # One pick made by hand among others has RELION's mark in place of a score.
    text = star(columns, "1 2 -999.0", "3 4 0.5")
    held = read_picks(put(tmp_path / "a.star", text))["a"]
    np.testing.assert_array_equal(held.score, [np.nan, 0.5])
    held = read_picks(put(tmp_path / "a.star", star(columns, "1 2 0.5", "3 4 <NA>")))["a"]
    np.testing.assert_array_equal(held.score, [0.5, np.nan])
    some = {"a.mrc": picks((1, 2), score=[0.5]), "b.mrc": picks((3, 4))}
    write_picks(tmp_path / "b.star", some)
    found = read_picks(tmp_path / "b.star")
    assert [held.score for held in found.values()] == [0.5, None]
    write_picks(tmp_path / "c.star", {"b.mrc": some["b.mrc"]})
    assert "FigureOfMerit" not in (tmp_path / "c.star").read_text()
    write_picks(tmp_path / "folder", some, fmt="star")
    assert "0.500000" in (tmp_path / "folder/a_autopick.star").read_text()
    assert "FigureOfMerit" not in (tmp_path / "folder/b_autopick.star").read_text()


def test_names_that_star_cannot_carry_are_refused_early() -> None:
    check_names([Path("data/mic_1.mrc")])
    for name in ("my mic.mrc", "it's.mrc", 'a"b.mrc', "a#1.mrc"):
        with pytest.raises(InputError, match="contains a space, quote or '#'"):
            check_names([Path("data/mic_1.mrc"), Path("data") / name])


# ----------------------------------------------------------------------------------- boxes

CBOX = """
data_cryolo

loop_
_CoordinateX #1
_CoordinateY #2
_Width #3
_Height #4
_Confidence #5
"""


def test_cbox_sizes_and_confidences(tmp_path: Path) -> None:
    held = read_picks(put(tmp_path / "a.cbox", CBOX + "0 10 20 40 <NA>\n1 1 1 1 <NA>\n"))["a"]
    np.testing.assert_array_equal(held.xy, [[10, 30], [1.5, 1.5]])
    assert held.score is None
    assert held.diameter == 10.5
    empty = read_picks(put(tmp_path / "a.cbox", CBOX))["a"]
    assert (len(empty), empty.diameter) == (0, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CBOX + "0 10 0 40 0.5\n", "a box without width or height"),
        (CBOX + "0 10 20 40 0.5\n0 10 20 -1 0.5\n", "a box without width or height"),
        (CBOX + "0 10 20 40 0.5\n0 10 20 40 high\n", "row 2, _Confidence: 'high' is not"),
        (CBOX.replace("_Width", "_Depth") + "0 10 20 40 0.5\n", "has no data_cryolo table with"),
        (CBOX.replace("data_cryolo", "data_other") + "0 1 2 4 0.5\n", "has no data_cryolo table"),
    ],
)
def test_broken_cbox(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"a\.cbox: .*{message}"):
        read_picks(put(tmp_path / "a.cbox", text), fmt="cbox")


def test_written_boxes(tmp_path: Path) -> None:
    held = {"a.mrc": picks((100, 50), (7.4, 8), score=[0.5, -1.25])}
    write_picks(tmp_path / "a.box", held, box_size=63)
    assert (tmp_path / "a.box").read_text() == (
        "68\t18\t64\t64\t0.500000\n-25\t-24\t64\t64\t-1.250000\n"
    )
    write_picks(tmp_path / "a.box", held, box_size=40, scale=4)
    assert (tmp_path / "a.box").read_text() == (
        "20\t8\t10\t10\t0.500000\n-3\t-3\t10\t10\t-1.250000\n"
    )
    write_picks(tmp_path / "a.cbox", held, box_size=0.5)
    assert "99.0000\t49.0000\t<NA>\t2\t2\t<NA>\t2\t2\t0.500000" in (tmp_path / "a.cbox").read_text()
    # Nothing to draw a box around needs no size, and each micrograph has its own.
    write_picks(tmp_path / "boxes", {"a.mrc": picks(), "b.mrc": picks((9, 9), diameter=6.0)},
                fmt="box")  # fmt: skip
    assert (tmp_path / "boxes/a.box").read_text() == ""
    assert (tmp_path / "boxes/b.box").read_text() == "6\t6\t6\t6\n"


def test_scores_and_sizes_of_box_files(tmp_path: Path) -> None:
    for text, score in (
        ("1 2 4 4 -3\n1 2 4 4 -3\n", None),
        ("1 2 4 4 -1\n1 2 4 4 -1\n", [-1, -1]),
        ("1 2 4 4\n", None),
    ):
        found = read_picks(put(tmp_path / "a.box", text))["a"].score
        assert (None if found is None else found.tolist()) == score
    for text in ("1 2 4 4 -3\n1 2 4 4 0.5\n", "1 2 4 4\n\n1 2 4 4 0.5\n"):
        found = read_picks(put(tmp_path / "a.box", text))["a"].score
        np.testing.assert_array_equal(found, [np.nan, 0.5])
    held = read_picks(put(tmp_path / "a.box", "\n0 0 10 20\n \n5 5 30 40\n"))["a"]
    np.testing.assert_array_equal(held.xy, [[5, 10], [20, 25]])
    assert held.diameter == 25
    with pytest.raises(InputError, match="the size of box 2 is 4 x 0 px"):
        read_picks(put(tmp_path / "a.box", "1 2 4 4\n1 2 4 0\n"))
    with pytest.raises(InputError, match="line 3 has 5 values"):
        read_picks(put(tmp_path / "a.box", "1 2 4 4\n\n1 2 4 6 0.5\n"))


# ------------------------------------------------------------------------------------ JSON


def coco(**edits: Any) -> str:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [
            {"image_id": 1, "bbox": [10, 20, 40, 60]},
            {"image_id": 1, "bbox": [0, 0, 44, 50]},
        ],
    }
    return json.dumps(content | edits)


def test_coco_sizes(tmp_path: Path) -> None:
    found = read_picks(put(tmp_path / "a.json", coco()))
    assert (found["a.jpg"].diameter, found["b.jpg"].diameter) == (47, None)
    # Only a box of four zeros stands for none.
    corner = read_picks(
        put(tmp_path / "a.json", coco(annotations=[{"image_id": 2, "bbox": [0, 0, 1, 1]}]))
    )
    np.testing.assert_array_equal(corner["b.jpg"].xy, [[0.5, 0.5]])


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"images": [{"id": 1}]}, "lacks id or file_name"),
        ({"images": [{"id": "1", "file_name": "a"}]}, "lacks id or file_name"),
        ({"images": [{"id": 1, "file_name": ""}]}, "lacks id or file_name"),
        ({"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]},
         r"duplicate image 1 \(b\)"),
        ({"images": [{"id": 1, "file_name": "a"}, {"id": 2, "file_name": "a"}]},
         r"duplicate image 2 \(a\)"),
        ({"images": [3]}, "lacks the 'images' list"),
        ({"annotations": [{"image_id": 3, "bbox": [1, 2, 3, 4]}]}, "refers to image 3"),
        ({"annotations": [{"bbox": [1, 2, 3, 4]}]}, "refers to image None"),
        ({"annotations": [{"image_id": 1, "bbox": [1, 2, 3]}]}, r"is not \[x, y, width, height\]"),
        ({"annotations": [{"image_id": 1, "bbox": 3}]}, r"is not \[x, y, width, height\]"),
        ({"annotations": [{"image_id": 1, "bbox": [1, 2, 3, "4"]}]}, "'4' is not a number"),
        ({"annotations": [{"image_id": 1, "bbox": [1, 2, 0, 4]}]}, "has no width or height"),
        ({"annotations": [{"image_id": 1, "bbox": [1, 2, 3, 0]}]}, "has no width or height"),
        ({"annotations": [{"image_id": 1, "bbox": [1, 0, 0, 0]}]}, "has no width or height"),
    ],
)  # fmt: skip
def test_broken_coco(tmp_path: Path, edits: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"a\.json: .*{message}"):
        read_picks(put(tmp_path / "a.json", coco(**edits)), fmt="coco")


def test_points_in_json_are_counted_from_one(tmp_path: Path) -> None:
    for text, message in (
        ('{"m": [[1, 2], [3]]}', r"m: point 2 is \[3\]"),
        ('{"m": [[1, 2], [3, null]]}', "m: point 2: None is not a number"),
        ('{"m": [[1, 2], [[], 4]]}', r"m: point 2: \[\] is not a number"),
        ('{"m": 7}', "m: contains 7"),
        ('{"m": {"a": 1}, "m": 2}', "duplicate key 'm'"),
    ):
        with pytest.raises(InputError, match=rf"a\.json: {message}"):
            read_picks(put(tmp_path / "a.json", text), fmt="json")


# ------------------------------------------------------------------------------- cryoSPARC

PATH, SHAPE = "location/micrograph_path", "location/micrograph_shape"
X, Y = "location/center_x_frac", "location/center_y_frac"


def cs(path: Path, **fields: Any) -> Path:
    """Two particles of one micrograph; a field is left out (None) or replaced."""
    values = {
        PATH: np.array([b"J1/a.mrc", b"J1/a.mrc"]),
        SHAPE: np.array([[90, 80], [90, 80]], np.uint32),
        X: np.array([0.25, 0.5], np.float32),
        Y: np.array([0.75, 0.5], np.float32),
    } | fields
    held = {name: value for name, value in values.items() if value is not None}
    table = np.zeros(2, [(name, value.dtype, value.shape[1:]) for name, value in held.items()])
    for name, value in held.items():
        table[name] = value
    with path.open("wb") as file:
        np.save(file, table)
    return path


def test_cryosparc_sizes_come_from_the_file_or_the_micrographs(tmp_path: Path) -> None:
    expected = [[20, 22.5], [40, 45]]
    for names in (np.array(["J1/a.mrc"] * 2), np.array(["J1/ä.mrc".encode()] * 2)):
        (held,) = read_picks(cs(tmp_path / "a.cs", **{PATH: names})).values()
        np.testing.assert_array_equal(held.xy, expected)
    bare = cs(tmp_path / "a.cs", **{SHAPE: None})
    with pytest.raises(InputError, match=r"J1/a\.mrc has no location/micrograph_shape"):
        read_picks(bare)
    held = read_picks(bare, shapes={"a.mrc": (90, 80), "b.mrc": (9, 8)})["J1/a.mrc"]
    np.testing.assert_array_equal(held.xy, expected)
    with pytest.raises(InputError, match="has no location/micrograph_shape"):
        read_picks(cs(tmp_path / "a.cs", **{SHAPE: np.array([90, 90])}))


@pytest.mark.parametrize("value", [-0.5, 1.5])
def test_cryosparc_fractions_may_leave_the_image_a_little(tmp_path: Path, value: float) -> None:
    for field in (X, Y):
        read_picks(cs(tmp_path / "a.cs", **{field: np.array([value, 0.5])}))
        for far in (value + np.sign(value) * 0.01, np.nan):
            with pytest.raises(InputError, match=f"{field} contains values outside 0 to 1"):
                read_picks(cs(tmp_path / "a.cs", **{field: np.array([0.5, far])}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({X: np.array(["0.5", "0.5"])}, "a location field has the wrong type"),
        ({PATH: np.array([b"\xff", b"a"])}, "a location field has the wrong type"),
        ({PATH: np.array([b"a", b""])}, "or a particle without a micrograph"),
        ({X: np.full((2, 2), 0.5)}, "contains values outside 0 to 1"),
        ({PATH: None}, "has no location/center_x_frac"),
        ({Y: None}, "has no location/center_x_frac"),
    ],
)
def test_broken_cryosparc_tables(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"a\.cs: .*{message}"):
        read_picks(cs(tmp_path / "a.cs", **fields))


def test_numpy_files_that_are_no_tables(tmp_path: Path) -> None:
    with (tmp_path / "a.cs").open("wb") as file:
        np.save(file, np.zeros((2, 2)))
    with pytest.raises(InputError, match=r"a\.cs: not a table of particles"):
        read_picks(tmp_path / "a.cs")


# ------------------------------------------------------------------------ files and folders


def test_scales_are_positive_numbers(tmp_path: Path) -> None:
    file = put(tmp_path / "a.box", "1 2 4 4\n")
    for scale in (-1.0, float("nan"), float("inf"), 0.0):
        with pytest.raises(InputError, match=r"a\.box: scale is"):
            read_picks(file, scale=scale)
        with pytest.raises(InputError, match=r"a\.box: scale is"):
            write_picks(file, {"a": picks((1, 2), diameter=4.0)}, scale=scale)
    held = read_picks(file, scale=0.5)["a"]
    np.testing.assert_array_equal(held.xy, [[1.5, 2]])
    assert held.diameter == 2


def test_a_micrograph_in_two_files_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.json", '{"m.mrc": [[1, 2]]}')
    put(tmp_path / "b.json", '{"m.mrc": [[3, 4]]}')
    with pytest.raises(InputError, match=r"b\.json: .*a\.json also lists m\.mrc"):
        read_picks(tmp_path)


def test_what_in_a_folder_is_no_coordinate_file(tmp_path: Path) -> None:
    put(tmp_path / "b.BOX", "1 2 4 4\n")
    put(tmp_path / ".hidden.box", "1 2 4 4\n")
    put(tmp_path / "sub.box" / "c.box", "1 2 4 4\n")
    put(tmp_path / "a.log", "1 2 4 4\n")
    assert list(read_picks(tmp_path)) == ["b"]
    with pytest.raises(InputError, match=r"contains no coordinate files \(\.star\)"):
        read_picks(tmp_path, fmt="star")


def test_content_that_tells_nothing_leaves_it_to_the_suffix(tmp_path: Path) -> None:
    assert detect_format(put(tmp_path / "a.JSON", "[]")) == "json"  # and not COCO
    assert detect_format(put(tmp_path / "a.CS", "?")) == "cs"
    # The first 8 KiB are looked at, and no more.
    assert detect_format(put(tmp_path / "a.dat", " " * 8000 + '{"a": []}')) == "json"
    assert detect_format(put(tmp_path / "a.dat", " " * 9000 + '{"a": []}')) is None
    assert detect_format(put(tmp_path / "a.dat", "\n\n 1 2 3 3\n")) == "box"
    assert detect_format(put(tmp_path / "a.dat", "1 2 3\n")) is None
    assert detect_format(put(tmp_path / "a.dat", "1 2 3 4 5 6\n")) is None
    assert detect_format(put(tmp_path / "a.dat", "x-coordinate only\n")) is None
    assert detect_format(put(tmp_path / "a.dat", "image_name x_coord\n")) is None


def test_the_suffix_names_the_format_to_write(tmp_path: Path) -> None:
    write_picks(tmp_path / "A.JSON", {"a.mrc": picks((1, 2.5))})
    assert json.loads((tmp_path / "A.JSON").read_text()) == {"a.mrc": [[1, 2.5]]}
    with pytest.raises(InputError, match=r"from a name without a suffix\. Use one of \.json"):
        write_picks(tmp_path / "a", {})


# ------------------------------------------------------------------------- in the micrograph


def framed(path: Path, xy: list[list[float]], **options: Any) -> Picks:
    put(path / "c.json", json.dumps({"m": xy}))
    return read_in_frame(path / "c.json", {"m.mrc": (50, 100)}, **options)["m.mrc"]


def test_points_a_little_outside_are_moved_to_the_edge(tmp_path: Path) -> None:
    held = framed(tmp_path, [[-1, -1], [100, 50], [99, 0], [30, 40]])
    np.testing.assert_array_equal(held.xy, [[0, 0], [99, 49], [99, 0], [30, 40]])
    # y = 0 of a file that counts from the last row is one row beyond it.
    held = framed(tmp_path, [[10, 0], [10, 50], [10, 20]], y_axis="up")
    np.testing.assert_array_equal(held.xy, [[10, 49], [10, 0], [10, 30]])


@pytest.mark.parametrize("point", [[-1.001, 0], [100.001, 0], [0, -1.001], [0, 50.001]])
def test_points_outside_are_refused(tmp_path: Path, point: list[float]) -> None:
    with pytest.raises(InputError, match=r"1 of 2 points lie outside the image of 100 x 50 px"):
        framed(tmp_path, [[5, 5], point])


def test_points_given_twice_are_used_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path / "a.box", "5 5 2 2 0.5\n1 1 2 2 0.25\n5 5 2 2 0.125\n")
    with caplog.at_level(logging.WARNING):
        held = read_in_frame(tmp_path / "a.box", {"a.mrc": (50, 100)})["a.mrc"]
    np.testing.assert_array_equal(held.xy, [[6, 6], [2, 2]])  # in the order of the file
    np.testing.assert_array_equal(held.score, [0.5, 0.25])
    assert held.diameter == 2
    assert "1 duplicate points are used once" in caplog.text
    caplog.clear()
    framed(tmp_path, [[1, 2], [2, 1], [1, 1]])
    assert caplog.text == ""


def test_what_is_used_and_left_out_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = {"a": [[1, 2], [3, 4]], "x": [[5, 6]], "c": [[7, 8]] * 3}
    put(tmp_path / "c.json", json.dumps(content))
    shapes = {"a.mrc": (50, 100), "b.mrc": (50, 100)}
    with caplog.at_level(logging.INFO):
        found = read_in_frame(tmp_path / "c.json", shapes, left_out=["c.mrc"])
    assert list(found) == ["a.mrc"]
    assert "2 of 6 coordinates used" in caplog.text
    assert "1 of 6 coordinates are left out" in caplog.text
    assert "has no coordinates for 1 micrographs" in caplog.text
    with pytest.raises(InputError, match=r"'left' is not a direction\. Use down or up"):
        read_in_frame(tmp_path / "c.json", shapes, y_axis="left")
    with pytest.raises(InputError, match=r"c\.json: names no micrograph"):
        read_in_frame(put(tmp_path / "c.json", "{}"), shapes)
