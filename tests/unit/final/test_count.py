"""How many picks the network that a training begins with calls for, and what clicks say to it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fewpick.coordinates import Picks
from fewpick.final import count
from fewpick.final.count import expected_picks, is_uncounted
from fewpick.geometry import frame_for
from fewpick.network.weights import GENERAL
from fewpick.picking.picker import Picker, PreparedMicrograph
from fewpick.sampling.training_set import Micrograph

SIZE = 400
NAMES = ("clicked", "u", "v", "w")
# 100 places in rows, the best candidates first.
PLACES = np.stack([np.arange(100) % 10 * 39.0 + 20, np.arange(100) // 10 * 39.0 + 20], axis=1)


def micrograph(name: str, points: Any = ()) -> Micrograph:
    image, mask = np.zeros((SIZE, SIZE), np.float16), np.zeros((SIZE, SIZE), np.int8)
    xy = np.asarray(points, float).reshape(-1, 2)
    area, frame = (0, 0, SIZE, SIZE), frame_for(SIZE, SIZE, SIZE)
    split = "train" if len(xy) else "unannotated"
    clicked = len(xy) > 0
    return Micrograph(
        "mine", name, split, image, mask, 10.0, 5.0, area, frame, (), xy, clicked=clicked
    )


def sees(prepared: PreparedMicrograph) -> Picks:
    return Picks(PLACES, 1 - np.arange(100) / 1000)


@pytest.mark.parametrize(
    ("counted", "clicks", "expected"),
    [
        (60.0, PLACES[:14], 60.0),  # all are found: as good as it gets
        (30.0, PLACES[40:54], 52.0),  # the third to last of them is the 52nd pick
        (30.0, np.full((14, 2), 395.0), 100.0),  # none is found: all candidates
    ],
)
def test_clicks_correct_the_count(
    counted: float, clicks: Any, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = SimpleNamespace(per_micrograph=counted, bright=False)
    monkeypatch.setattr(count, "network_verdict", lambda picker, sample: (verdict, []))
    sheets = [micrograph(name, clicks if name == "clicked" else ()) for name in NAMES]
    picker: Any = SimpleNamespace(find=sees)
    assert expected_picks(picker, sheets, NAMES[1:]) == expected


def test_bright_particles_are_looked_for_where_the_verdict_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sees_dark(prepared: PreparedMicrograph) -> Picks:
        return sees(prepared) if prepared.image.min() < 0 else Picks(np.empty((0, 2)), np.empty(0))

    verdict = SimpleNamespace(per_micrograph=60.0, bright=True)
    monkeypatch.setattr(count, "network_verdict", lambda picker, sample: (verdict, []))
    sheets = [micrograph(name, PLACES[:14] if name == "clicked" else ()) for name in NAMES]
    sheets = [replace(m, image=m.image + np.float16(1)) for m in sheets]
    picker: Any = SimpleNamespace(find=sees_dark)
    assert expected_picks(picker, sheets, NAMES[1:]) == 60


def test_only_clicks_leave_the_number_open() -> None:
    bare, clicked = micrograph("u"), micrograph("clicked", PLACES[:3])
    assert is_uncounted([bare, clicked])
    assert not is_uncounted([bare])
    assert not is_uncounted([bare, replace(clicked, expected=90.0)])
    assert not is_uncounted([clicked, replace(bare, windows=((0, 0, 50, 50),))])


def test_the_general_network_counts_on_micrographs_as_trainings_see_them() -> None:
    picker = Picker(GENERAL, torch.device("cpu"), radius=1)
    assert picker.calibrated
    rng = np.random.default_rng(0)
    sheets = [micrograph(name, PLACES[:2] if name == "clicked" else ()) for name in NAMES]
    sheets = [replace(m, image=rng.normal(size=m.image.shape).astype(np.float16)) for m in sheets]
    assert expected_picks(picker, sheets, NAMES[1:]) >= 0
