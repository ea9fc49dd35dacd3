"""Crops of many kinds: right labels, dark particles, one size, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

from fewpick.errors import InputError
from fewpick.simulation import shapes
from fewpick.simulation.variety import draw_crop

SIZE = 96


@pytest.fixture(scope="module")
def kinds() -> list[NDArray[np.float32]]:
    return shapes.library([], 3, 6, np.random.default_rng(1))


def ball(path: Path, radius: float, box: int, centre: float) -> Path:
    grid = np.indices((box,) * 3) - centre
    inside = (np.sqrt((grid**2).sum(0)) <= radius).astype(np.float32)
    with mrcfile.new(path) as file:
        file.set_data(inside)
    return path


@pytest.mark.parametrize(("radius", "box", "centre"), [(6, 24, 12), (14, 48, 20)])
def test_a_map_is_centred_and_brought_to_size(
    tmp_path: Path, radius: float, box: int, centre: float
) -> None:
    path = ball(tmp_path / "ball.map", radius, box, centre)
    views = shapes.map_views(path, 2, np.random.default_rng(0))
    assert views.shape == (2, shapes.BOX, shapes.BOX)
    for view in views:
        rows, columns = np.indices(view.shape)
        mass = view.clip(0).astype(float)
        assert np.sum(rows * mass) / mass.sum() == pytest.approx(shapes.BOX // 2, abs=0.2)
        assert np.sum(columns * mass) / mass.sum() == pytest.approx(shapes.BOX // 2, abs=0.2)
        # Half of the greatest projection of a ball lies at sqrt(3) / 2 of its radius.
        across = int((view[shapes.BOX // 2] > 0.5 * view.max()).sum())
        assert across == pytest.approx(0.87 * shapes.DIAMETER, abs=2)


def test_a_file_that_is_no_map_is_named(tmp_path: Path) -> None:
    path = tmp_path / "flat.map"
    with mrcfile.new(path) as file:
        file.set_data(np.ones((8, 8, 8), np.float32))
    with pytest.raises(InputError, match=r"flat\.map"):
        shapes.map_views(path, 1, np.random.default_rng(0))


def test_drawn_kinds_differ_and_repeat_with_the_seed() -> None:
    one, two = (shapes.random_views(2, np.random.default_rng(5)) for _ in range(2))
    other = shapes.random_views(2, np.random.default_rng(6))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 0.3


def test_crops_are_normalised_and_repeat_with_the_seed(kinds: list[NDArray[np.float32]]) -> None:
    for seed in range(4):
        crop, again = (draw_crop(kinds, SIZE, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(crop.image, again.image)
        assert crop.image.shape == (SIZE, SIZE)
        assert crop.image.dtype == np.float32
        assert np.isfinite(crop.image).all()
        assert abs(np.median(crop.image)) < 1.0


def test_particles_lie_where_the_labels_say_and_are_dark(
    kinds: list[NDArray[np.float32]],
) -> None:
    rng = np.random.default_rng(3)
    inside, around, empty, n = [], [], 0, 60
    for _ in range(n):
        crop = draw_crop(kinds, SIZE, rng)
        empty += len(crop.particles) == 0
        rows, columns = np.ogrid[:SIZE, :SIZE]
        for x, y in crop.particles:
            away = np.hypot(columns - x, rows - y)
            if 12 < x < SIZE - 12 and 12 < y < SIZE - 12:
                inside.append(crop.image[away < 6].mean())
                around.append(crop.image[(away > 10) & (away < 13)].mean())
    assert len(inside) > 100
    assert np.mean(inside) < np.mean(around) - 0.3
    assert 0.1 * n < empty < 0.4 * n
