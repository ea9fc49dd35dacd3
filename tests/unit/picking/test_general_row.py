"""The row of the general network: preprocessed micrographs in, picks of the originals out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import KDTree

from fewpick.data.preprocess import preprocess_micrograph
from fewpick.picking.general_row import pick_stacks
from fewpick.stacks import table_path, write_stack, write_table

CENTRES = np.array([[60 + 80 * (k // 5), 60 + 80 * (k % 5)] for k in range(25)], float)


@pytest.mark.parametrize("shape", [(500, 520), (430, 520)])
def test_picks_lie_on_the_particles_of_the_original(tmp_path: Path, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: shape[0], : shape[1]]
    images, rows = [], []
    inside = CENTRES[CENTRES[:, 1] < shape[0] - 40]
    for name in ("folder/a.mrc", "b.mrc"):
        pixels = rng.standard_normal(shape).astype(np.float32)
        for cx, cy in inside:
            away = np.hypot(x - cx, y - cy)
            pixels -= (3 * np.exp(-0.5 * (away / 9) ** 2)).astype(np.float32)
        made = preprocess_micrograph(pixels, 384, name)
        images.append(made.image)
        rows.append({"micrograph": name, **made.frame.to_row()})
    path = tmp_path / "s.mrcs"
    write_stack(path, iter(images), shape=(2, 384, 384), dtype=np.float16)
    write_table(pd.DataFrame(rows), table_path(path))
    found = pick_stacks([path], {"folder/a.mrc": 20.0, "b.mrc": 20.0})
    assert set(found) == {"folder/a.mrc", "b.mrc"}
    for picks in found.values():
        assert picks.score is None
        distance, _ = KDTree(picks.xy).query(inside)
        assert distance.max() < 4
        assert len(picks) < 1.3 * len(inside)
