"""Preprocessing: grey values and places are right, whatever the size and the defects."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fewpick.data import preprocess
from fewpick.data.mixture import mixture_location_and_scale
from fewpick.data.preprocess import (
    CLIP,
    fourier_resample,
    in_pixels,
    input_sizes,
    low_pass,
    preprocess_micrograph,
    preprocess_shard,
)
from fewpick.errors import InputError
from fewpick.micrographs.grey_values import SIGMA_PER_MAD, location_and_mad
from fewpick.stacks import Stack, read_table

Array = NDArray[np.float64]

# Even, odd, prime, not square, smaller and larger than the target size.
SIZES = [(256, 256), (255, 243), (251, 241), (300, 212), (212, 300), (127, 127), (90, 71)]
TARGET = 128


class Blobs:
    """A dense field of blobs: known everywhere, without any frequency that is dropped."""

    def __init__(self, ny: int, nx: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.sigma = 2 * max(1.0, max(ny, nx) / TARGET)
        edge = 5 * self.sigma
        n = int((ny + 2 * edge) * (nx + 2 * edge) / self.sigma**2)
        self.x, self.y = rng.uniform(-edge, nx + edge, n), rng.uniform(-edge, ny + edge, n)
        self.height = rng.uniform(-1, 1, n)

    def __call__(self, y: Array, x: Array) -> Array:
        """Values at rows `y` and columns `x`."""
        rows = np.exp(-((y[:, None] - self.y) ** 2) / (2 * self.sigma**2))
        columns = np.exp(-((x[:, None] - self.x) ** 2) / (2 * self.sigma**2))
        return np.asarray((rows * self.height) @ columns.T)


def resampled_blobs(ny: int, nx: int, seed: int, *, roll: int = 0) -> tuple[Array, Array]:
    """What preprocessing makes of the image in its own grey values, and what it should make.

    Without the outermost 10 pixels, where the image depends on what lies outside of it.
    """
    blobs = Blobs(ny, nx, seed)
    image = blobs(np.arange(ny * 1.0), np.arange(nx * 1.0)) + 100
    done = preprocess_micrograph(np.roll(image, roll, axis=0).astype(np.float32), TARGET)
    frame = done.frame
    rows, columns = np.arange(10, frame.height - 10), np.arange(10, frame.width - 10)
    values = done.image[np.ix_(rows, columns)].astype(float)
    sigma, centre = SIGMA_PER_MAD * done.mad, done.median - 100
    expected = blobs(rows / frame.scale, columns / frame.scale)
    # A dense field has a pixel beyond the clip now and then.
    return values * sigma + centre, expected.clip(centre - CLIP * sigma, centre + CLIP * sigma)


def displacement(values: Array, expected: Array) -> Array:
    """By how much (x, y) the values are displaced, from the gradients of what is expected."""
    dy, dx = np.gradient(expected)
    shift: Array = np.linalg.lstsq(
        -np.column_stack([dx.ravel(), dy.ravel()]), (values - expected).ravel(), rcond=None
    )[0]
    return shift


@pytest.mark.parametrize("size", SIZES)
@settings(deadline=None, max_examples=3)
@given(seed=st.integers(0, 1000))
def test_every_point_lands_at_its_place_times_the_scale(size: tuple[int, int], seed: int) -> None:
    values, expected = resampled_blobs(*size, seed)
    assert np.abs(displacement(values, expected)).max() < 0.01
    # float16 keeps 11 bits of each value.
    assert np.abs(values - expected).max() < 5e-3 * np.abs(expected).max()


@pytest.mark.parametrize("size", [(256, 256), (251, 241), (90, 71)])
def test_an_image_shifted_by_one_row_is_noticed(size: tuple[int, int]) -> None:
    values, expected = resampled_blobs(*size, seed=0, roll=1)
    scale = TARGET / max(size)
    assert displacement(values, expected)[1] == pytest.approx(scale, rel=0.15)
    assert np.abs(values - expected).max() > 0.1 * np.abs(expected).max()


@given(n=st.integers(8, 60), size=st.integers(8, 60), axis=st.integers(0, 1))
def test_a_wave_below_the_limit_is_resampled_exactly(n: int, size: int, axis: int) -> None:
    for half_turns in range(min(n, size)):

        def wave(x: Array, half_turns: int = half_turns) -> NDArray[np.float32]:
            line = np.cos(np.pi * half_turns * (x + 0.5) / n).astype(np.float32)
            return np.tile(line, (3, 1)) if axis == 1 else np.tile(line, (3, 1)).T

        resampled = fourier_resample(wave(np.arange(n * 1.0)), size, axis)
        assert np.abs(resampled - wave(np.arange(size) * n / size)).max() < 4e-6


def test_nothing_aliases() -> None:
    """A wave too fine for the target vanishes instead of coming back as a coarse one."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(256, 256))
    fine = 5 * np.cos(np.pi * 200 / 256 * (np.arange(256) + 0.5))
    plain = preprocess_micrograph(noise, 128).image.astype(float)
    with_fine = preprocess_micrograph(noise + fine, 128).image.astype(float)
    assert np.abs(with_fine - plain).max() < 0.02


