"""Hand-written files after each format's specification, read to the exact centre."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fewpick.coordinates import detect_format, read_picks
from fewpick.errors import InputError

RELION_3_0 = """
data_

loop_
_rlnMicrographName #1
_rlnCoordinateX #2
_rlnCoordinateY #3
_rlnAutopickFigureOfMerit #4
MotionCorr/job002/Movies/001.mrc  10.500000 20.000000 0.75
MotionCorr/job002/Movies/002.mrc  614.000000 1244.250000 0.50
MotionCorr/job002/Movies/001.mrc  30.000000 40.000000 0.25

"""

RELION_3_1 = """
# version 30001

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnMicrographOriginalPixelSize #3
_rlnVoltage #4
opticsGroup1            1     0.885000   200.000000


# version 30001

data_particles

loop_
_rlnCoordinateX #1
_rlnCoordinateY #2
_rlnImageName #3
_rlnMicrographName #4
_rlnOpticsGroup #5
   135.458824  2336.664720 000001@Extract/job007/Movies/mic_1.mrcs MotionCorr/job002/mic_1.mrc 1
  3612.235315  2991.382371 000002@Extract/job007/Movies/mic_1.mrcs MotionCorr/job002/mic_1.mrc 1

"""

AUTOPICK = """
# version 50001

data_

loop_
_rlnCoordinateX #1
_rlnCoordinateY #2
_rlnAutopickFigureOfMerit #3
_rlnClassNumber #4
_rlnAnglePsi #5
 1021.7   88.5     1.25            1    45.0
   12.0   34.0     0.75            1    90.0
"""

CBOX = """
data_global

_cbox_format_version 1.0

data_cryolo

loop_
_CoordinateX #1
_CoordinateY #2
_CoordinateZ #3
_Width #4
_Height #5
_Depth #6
_EstWidth #7
_EstHeight #8
_Confidence #9
_NumBoxes #10
_Angle #11
2889.0 31.5 <NA> 180.0 180.0 1.0 175.2 181.9 0.66 1.0 <NA>
339.25 55.0 <NA> 180.0 160.0 1.0 170.0 179.0 0.83 1.0 <NA>

data_cryolo_include

