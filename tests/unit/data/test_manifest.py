"""The join of micrographs and coordinates: frames, and what is said when they do not fit."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fewpick.coordinates import Picks, write_picks
from fewpick.data.manifest import build_manifest
from fewpick.errors import InputError
from fewpick.micrographs import list_micrographs, read_headers

NY, NX = 90, 130


@pytest.fixture
def micrographs(tmp_path: Path) -> list[Path]:
    """Three MRC files of noise with a pixel size, a.mrc to c.mrc."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "micrographs"
    folder.mkdir()
    for name in "abc":
        with mrcfile.new(folder / f"{name}.mrc") as mrc:
            mrc.set_data(rng.normal(size=(NY, NX)).astype(np.float32))
            mrc.voxel_size = 1.5
    return list_micrographs(folder)


def build(
    micrographs: list[Path], content: dict[str, Any], **spec: Any
) -> tuple[pd.DataFrame, pd.DataFrame]:
    file = micrographs[0].parents[1] / "coordinates.json"
    file.write_text(json.dumps(content))
    return build_manifest(
        {"coordinates": str(file), "particle_radius": 6, **spec}, read_headers(micrographs)
    )


def points(coordinates: pd.DataFrame, micrograph: str) -> list[list[float]]:
    rows = coordinates[coordinates["micrograph"] == micrograph]
    return rows[["x", "y"]].to_numpy().tolist()


def test_columns_and_the_three_kinds_of_micrograph(micrographs: list[Path]) -> None:
    manifest, coordinates = build(micrographs, {"a.mrc": [[1, 2], [30.5, 40]], "b.mrc": []})
    assert manifest.columns.to_list() == [
        "micrograph", "path", "ny", "nx", "pixel_size", "annotated", "n_particles", "orientation",
        "own_orientation", "left_out",
    ]  # fmt: skip
    assert manifest["micrograph"].to_list() == ["a.mrc", "b.mrc", "c.mrc"]
    assert manifest["path"].to_list() == [str(path) for path in micrographs]
    assert manifest["ny"].eq(NY).all()
    assert manifest["nx"].eq(NX).all()
    assert manifest["pixel_size"].eq(1.5).all()
    assert manifest["annotated"].to_list() == [True, True, False]
    assert manifest["n_particles"].to_list() == [2, 0, 0]
    assert manifest["orientation"].to_list() == ["unclear"] * 3
    assert coordinates.columns.to_list() == ["micrograph", "x", "y"]
    assert points(coordinates, "a.mrc") == [[1, 2], [30.5, 40]]
    assert len(coordinates) == 2


def test_no_coordinates_means_no_labels(micrographs: list[Path]) -> None:
    manifest, coordinates = build_manifest(
        {"coordinates": None, "particle_radius": 6}, read_headers(micrographs)
    )
    assert not manifest["annotated"].any()
    assert coordinates.empty
    assert coordinates.columns.to_list() == ["micrograph", "x", "y"]


def test_points_of_what_is_left_out_go_to_no_other(micrographs: list[Path]) -> None:
    """Without it, 7_a could only mean a."""
    file = micrographs[0].parents[1] / "coordinates.json"
    file.write_text(json.dumps({"7_a": [[1, 2]], "b": [[3, 4]]}))
    spec = {"coordinates": str(file), "particle_radius": 6}
    _, coordinates = build_manifest(spec, read_headers(micrographs))
    assert coordinates["micrograph"].to_list() == ["a.mrc", "b.mrc"]
    manifest, coordinates = build_manifest(
        spec, read_headers(micrographs), {Path("7_a.mrc"): "broken"}
    )
    assert coordinates["micrograph"].to_list() == ["b.mrc"]
    assert manifest["left_out"].eq(1).all()


def test_the_configured_pixel_size_wins(micrographs: list[Path]) -> None:
    manifest, _ = build(micrographs, {"a.mrc": []}, pixel_size=0.9)
    assert manifest["pixel_size"].eq(0.9).all()


