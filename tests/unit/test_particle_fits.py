"""One place decides whether a particle makes sense, and when two pixel sizes are one."""

from __future__ import annotations

import numpy as np
import pytest

from fewpick.errors import InputError
from fewpick.geometry import believable, fitting_radius, one_pixel_size

ANGSTROM = {"particle_diameter_angstrom": 28.0}
METRE, MILLIMETRE, MX_IS_ONE, NANOMETRE = 2.5e-10, 0.001, 960.0, 0.2


def test_pixel_sizes_that_differ_by_rounding_are_one() -> None:
    sides = [288, 300, 320, 3838, 4092, 5760]
    sizes = [float(np.float32(side * 1.05)) / side for side in sides]
    assert len(set(sizes)) > 1
    assert one_pixel_size(sizes) == 1.05
    assert one_pixel_size([float(np.float32(1.05)), 1.05]) == 1.05


@pytest.mark.parametrize(
    "sizes",
    [[1.05, 1.06], [1.05, None], [None], [], [float("nan")], [METRE, METRE], [MX_IS_ONE], [0.0]],
)
def test_no_one_pixel_size(sizes: list[float | None]) -> None:
    assert one_pixel_size(sizes) is None


@pytest.mark.parametrize("header", [METRE, MILLIMETRE, MX_IS_ONE, NANOMETRE, 1e-30, 1e30])
def test_a_header_that_no_micrograph_has_is_named_with_the_cure(header: float) -> None:
    assert not believable(header)
    with pytest.raises(InputError, match=r"the header says .* angstrom per pixel, .*--pixel-size"):
        fitting_radius(ANGSTROM, 224, 288, header=header)
    # It is no matter where the size does not rest on it, or where the user says better.
    assert fitting_radius({"particle_radius": 7}, 224, 288, header=header) == 7
    assert fitting_radius(ANGSTROM, 224, 288, header=header, pixel_size=2) == 7
    assert fitting_radius(ANGSTROM, 9000, 9000, pixel_size=0.1) == 140


@pytest.mark.parametrize(
    ("spec", "pixel_size", "header", "message"),
    [
        ({"particle_radius": 0.5}, None, 2.0, r"radius 0\.5 px is smaller than a pixel"),
        ({"particle_radius": 113}, None, None, r"radius 113 px does not fit into 288 x 224 px"),
        (ANGSTROM, None, 60.0, r"px \(at 60 angstrom per pixel, from the header\) is smaller"),
        (ANGSTROM, 0.01, 2.0, r"radius 1400 px does not fit"),
        (ANGSTROM, None, None, "needs a pixel size"),
        ({}, None, None, "no particle size given"),
    ],
)
def test_particles_that_make_no_sense(
    spec: dict[str, float], pixel_size: float | None, header: float | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fitting_radius(spec, 224, 288, pixel_size=pixel_size, header=header)


def test_particles_that_do() -> None:
    assert fitting_radius({"particle_radius": 112}, 224, 288) == 112
    assert fitting_radius(ANGSTROM, 224, 288, header=2.0) == 7
