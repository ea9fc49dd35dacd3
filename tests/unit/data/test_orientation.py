"""The frame check: sees every flip, transposition and shift, and never accuses without evidence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import signal

from fewpick.data.manifest import build_manifest
from fewpick.data.orientation import FRAMES, measure_orientation
from fewpick.errors import InputError
from fewpick.micrographs import read_headers

NY, NX, RADIUS = 360, 480, 12.0
Set = dict[Path, np.ndarray]


def simulate(
    folder: Path,
    rng: np.random.Generator,
    *,
    kind: str = "dark",
    n_micrographs: int = 3,
    n_particles: int = 60,
    noise: float = 2.0,
) -> Set:
    """Write noisy micrographs with particles, carbon and hot pixels; return true centres."""
    points: Set = {}
    for index in range(n_micrographs):
        path = folder / f"{kind}_{index}.tif"
        xy = rng.uniform([RADIUS, RADIUS], [NX - RADIUS, NY - RADIUS], (n_particles, 2))
        dots = np.zeros((NY, NX))
        np.add.at(dots, tuple(np.rint(xy[:, ::-1]).astype(int).T), 1)
        grid = np.hypot(*np.mgrid[-16:17, -16:17])
        disc = grid <= RADIUS
        shape = {"dark": -1.0 * disc, "bright": 1.0 * disc, "ring": 1.0 * disc * (grid > 8)}[kind]
        image = signal.fftconvolve(dots, shape, mode="same")
        image += noise * rng.normal(size=image.shape)
        image[:, : NX // 5] += 5  # carbon
        image += np.linspace(0, 4, NY)[:, None]  # ice gets thicker
        image[rng.integers(0, NY, 5), rng.integers(0, NX, 5)] = 1000
        tifffile.imwrite(path, image.astype(np.float32))
        points[path] = xy
    return points


# Where the program that stored a point in a frame had it, for the true centre (x, y).
STORED: dict[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "ok": lambda x, y: (x, y),
    "flip_y": lambda x, y: (x, NY - 1 - y),
    "flip_x": lambda x, y: (NX - 1 - x, y),
    "rotate_180": lambda x, y: (NX - 1 - x, NY - 1 - y),
    "transpose": lambda x, y: (y, x),
    "transpose_flip_y": lambda x, y: (NY - 1 - y, x),
    "transpose_flip_x": lambda x, y: (y, NX - 1 - x),
    "transpose_rotate_180": lambda x, y: (NY - 1 - y, NX - 1 - x),
}


def stored_as(frame: str, points: Set) -> Set:
    return {path: np.column_stack(STORED[frame](xy[:, 0], xy[:, 1])) for path, xy in points.items()}


@pytest.mark.parametrize("kind", ["dark", "bright", "ring"])
@pytest.mark.parametrize("frame", FRAMES)
def test_every_frame_is_recognised(tmp_path: Path, kind: str, frame: str) -> None:
    points = simulate(tmp_path, np.random.default_rng(1), kind=kind)
    found = measure_orientation(stored_as(frame, points), RADIUS)
    assert found.verdict == ("ok" if frame == "ok" else f"{frame} suspected")
    assert found.n_micrographs == 3
    assert found.n_particles == 180


def test_sparse_and_crowded_sets(tmp_path: Path) -> None:
    for n_particles, n_micrographs in ((8, 8), (250, 1)):
        rng = np.random.default_rng(2)
        points = simulate(
            tmp_path, rng, n_particles=n_particles, n_micrographs=n_micrographs, noise=1.0
        )
        assert measure_orientation(points, RADIUS).verdict == "ok"


@pytest.mark.parametrize("factor", [0.5, 0.7, 1.5, 2.0])
def test_a_rough_radius_will_do(tmp_path: Path, factor: float) -> None:
    points = simulate(tmp_path, np.random.default_rng(3))
    assert measure_orientation(points, RADIUS * factor).verdict == "ok"


@pytest.mark.parametrize("shift", [(25, 0), (-18, 30)])
def test_a_shift_is_measured(tmp_path: Path, shift: tuple[int, int]) -> None:
    points = simulate(tmp_path, np.random.default_rng(4))
    moved = {path: xy - shift for path, xy in points.items()}
    verdict = measure_orientation(moved, RADIUS).verdict
    assert verdict.startswith("shift by x ")
    x, y = (int(word.strip(",")) for word in verdict.split() if word[0] in "+-")
    np.testing.assert_allclose((x, y), shift, atol=4)


def test_clicks_a_little_off_are_ok(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    points = simulate(tmp_path, rng)
    clicked = {path: xy + rng.normal(0, RADIUS / 4, xy.shape) for path, xy in points.items()}
    assert measure_orientation(clicked, RADIUS).verdict == "ok"


def test_random_points_are_never_an_accusation(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    images = simulate(tmp_path, rng)
    for n_particles in (4, 10, 40, 300):
        for _ in range(6):
            points = {path: rng.uniform(0, [NX, NY], (n_particles, 2)) for path in images}
            assert measure_orientation(points, RADIUS).verdict == "unclear"


def test_points_that_fill_only_the_ice_are_never_an_accusation(tmp_path: Path) -> None:
    """Labels avoid carbon, so flipped ones fall on it: an edge, but no particle."""
    rng = np.random.default_rng(7)
    images = simulate(tmp_path, rng, noise=20.0)
    for _ in range(8):
        points = {path: rng.uniform([NX // 5, 0], [NX, NY], (60, 2)) for path in images}
        assert measure_orientation(points, RADIUS).verdict == "unclear"


def test_symmetric_particles_keep_the_declared_frame(tmp_path: Path) -> None:
    points = simulate(tmp_path, np.random.default_rng(8), n_micrographs=1, noise=0.5)
    ((path, xy),) = points.items()
    both = np.concatenate([xy, np.column_stack([xy[:, 0], NY - 1 - xy[:, 1]])])
    image = tifffile.imread(path)
    tifffile.imwrite(path, image + image[::-1])
    assert measure_orientation({path: both}, RADIUS).verdict == "ok"


def test_few_or_no_particles_are_unclear(tmp_path: Path) -> None:
    points = simulate(tmp_path, np.random.default_rng(9), n_micrographs=1, n_particles=9, noise=0.1)
    for held in (points, {}, {path: np.empty((0, 2)) for path in points}):
        assert measure_orientation(held, RADIUS).verdict == "unclear"


def test_at_most_eight_micrographs_are_read(tmp_path: Path) -> None:
    points = simulate(tmp_path, np.random.default_rng(10), n_micrographs=10, n_particles=10)
    assert measure_orientation(points, RADIUS).n_micrographs == 8


@pytest.mark.parametrize(("declared", "right"), [("down", "up"), ("up", "down")])
def test_the_wrong_y_axis_is_refused_with_the_right_one(
    tmp_path: Path, declared: str, right: str
) -> None:
    points = simulate(tmp_path, np.random.default_rng(11))
    stored = {
        path.name: (xy if right == "down" else [0, NY] + xy * [1, -1]).tolist()
        for path, xy in points.items()
    }
    (tmp_path / "c.json").write_text(json.dumps(stored))
    spec = {"coordinates": tmp_path / "c.json", "particle_radius": RADIUS}
    with pytest.raises(InputError, match=rf"c\.json: y_axis: {declared} .* Set y_axis: {right}\."):
        build_manifest(spec | {"y_axis": declared}, read_headers(sorted(points)))
    manifest, _ = build_manifest(spec | {"y_axis": right}, read_headers(sorted(points)))
    assert manifest["orientation"].eq("ok").all()


def test_other_suspicions_are_warnings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    points = simulate(tmp_path, np.random.default_rng(12))
    stored = {path.name: xy.tolist() for path, xy in stored_as("flip_x", points).items()}
    (tmp_path / "c.json").write_text(json.dumps(stored))
    spec = {"coordinates": tmp_path / "c.json", "particle_radius": RADIUS}
    manifest, _ = build_manifest(spec, read_headers(sorted(points)))
    assert manifest["orientation"].eq("flip_x suspected").all()
    assert "flip_x suspected" in caplog.text


def test_real_sets_in_every_frame(shared_data: Path) -> None:
    from fewpick.coordinates import read_picks

    folder = shared_data / "empiar10059"
    for name, held in list(read_picks(folder / "coordinates.json").items())[:2]:
        path = folder / "micrographs" / name
        for frame in ("ok", "flip_y", "flip_x", "rotate_180", "transpose"):  # their own inverses
            xy = np.column_stack(FRAMES[frame](held.xy[:, 0], held.xy[:, 1], 1024, 1024))
            found = measure_orientation({path: xy}, 18)
            assert found.verdict == ("ok" if frame == "ok" else f"{frame} suspected")
            assert sorted(found.evidence.values())[-2] < 2
