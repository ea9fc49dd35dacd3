"""What speaks for the network, and what against it."""

from __future__ import annotations

import math
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from fewpick.coordinates import Picks
from fewpick.image_evidence.templates import RING
from fewpick.network.weights import general_path
from fewpick.picking.choice import TemplatePicker, contrast_tail, evidence
from fewpick.picking.picker import Picker, PreparedMicrograph

CENTRES = np.array([[50 + 50 * (k // 5), 50 + 50 * (k % 5)] for k in range(25)], float)


def prepared(tmp_path: Path, strengths: np.ndarray, *, ring: bool = False) -> PreparedMicrograph:
    rng = np.random.default_rng(0)
    image = rng.standard_normal((300, 320)).astype(np.float32)
    y, x = np.mgrid[:300, :320]
    for (cx, cy), strength in zip(CENTRES, strengths, strict=True):
        away = np.hypot(x - cx, y - cy)
        profile = np.exp(-(((away - 16) / 4) ** 2)) if ring else np.exp(-0.5 * (away / 8) ** 2)
        image -= strength * profile
    path = tmp_path / "m.mrc"
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(image)
    return picker().see(path)


def picker() -> Picker:
    return Picker(general_path(), torch.device("cpu"), radius=20)


def test_a_template_picker_picks_in_pixels_of_the_micrograph(tmp_path: Path) -> None:
    seen = prepared(tmp_path, np.full(25, 3.0), ring=True)
    picks = TemplatePicker(picker(), RING).find(seen)
    best = picks.xy[:25]
    distance = np.hypot(*(best[:, None] - CENTRES[None]).transpose(2, 0, 1))
    assert sorted(distance.argmin(0)) == list(range(25))
    assert distance.min(0).max() < 2
    assert picks.diameter == pytest.approx(40)


def test_rings_are_evident_and_blobs_are_no_rings(tmp_path: Path) -> None:
    told = evidence([prepared(tmp_path, np.full(25, 3.0), ring=True)])
    assert max(told, key=lambda name: told[name]) == RING
    conspicuous = evidence([prepared(tmp_path, np.full(25, 9.0), ring=True)])
    assert conspicuous[RING] > 0.2
    told = evidence([prepared(tmp_path, np.full(25, 2.0))])
    assert max(told, key=lambda name: told[name]) != RING
    assert told[RING] < 0.1


def test_picks_of_one_kind_have_no_tail_of_contrast_and_dirt_makes_one(tmp_path: Path) -> None:
    some = Picks(CENTRES, np.ones(25), 40.0)
    alike = np.random.default_rng(1).normal(2, 0.3, 25)
    assert contrast_tail([prepared(tmp_path, alike)], [some]) < 2
    with_dirt = np.where(np.arange(25) < 4, 12.0, 1.0) * alike / 2
    assert contrast_tail([prepared(tmp_path, with_dirt)], [some]) > 4


def test_a_few_picks_say_nothing_about_contrast(tmp_path: Path) -> None:
    few = Picks(CENTRES[:3], np.ones(3), 40.0)
    assert math.isnan(contrast_tail([prepared(tmp_path, np.full(25, 2.0))], [few]))


def test_contrast_is_measured_against_the_noise_of_each_micrograph(tmp_path: Path) -> None:
    """Two micrographs that differ in contrast alone do not look like two kinds of picks."""
    alike = np.random.default_rng(1).normal(2, 0.3, 25)
    first = prepared(tmp_path, alike)
    smooth = gaussian_filter(first.image.astype(np.float32), 0.5).astype(np.float16)
    second = PreparedMicrograph(5 * smooth, first.frame, first.radius, first.area, None)
    some = Picks(CENTRES, np.ones(25), 40.0)
    assert contrast_tail([first, second], [some, some]) < 2
