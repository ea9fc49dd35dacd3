"""Peaks found by torch are those of the reference on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from fewpick.network.device_peaks import find_peaks_batch, gaussian_filter
from fewpick.network.inference import find_peaks

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def maps(seed: int, n: int, height: int, width: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.random((n, height, width))
    if kind == "noise":
        return noise.astype(np.float32)
    smooth = ndimage.gaussian_filter(noise, (0, 4, 4))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    # Saturated maps have plateaus, where several neighbours are equally high.
    smooth = smooth / 1024 if kind == "low" else smooth
    return (np.clip(4 * smooth - 1.5, 0, 1) if kind == "plateaus" else smooth).astype(np.float32)


@pytest.mark.parametrize("device", DEVICES)
@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(16, 90), st.integers(16, 90)),
    radius=st.floats(1.5, 14),
    nms_radius=st.sampled_from([0.5, 1.0, 1.7]),
    kind=st.sampled_from(["noise", "smooth", "plateaus", "low"]),
)
def test_peaks_are_those_of_the_reference(
    device: str, seed: int, shape: tuple[int, int], radius: float, nms_radius: float, kind: str
) -> None:
    height, width = shape
    images = maps(seed, 3, height, width, kind)
    radii = [radius, radius * 1.3, radius * 0.8]
    areas = [(0, 0, height, width), (3, 5, height - 2, width), (0, 0, height // 2, width // 2)]
    found = find_peaks_batch(
        torch.from_numpy(images).to(device), radii, areas, nms_radius=nms_radius
    )
    for image, own_radius, area, (xy, score) in zip(images, radii, areas, found, strict=True):
        expected_xy, expected_score = find_peaks(image, own_radius, area, nms_radius=nms_radius)
        assert xy.shape == expected_xy.shape
        np.testing.assert_allclose(xy, expected_xy, atol=1e-3)
        np.testing.assert_allclose(score, expected_score, atol=1e-6)
        assert xy.dtype == np.float64


def test_smoothing_is_that_of_scipy_also_where_the_kernel_is_wider_than_the_image() -> None:
    image = np.random.default_rng(1).random((9, 21), dtype=np.float32)
    for sigma in (0.4, 2.5, 6.0):
        ours = gaussian_filter(torch.from_numpy(image), sigma).numpy()
        np.testing.assert_allclose(ours, ndimage.gaussian_filter(image, sigma), atol=1e-7)


def test_an_empty_map_has_no_peaks() -> None:
    ((xy, score),) = find_peaks_batch(torch.zeros(1, 32, 32), [5.0], [(0, 0, 32, 32)])
    assert xy.shape == (0, 2)
    assert score.shape == (0,)
