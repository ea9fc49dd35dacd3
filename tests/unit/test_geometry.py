"""Frames: the map to the target square and back, and what counts as inside."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewpick.errors import InputError
from fewpick.geometry import (
    GRAIN,
    LARGEST_INPUT,
    SMALLEST_INPUT,
    Frame,
    frame_for,
    input_size,
    inside,
    padded_length,
    particle_radius,
)

sizes = st.one_of(
    st.sampled_from([(4096, 4096), (3838, 3710), (5760, 4092), (7420, 7676), (4093, 3709)]),
    st.tuples(st.integers(16, 9000), st.integers(16, 9000)),
)
targets = st.sampled_from([64, 256, 767, 768, 1024])


@given(size=sizes, target=targets, u=st.floats(0, 1), v=st.floats(0, 1))
def test_points_survive_the_way_to_the_target_and_back(
    size: tuple[int, int], target: int, u: float, v: float
) -> None:
    ny, nx = size
    frame = frame_for(ny, nx, target)
    xy = np.array([[u * (nx - 1), v * (ny - 1)], [0.0, 0.0], [nx - 1.0, ny - 1.0]])
    there = frame.to_target(xy)
    np.testing.assert_allclose(frame.to_original(there), xy, rtol=0, atol=1e-6)
    np.testing.assert_allclose(frame.to_target(frame.to_original(there)), there, atol=1e-6)
    # No point of the image falls out of its extent in the square.
    assert (there[:, 0] < frame.width).all()
    assert (there[:, 1] < frame.height).all()


def test_x_is_the_column_and_y_the_row() -> None:
    frame = frame_for(ny=100, nx=200, target_size=100)
    assert (frame.scale, frame.height, frame.width) == (0.5, 50, 100)
    np.testing.assert_array_equal(frame.to_target([[120, 30]]), [[60, 15]])


def test_padding_moves_points() -> None:
    frame = Frame(scale=0.5, pad_x=3, pad_y=7, ny=100, nx=100, height=50, width=50)
    np.testing.assert_array_equal(frame.to_target([[10, 20]]), [[8, 17]])
    np.testing.assert_array_equal(frame.to_original([[8, 17]]), [[10, 20]])


def test_no_points_stay_no_points() -> None:
    frame = frame_for(100, 100, 50)
    assert frame.to_target([]).shape == (0, 2)
    assert inside(np.empty((0, 2)), 10, 10).shape == (0,)


@given(size=sizes, target=targets)
def test_a_frame_survives_its_table(size: tuple[int, int], target: int) -> None:
    frame = frame_for(*size, target)
    text = {key: repr(value) for key, value in frame.to_row().items()}
    assert Frame.from_row(text) == frame


@given(size=sizes, target=targets)
def test_both_axes_are_resampled_by_the_same_scale(size: tuple[int, int], target: int) -> None:
    longest = max(size)
    for n in size:
        before, after = padded_length(n, longest, target)
        assert n <= before <= longest
        # Exact in whole numbers: no axis is stretched by a rounded length.
        assert before * target == after * longest
        assert math.ceil(n * target / longest) <= after <= target
    assert padded_length(longest, longest, target) == (longest, target)


def test_the_border_counts_on_both_sides() -> None:
    xy = [(2.0, 2.0), (1.999, 2), (2, 1.999), (7, 5), (7.001, 5), (7, 5.001), (np.nan, 3)]
    expected = [True, False, False, True, False, False, False]
    assert inside(xy, ny=8, nx=10, border=2).tolist() == expected


def test_radius_in_pixels_or_from_a_diameter_in_angstrom() -> None:
    assert particle_radius({"particle_radius": 54}, None) == 54.0
    assert particle_radius({"particle_diameter_angstrom": 180}, 1.5) == 60.0


@pytest.mark.parametrize(
    ("spec", "pixel_size", "message"),
    [
        ({}, 1.0, "no particle size"),
        ({"particle_radius": 0}, 1.0, "0 is not positive"),
        ({"particle_diameter_angstrom": -3}, 1.0, "-3 is not positive"),
        ({"particle_diameter_angstrom": 0}, 1.0, "0 is not positive"),
        ({"particle_diameter_angstrom": 180}, None, "pixel size"),
        ({"particle_diameter_angstrom": 180}, float("nan"), "pixel size"),
        ({"particle_diameter_angstrom": 180}, 0.0, "pixel size"),
    ],
)
def test_a_radius_that_cannot_be_known_is_refused(
    spec: dict[str, float], pixel_size: float | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        particle_radius(spec, pixel_size)


def test_without_a_border_the_outermost_pixels_are_inside() -> None:
    xy = [(0, 0), (9, 7), (-0.001, 0), (0, -0.001), (9.001, 7), (9, 7.001)]
    assert inside(xy, ny=8, nx=10).tolist() == [True, True, False, False, False, False]


def test_points_are_mapped_in_double_precision() -> None:
    coarse = np.array([[12000.4, 3.1]], np.float32)
    fine = coarse.astype(np.float64)
    frame = frame_for(12001, 12001, 768)
    np.testing.assert_array_equal(frame.to_target(coarse), frame.to_target(fine))
    np.testing.assert_array_equal(frame.to_original(coarse), frame.to_original(fine))


def test_a_radius_in_pixels_wins_over_a_diameter() -> None:
    spec = {"particle_radius": 54, "particle_diameter_angstrom": 180}
    assert particle_radius(spec, 1.5) == 54.0
    assert particle_radius({"particle_radius": 0.5}, None) == 0.5
    assert particle_radius({"particle_diameter_angstrom": 0.5}, 0.5) == 0.5


@pytest.mark.parametrize(
    ("shape", "diameter", "size"),
    [
        ((4096, 4096), 108, 768),
        ((1200, 1240), 76, 320),
        ((1024, 1024), 36, 576),
        ((512, 512), 20, 512),
        ((512, 512), 16, 640),  # smaller particles are enlarged
    ],
)
def test_particles_of_any_size_become_twenty_pixels_wide(
    shape: tuple[int, int], diameter: float, size: int
) -> None:
    assert input_size(*shape, diameter, 20) == size


@given(size=sizes, share=st.floats(0.001, 0.5), particle_px=st.floats(8, 128))
def test_a_particle_misses_its_width_by_half_a_grain_in_the_edge(
    size: tuple[int, int], share: float, particle_px: float
) -> None:
    diameter = share * max(size)
    wanted = max(size) * particle_px / diameter
    if SMALLEST_INPUT <= wanted <= LARGEST_INPUT:
        edge = input_size(*size, diameter, particle_px)
        assert edge % GRAIN == 0
        assert abs(edge - wanted) <= GRAIN / 2
        scale = frame_for(*size, edge).scale
        assert abs(diameter * scale / particle_px - 1) <= GRAIN / 2 / wanted + 1e-9


@pytest.mark.parametrize(
    ("diameter", "cure"), [(3, "need an image of 26667 px.*lower"), (2000, "raise")]
)
def test_a_scale_out_of_bounds_is_refused(diameter: float, cure: str) -> None:
    with pytest.raises(InputError, match=cure):
        input_size(4000, 3000, diameter, 20)


def test_padding_is_cut_off_and_counted_again() -> None:
    """Whatever comes before the first column and row of the image."""
    frame = Frame(1.0, 3.0, 2.0, ny=4, nx=5, height=4, width=5)
    square = np.arange(100).reshape(10, 10)
    image = frame.without_padding(square)
    assert image.shape == (4, 5)
    ((x, y),) = frame.with_padding([(4, 1)]).astype(int)
    assert square[y, x] == image[1, 4]