loop_
_slice_index #1
"""

TOPAZ = "image_name\tx_coord\ty_coord\tscore\nmic_a\t100\t50\t5.5\nmic b\t7\t8\t-1.25\n"

CSV = "X-Coordinate,Y-Coordinate,Diameter,Class Number\n718,131,108,1\n1714.5,131,108,2\n"

BOX = "2889\t31\t180\t180\t0.6599\n339\t55\t180\t180\t0.8281\n"

COCO = {
    "info": {},
    "images": [
        {"id": 1, "file_name": "17/a.jpg", "width": 1024, "height": 768},
        {"id": 2, "file_name": "17/b.jpg", "width": 1024, "height": 768},
        {"id": 3, "file_name": "17/c.jpg", "width": 1024, "height": 768},
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "bbox": [10, 20, 40, 60], "category_id": 1},
        {"id": 2, "image_id": 2, "bbox": [0, 0, 0, 0], "category_id": 1},
        {"id": 3, "image_id": 1, "bbox": [100.5, 0, 40, 60], "category_id": 1},
    ],
}


def put(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def test_relion_3_0_keeps_number_like_names(tmp_path: Path) -> None:
    file = put(tmp_path / "particles.star", RELION_3_0.replace("MotionCorr/job002/Movies/", ""))
    file.write_text(file.read_text().replace(".mrc", ""))
    picks = read_picks(file)
    assert list(picks) == ["001", "002"]  # not 1 and 2
    np.testing.assert_array_equal(picks["001"].xy, [[10.5, 20], [30, 40]])
    np.testing.assert_array_equal(picks["001"].score, [0.75, 0.25])
    np.testing.assert_array_equal(picks["002"].xy, [[614, 1244.25]])


def test_relion_3_1(tmp_path: Path) -> None:
    picks = read_picks(put(tmp_path / "particles.star", RELION_3_1))
    assert list(picks) == ["MotionCorr/job002/mic_1.mrc"]
    held = picks["MotionCorr/job002/mic_1.mrc"]
    np.testing.assert_array_equal(held.xy, [[135.458824, 2336.66472], [3612.235315, 2991.382371]])
    assert held.score is None


def test_relion_job_folder_and_its_list(tmp_path: Path) -> None:
    job = tmp_path / "project" / "AutoPick" / "job011"
    put(job / "Movies" / "mic_1_autopick.star", AUTOPICK)
    rows = "MotionCorr/job002/Movies/mic_1.mrc AutoPick/job011/Movies/mic_1_autopick.star\n"
    index = put(
        job / "autopick.star",
        "\n# version 50001\n\ndata_coordinate_files\n\nloop_\n_rlnMicrographName #1\n"
        "_rlnMicrographCoordinates #2\n" + rows,
    )
    listed = read_picks(index)
    np.testing.assert_array_equal(
        listed["MotionCorr/job002/Movies/mic_1.mrc"].xy, [[1021.7, 88.5], [12, 34]]
    )
    np.testing.assert_array_equal(next(iter(listed.values())).score, [1.25, 0.75])
    put(job / "Movies" / "autopick.star", index.read_text())  # list and files in one folder
    assert list(read_picks(job / "Movies")) == ["mic_1_autopick"]
    (job / "Movies" / "mic_1_autopick.star").unlink()
    with pytest.raises(
        InputError, match=r"autopick\.star: lists AutoPick/job011/.* does not exist"
    ):
        read_picks(index)


def test_manual_picks_carry_no_score(tmp_path: Path) -> None:
    text = AUTOPICK.replace("1.25", "-999.0").replace("0.75", "-999.000000")
    picks = read_picks(put(tmp_path / "mic_manualpick.star", text))
    assert picks["mic_manualpick"].score is None


def test_star_without_rows_is_an_empty_micrograph(tmp_path: Path) -> None:
    header = AUTOPICK[: AUTOPICK.index(" 1021.7")]
    for tail in ("", "\n\n", "\n# version 50001\n\ndata_other\n\nloop_\n_rlnFoo #1\n3\n"):
        picks = read_picks(put(tmp_path / "mic_1_autopick.star", header + tail))
        assert picks["mic_1_autopick"].xy.shape == (0, 2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("   12.0   34.0     0.75            1    90.0", "   12.0", "row 2 has no _rlnCoordinateY"),
        ("34.0", "nan", "row 2 has no _rlnCoordinateY"),
        ("34.0", "1e9", "not a pixel position"),
        ("34.0", "3_4", "'3_4' is not a number"),
        ("_rlnCoordinateY", "_rlnCoordinateZ", "no columns _rlnCoordinateX and _rlnCoordinateY"),
        ("_rlnClassNumber", "_rlnCoordinateX", "two columns _rlnCoordinateX"),
        ("data_", "date_", "no STAR data block"),
    ],
)
def test_broken_star(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"a\.star: .*{message}"):
        read_picks(put(tmp_path / "a.star", AUTOPICK.replace(old, new)))


def test_a_micrograph_named_like_a_star_block_loses_nothing_silently(tmp_path: Path) -> None:
    text = RELION_3_0.replace("MotionCorr/job002/Movies/002.mrc", "data_002.mrc")
    with pytest.raises(InputError, match="data_002"):
        read_picks(put(tmp_path / "a.star", text))


def test_cbox(tmp_path: Path) -> None:
    held = read_picks(put(tmp_path / "mic.cbox", CBOX))["mic"]
    np.testing.assert_array_equal(held.xy, [[2979, 121.5], [429.25, 135]])
    np.testing.assert_array_equal(held.score, [0.66, 0.83])
    assert held.diameter == 180


def test_cbox_without_rows_and_of_a_tomogram(tmp_path: Path) -> None:
    start, end = CBOX.index("2889.0"), CBOX.index("\ndata_cryolo_include")
    assert len(read_picks(put(tmp_path / "mic.cbox", CBOX[:start] + CBOX[end:]))["mic"]) == 0
    tomogram = CBOX.replace("31.5 <NA>", "31.5 10").replace("55.0 <NA>", "55.0 11")
    with pytest.raises(InputError, match="tomogram"):
        read_picks(put(tmp_path / "mic.cbox", tomogram))


def test_topaz_in_the_downsampled_frame(tmp_path: Path) -> None:
    picks = read_picks(put(tmp_path / "picks.txt", TOPAZ), scale=4)
    np.testing.assert_array_equal(picks["mic_a"].xy, [[400, 200]])
    np.testing.assert_array_equal(picks["mic b"].xy, [[28, 32]])
    np.testing.assert_array_equal(picks["mic b"].score, [-1.25])
    training = "image_name x_coord y_coord\nmic 3 4\n"
    held = read_picks(put(tmp_path / "train.txt", training))["mic"]
    assert held.score is None
    np.testing.assert_array_equal(held.xy, [[3, 4]])


def test_csv_by_column_name(tmp_path: Path) -> None:
    held = read_picks(put(tmp_path / "mic.csv", CSV))["mic"]
    np.testing.assert_array_equal(held.xy, [[718, 131], [1714.5, 131]])
    assert held.diameter == 108
    swapped = "diameter,Y-Coordinate,X-Coordinate\n108,131,718\n108,131,1714.5\n"
    np.testing.assert_array_equal(read_picks(put(tmp_path / "mic.csv", swapped))["mic"].xy, held.xy)
    assert len(read_picks(put(tmp_path / "mic.csv", "X-Coordinate,Y-Coordinate\n"))["mic"]) == 0


@pytest.mark.parametrize(
    "text",
    [
        CSV.replace("\n", "\r\n"),
        "\ufeff" + CSV,
        "X-Coordinate;Y-Coordinate;Diameter\n718;131;108\n1714,5;131;108\n",
        "X-Coordinate\tY-Coordinate\n718\t131\n\n1714.5\t131\n",
        '"X-Coordinate","Y-Coordinate"\n"718","131"\n"1714.5","1.31e2"\n',
        ",X-Coordinate,Y-Coordinate\n0,718,131\n1,1714.5,131\n",
    ],
)
def test_csv_of_spreadsheets(tmp_path: Path, text: str) -> None:
    held = read_picks(put(tmp_path / "mic.csv", text))["mic"]
    np.testing.assert_array_equal(held.xy, [[718, 131], [1714.5, 131]])
    (tmp_path / "mic.csv").write_bytes(text.encode("utf-16"))
    np.testing.assert_array_equal(read_picks(tmp_path / "mic.csv")["mic"].xy, held.xy)


@pytest.mark.parametrize(
    "header",
    [
        "micrograph,x,y,score",
        "Micrograph,X,Y,Score",
        "IMAGE_NAME,X_COORD,Y_COORD,SCORE",
        "image_name,x_coord,y_coord,score",
        "micrograph;x;y;score",
        "micrograph\tx\ty\tscore",
        "micrograph x y score",
    ],
)
@pytest.mark.parametrize("fmt", [None, "csv"])
def test_csv_written_by_hand(tmp_path: Path, header: str, fmt: str | None) -> None:
    mark = next(mark for mark in ",;\t " if mark in header)
    lines = ["a.mrc,1.5,2,0.25", "b.mrc,3,4,0.5", "a.mrc,5,6,0.75"]
    text = "\n".join([header, *(line.replace(",", mark) for line in lines)]) + "\n"
    picks = read_picks(put(tmp_path / "mine.csv", text), fmt=fmt)
    assert {key: held.xy.tolist() for key, held in picks.items()} == {
        "a.mrc": [[1.5, 2.0], [5.0, 6.0]],
        "b.mrc": [[3.0, 4.0]],
    }
    assert picks["a.mrc"].score is not None
    assert picks["a.mrc"].score.tolist() == [0.25, 0.75]


def test_csv_written_by_hand_for_one_micrograph(tmp_path: Path) -> None:
    (held,) = read_picks(put(tmp_path / "mic.csv", "y,x\n2,1\n")).items()
    assert (held[0], held[1].xy.tolist(), held[1].score) == ("mic", [[1.0, 2.0]], None)


def test_csv_with_two_columns_of_one_meaning(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"columns 'x-coordinate' and 'x' mean the same"):
        read_picks(put(tmp_path / "mic.csv", "X-Coordinate,Y-Coordinate,x\n1,2,3\n"))


def test_csv_of_several_micrographs(tmp_path: Path) -> None:
    text = "Micrographs Filename,X-Coordinate,Y-Coordinate\nb.mrc,1,2\na.mrc,3,4\nb.mrc,5,6\n"
    picks = read_picks(put(tmp_path / "all.csv", text))
    assert list(picks) == ["b.mrc", "a.mrc"]
    np.testing.assert_array_equal(picks["b.mrc"].xy, [[1, 2], [5, 6]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("718,131,108\n", "'X-Coordinate'"),
        ("X-Coordinate,Y-Coordinate\n718,5,131\n", "line 2 has 3 of the header's 2"),
        ("X-Coordinate,Y-Coordinate\n718,131\n7\n", "line 3 has 1 of the header's 2"),
        ("X-Coordinate,Y-Coordinate\n718,inf\n", "'inf' is not a number"),
        ("X-Coordinate,Y-Coordinate,Y-Coordinate\n1,2,3\n", "duplicate column"),
        ("X-Coordinate,Y-Coordinate,Diameter\n1,2,-3\n", "size -3"),
    ],
)
def test_broken_csv(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"mic\.csv: .*{message}"):
        read_picks(put(tmp_path / "mic.csv", text), fmt="csv")


def test_eman_box(tmp_path: Path) -> None:
    held = read_picks(put(tmp_path / "mic.box", BOX))["mic"]
    np.testing.assert_array_equal(held.xy, [[2979, 121], [429, 145]])
    np.testing.assert_array_equal(held.score, [0.6599, 0.8281])
    assert held.diameter == 180
    eman1 = "10 20 31 31 -3\n-5 0 31 31 -3\n"  # an odd box, and a corner outside the image
    held = read_picks(put(tmp_path / "mic.box", eman1))["mic"]
    np.testing.assert_array_equal(held.xy, [[25.5, 35.5], [10.5, 15.5]])
    assert held.score is None
    assert len(read_picks(put(tmp_path / "mic.box", ""))["mic"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3\n", "line 1 has 3 values"),
        ("1 2 3 3\n1 2 3\n", "line 2 has 3 values"),
        ("1,5 2 3 3\n", "decimal point"),
        ("1 2 0 0\n", "the size of box 1 is 0 x 0 px"),
        ("1 2 9 9 -1\n5 6 9 9 -2\n", "helices"),
    ],
)
def test_broken_box(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"mic\.box: .*{message}"):
        read_picks(put(tmp_path / "mic.box", text))


def test_coco_ignores_the_dummy_but_not_its_image(tmp_path: Path) -> None:
    picks = read_picks(put(tmp_path / "instances.json", json.dumps(COCO)))
    np.testing.assert_array_equal(picks["17/a.jpg"].xy, [[30, 50], [120.5, 30]])
    assert len(picks["17/b.jpg"]) == len(picks["17/c.jpg"]) == 0


def test_json_tells_absent_from_empty(tmp_path: Path) -> None:
    picks = read_picks(put(tmp_path / "c.json", '{"a.jpg": [[1, 2.5]], "b.jpg": []}'))
    np.testing.assert_array_equal(picks["a.jpg"].xy, [[1, 2.5]])
    assert picks["b.jpg"].xy.shape == (0, 2)
    assert list(picks) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "list"),
        ('{"a": [[1, 2]', "not valid JSON"),
        ('{"a": [], "a": [[1, 2]]}', "duplicate key 'a'"),
        ('{"a": [[1]]}', "point 1"),
        ('{"a": [[1, "2"]]}', "'2' is not a number"),
        ('{"a": [[true, 2]]}', "True is not a number"),
        ('{"a": [[NaN, 2]]}', "not a pixel position"),
        ('{"a": [[1' + "0" * 400 + ", 2]]}", "401 digits"),
        ('{"a": ' * 3000 + "1" + "}" * 3000, "not valid JSON|contains"),
        ('{"images": [], "annotations": 3}', "lacks the 'annotations' list"),
    ],
)
def test_broken_json(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"a\.json: .*({message})"):
        read_picks(put(tmp_path / "a.json", text))


CS = np.dtype(
    [
        ("uid", "<u8"),
        ("location/micrograph_path", "S64"),
        ("location/micrograph_shape", "<u4", (2,)),
        ("location/center_x_frac", "<f4"),
        ("location/center_y_frac", "<f4"),
        ("pick_stats/ncc_score", "<f4"),
    ]
)


def write_cs(path: Path, table: np.ndarray) -> Path:
    with path.open("wb") as file:
        np.save(file, table, allow_pickle=True)
    return path


def test_cryosparc_flips_y_itself(tmp_path: Path) -> None:
    table = np.array(
        [
            (1, b"J2/motioncorrected/00123_mic_1.mrc", (3838, 3710), 0.5, 0.25, 0.9),
            (2, b"J2/motioncorrected/00124_mic_2.mrc", (3838, 3710), 1.0, 0.0, 0.8),
        ],
        CS,
    )
    file = write_cs(tmp_path / "picked_particles.cs", table)
    picks = read_picks(file)
    held = picks["J2/motioncorrected/00123_mic_1.mrc"]
    np.testing.assert_array_equal(held.xy, [[1855, 0.75 * 3838]])  # shape is (ny, nx)
    np.testing.assert_allclose(held.score, [0.9], rtol=1e-6)  # type: ignore[arg-type]
    np.testing.assert_array_equal(picks["J2/motioncorrected/00124_mic_2.mrc"].xy, [[3710, 3838]])
    # Fractions fit the images at hand, whatever size cryoSPARC worked on.
    halved = read_picks(file, shapes={"mic_1.mrc": (1919, 1855)})
    np.testing.assert_array_equal(
        halved["J2/motioncorrected/00123_mic_1.mrc"].xy, [[927.5, 0.75 * 1919]]
    )


def test_cryosparc_without_locations_or_with_pickles(tmp_path: Path) -> None:
    bare = np.zeros(2, [("uid", "<u8"), ("ctf/type", "S8")])
    with pytest.raises(InputError, match="has no location/center_x_frac"):
        read_picks(write_cs(tmp_path / "a.cs", bare))
    pixels = np.array([(1, b"a.mrc", (90, 80), 40, 50, 0.5)], CS)
    with pytest.raises(InputError, match="contains values outside 0 to 1"):
        read_picks(write_cs(tmp_path / "pixels.cs", pixels))
    objects = np.array([({"a": 1},)], [("location/micrograph_path", "O")])
    with pytest.raises(InputError, match="not a cryoSPARC table"):
        read_picks(write_cs(tmp_path / "b.cs", objects))
    (tmp_path / "d.cs").write_bytes(b"\x95CSDAT\x90\x01\x00\x00" + b'{"length": 4}')
    with pytest.raises(InputError, match=r"d\.cs: is in cryoSPARC's compressed format\. Save it"):
        read_picks(tmp_path / "d.cs")
    content = write_cs(tmp_path / "c.cs", np.zeros(4, CS)).read_bytes()
    (tmp_path / "c.cs").write_bytes(content[:-7])
    with pytest.raises(InputError, match=r"c\.cs: not a cryoSPARC table"):
        read_picks(tmp_path / "c.cs")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.txt", TOPAZ, "topaz"),
        ("a.txt", BOX, "box"),
        ("a.txt", CSV, "csv"),
        ("a.star", CBOX, "cbox"),
        ("a.star", RELION_3_1, "star"),
        ("a.dat", json.dumps(COCO), "coco"),
        ("a.json", '{"images.jpg": []}', "json"),
        ("a.box", "", "box"),
        ("a.dat", "nothing of the kind", None),
    ],
)
def test_formats_are_recognised_by_content_first(
    tmp_path: Path, name: str, text: str, expected: str | None
) -> None:
    assert detect_format(put(tmp_path / name, text)) == expected


def test_folder_of_one_format(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", CSV)
    put(tmp_path / "b.csv", "X-Coordinate,Y-Coordinate\n")
    put(tmp_path / "a.mrc", "")
    picks = read_picks(tmp_path)
    assert {key: len(held) for key, held in picks.items()} == {"a": 2, "b": 0}
    put(tmp_path / "a.box", BOX)
    with pytest.raises(InputError, match=r"several formats: box \(a\.box\), csv \(a\.csv\)"):
        read_picks(tmp_path)
    assert len(read_picks(tmp_path, fmt="box")["a"]) == 2


def test_paths_and_options_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        read_picks(tmp_path / "absent.star")
    with pytest.raises(InputError, match="no coordinate file"):
        read_picks(tmp_path)
    file = put(tmp_path / "a.box", BOX)
    with pytest.raises(InputError, match="unknown format 'eman'"):
        read_picks(file, fmt="eman")
    with pytest.raises(InputError, match="scale is 0"):
        read_picks(file, scale=0)
    put(tmp_path / "notes.dat", "hello")
    with pytest.raises(InputError, match=r"notes\.dat: not recognised"):
        read_picks(tmp_path / "notes.dat")
