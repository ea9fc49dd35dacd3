from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from fewpick.data.masks import BACKGROUND, PARTICLE, UNKNOWN, draw_mask
from fewpick.data.splits import label_subset
from fewpick.geometry import frame_for
from fewpick.sampling.training_set import Micrograph

SIZE, RADIUS, TILE = 240, 9.0, 80
FRAME = frame_for(SIZE, SIZE, SIZE)
DISC = 0.5 * RADIUS


def apart(seed: int) -> np.ndarray:
    """Points on a crowded micrograph whose discs do not touch each other."""
    placed = np.empty((0, 2))
    for xy in np.random.default_rng(seed).uniform(0, SIZE - 1, (4000, 2)):
        if (np.hypot(*(placed - xy).T) > 2 * DISC + 2).all():
            placed = np.vstack([placed, xy])
    return placed


def labelled(xy: np.ndarray, unit: str, seed: int, border: float = 0.0) -> tuple[Micrograph, int]:
    """One micrograph of which a ninth is labelled, and the number of particles that counts."""
    split = pd.DataFrame({"dataset": ["set"], "micrograph": ["m"], "split": ["train"]})
    geometry = pd.DataFrame([{"micrograph": "m", **FRAME.to_row()}])
    points = pd.DataFrame({"micrograph": "m", "x": xy[:, 0], "y": xy[:, 1]})
    (row,) = label_subset(
        *("set", split, geometry, points),
        ratio=1 / 9,
        seed=seed,
        particle_radius={"m": RADIUS},
        border=border,
        unit=unit,
        tile_size=TILE,
        validation="none",
    ).to_dict("records")
    mask = draw_mask(FRAME, SIZE, xy, RADIUS, border=border)
    sheet = Micrograph(
        *("set", "m", "train", np.zeros((SIZE, SIZE), np.float16), mask, RADIUS, DISC),
        *(row["area"], FRAME, row["windows"], row["points"]),
    )
    return sheet, row["n_labeled_particles"]


@pytest.mark.parametrize("seed", range(5))
def test_no_more_particles_are_learned_than_are_counted(seed: int) -> None:
    sheet, counted = labelled(apart(seed), "tile", seed)
    labels = sheet.labels()
    _, learned = ndimage.label(labels == PARTICLE)
    assert learned == counted > 0
    # Discs that reach in from outside are neither particle nor background.
    ((y0, x0, y1, x1),) = sheet.windows
    window, mask = labels[y0:y1, x0:x1], np.asarray(sheet.mask)[y0:y1, x0:x1]
    _, drawn = ndimage.label(mask == PARTICLE)
    assert drawn > counted
    np.testing.assert_array_equal(window == BACKGROUND, mask == BACKGROUND)
    np.testing.assert_array_equal(window != BACKGROUND, mask == PARTICLE)
    assert (labels == UNKNOWN).sum() > SIZE**2 - TILE**2


@pytest.mark.parametrize("seed", range(3))
def test_a_whole_micrograph_is_learned_to_the_pixel(seed: int) -> None:
    sheet, counted = labelled(apart(seed), "micrograph", seed)
    np.testing.assert_array_equal(sheet.labels(), sheet.mask)
    assert counted == len(apart(seed))


def test_particles_in_the_border_are_not_learned() -> None:
    sheet, counted = labelled(apart(0), "micrograph", 0, border=20.0)
    _, learned = ndimage.label(sheet.labels() == PARTICLE)
    _, drawn = ndimage.label(np.asarray(sheet.mask) == PARTICLE)
    assert learned == counted < drawn
