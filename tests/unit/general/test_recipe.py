"""The recipe of the general network: labels, batches, and one tiny run of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from fewpick.general import recipe
from fewpick.general.calibration import RANKS, Calibration
from fewpick.network.model_file import load_model
from fewpick.network.unet import UNet

TINY: dict[str, Any] = {"stem_stride": 4, "widths": [8, 8]}


def test_labels_are_discs_around_particles_and_open_where_unclear() -> None:
    labels = recipe.draw_labels(
        (40, 60), np.array([[10.0, 20.0], [-20.0, 5.0]]), np.array([[40.0, 20.0, 9.0]]), border=2
    )
    rows, columns = np.ogrid[:40, :60]
    expected = np.zeros((40, 60), np.int8)
    expected[np.hypot(columns - 40, rows - 20) <= 9] = -1
    expected[np.hypot(columns - 10, rows - 20) <= recipe.DISC] = 1
    expected[:2] = expected[-2:] = -1
    expected[:, :2] = expected[:, -2:] = -1
    np.testing.assert_array_equal(labels, expected)


def test_a_particle_at_the_edge_of_an_unclear_place_stays_one() -> None:
    unclear = np.array([[20.0, 20.0, 10.0]])
    edge = recipe.draw_labels((40, 40), np.array([[29.0, 20.0]]), unclear)
    middle = recipe.draw_labels((40, 40), np.array([[20.0, 20.0]]), unclear)
    assert edge[20, 29] == 1
    assert middle[20, 20] == -1


def sheet(image: float, label: int) -> recipe.LabelledSheet:
    shape = (160, 150)
    return recipe.LabelledSheet(np.full(shape, image, np.float16), np.full(shape, label, np.int8))


def test_sets_are_drawn_with_equal_weight_whatever_their_size() -> None:
    feed = recipe.Feed([], [[sheet(1, 1)] * 9, [sheet(2, 0)]], [sheet(3, 0)], 0.25)
    images, labels = feed.draw(0, 200, np.random.default_rng(0))
    assert images.shape == labels.shape == (200, 1, recipe.SIZE, recipe.SIZE)
    kinds = images.round().amax((1, 2, 3))
    shares = [float((kinds == k).float().mean()) for k in (1, 2, 3)]
    assert shares == pytest.approx([0.375, 0.375, 0.25], abs=0.1)
    assert set(labels[kinds == 1].unique().tolist()) <= {1.0, -1.0}


def write_mrc(path: Path, data: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    with mrcfile.new(path) as file:
        file.set_data(data.astype(np.float32))


def test_a_tiny_recipe_makes_a_model_that_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    ball = (np.sqrt(((np.indices((20,) * 3) - 10) ** 2).sum(0)) < 6).astype(float)
    write_mrc(tmp_path / "maps" / "ball.map", ball)
    spots = np.zeros((160, 160))
    spots[40::40, 40::40] = -600
    image = rng.standard_normal(spots.shape) + gaussian_filter(spots, 6)
    write_mrc(tmp_path / "set" / "a.mrc", image)
    (tmp_path / "a.csv").write_text("X-Coordinate,Y-Coordinate,Diameter\n40,40,20\n80,80,20\n")
    text = """
seed: 3
model: {stem_stride: 4, widths: [8, 8]}
picking: {views: 1, nms_radius: 1.0}
threshold: 0.3
simulated: {maps: maps/*.map, drawn_kinds: 1, views: 2, crops: 4, cases: 4, fresh_kinds: 1}
sets:
  labelled: {micrographs: set, coordinates: a.csv, diameter: 20, border: 8}
  own: {micrographs: set, diameter: 20, labels: rings}
empty:
  - {micrographs: "set/*", diameters: [16]}
empty_share: 0.2
phases:
  - {steps: 2, rate: 1.0e-3, simulated: 1, real: 1}
  - {steps: 2, rate: 1.0e-3, simulated: 1, real: 1}
blend: [0.5, 0.5]
"""
    (tmp_path / "recipe.yaml").write_text(text)
    outputs = [tmp_path / f"{i}.safetensors" for i in range(2)]
    for output in outputs:
        assert recipe.main(["recipe.yaml", "--data", ".", "-o", str(output)]) == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    again = tmp_path / "again.safetensors"
    given = ["--network", str(outputs[0]), "-o", str(again)]
    assert recipe.main(["recipe.yaml", "--data", ".", *given]) == 0
    model = load_model(outputs[0])
    assert model.use["particle_px"] == 20.0
    weights = load_model(again).network.state_dict()
    assert all(torch.equal(v, weights[k]) for k, v in model.network.state_dict().items())
    np.testing.assert_allclose(
        Calibration.from_json(load_model(again).use["calibration"]).mean,
        Calibration.from_json(model.use["calibration"]).mean,
        atol=0.2,
    )
    assert model.use["particles"] == {}
    assert Calibration.from_json(model.use["calibration"])(np.zeros(2 * len(RANKS)))[0] > 0
    assert {p.dtype for p in model.network.parameters()} == {torch.float32}


def test_learning_lowers_the_loss_and_leaves_the_network_alone() -> None:
    torch.manual_seed(0)
    network = UNet(**TINY)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    feed = recipe.Feed([], [[sheet(-1, 1), sheet(1, 0)]], [], 0.0)
    student = recipe.learn(network, feed, steps=30, rate=1e-2, simulated=0, real=2, seed=0)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name])
    dark, bright = (float(student(torch.full((1, 1, 128, 128), v)).mean()) for v in (-1.0, 1.0))
    assert dark > bright


def test_a_blend_is_the_weighted_mean() -> None:
    networks = []
    for seed in range(2):
        torch.manual_seed(seed)
        networks.append(UNet(**TINY))
    mean = recipe.blended(networks, [0.25, 0.75]).state_dict()
    for name, value in mean.items():
        first, second = (network.state_dict()[name] for network in networks)
        torch.testing.assert_close(value, 0.25 * first + 0.75 * second)