def test_pictures_have_no_pixel_size(tmp_path: Path) -> None:
    pixels = np.arange(NY * NX, dtype=np.uint16).reshape(NY, NX)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    manifest, _ = build_manifest({"particle_radius": 6}, read_headers([tmp_path / "a.png"]))
    assert manifest["pixel_size"].isna().all()


# The table of frames: format, coordinates as the program writes them for a particle whose centre
# is array[30, 12], y_axis. One row of difference must fail.
FRAMES = [
    ("star", (12, 30), "down"),
    ("topaz", (12, 30), "down"),
    ("box", (12, 30), "down"),
    ("cbox", (12, 30), "down"),
    ("json", (12, 30), "down"),
    ("csv", (12, NY - 30), "up"),
    ("star", (12, NY - 30), "up"),
]


@pytest.mark.parametrize(("fmt", "stored", "y_axis"), FRAMES)
def test_frames(
    micrographs: list[Path], tmp_path: Path, fmt: str, stored: tuple[int, int], y_axis: str
) -> None:
    single = {"topaz": "picks.txt", "json": "picks.json"}
    path = tmp_path / single.get(fmt, "picks")
    write_picks(path, {"a.mrc": Picks(np.array([stored], float), None, 10.0)}, fmt=fmt)
    spec = {"coordinates": path, "y_axis": y_axis, "particle_radius": 6}
    _, coordinates = build_manifest(spec, read_headers(micrographs))
    assert points(coordinates, "a.mrc") == [[12, 30]]


def test_frame_of_cryosparc(micrographs: list[Path], tmp_path: Path) -> None:
    table = np.array(
        [(b"J1/77_a.mrc", 12 / NX, 1 - 30 / NY)],
        [
            ("location/micrograph_path", "S20"),
            ("location/center_x_frac", "<f8"),
            ("location/center_y_frac", "<f8"),
        ],
    )
    with (tmp_path / "picked.cs").open("wb") as file:
        np.save(file, table)
    spec = {"coordinates": tmp_path / "picked.cs", "y_axis": "down", "particle_radius": 6}
    _, coordinates = build_manifest(spec, read_headers(micrographs))
    np.testing.assert_allclose(points(coordinates, "a.mrc"), [[12, 30]], atol=1e-9)


