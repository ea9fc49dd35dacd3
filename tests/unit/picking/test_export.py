"""Picks in the formats of other programs, in files named after the micrographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fewpick.coordinates import read_picks
from fewpick.picking.export import export_as, export_each, export_picks

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
    export_picks(pd.concat(parts), manifests, star=star, csv=csv)
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


def test_names_and_optics_are_those_of_the_relion_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"MotionCorr/job002/Movies/m{i}.mrc" for i in (1, 2)]
    Path("ctf.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroupName #1\n_rlnOpticsGroup #2\n_rlnVoltage #3\n"
        "grid_7 3 200.000\n\ndata_micrographs\n\nloop_\n_rlnMicrographName #1\n_rlnOpticsGroup #2\n"
        + "".join(f"{name} 3\n" for name in names)
    )
    paths = [str(tmp_path / name) for name in names]
    manifest = pd.DataFrame(
        {"micrograph": ["m1.mrc", "m2.mrc"], "path": paths, "pixel_size": [2.0, 2.0]}
    )
    chosen = pd.DataFrame(
        {"dataset": "d", "micrograph": "m1.mrc", "x": XY[:, 0], "y": XY[:, 1], "score": [0.9, 0.5]}
    )
    star, csv, folder = Path("picks.star"), Path("picks.csv"), Path("micrographs")
    export_picks(chosen, {"d": manifest}, star=star, csv=csv, relion="ctf.star")
    export_each(chosen, {"d": manifest}, folder, relion="ctf.star")
    assert list(read_picks(star)) == [names[0]]
    assert "grid_7\t3\t200.000\n" in star.read_text()
    assert {name: len(held) for name, held in read_picks(folder / "autopick.star").items()} == {
        names[0]: 2,
        names[1]: 0,
    }
    assert (folder / "Movies/m1_autopick.star").is_file()
    # Other formats are made from that table, and named by the micrographs at hand.
    export_as("box", star, {"d": manifest}, {"d": {"particle_radius": 10}}, tmp_path / "box")
    boxes = read_picks(tmp_path / "box")
    assert {Path(name).stem: len(held) for name, held in boxes.items()} == {"m1": 2, "m2": 0}
