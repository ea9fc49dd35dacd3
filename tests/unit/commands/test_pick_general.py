"""`fewpick pick general`: the shipped network on micrographs it has not seen."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from fewpick.commands import pick
from fewpick.coordinates import read_picks
from fewpick.evaluation.matching import match

DIAMETER = 40
SIZE = 640
SPACING = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two micrographs of dark balls on a jittered grid, and one of noise, as MRC of 2 A/px."""
    where = tmp_path_factory.mktemp("micrographs")
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(SPACING, SIZE - 40, SPACING)] * 2), -1).reshape(-1, 2)
    for name, holds in (("a", True), ("b", True), ("empty", False)):
        image = gaussian_filter(rng.standard_normal((SIZE, SIZE)), 1) * 2
        image += rng.standard_normal((SIZE, SIZE))
        xy = grid + rng.uniform(-8, 8, grid.shape)
        y, x = np.mgrid[:SIZE, :SIZE]
        for cx, cy in xy if holds else ():
            away = (x - cx) ** 2 + (y - cy) ** 2
            image -= 2 * np.sqrt(np.clip(1 - away / (0.45 * DIAMETER) ** 2, 0, None))
        with mrcfile.new(where / f"{name}.mrc") as file:
            file.set_data(image.astype(np.float32))
            file.voxel_size = 2.0
        np.savetxt(where / f"{name}.txt", xy if holds else np.empty((0, 2)))
    return where


def run(folder: Path, out: Path, *options: str, names: str = "[ab]") -> dict[str, np.ndarray]:
    arguments = ["general", str(folder / f"{names}.mrc"), "-o", str(out), *options]
    assert pick.main(arguments) == 0
    return {Path(name).stem: picks.xy for name, picks in read_picks(out).items()}


def f1(found: dict[str, np.ndarray], folder: Path) -> float:
    matched = total = 0
    for name in "ab":
        truth = np.loadtxt(folder / f"{name}.txt").reshape(-1, 2)
        matched += len(match(found[name], truth, 0.3 * DIAMETER)[0])
        total += len(truth) + len(found[name])
    return 2 * matched / total


def test_particles_that_it_has_never_seen_are_found(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(folder, tmp_path / "picks.star", "--diameter", str(DIAMETER))
    assert f1(found, folder) > 0.9
    assert "general: expected F1 0." in capsys.readouterr().out
    again = run(folder, tmp_path / "angstrom.star", "--diameter-angstrom", str(2 * DIAMETER))
    np.testing.assert_allclose(again["a"], found["a"], atol=0.01)


def test_the_expected_number_is_met(folder: Path, tmp_path: Path) -> None:
    found = run(folder, tmp_path / "picks.star", "--diameter", str(DIAMETER), "--expected", "30")
    assert sum(map(len, found.values())) == 60


def test_noise_holds_next_to_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["general", str(folder / "empty.mrc"), "-o", str(tmp_path / "picks.star")]
    pick.main([*arguments, "--diameter", str(DIAMETER)])
    assert " 0 picks on 1 micrographs" in capsys.readouterr().out


def test_the_size_has_to_be_given(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pick.main(["general", str(folder / "a.mrc")]) == 2
    assert "fewpick pick: general: has no particle size of its own" in capsys.readouterr().err