@given(x=st.floats(0, NX - 1), y=st.floats(1, NY))
@settings(max_examples=20, deadline=None)
def test_flipping_twice_is_nothing(
    tmp_path_factory: pytest.TempPathFactory, x: float, y: float
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    Image.fromarray(np.arange(NY * NX, dtype=np.uint16).reshape(NY, NX)).save(folder / "a.png")
    spec = {"coordinates": folder / "c.json", "y_axis": "up", "particle_radius": 6}
    for _ in range(2):
        (folder / "c.json").write_text(json.dumps({"a": [[x, y]]}))
        _, coordinates = build_manifest(spec, read_headers([folder / "a.png"]))
        ((_, y),) = points(coordinates, "a.png")
    np.testing.assert_allclose(points(coordinates, "a.png"), [[x, y]], atol=1e-9)


def test_scale_of_downsampled_picks(micrographs: list[Path]) -> None:
    _, coordinates = build(micrographs, {"a": [[3, 10]]}, scale=4, y_axis="up")
    assert points(coordinates, "a.mrc") == [[12, NY - 40]]


@pytest.mark.parametrize("y_axis", ["down", "up"])
def test_one_pixel_beyond_the_edge_is_rounding(micrographs: list[Path], y_axis: str) -> None:
    corners = [[0, 0], [NX, NY], [-1, 5], [5, NY]]
    _, coordinates = build(micrographs, {"a.mrc": corners}, y_axis=y_axis)
    xy = np.array(points(coordinates, "a.mrc"))
    assert (xy >= 0).all()
    assert (xy <= [NX - 1, NY - 1]).all()


@pytest.mark.parametrize(
    "point", [[NX + 0.5, 5], [5, NY + 0.5], [-1.5, 5], [5, -1.5], [5 * NX, 5 * NY]]
)
def test_points_outside_the_image_are_refused(micrographs: list[Path], point: list[float]) -> None:
    message = rf"json: b\.mrc: 1 of 2 points lie outside .* 130 x 90 px, .* x={point[0]:g}, y="
    with pytest.raises(InputError, match=message):
        build(micrographs, {"a.mrc": [[1, 1]], "b.mrc": [[2, 2], point]})


def test_points_given_twice_are_used_once_and_counted(
    micrographs: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    manifest, coordinates = build(micrographs, {"a.mrc": [[9, 9], [3, 4], [9, 9], [9.0, 9]]})
    assert points(coordinates, "a.mrc") == [[9, 9], [3, 4]]
    assert manifest["n_particles"][0] == 2
    assert "a.mrc: 2 duplicate points" in caplog.text


def test_names_that_match_nothing_are_counted(
    micrographs: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        build(micrographs, {"job1/a.mrc": [[1, 1]], "z.mrc": [[1, 1], [2, 2]]})
    assert "2 of 3 coordinates are left out: 1 of 3 micrographs matched" in caplog.text
    assert "has no coordinates for 2 micrographs" in caplog.text
    with pytest.raises(InputError, match=r"coordinates\.json: .*0 of 3 micrographs matched"):
        build(micrographs, {"z.mrc": [[1, 1]]})
    with pytest.raises(InputError, match="names no micrograph"):
        build(micrographs, {})


def test_y_axis_is_checked(micrographs: list[Path]) -> None:
    with pytest.raises(InputError, match="y_axis: 'left'"):
        build(micrographs, {"a.mrc": [[1, 1]]}, y_axis="left")


@pytest.mark.parametrize(
    ("name", "radius"), [("empiar10017", 54), ("empiar10146", 38), ("empiar10059", 18)]
)
def test_real_sets_are_right_as_declared_and_caught_when_flipped(
    shared_data: Path, name: str, radius: float
) -> None:
    micrographs = list_micrographs(shared_data / name / "micrographs")
    spec = {
        "coordinates": shared_data / name / "coordinates",
        "particle_radius": radius,
        "y_axis": "down",
    }
    manifest, coordinates = build_manifest(spec, read_headers(micrographs))
    assert manifest["orientation"].eq("ok").all()
    assert manifest["annotated"].all()
    assert manifest["n_particles"].sum() == len(coordinates)
    with pytest.raises(InputError, match="Set y_axis: down"):
        build_manifest(spec | {"y_axis": "up"}, read_headers(micrographs))


@pytest.mark.parametrize(
    ("name", "scores", "said"),
    [
        ("picks.txt", [2.5, -0.5, -5.75], "2 of 3 points have scores below 0, down to -5.75"),
        ("picks.txt", [2.5, 0.5, 0.25], None),
        ("boxes", [0.9, 0.5, 0.125], "1 of 3 points have scores below 0.3, down to 0.125"),
        ("boxes", [0.9, 0.5, 0.375], None),
        ("picks.star", [2.5, np.nan, 0.1], None),  # one added by hand
    ],
)
def test_a_list_of_candidates_is_not_taken_for_labels_in_silence(
    micrographs: list[Path],
    caplog: pytest.LogCaptureFixture,
    name: str,
    scores: list[float],
    said: str | None,
) -> None:
    source = micrographs[0].parents[1] / name
    xy = np.array([[20.0, 20], [60, 30], [90, 60]])
    picks = {"a.mrc": Picks(xy, np.array(scores))}
    fmt = "cbox" if name == "boxes" else None
    write_picks(source, picks, fmt=fmt, box_size=12 if fmt else None)
    spec = {"coordinates": str(source), "particle_radius": 6}
    build_manifest(spec, read_headers(micrographs))
    found = [line for line in caplog.messages if "seems to be a list of candidates" in line]
    assert len(found) == (said is not None)
    assert said is None or said in found[0]