@pytest.mark.parametrize("size", [(256, 256), (200, 256), (207, 251), (256, 131)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_gradient_does_not_ring_at_the_edges(size: tuple[int, int], axis: int) -> None:
    shape = [-1, 1] if axis == 0 else [1, -1]
    slope = np.linspace(0, 100, size[axis]).reshape(shape)
    image = slope + np.random.default_rng(0).normal(size=size)
    done = preprocess_micrograph(image, 128)
    frame = done.frame
    values = done.image[: frame.height, : frame.width].astype(float)
    # A straight line but for the noise, in standard deviations of the whole image.
    assert np.abs(np.diff(values.mean(axis=1 - axis), 2)).max() < 0.02
    # The padding is 0 and not more of the gradient.
    assert not done.image[frame.height :].any()
    assert not done.image[:, frame.width :].any()


def test_values_are_centred_scaled_and_clipped() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(3000, 20, (300, 256))
    image[100:160, 100:160] += 2000  # a piece of carbon, larger than any defect
    done = preprocess_micrograph(image.astype(np.float32), 128)
    valid = done.image[:, : done.frame.width].astype(float)
    median, mad = location_and_mad(valid)
    assert median == pytest.approx(0, abs=2e-3)
    assert mad * SIGMA_PER_MAD == pytest.approx(1, abs=2e-3)
    assert valid.max() == CLIP
    assert not done.image[:, done.frame.width :].any()
    assert done.image.dtype == np.float16
    assert done.median == pytest.approx(3000, abs=3)


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i2", "u2", "f2", "f4", ">f4", "f8"])
def test_the_type_of_the_pixels_makes_no_difference(dtype: str) -> None:
    image = np.random.default_rng(0).normal(100, 12, (150, 140)).round().clip(0, 255)
    expected = preprocess_micrograph(image.astype(np.float32), 64).image
    np.testing.assert_array_equal(preprocess_micrograph(image.astype(dtype), 64).image, expected)


@pytest.mark.parametrize(("gain", "offset"), [(1e-6, 0.0), (50.0, -3e5), (1e4, 1e9)])
def test_gain_and_offset_of_the_camera_make_no_difference(gain: float, offset: float) -> None:
    image = np.random.default_rng(0).normal(size=(200, 180))
    expected = preprocess_micrograph(image, 96).image.astype(float)
    other = preprocess_micrograph(image * gain + offset, 96).image.astype(float)
    np.testing.assert_allclose(other, expected, atol=0.02)


def test_the_input_is_not_changed() -> None:
    image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    image[5, 5] = 1e5
    copy = image.copy()
    preprocess_micrograph(image, 32)
    np.testing.assert_array_equal(image, copy)


@pytest.mark.parametrize("value", [6e4, -6e4, 1e30])
@pytest.mark.parametrize("place", [(0, 0), (128, 128), (255, 17), (101, 255)])
def test_hot_and_dead_pixels_do_not_ring(value: float, place: tuple[int, int]) -> None:
    clean = np.random.default_rng(1).normal(size=(256, 256)).astype(np.float32)
    hot = clean.copy()
    hot[place] = value
    change = np.abs(
        preprocess_micrograph(hot, 128).image.astype(float)
        - preprocess_micrograph(clean, 128).image.astype(float)
    )
    # What remains is one pixel of noise replaced by its neighbours.
    assert change.max() < 2.5
    rows = np.abs(np.arange(128) - place[0] / 2)
    columns = np.abs(np.arange(128) - place[1] / 2)
    far = np.minimum(rows, 128 - rows)[:, None] + np.minimum(columns, 128 - columns) > 30
    assert change[far].max() < 0.05


def test_a_hot_cluster_takes_the_median_of_the_sound_pixels_around_it() -> None:
    image = np.add.outer(np.arange(64.0), np.arange(64.0)).astype(np.float32)
    image[30:32, 40:42] = 1e6
    block = preprocess._without_defects(image, 0, 64, 63.0, 16.0, "name")
    rows, columns = np.mgrid[28:33, 38:43]
    sound = ~((rows >= 30) & (rows < 32) & (columns >= 40) & (columns < 42))
    expected = np.sort(image[28:33, 38:43][sound])[(sound.sum() - 1) // 2] - 63
    assert block[30, 40] == expected
    assert np.abs(block).max() < 160


def test_the_inside_of_a_large_defect_is_clipped_and_not_invented() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(64, 64)).astype(np.float32)
    image[20:40, 20:40] = -500
    centre, spread = location_and_mad(image)
    block = preprocess._without_defects(image, 0, 64, centre, spread, "name")
    np.testing.assert_allclose(block[24:36, 24:36], -10 * spread, rtol=1e-5)


def test_the_size_of_the_blocks_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(100, 90)).astype(np.float32)
    image[rng.integers(0, 100, 60), rng.integers(0, 90, 60)] = 1e4
    whole = preprocess_micrograph(image, 64)
    for rows in (1, 3, 7):
        monkeypatch.setattr(preprocess, "_BLOCK_PIXELS", 90 * rows)
        monkeypatch.setattr(preprocess, "_DEFECTS_AT_ONCE", rows)
        pieces = preprocess_micrograph(image, 64)
        np.testing.assert_array_equal(pieces.image, whole.image)


def test_one_absurd_pixel_does_not_hide_the_others() -> None:
    clean = np.random.default_rng(1).normal(size=(256, 256)).astype(np.float32)
    hot = clean.copy()
    hot[20, 20], hot[200, 100] = 1e30, 1e4
    change = preprocess_micrograph(hot, 128).image.astype(float)
    change -= preprocess_micrograph(clean, 128).image.astype(float)
    assert np.abs(change).max() < 2.5


def test_images_of_few_grey_levels_are_usable() -> None:
    """Half of the pixels or more are equal, so that the MAD is 0."""
    image = (np.random.default_rng(0).random((128, 128)) < 0.2).astype(np.uint8)
    done = preprocess_micrograph(image, 128)
    assert np.isfinite(done.image).all()
    assert np.ptp(done.image.astype(float)) > 1


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((64, 64), 7.0), "constant .value 7."),
        (np.where(np.eye(64) * np.arange(64) == 33, 1e6, 7.0), "constant"),
        (np.where(np.eye(64), np.nan, np.arange(64.0)), "NaN"),
        (np.where(np.arange(4096).reshape(64, 64) == 999, np.inf, np.arange(64.0)), "NaN"),
        (np.full((64, 64), np.nan), "NaN"),
        (np.zeros((64, 8)), "shape .64, 8."),
        (np.zeros((3, 64, 64)), "shape .3, 64, 64."),
    ],
)
def test_images_that_cannot_be_used_are_named(image: Array, message: str) -> None:
    with pytest.raises(InputError, match=rf"^broken\.mrc: .*{message}"):
        preprocess_micrograph(image, 64, "broken.mrc")


