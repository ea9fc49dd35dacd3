from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from fewpick.errors import InputError
from fewpick.label_page.tiles import REACH, TILE, Pyramids, build_pyramid, n_levels

SHAPES = [(700, 1300), (701, 1301), (512, 512), (513, 40), (1, 600), (2048, 1500)]


def noise(ny: int, nx: int) -> NDArray[np.float32]:
    return np.random.default_rng(ny * nx).normal(5000, 30, (ny, nx)).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_tiles_of_each_level_cover_the_micrograph(shape: tuple[int, int]) -> None:
    pyramid = build_pyramid(noise(*shape))
    assert len(pyramid.levels) == n_levels(*shape)
    assert max(pyramid.levels[-1].shape) <= TILE or min(pyramid.levels[-1].shape) == 1
    for level, held in enumerate(pyramid.levels):
        ny, nx = held.shape
        assert (ny, nx) == (shape[0] // 2**level, shape[1] // 2**level)
        rows = [
            np.hstack([pyramid.tile(level, i, j) for j in range(-(-nx // TILE))])
            for i in range(-(-ny // TILE))
        ]
        assert np.vstack(rows).shape == (ny, nx)
    for level, row, column in [(-1, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 9), (0, -1, 0)]:
        with pytest.raises(IndexError):
            pyramid.tile(level, row, column)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_spot_lies_in_every_level_where_it_is(level: int) -> None:
    image = noise(1400, 1400)
    image[1000:1008, 600:608] += 2000
    pyramid = build_pyramid(image)
    step = 2**level
    y, x = 1000 // step, 600 // step
    tile = pyramid.tile(level, y // TILE, x // TILE).astype(int)
    row, column = y % TILE, x % TILE
    assert tile[row : row + 8 // step, column : column + 8 // step].min() > 200
    assert tile[row - 2, column] < 200
    assert tile[row + 8 // step + 1, column] < 200


def test_grey_levels_are_standard_deviations_about_the_ground() -> None:
    ramp = np.linspace(0, 150, 1024, dtype=np.float32)
    pyramid = build_pyramid(np.asarray(noise(1024, 1024) + ramp, np.float32))
    for level in range(2):
        tile = pyramid.tile(level, 0, 0).astype(float)
        assert abs(tile.mean() - 127.5) < 6  # the slope of the light is gone
        assert tile.std() == pytest.approx(127.5 / REACH, rel=0.15)


@pytest.mark.parametrize("sigma", [2.0, 6.0])
@pytest.mark.parametrize("level", [0, 1])
def test_the_low_pass_is_that_of_the_whole_image_at_every_level(sigma: float, level: int) -> None:
    image = noise(1100, 1100)
    expected = gaussian_filter(image, sigma)[: 1100 // 2**level * 2**level]
    expected = expected.reshape(1100 // 2**level, 2**level, -1, 2**level).mean((1, 3))
    pyramid = build_pyramid(image.copy())
    for row in range(2):
        tile = pyramid.tile(level, row, 0, sigma).astype(float)
        part = expected[row * TILE :, :][: tile.shape[0], : tile.shape[1]]
        assert np.corrcoef(tile.ravel(), part.ravel())[0, 1] > 0.96


def test_no_seam_between_tiles_under_a_low_pass() -> None:
    pyramid = build_pyramid(noise(1024, 1024))
    left, right = (pyramid.tile(0, 0, j, 10.0).astype(int) for j in range(2))
    step = np.abs(left[:, -1] - right[:, 0]).mean()
    usual = np.abs(np.diff(left, axis=1)).mean()
    assert step < 1.5 * usual + 0.5


def test_a_hot_pixel_and_an_odd_unit_do_not_blind_the_picture() -> None:
    image = noise(600, 600) * np.float32(1e-12)
    image[50, 50] = 1e6
    tile = build_pyramid(image).tile(0, 0, 0).astype(float)
    assert tile[100:].std() == pytest.approx(127.5 / REACH, rel=0.1)


def test_jpeg_is_the_tile() -> None:
    pyramid = build_pyramid(noise(600, 700))
    picture = np.asarray(Image.open(io.BytesIO(pyramid.jpeg(1, 0, 0, 3.0))))
    tile = pyramid.tile(1, 0, 0, 3.0)
    assert picture.shape == tile.shape
    assert np.abs(picture.astype(int) - tile).mean() < 3


def test_memory_is_bounded_and_the_last_used_stay(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path in paths:
        pixels = np.random.default_rng(0).integers(0, 255, (300, 300)).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    one = build_pyramid(noise(300, 300)).nbytes
    pyramids = Pyramids(memory=2 * one)
    first = pyramids.get(paths[0])
    pyramids.get(paths[1])
    assert pyramids.get(paths[0]) is first
    pyramids.get(paths[2])
    assert [path in pyramids for path in paths] == [True, False, True, False]
    assert pyramids.nbytes <= 2 * one
    tight = Pyramids(memory=1)
    tight.get(paths[0])
    tight.get(paths[1])
    assert [path in tight for path in paths] == [False, True, False, False]


def test_a_broken_micrograph_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(InputError, match=r"bad\.png"):
        Pyramids().get(tmp_path / "bad.png")
