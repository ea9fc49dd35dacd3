"""`fewpick init` and `check` where only some particles are marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import yaml

from fewpick import cli
from fewpick.annotation.areas import write_areas
from fewpick.config.complete import complete
from fewpick.config.schema import load_schema
from fewpick.coordinates import Picks, write_picks
from fewpick.inspection.survey import CLICKS_PER_MICROGRAPH

SIZE, N_MICROGRAPHS = 128, 10


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten micrographs of noise."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("micrographs").mkdir()
    for i in range(N_MICROGRAPHS):
        with mrcfile.new(f"micrographs/m{i}.mrc") as mrc:
            mrc.set_data(rng.normal(0, 1, (SIZE, SIZE)).astype(np.float32))
    return tmp_path


def click(counts: list[int]) -> None:
    """`labels.star` with so many marks on the first micrographs."""
    rng = np.random.default_rng(1)
    marks = {f"m{i}.mrc": Picks(rng.uniform(9, 119, (n, 2))) for i, n in enumerate(counts)}
    write_picks("labels.star", marks)


def init(*more: str) -> tuple[int, dict[str, Any]]:
    status = cli.main(["init", "micrographs", "labels.star", "-o", "mine.yaml", "--force", *more])
    text = Path("mine.yaml").read_text() if status == 0 else "{}"
    config = complete(yaml.safe_load(text), load_schema()) if status == 0 else {}
    return status, next(iter(config["datasets"].values())) if config else {}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("counts", "asked"),
    [
        ([5, 5, 4], True),
        ([CLICKS_PER_MICROGRAPH] * 5, True),
        # Enough of them on one micrograph, or on most: nobody clicks so much for a beginning.
        ([CLICKS_PER_MICROGRAPH + 1, 2], False),
        ([5] * 6, False),
    ],
)
def test_few_marks_on_few_micrographs_are_asked_about(
    counts: list[int], asked: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    click(counts)
    status, _ = init("--diameter", "12")
    assert status == (2 if asked else 0)
    said = capsys.readouterr().err
    n = f"{sum(counts)} marks on {len(counts)} of 10 micrographs look like clicks"
    assert (n in said) is asked
    assert ("Pass --annotation clicks" in said) is asked


@pytest.mark.usefixtures("folder")
def test_no_size_is_guessed_from_the_distance_between_clicks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    click([5, 5, 4])
    assert init("--annotation", "clicks")[0] == 2
    assert "Pass --diameter PX" in capsys.readouterr().err
    # What was drawn in the labelling page serves as well.
    Path("labels.settings.yaml").write_text("diameter: 13.0\n")
    status, spec = init("--annotation", "clicks")
    assert (status, spec["particle_radius"]) == (0, 6.5)
    status, spec = init("--annotation", "clicks", "--diameter", "20")
    assert (status, spec["particle_radius"]) == (0, 10)


@pytest.mark.usefixtures("folder")
def test_clicks_make_a_configuration_for_picks(capsys: pytest.CaptureFixture[str]) -> None:
    click([5, 5, 4])
    status, spec = init("--annotation", "clicks", "--diameter", "12")
    assert status == 0
    assert spec["annotation"] == "clicks"
    # No border, tile or share of labels is taken from where the clicks lie.
    assert spec["border"] == 0
    assert "splits" not in yaml.safe_load(Path("mine.yaml").read_text())
    snakefile = Path(__file__).parents[3] / "Snakefile"
    command = f"  snakemake -s {snakefile} --cores all picks --configfile mine.yaml"
    assert command in capsys.readouterr().out.splitlines()
    assert cli.main(["check", "mine.yaml", "--no-timing"]) == 0
    said = capsys.readouterr().out
    assert "14 particles on 3 micrographs, 0 of them in fully marked areas; 7 " in said
    assert "one training on all labels and 3 that leave some out" in said
    assert "warning: only 0 particles of" in said
    assert command in said.splitlines()
    assert "no particles at the points" not in said
    assert "discs cover" not in said


@pytest.mark.usefixtures("folder")
def test_files_beside_the_marks_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    click([5, 5, 4])
    write_areas("labels.areas.tsv", {"m0.mrc": [[0, 0, 64, 64]]})
    write_picks("labels.negatives.star", {"m9.mrc": Picks(np.array([[5.0, 5.0]]))})
    status, spec = init("--diameter", "12")
    assert status == 0
    assert spec["annotation"] == "areas"
    assert (spec["areas"], spec["negatives"]) == ("labels.areas.tsv", "labels.negatives.star")
    capsys.readouterr()
    assert cli.main(["check", "mine.yaml", "--no-timing"]) == 0
    said = capsys.readouterr().out
    assert "4 annotated, with 14 particles, 1 fully marked areas and 1 non-particles" in said
    assert "outside the areas" in said


@pytest.mark.usefixtures("folder")
def test_check_refuses_too_few_clicks(capsys: pytest.CaptureFixture[str]) -> None:
    click([2])
    assert init("--annotation", "clicks", "--diameter", "12")[0] == 0
    assert cli.main(["check", "mine.yaml", "--no-timing"]) == 2
    assert (
        "2 marked particles inside the border, but training and evaluation need at least 3"
        in capsys.readouterr().err
    )
