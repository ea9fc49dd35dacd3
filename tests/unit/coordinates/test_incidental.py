"""What labels do not need refuses nothing: scores, ids, columns twice, files beside the picks."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from fewpick.annotation.frame import read_in_frame
from fewpick.coordinates import FORMATS, Picks, read_picks, write_picks
from fewpick.errors import InputError

OPTICS = "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnMicrographPixelSize #2\n1 2.0\n2 4.0\n\n"
MISSING = ["nan", "NaN", "<NA>", "None", "null", "inf", "-inf", "n/a"]


def loop(columns: str, *rows: str, block: str = "particles") -> str:
    names = "".join(f"_rln{name} #{i}\n" for i, name in enumerate(columns.split(), start=1))
    return f"data_{block}\n\nloop_\n{names}" + "".join(f"{row}\n" for row in rows) + "\n"


def read(path: Path, text: str) -> dict[str, Picks]:
    path.write_text(text)
    return read_picks(path)


# ------------------------------------------------------------------------------ no score


def files(word: str) -> dict[str, str]:
    """Two points, the second without a score, in every format that has one."""
    cbox = "".join(f"_{c} #{i}\n" for i, c in enumerate(
        ["CoordinateX", "CoordinateY", "Width", "Height", "Confidence"], start=1
    ))  # fmt: skip
    return {
        "a.star": loop(
            "CoordinateX CoordinateY AutopickFigureOfMerit", "10 20 0.5", f"30 40 {word}"
        ),
        "a.cbox": f"data_global\n\n_cbox_format_version 1.0\n\ndata_cryolo\n\nloop_\n{cbox}"
        f"5 15 10 10 0.5\n25 35 10 10 {word}\n",
        "a.csv": f"X-Coordinate,Y-Coordinate,Score\n10,20,0.5\n30,40,{word}\n",
        "a.txt": f"image_name\tx_coord\ty_coord\tscore\na\t10\t20\t0.5\na\t30\t40\t{word}\n",
        "a.box": f"5 15 10 10 0.5\n25 35 10 10 {word}\n",
    }


@pytest.mark.parametrize("word", MISSING)
@pytest.mark.parametrize("name", files(""))
def test_a_point_without_a_score(tmp_path: Path, name: str, word: str) -> None:
    held = read(tmp_path / name, files(word)[name])["a"]
    np.testing.assert_array_equal(held.xy, [[10, 20], [30, 40]])
    assert held.score is not None
    np.testing.assert_array_equal(held.score, [0.5, np.nan])


@pytest.mark.parametrize(("name", "word"), [("a.csv", ""), ("a.txt", ""), ("a.star", "-999"),
                                            ("a.star", "-999.00000"), ("a.box", "-3")])  # fmt: skip
def test_the_marks_of_the_programs(tmp_path: Path, name: str, word: str) -> None:
    np.testing.assert_array_equal(
        read(tmp_path / name, files(word)[name])["a"].score, [0.5, np.nan]
    )


def test_cryosparc_scores(tmp_path: Path) -> None:
    table = np.zeros(
        2,
        [
            ("location/micrograph_path", "S8"),
            ("location/micrograph_shape", "<u4", (2,)),
            ("location/center_x_frac", "<f4"),
            ("location/center_y_frac", "<f4"),
            ("pick_stats/ncc_score", "<f4"),
        ],
    )
    table["location/micrograph_path"] = b"a.mrc"
    table["location/micrograph_shape"] = 100
    table["location/center_x_frac"] = 0.5
    table["pick_stats/ncc_score"] = [0.5, np.nan]
    np.save(tmp_path / "a.npy", table)
    (tmp_path / "a.npy").rename(tmp_path / "a.cs")
    np.testing.assert_array_equal(read_picks(tmp_path / "a.cs")["a.mrc"].score, [0.5, np.nan])


@pytest.mark.parametrize("fmt", ["star", "cbox", "csv", "topaz", "box"])
def test_missing_scores_survive_writing(tmp_path: Path, fmt: str) -> None:
    held = {"a": Picks(np.array([[10.0, 20], [30, 40]]), np.array([0.5, np.nan]), 10.0)}
    path = tmp_path / f"a{FORMATS[fmt].suffixes[0]}"
    write_picks(path, held, fmt=fmt)
    found = read_picks(path, fmt=fmt)["a"]
    np.testing.assert_array_equal(found.score, [0.5, np.nan])
    np.testing.assert_array_equal(found.xy, held["a"].xy)
    assert "nan" not in path.read_text().casefold()


def test_a_diameter_that_some_rows_lack(tmp_path: Path) -> None:
    text = "X-Coordinate,Y-Coordinate,Diameter\n10,20,\n30,40,12\n50,60,0\n70,80,nan\n"
    assert read(tmp_path / "a.csv", text)["a"].diameter == 12


# ---------------------------------------------------------------------------------- STAR


def test_a_table_of_one_row_as_names_and_values(tmp_path: Path) -> None:
    text = (
        "data_optics\n\n_rlnOpticsGroup 1\n_rlnMicrographPixelSize 4.0\n\n"
        "data_particles\n\n_rlnCoordinateX 100.5\n_rlnCoordinateY 060.25\n"
        "_rlnMicrographName m/0012.mrc\n_rlnOpticsGroup 1\n_rlnAutopickFigureOfMerit -999\n"
    )
    (held,) = read(tmp_path / "a.star", text).values()
    assert list(read_picks(tmp_path / "a.star")) == ["m/0012.mrc"]
    assert (held.xy.tolist(), held.score, held.pixel_size) == ([[100.5, 60.25]], None, 4.0)
    bare = "data_\n\n_rlnMicrographName 0012\n_rlnCoordinateX 1\n_rlnCoordinateY 2\n"
    assert list(read(tmp_path / "b.star", bare)) == ["0012"]


def test_a_column_twice_matters_if_it_says_two_things(tmp_path: Path) -> None:
    columns = "CoordinateX CoordinateY OpticsGroup OpticsGroup ClassNumber ClassNumber"
    assert read(tmp_path / "a.star", loop(columns, "1 2 1 1 3 3"))["a"].xy.tolist() == [[1, 2]]
    with pytest.raises(InputError, match="two columns _rlnCoordinateX with different values"):
        read(tmp_path / "a.star", loop("CoordinateX CoordinateY CoordinateX", "1 2 3"))


def test_pixel_sizes_that_are_missing_refuse_nothing(tmp_path: Path) -> None:
    text = OPTICS.replace("4.0", "None")
    rows = loop("CoordinateX CoordinateY MicrographName OpticsGroup", "1 2 a 1", "3 4 b 2")
    found = read(tmp_path / "a.star", text + rows)
    assert {name: held.pixel_size for name, held in found.items()} == {"a": 2.0, "b": None}


COLUMNS = "CoordinateX CoordinateY MicrographName OpticsGroup "


@pytest.mark.parametrize(
    ("optics", "columns", "origin", "moved"),
    [
        (OPTICS, "OriginXAngst OriginYAngst", "3 -1", {"a": (1.5, -0.5), "b": (0.75, -0.25)}),
        (
            OPTICS.replace("Size #2\n", "Size #2\n_rlnImagePixelSize #3\n")
            .replace("1 2.0", "1 2.0 4.0")
            .replace("2 4.0", "2 4.0 4.0"),
            "OriginX OriginY",
            "3 -1",
            {"a": (6, -2), "b": (3, -1)},
        ),
    ],
)
def test_refined_origins_are_applied_and_said(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    optics: str,
    columns: str,
    origin: str,
    moved: dict[str, tuple[float, float]],
) -> None:
    rows = [f"100 200 {name} {group} {origin}" for name, group in (("a", 1), ("b", 2))]
    found = read(tmp_path / "a.star", optics + loop(COLUMNS + columns, *rows))
    for name, (x, y) in moved.items():
        assert found[name].xy.tolist() == [[100 - x, 200 - y]]
    assert "refined origins (_rlnOriginX" in caplog.text
    assert "are applied; they move centres by" in caplog.text


@pytest.mark.parametrize("columns", ["OriginXAngst OriginYAngst", "OriginX OriginY"])
def test_origins_without_a_pixel_size_are_said_not_to_be_applied(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, columns: str
) -> None:
    text = loop(f"CoordinateX CoordinateY MicrographName {columns}", "100 200 a 3 -1")
    assert read(tmp_path / "a.star", text)["a"].xy.tolist() == [[100, 200]]
    assert "are not applied" in caplog.text
    caplog.clear()
    read(tmp_path / "a.star", text.replace("3 -1", "0 0"))
    assert not caplog.records


def test_origins_may_move_a_point_over_the_edge(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = ["2 50 a 1 8 0", "50 50 a 1 0 0"]
    text = OPTICS + loop(COLUMNS + "OriginXAngst OriginYAngst", *rows)
    (tmp_path / "a.star").write_text(text)
    assert read_in_frame(tmp_path / "a.star", {"a": (99, 99)})["a"].xy.tolist() == [[50, 50]]
    assert "1 points that refined origins move outside the image" in caplog.text
    (tmp_path / "a.star").write_text(text.replace("50 50 a", "150 50 a"))
    with pytest.raises(InputError, match="lie outside the image"):
        read_in_frame(tmp_path / "a.star", {"a": (99, 99)})


def test_cryosparc_shifts_are_said_not_to_be_applied(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = np.zeros(
        1,
        [
            ("location/micrograph_path", "S8"),
            ("location/micrograph_shape", "<u4", (2,)),
            ("location/center_x_frac", "<f4"),
            ("location/center_y_frac", "<f4"),
            ("alignments2D/shift", "<f4", (2,)),
        ],
    )
    table["location/micrograph_path"], table["location/micrograph_shape"] = b"a.mrc", 100
    for shift, said in ((0.0, False), (2.5, True)):
        table["alignments2D/shift"] = shift
        with (tmp_path / "a.cs").open("wb") as file:
            np.save(file, table)
        caplog.clear()
        read_picks(tmp_path / "a.cs")
        assert ("refined shifts (alignments2D/shift) are not applied" in caplog.text) == said


# ------------------------------------------------------------------------------ tomograms


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.star", loop("CoordinateX CoordinateY CoordinateZ", "10 20 5", "10 20 90")),
        ("a.star", loop("MicrographName CoordinateX CoordinateY CoordinateZ",
                        "m 10 20 5", "m 10 20 90")),
        ("a.star", loop("TomoName CoordinateX CoordinateY", "t 10 20")),
        ("a.star", loop("TomoName CenteredCoordinateXAngst", "t 10")),
        ("a.txt", "image_name\tx_coord\ty_coord\tz_coord\nm\t1\t2\t5\nm\t1\t2\t90\n"),
        ("a.csv", "X-Coordinate,Y-Coordinate,Z-Coordinate\n1,2,5\n1,2,90\n"),
        ("a.csv", "micrograph,x,y,z\nm,1,2,5\nm,1,2,90\n"),
        ("a.json", json.dumps({"m": [[1, 2, 5], [1, 2, 90]]})),
        ("a.box", "1 2 3 8 8 8\n1 2 9 8 8 8\n"),
    ],
)  # fmt: skip
def test_picks_of_tomograms_are_refused(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(InputError, match=name):
        read(tmp_path / name, text)


def test_one_slice_is_a_micrograph(tmp_path: Path) -> None:
    text = "image_name\tx_coord\ty_coord\tz_coord\nm\t1\t2\t0\nm\t3\t4\t0\nn\t1\t2\t1\n"
    assert list(map(len, read(tmp_path / "a.txt", text).values())) == [2, 1]


# ---------------------------------------------------------------------------- job folders


def put(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


XY = loop("CoordinateX CoordinateY", "10 20", "30 40", block="")
BESIDE = {
    "note.txt": " ++++ Executing new job\n",
    "job.star": "data_job\n\n_rlnJobTypeLabel relion.autopick.log\n",
    "job_pipeline.star": "data_pipeline_general\n\n_rlnPipeLineJobCounter 13\n",
    "summary.star": loop("MicrographName GroupNrParticles", "Movies/m.mrc 2", block="summary"),
    "run.out": "x",
    "run.job": "x",
    "RELION_JOB_EXIT_SUCCESS": "",
    "micrographs.star": loop("MicrographName", "Movies/m.mrc", block="micrographs"),
}


@pytest.mark.parametrize("fmt", [None, "star"])
@pytest.mark.parametrize(
    "picks",
    [
        # RELION 4 and 5, automatic and by hand; 3; a job of which only the picks were copied.
        {
            "autopick.star": loop(
                "MicrographName MicrographCoordinates", "Movies/m.mrc Movies/m_autopick.star",
                block="coordinate_files",
            ),
            "Movies/m_autopick.star": XY,
        },
        {
            "manualpick.star": loop(
                "MicrographName MicrographCoordinates", "Movies/m.mrc Movies/m_manualpick.star",
                block="coordinate_files",
            ),
            "Movies/m_manualpick.star": XY,
        },
        {"coords_suffix_autopick.star": "CtfFind/job3/micrographs_ctf.star\n",
         "Movies/m_autopick.star": XY},
        {"Movies/grid/m_autopick.star": XY},
        # Extract: the table counts, not what it was made from.
        {"particles.star": loop("MicrographName CoordinateX CoordinateY",
                                "Movies/m.mrc 10 20", "Movies/m.mrc 30 40"),
         "Movies/m_extract.star": XY},
        # Class2D: the last iteration.
        {"run_it000_data.star": loop("MicrographName CoordinateX CoordinateY", "Movies/m.mrc 1 1"),
         "run_it025_data.star": loop("MicrographName CoordinateX CoordinateY",
                                     "Movies/m.mrc 10 20", "Movies/m.mrc 30 40"),
         "run_it025_model.star": "data_model_general\n\n_rlnNrClasses 5\n"},
    ],
    ids=["autopick", "manualpick", "relion3", "copied", "extract", "class2d"],
)  # fmt: skip
def test_the_folder_of_a_relion_job(tmp_path: Path, picks: dict[str, str], fmt: str | None) -> None:
    for name, text in (BESIDE | picks).items():
        put(tmp_path / "J/job1", name, text)
    held = read_in_frame(tmp_path / "J/job1", {"m.mrc": (99, 99)}, fmt=fmt)
    assert held["m.mrc"].xy.tolist() == [[10, 20], [30, 40]]


def test_the_suffix_file_of_relion_3_stands_for_the_files(tmp_path: Path) -> None:
    put(tmp_path, "coords_suffix_autopick.star", "CtfFind/job3/micrographs_ctf.star\n")
    with pytest.raises(InputError, match=r"refers to files \*_autopick\.star below"):
        read_picks(tmp_path / "coords_suffix_autopick.star")
    put(tmp_path, "Movies/m_autopick.star", XY)
    (held,) = read_picks(tmp_path / "coords_suffix_autopick.star").values()
    assert len(held) == 2


@pytest.mark.parametrize(("suffix", "text"), [("box", "5 15 10 10\n"), ("star", XY), (
    "txt", "image_name\tx_coord\ty_coord\nh0\t10\t20\n"), ("csv", "x,y\n10,20\n")])  # fmt: skip
def test_folders_of_a_tree_tell_names_apart(tmp_path: Path, suffix: str, text: str) -> None:
    for grid in ("Grid1", "Grid2"):
        put(tmp_path, f"picks/{grid}/h0.{suffix}", text)
    paths = {"h0.mrc": tmp_path / "data/Grid1/h0.mrc"}
    held = read_in_frame(tmp_path / "picks", {"h0.mrc": (99, 99)}, paths=paths)
    assert held["h0.mrc"].xy[0].tolist() == [10, 20]


def test_two_folders_in_one_star_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [f"{x} 20 Grid{grid}/h{i}.mrc" for grid, x in ((1, 10), (2, 70)) for i in (0, 1)]
    put(tmp_path, "a.star", loop("CoordinateX CoordinateY MicrographName", *rows))
    paths = {f"h{i}.mrc": tmp_path / f"Grid1/h{i}.mrc" for i in (0, 1)}
    shapes = dict.fromkeys(paths, (99, 99))
    with caplog.at_level(logging.WARNING):
        held = read_in_frame(tmp_path / "a.star", shapes, paths=paths)
    assert {name: picks.xy.tolist() for name, picks in held.items()} == {
        name: [[10, 20]] for name in paths
    }
    assert "2 of 4 coordinates are left out" in caplog.text
    assert "'Grid2/h0.mrc' is in a different folder from" in caplog.text