def micrographs(folder: Path, n: int, size: tuple[int, int] = (200, 180)) -> pd.DataFrame:
    rows = []
    for i in range(n):
        path = folder / f"m{i:02d}.mrc"
        with mrcfile.new(path, overwrite=True) as mrc:
            mrc.set_data(np.random.default_rng(i).normal(i, 1, size).astype(np.float32))
        rows.append({"micrograph": path.name, "path": str(path), "pixel_size": 1.2})
    return pd.DataFrame(rows)


def test_a_shard_holds_its_micrographs_in_order(tmp_path: Path) -> None:
    manifest = micrographs(tmp_path, 5)
    table = preprocess_shard(manifest, tmp_path / "s.mrcs", 96, threads=3)
    stack = Stack(tmp_path / "s.mrcs")
    pd.testing.assert_frame_equal(stack.table, table)
    assert table["micrograph"].tolist() == manifest["micrograph"].tolist()
    assert table["index"].tolist() == list(range(5))
    for i, path in enumerate(manifest["path"]):
        expected = preprocess_micrograph(mrcfile.read(path), 96)
        np.testing.assert_array_equal(stack.images[i], expected.image)
        assert table.loc[i, "median"] == expected.median
    assert stack.voxel_size == pytest.approx(1.2 * 200 / 96)


