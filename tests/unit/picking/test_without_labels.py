"""The general network on a folder: polarity, threshold, count, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, label
from scipy.spatial import KDTree
from torch import Tensor, nn
from torch.nn import functional

from fewpick.coordinates import Picks
from fewpick.errors import InputError
from fewpick.general import recipe
from fewpick.general.calibration import RANKS
from fewpick.general.recipe import Feed
from fewpick.image_evidence.templates import BLOBS, RING
from fewpick.micrographs import list_micrographs
from fewpick.network.model_file import save_model
from fewpick.network.unet import UNet
from fewpick.picking import without_labels
from fewpick.picking.picker import Picker, kept

TINY: dict[str, Any] = {"stem_stride": 4, "widths": [8, 8], "norm": "group"}
CPU = torch.device("cpu")


class Blobs(nn.Module):
    """Stands in for a trained network: sure of dark blobs, and of nothing else."""

    def forward(self, images: Tensor) -> Tensor:
        near = functional.avg_pool2d(images, 9, 1, 4)
        far = functional.avg_pool2d(images, 25, 1, 12)
        return 6 * (far - near) - 4


def calibration() -> dict[str, object]:
    """Threshold 0.5; trusts high scores at a low rank."""
    d = 2 * len(RANKS)
    row = np.zeros(d)
    row[1] = 1.0
    layer = [[row.tolist()], [5.0], [[0.0], [1.0]], [0.0, -5.0]]
    return {"mean": [0.0] * d, "scale": [1.0] * d, "layers": [layer]}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    use = {
        "particle_px": 20.0,
        "target_size": None,
        "normalise": "robust",
        "lowpass_angstrom": None,
        "picking": {"views": 1, "nms_radius": 1.0},
        "threshold": {"threshold": 0.4},
        "particles": {},
        "labels": {"micrographs": 0, "particles": 0},
        "calibration": calibration(),
    }
    path = tmp_path / "picker.safetensors"
    save_model(path, UNet(**TINY), {"model": TINY}, use, dtype=torch.float16)
    return path


def micrographs(folder: Path, n: int, sign: float = -1.0, particles: int = 25) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(2)
    paths = []
    for i in range(n):
        spots = np.zeros((320, 320), np.float32)
        k = np.arange(particles)
        spots[32 + 60 * (k // 5), 32 + 60 * (k % 5)] = sign * 4 * 2 * np.pi * 49
        image = rng.standard_normal(spots.shape, np.float32) + gaussian_filter(spots, 7)
        path = folder / f"m{i}.mrc"
        with mrcfile.new(path) as file:
            file.set_data(image)
        paths.append(path)
    return paths


def picker_for(model: Path) -> Picker:
    picker = Picker(model, CPU, radius=20)
    picker.network = Blobs()  # type: ignore[assignment]
    return picker


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_particles_are_found_whatever_their_polarity(
    model: Path, tmp_path: Path, sign: float
) -> None:
    paths = micrographs(tmp_path / "m", 2, sign)
    verdict, found = without_labels.pick_micrographs(paths, picker_for(model))
    assert verdict.bright == (sign > 0)
    assert verdict.trusted
    assert verdict.threshold == pytest.approx(0.5)
    assert verdict.on_blobs > 0.9
    for path, (picked, _, picks) in zip(paths, found, strict=True):
        assert picked == path
        assert len(picks) == 25
        grid = np.round((picks.xy - 32) / 60)
        assert np.abs(picks.xy - 32 - 60 * grid).max() < 3


def test_empty_ice_has_no_picks_and_no_trust(model: Path, tmp_path: Path) -> None:
    paths = micrographs(tmp_path / "m", 2, particles=0)
    verdict, found = without_labels.pick_micrographs(paths, picker_for(model))
    assert sum(len(picks) for *_, picks in found) == 0
    assert not verdict.trusted
    assert str(verdict) == "almost nothing on these micrographs looks like a particle of this size"


def test_an_expected_number_sets_the_threshold(model: Path, tmp_path: Path) -> None:
    paths = micrographs(tmp_path / "m", 3)
    _, found = without_labels.pick_micrographs(paths, picker_for(model), expected=10)
    assert sum(len(picks) for *_, picks in found) == 30


def test_a_broken_file_is_told_once_and_stops_nothing(model: Path, tmp_path: Path) -> None:
    paths = micrographs(tmp_path / "m", 2)
    broken = tmp_path / "m" / "broken.mrc"
    broken.write_bytes(b"no micrograph")
    failures: list[str] = []
    broken_first = [broken, *paths]
    _, found = without_labels.pick_micrographs(broken_first, picker_for(model), failures=failures)
    assert [path for path, *_ in found] == paths
    assert len(failures) == 1
    assert "broken.mrc" in failures[0]
    with pytest.raises(InputError, match=r"broken\.mrc"):
        without_labels.pick_micrographs([broken], picker_for(model))


def test_a_general_model_wants_a_particle_size(model: Path) -> None:
    with pytest.raises(InputError, match="--diameter"):
        Picker(model, CPU)


def test_a_sample_is_spread_over_the_folder() -> None:
    paths = [Path(f"{i}") for i in range(11)]
    assert without_labels.sample_of(paths, 3) == [paths[0], paths[5], paths[10]]
    assert without_labels.sample_of(paths[:2], 6) == paths[:2]


def test_adapting_makes_a_student_with_as_many_picks(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(without_labels, "ADAPT_STEPS", 2)
    paths = micrographs(tmp_path / "m", 2)
    picker = Picker(model, CPU, radius=20)
    sample = [picker.see(path) for path in paths]
    scores = np.sort(np.concatenate([np.asarray(picker.find(p).score) for p in sample]))
    threshold = float(scores[-40])
    verdict = without_labels.Verdict(threshold, 0.8, 0.5, 20.0, bright=False)
    student, after = without_labels.adapted(picker, sample, verdict)
    kept_of = [kept(student.find(prepared), after.threshold) for prepared in sample]
    assert sum(map(len, kept_of)) == 40
    before = picker.network.state_dict()
    changed = [not torch.equal(v, before[k]) for k, v in student.network.state_dict().items()]
    assert any(changed)
    again, _ = without_labels.adapted(picker, sample, verdict)
    for name, value in again.network.state_dict().items():
        torch.testing.assert_close(value, student.network.state_dict()[name])


def test_too_few_picks_are_not_learned_from(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = micrographs(tmp_path / "m", 1, particles=10)
    _, found = without_labels.pick_micrographs(paths, picker_for(model), adapt=True)
    assert sum(len(picks) for *_, picks in found) == 10
    assert "--adapt: fewer than 50 picks" in caplog.text


def scene(
    folder: Path, n: int, particle: Callable[[np.ndarray], np.ndarray], dirt: int = 0
) -> tuple[list[Path], np.ndarray]:
    """Micrographs with 36 particles, the same places each, and some dark dirt elsewhere."""
    folder.mkdir()
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:400, :400]
    centres = np.array([[45 + 62 * (k // 6), 45 + 62 * (k % 6)] for k in range(36)], float)
    paths = []
    for i in range(n):
        image = rng.standard_normal((400, 400)).astype(np.float32)
        for cx, cy in centres:
            image -= particle(np.hypot(x - cx, y - cy)).astype(np.float32)
        for cx, cy in centres[:dirt] + 31:
            image -= 12 * (np.hypot(x - cx, y - cy) < 13).astype(np.float32)
        path = folder / f"m{i}.mrc"
        with mrcfile.new(path) as file:
            file.set_data(image)
        paths.append(path)
    return paths, centres


def ring(away: np.ndarray) -> np.ndarray:
    return np.asarray(3 * np.exp(-(((away - 16) / 4) ** 2)))


def blob(away: np.ndarray) -> np.ndarray:
    return np.asarray(1.2 * np.exp(-0.5 * (away / 8) ** 2))


def recall(picks: Picks, centres: np.ndarray) -> float:
    distance, _ = KDTree(picks.xy).query(centres)
    return float((distance < 6).mean())


@pytest.mark.parametrize("bright", [False, True])
def test_rings_are_picked_by_a_template_whatever_their_polarity(
    model: Path, tmp_path: Path, bright: bool
) -> None:
    sign = -1 if bright else 1
    paths, centres = scene(tmp_path / "m", 2, lambda away: sign * ring(away))
    verdict, found = without_labels.pick_micrographs(paths, picker_for(model))
    assert verdict.template == RING
    assert verdict.bright == bright
    assert verdict.trusted
    assert "the particles look like rings, so a ring template is used" in str(verdict)
    for _, _, picks in found:
        assert recall(picks, centres) == 1
        assert len(picks) <= 40
    _, found = without_labels.pick_micrographs(paths, picker_for(model), expected=20)
    assert sum(len(picks) for *_, picks in found) == 40


def test_a_blob_filter_picks_where_the_networks_picks_are_dirt(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, centres = scene(tmp_path / "m", 2, blob, dirt=4)
    convinced, _ = without_labels.pick_micrographs(paths, picker_for(model))
    assert convinced.template is None
    monkeypatch.setattr(without_labels, "CONVINCED", 1.0)
    alone, _ = without_labels.network_verdict(
        picker_for(model), [picker_for(model).see(path) for path in paths]
    )
    assert alone.expected_f1 > 0.35
    verdict, found = without_labels.pick_micrographs(paths, picker_for(model))
    assert verdict.template in BLOBS
    assert not verdict.trusted
    assert str(verdict).startswith("do not trust these picks (expected F1 0.40, the network's")
    assert "dirt" in str(verdict)
    assert min(recall(picks, centres) for _, _, picks in found) > 0.9
    counted, _ = without_labels.pick_micrographs(paths, picker_for(model), expected=30)
    assert counted.template is None


def test_the_network_learns_from_a_template(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(without_labels, "ADAPT_STEPS", 2)
    paths, _ = scene(tmp_path / "m", 2, ring)
    taught: list[np.ndarray] = []
    learn = recipe.learn

    def spied(network: UNet, feed: Feed, **settings: Any) -> UNet:
        taught.extend(sheet.labels for sheet in feed.real[0])
        return learn(network, feed, **settings)

    monkeypatch.setattr(without_labels, "learn", spied)
    picker = Picker(model, CPU, radius=20)
    verdict, found = without_labels.pick_micrographs(paths, picker, adapt=True)
    assert verdict.template is None
    assert str(verdict).endswith("so the network was fine-tuned on the picks of a ring template")
    for labels in taught:
        assert label((labels == 1).astype(int))[1] == 36
        assert (labels == 0).mean() > 0.4
    list(found)


@pytest.mark.parametrize(
    ("name", "diameter", "border", "chosen"),
    [("empiar10146", 72, 0, RING), ("empiar10059", 36, 36, None)],
)
def test_real_apoferritin_is_recognised_as_rings_and_other_proteins_are_not(
    shared_data: Path, name: str, diameter: float, border: float, chosen: str | None
) -> None:
    paths = without_labels.sample_of(list_micrographs(shared_data / name / "micrographs"), 3)
    picker = Picker("general", CPU, radius=diameter / 2, border=border)
    verdict = without_labels.give_verdict(picker, [picker.see(path) for path in paths])
    assert verdict.template == chosen
    assert verdict.trusted
