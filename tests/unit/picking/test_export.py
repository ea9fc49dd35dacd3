"""Picks in the formats of other programs, in files named after the micrographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fewpick.coordinates import read_picks
from fewpick.picking.export import export_as, export_picks

XY = np.array([[10.0, 20.0], [30.25, 40.5]])


def exported(folder: Path, *datasets: str) -> tuple[dict[str, pd.DataFrame], Path]:
    """Manifests, and the particle table of two picks on the first micrograph of each data set."""
    names = ["m1.mrc", "m2.mrc"]
    manifests = {
        dataset: pd.DataFrame(
            {"micrograph": names, "path": [f"{dataset}/{n}" for n in names], "pixel_size": 2.0}
        )
        for dataset in datasets
    }
    parts = [
        pd.DataFrame(
            {
                "dataset": d,
                "micrograph": "m1.mrc",
                "x": XY[:, 0],
                "y": XY[:, 1],
                "score": [0.9, 0.5],
            }
        )
        for d in datasets
    ]
    star, csv = folder / "picks.star", folder / "picks.csv"
    export_picks(pd.concat(parts), manifests, star=star, csv=csv, folder=folder / "micrographs")
    return manifests, star


@pytest.mark.parametrize(
    ("fmt", "tolerance"), [("box", 0.5), ("cbox", 0.01), ("topaz", 0.01), ("json", 0.01)]
)
def test_picks_come_out_as_they_were(tmp_path: Path, fmt: str, tolerance: float) -> None:
    manifests, star = exported(tmp_path, "mine")
    specs = {"mine": {"particle_diameter_angstrom": 120}}
    export_as(fmt, star, manifests, specs, tmp_path / fmt)
    picks = {Path(key).stem: held for key, held in read_picks(tmp_path / fmt).items()}
    np.testing.assert_allclose(picks["m1"].xy, XY, atol=tolerance)
    if fmt in ("box", "cbox"):
        assert picks["m1"].diameter == 60  # px
        assert len(picks["m2"]) == 0


def test_data_sets_with_equal_names_are_kept_apart(tmp_path: Path) -> None:
    manifests, star = exported(tmp_path, "a", "b")
    specs = {"a": {"particle_radius": 10}, "b": {"particle_radius": 20}}
    export_as("box", star, manifests, specs, tmp_path / "box")
    for dataset, size in (("a", 20), ("b", 40)):
        assert read_picks(tmp_path / "box" / dataset)["m1"].diameter == size