def test_an_unknown_pixel_size_stays_unknown(tmp_path: Path) -> None:
    manifest = micrographs(tmp_path, 2).assign(pixel_size=np.nan)
    preprocess_shard(manifest, tmp_path / "s.mrcs", 96)
    assert Stack(tmp_path / "s.mrcs").voxel_size == 0
    assert read_table(tmp_path / "s.tsv")["pixel_size"].isna().all()


def test_the_number_of_threads_makes_no_difference(tmp_path: Path) -> None:
    manifest = micrographs(tmp_path, 6)
    for threads in (1, 4):
        preprocess_shard(manifest, tmp_path / f"s{threads}.mrcs", 96, threads=threads)
    for suffix in ("mrcs", "tsv"):
        first, second = ((tmp_path / f"s{n}.{suffix}").read_bytes() for n in (1, 4))
        assert first == second


def test_a_broken_micrograph_leaves_no_shard(tmp_path: Path) -> None:
    manifest = micrographs(tmp_path, 4)
    with mrcfile.mmap(manifest["path"][2], mode="r+") as mrc:
        mrc.data[7, 7] = np.nan
    with pytest.raises(InputError, match=r"m02\.mrc"):
        preprocess_shard(manifest, tmp_path / "s.mrcs", 96, threads=2)
    assert not list(tmp_path.glob("*.mrcs"))
    assert not list(tmp_path.glob("*.tsv"))


def test_memory_does_not_grow_with_the_shard(tmp_path: Path) -> None:
    manifest = micrographs(tmp_path, 12, (400, 400))

    def peak(n: int) -> int:
        tracemalloc.start()
        preprocess_shard(manifest[:n], tmp_path / "s.mrcs", 128)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(2)  # what is imported and cached on the first call
    # One micrograph is 640 kB, one result 33 kB; ten more must not add up.
    assert peak(12) - peak(2) < 250_000


def with_carbon(share: float, level: float, seed: int = 0) -> NDArray[np.float32]:
    """Ice of mean 100 and standard deviation 5, and an edge of something darker or brighter."""
    image = np.random.default_rng(seed).normal(100, 5, (400, 400))
    image[:, : int(400 * share)] += level
    return image.astype(np.float32)


@pytest.mark.parametrize("level", [-30, -15, 15, 40])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.3, 0.45])
def test_the_mixture_finds_the_ice_beside_carbon(share: float, level: float) -> None:
    mean, sigma = mixture_location_and_scale(with_carbon(share, level))
    assert mean == pytest.approx(100, abs=0.2)
    assert sigma == pytest.approx(5, rel=0.02)
    if share == 0.3:  # the robust values are pulled away
        median, mad = location_and_mad(with_carbon(share, level))
        assert abs(median - 100) > 2
        assert SIGMA_PER_MAD * mad > 6


def test_the_mixture_takes_gain_and_offset_as_they_come() -> None:
    image = with_carbon(0.2, -20)
    mean, sigma = mixture_location_and_scale(image)
    other = mixture_location_and_scale(image * 1000 - 7e4)
    assert other == pytest.approx((mean * 1000 - 7e4, sigma * 1000), rel=1e-3)


def test_normalised_by_the_mixture_the_ice_has_mean_0_and_spread_1() -> None:
    image = with_carbon(0.3, -25)
    done = preprocess_micrograph(image, 400, normalise="gmm")
    ice = done.image[:, 130:].astype(float)
    assert ice.mean() == pytest.approx(0, abs=0.02)
    assert ice.std() == pytest.approx(1, rel=0.02)
    back = done.image.astype(float) * SIGMA_PER_MAD * done.mad + done.median
    np.testing.assert_allclose(back[:, 130:], image[:, 130:], atol=0.1)


