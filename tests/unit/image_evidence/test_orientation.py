"""The frame check: sees every flip, transposition and shift, and never accuses without evidence."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import fft, signal

from fewpick.data.manifest import build_manifest
from fewpick.errors import InputError
from fewpick.image_evidence import orientation
from fewpick.image_evidence.orientation import FRAMES, measure_orientation
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


def test_so_many_micrographs_are_read_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = simulate(tmp_path, np.random.default_rng(10), n_micrographs=10, n_particles=10)
    assert measure_orientation(points, RADIUS).n_micrographs == 10
    monkeypatch.setattr(orientation, "SAMPLED", 8)
    assert measure_orientation(points, RADIUS).n_micrographs == 8


# --------------------------------------------------------- one micrograph among the others

MOVED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **{
        frame: partial(lambda place, xy: np.column_stack(place(xy[:, 0], xy[:, 1])), place)
        for frame, place in STORED.items()
        if frame != "ok"
    },
    "scale by 2": lambda xy: xy / 2,
    "scale by 0.5": lambda xy: xy * 2,
    "scale by 1.4": lambda xy: xy / 1.4,
    "shift": lambda xy: xy - 14,
}


@pytest.mark.parametrize(("kind", "many"), [("dark", 1), ("ring", 3)])
@pytest.mark.parametrize("what", MOVED)
def test_micrographs_in_another_frame_are_named(
    tmp_path: Path, what: str, many: int, kind: str
) -> None:
    points = simulate(
        tmp_path, np.random.default_rng(20), kind=kind, n_micrographs=6, n_particles=40, noise=1.5
    )
    wrong = sorted(points)[:many]
    for path in wrong:
        points[path] = MOVED[what](points[path])
    found = measure_orientation(points, RADIUS)
    name = what.split(" by ")[0]
    assert found.verdict == f"{name} suspected in {many} of 6 micrographs"
    assert [path for path, judged in found.each.items() if judged.kind == name] == wrong
    assert {judged.kind for path, judged in found.each.items() if path not in wrong} == {"ok"}
    if "scale" in what:
        factors = [float(found.each[path].verdict.split()[-1]) for path in wrong]
        np.testing.assert_allclose(factors, float(what.split()[-1]), rtol=0.02)
    (line,) = found.warnings()
    assert line.startswith(f"{wrong[0]}: the points fit a different frame from those of other")
    assert all(path.name in line for path in wrong)


def test_the_majority_upside_down_is_not_ok_either(tmp_path: Path) -> None:
    points = simulate(tmp_path, np.random.default_rng(21), n_micrographs=8, n_particles=30)
    flipped = stored_as("flip_y", points)
    for many in (0, 1, 5, 7, 8):
        mixed = points | {path: flipped[path] for path in sorted(points)[:many]}
        found = measure_orientation(mixed, RADIUS)
        kinds = [judged.kind for judged in found.each.values()]
        assert kinds == ["flip_y"] * many + ["ok"] * (8 - many)
        if many == 0:
            assert found.verdict == "ok"
        elif many < 7:
            assert found.verdict == f"flip_y suspected in {many} of 8 micrographs"
        else:
            assert found.verdict == "flip_y suspected"
        names = "".join(found.warnings())
        odd = sorted(points)[7:] if many == 7 else sorted(points)[: many % 8]
        assert [path for path in sorted(points) if path.name in names] == odd


@pytest.mark.parametrize("factor", [0.5, 2.0, 1.37])
def test_all_at_another_scale(tmp_path: Path, factor: float) -> None:
    points = simulate(tmp_path, np.random.default_rng(22), n_micrographs=4, noise=1.0)
    scaled = {path: xy / factor for path, xy in points.items()}
    verdict = measure_orientation(scaled, RADIUS).verdict
    assert verdict.startswith("scale by ")
    assert verdict.endswith(" suspected")
    np.testing.assert_allclose(float(verdict.split()[2]), factor, rtol=0.02)


def test_inverted_contrast_and_points_of_another_micrograph(tmp_path: Path) -> None:
    points = simulate(tmp_path, np.random.default_rng(23), n_micrographs=6, noise=1.0)
    first, second, third, *_ = sorted(points)
    tifffile.imwrite(first, -tifffile.imread(first))
    points[second], points[third] = points[third], points[second]
    found = measure_orientation(points, RADIUS)
    assert [judged.kind for judged in found.each.values()] == [
        "opposite contrast", "no particle", "no particle", "ok", "ok", "ok",
    ]  # fmt: skip
    lines = found.warnings()
    assert lines[0].startswith(f"{first}: the particles have the opposite contrast")
    assert lines[1].startswith(f"{second}: no particles are visible at the points")
    assert third.name in lines[1]


def test_weak_and_sparse_micrographs_accuse_nobody(tmp_path: Path) -> None:
    for n_particles, noise in ((3, 1.0), (6, 3.0), (15, 6.0), (60, 8.0)):
        points = simulate(
            tmp_path,
            np.random.default_rng(24),
            n_micrographs=12,
            n_particles=n_particles,
            noise=noise,
        )
        found = measure_orientation(points, RADIUS)
        assert found.warnings() == []
        assert "suspected" not in found.verdict


def test_each_micrograph_has_its_own_radius(tmp_path: Path) -> None:
    points = simulate(tmp_path, np.random.default_rng(25), n_micrographs=4)
    small = sorted(points)[0]
    tifffile.imwrite(small, np.ascontiguousarray(tifffile.imread(small)[::2, ::2]))
    points[small] = points[small] / 2
    radii = {path: RADIUS / 2 if path == small else RADIUS for path in points}
    found = measure_orientation(points, radii)
    assert [judged.kind for judged in found.each.values()] == ["ok"] * 4


def test_the_manifest_holds_what_each_micrograph_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    points = simulate(tmp_path, np.random.default_rng(26), n_micrographs=5)
    wrong = sorted(points)[1]
    points[wrong][:, 1] = NY - 1 - points[wrong][:, 1]
    stored = {path.name: xy.tolist() for path, xy in sorted(points.items())[:4]}
    (tmp_path / "c.json").write_text(json.dumps(stored))
    spec = {"coordinates": tmp_path / "c.json", "particle_radius": RADIUS}
    manifest, _ = build_manifest(spec, read_headers(sorted(points)))
    assert manifest["own_orientation"].tolist() == ["ok", "flip_y", "ok", "ok", "no points"]
    assert manifest["orientation"].eq("flip_y suspected in 1 of 4 micrographs").all()
    assert f"{wrong}: the points fit a different frame" in caplog.text


def test_points_are_summed_alike_with_and_without_fft() -> None:
    rng = np.random.default_rng(27)
    image = rng.normal(size=(70, 90))
    x, y = rng.uniform(-5, 95, 40), rng.uniform(-5, 75, 40)
    direct, n = orientation.average_patch(image, None, x, y, 9)
    by_fft, m = orientation.average_patch(image, fft.rfft2(image), x, y, 9)
    assert n == m == int(((np.rint(x) >= 0) & (np.rint(x) < 90) & (np.rint(y) >= 0)
                          & (np.rint(y) < 70)).sum())  # fmt: skip
    np.testing.assert_allclose(direct, by_fft, atol=1e-9)


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
    with pytest.raises(InputError, match=rf"c\.json: with y_axis: {declared} .*y_axis: {right}\."):
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
