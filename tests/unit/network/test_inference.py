"""Peaks of probability maps, and the threshold that makes picks of them."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fewpick.network import device
from fewpick.network.inference import find_peaks, predict
from fewpick.network.unet import UNet

T = 256


def probability_map(points: np.ndarray, heights: np.ndarray, sigma: float) -> np.ndarray:
    rows, columns = np.mgrid[:T, :T]
    out = np.zeros((T, T), np.float32)
    for (x, y), height in zip(points, heights, strict=True):
        bump = height * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
        out = np.maximum(out, bump.astype(np.float32))
    return out


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_peaks_are_found_to_a_fraction_of_a_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(20, 240, 30), np.arange(20, 240, 30)), -1).reshape(-1, 2)
    points = grid + rng.uniform(-4, 4, grid.shape)
    heights = rng.uniform(0.2, 0.9, len(points))
    xy, score = find_peaks(probability_map(points, heights, 4.0), 10.0, (0, 0, T, T))
    assert len(xy) == len(points)
    assert (np.diff(score) <= 0).all()
    distance = np.hypot(*(xy[:, None] - points[None]).transpose(2, 0, 1))
    assert distance.min(axis=1).max() < 0.25
    # x is the column: a picture that is not symmetric tells the axes apart.
    assert set(distance.argmin(axis=1)) == set(range(len(points)))


@pytest.mark.parametrize("training", [True, False])
def test_prediction_is_in_eval_mode_and_leaves_the_mode_as_it_was(training: bool) -> None:
    network = UNet(widths=(4, 8), stem_stride=1, norm="batch").train(training)
    images = torch.randn(2, 1, 16, 16)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    probability = predict(network, images, 1)
    assert network.training is training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    torch.testing.assert_close(probability, torch.sigmoid(network.eval()(images)))


def test_suppression_uses_a_disc_and_not_a_square() -> None:
    radius, reach = 10.0, 1.2 * 10.0
    diagonal = reach / math.sqrt(2) + 1  # beyond the disc, within the square
    points = np.array([[100.0, 100.0], [100 + diagonal, 100 + diagonal]])
    xy, _ = find_peaks(
        probability_map(points, np.array([0.9, 0.8]), 2.0), radius, (0, 0, T, T), nms_radius=1.2
    )
    assert len(xy) == 2
    near = np.array([[100.0, 100.0], [100 + reach - 1, 100.0]])
    xy, _ = find_peaks(
        probability_map(near, np.array([0.8, 0.9]), 2.0), radius, (0, 0, T, T), nms_radius=1.2
    )
    assert len(xy) == 1
    assert abs(xy[0, 0] - near[1, 0]) < 0.5  # the higher one stays


def test_a_chain_is_thinned_from_the_top() -> None:
    """A suppressed peak suppresses nothing: 1 kills 2, and 3, near 2 only, lives."""
    points = np.array([[100.0, 60.0], [100.0, 70.0], [100.0, 80.0]])
    smooth = probability_map(points, np.array([0.9, 0.8, 0.7]), 1.5)
    xy, _ = find_peaks(smooth, 10.0, (0, 0, T, T))
    assert sorted(np.round(xy[:, 1])) == [60, 80]


def test_peaks_outside_the_area_are_left_out() -> None:
    points = np.array([[30.0, 100.0], [100.0, 30.0], [128.0, 128.0]])
    full = probability_map(points, np.array([0.9, 0.9, 0.9]), 3.0)
    xy, _ = find_peaks(full, 10.0, (50, 50, 200, 200))
    assert np.round(xy).tolist() == [[128, 128]]
    assert len(find_peaks(np.zeros((T, T)), 10.0, (0, 0, T, T))[0]) == 0


class Position(nn.Module):
    """Answers with a ramp of the picture it is shown, wherever that comes from."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize("views", [1, 4, 8])
def test_averaged_views_are_turned_back(views: int) -> None:
    image = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = torch.sigmoid(image)
    torch.testing.assert_close(predict(Position(), image, views), expected)


def test_bfloat16_moves_the_third_digit_only() -> None:
    """Whether in hardware or emulated, the numbers are the same kind."""
    torch.manual_seed(0)
    network = UNet(widths=[8, 16])
    images = torch.randn(1, 1, 64, 64)
    full = predict(network, images, 4)
    half = predict(network, images, 4, torch.bfloat16)
    assert half.dtype == torch.float32
    assert 0 < (half - full).abs().max() < 0.005
    # Asking for it leaves nothing behind.
    torch.testing.assert_close(predict(network, images, 4), full, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("cpuinfo", "half"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("Features\t: fp asimd bf16\n", False),  # not measured on ARM
        (None, False),
    ],
)
def test_bfloat16_only_where_the_processor_multiplies_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpuinfo: str | None, half: bool
) -> None:
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(cpuinfo)
    monkeypatch.setattr(device, "CPUINFO", path)
    device._multiplies_bfloat16.cache_clear()
    wanted = torch.bfloat16 if half else torch.float32
    assert device.inference_dtype("auto", torch.device("cpu")) == wanted
    assert device.inference_dtype("auto", torch.device("cuda")) == torch.float32
    assert device.inference_dtype("float32", torch.device("cpu")) == torch.float32
    device._multiplies_bfloat16.cache_clear()


def test_a_network_with_low_probabilities_keeps_its_ranking() -> None:
    """All particles below 0.002, as after training with a handful of labels."""
    points = np.array([[20.0, 20.0], [60.0, 30.0], [40.0, 70.0]])
    image = probability_map(points, np.array([0.9, 0.5, 0.2]), 2.0)
    expected_xy, expected_score = find_peaks(image, 5.0, (0, 0, T, T))
    xy, score = find_peaks(image / 1024, 5.0, (0, 0, T, T))
    np.testing.assert_allclose(xy, expected_xy, atol=1e-6)
    np.testing.assert_allclose(score, expected_score / 1024)
    assert len(xy) == 3
    assert score.max() < 0.002