@pytest.mark.parametrize("shape", [(128, 128), (97, 128), (128, 75)])
def test_the_low_pass_keeps_coarse_waves_and_takes_off_fine_ones(shape: tuple[int, int]) -> None:
    y, x = np.indices(shape)
    for axis, n in ((y, shape[0]), (x, shape[1])):
        for k in (4, 12, 40):  # cosines of 2 n / k pixels, which the mirrored edges continue
            wave = np.cos(np.pi * k * (axis + 0.5) / n).astype(np.float32)
            passed = low_pass(wave, 10.0)
            gain = {4: 1, 12: 1 if 2 * n / 12 > 11.2 else None, 40: 0}[k]
            if gain is not None:
                np.testing.assert_allclose(passed, gain * wave, atol=1e-4)
    # Half of the amplitude is left at the limit, along any direction.
    wave = np.cos(np.pi * 16 * (np.arange(80) + 0.5) / 80).astype(np.float32)
    np.testing.assert_allclose(low_pass(np.tile(wave, (64, 1)), 10.0)[5], wave / 2, atol=1e-3)


def test_the_low_pass_counts_in_angstrom_of_the_micrograph() -> None:
    assert in_pixels(20.0, 2.5, "m.mrc") == 8
    assert in_pixels(None, None, "m.mrc") is None
    for unknown in (None, float("nan"), 0.0):
        with pytest.raises(InputError, match=r"m\.mrc: preprocess\.lowpass_angstrom needs a pixel"):
            in_pixels(20.0, unknown, "m.mrc")
    image = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    # 8 px of the micrograph are 4 of the target; what is left is as smooth as that.
    done = preprocess_micrograph(image, TARGET, lowpass=8.0)
    spectrum = np.abs(np.fft.rfft2(done.image.astype(float))) ** 2
    radius = np.hypot(np.fft.fftfreq(TARGET)[:, None], np.fft.rfftfreq(TARGET))
    assert spectrum[radius > 1.15 / 4].mean() < 0.02 * spectrum[radius < 0.85 / 4].mean()


def test_a_shard_takes_both_options(tmp_path: Path) -> None:
    image = with_carbon(0.3, -25)
    table = pd.DataFrame({"micrograph": ["a"], "path": ["a"], "pixel_size": [2.0]})
    output = tmp_path / "a.mrcs"
    preprocess_shard(
        table, output, 128, lambda path: (image, None), normalise="gmm", lowpass_angstrom=30.0
    )
    expected = preprocess_micrograph(image, 128, normalise="gmm", lowpass=15.0)
    np.testing.assert_array_equal(Stack(output).images[0], expected.image)


def scaled_shard(folder: Path) -> pd.DataFrame:
    """Three micrographs of one particle, at pixel sizes and shapes of their own."""
    rng = np.random.default_rng(5)
    rows = []
    for name, shape, pixel_size in [
        ("a.mrc", (300, 400), 2.0),
        ("b.mrc", (640, 600), 1.0),
        ("c.mrc", (160, 200), 4.0),
    ]:
        with mrcfile.new(folder / name) as mrc:
            mrc.set_data(rng.normal(size=shape).astype(np.float32))
        rows.append((name, str(folder / name), pixel_size))
    return pd.DataFrame(rows, columns=["micrograph", "path", "pixel_size"])


def test_micrographs_are_brought_to_one_particle_width(tmp_path: Path) -> None:
    micrographs, spec = scaled_shard(tmp_path), {"particle_diameter_angstrom": 60}
    sizes = input_sizes(micrographs, 768, 20, spec)
    # 400 px * 20 / 30, 640 * 20 / 60 and 200 * 20 / 15, to multiples of 32.
    assert sizes == [256, 224, 256]
    assert input_sizes(micrographs, 768, None, spec) == [768] * 3
    table = preprocess_shard(micrographs, tmp_path / "s.mrcs", sizes)
    stack = Stack(tmp_path / "s.mrcs")
    assert stack.images.shape == (3, 256, 256)
    for image, size, row in zip(stack.images, sizes, table.to_dict("records"), strict=True):
        alone = preprocess_micrograph(mrcfile.read(tmp_path / row["micrograph"]), size)
        np.testing.assert_array_equal(image[:size, :size], alone.image)
        assert not image[size:].any()
        assert not image[:, size:].any()
        assert max(row["height"], row["width"]) == alone.frame.size == size


def test_a_micrograph_that_cannot_be_scaled_is_named(tmp_path: Path) -> None:
    micrographs = scaled_shard(tmp_path)
    with pytest.raises(InputError, match=r"a\.mrc: particles 1 px wide in 400 x 300 px need"):
        input_sizes(micrographs, 768, 20, {"particle_radius": 0.5})
