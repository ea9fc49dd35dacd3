"""Input that cannot be used stops the run before any training, in words that help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from workspace import Workspace

from fewpick.network.gpu import has_gpu


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def fill(value: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with mrcfile.open(path, mode="r+") as mrc:
            mrc.data[...] = value

    return write


def one_nan(path: Path) -> None:
    with mrcfile.open(path, mode="r+") as mrc:
        mrc.data[3, 5] = np.nan


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(truncate, ["m03.mrc"], id="truncated"),
        pytest.param(lambda path: path.write_bytes(b""), ["m03.mrc"], id="empty"),
        pytest.param(lambda path: path.write_text("hello " * 500), ["m03.mrc"], id="text"),
        pytest.param(fill(0), ["m03.mrc", "every pixel is 0"], id="zero"),
        pytest.param(fill(np.nan), ["m03.mrc", "NaN"], id="NaN"),
        pytest.param(one_nan, ["m03.mrc", "NaN"], id="one NaN"),
    ],
)
def test_unusable_micrograph(
    fresh: Workspace, damage: Callable[[Path], object], said: list[str]
) -> None:
    damage(fresh.directory / "micrographs/m03.mrc")
    output = fresh.fail()
    for part in said:
        assert part in output
    assert "Traceback" not in output


def test_coordinates_that_name_no_known_micrograph(fresh: Workspace) -> None:
    for path in (fresh.directory / "coordinates").iterdir():
        path.rename(path.with_name(f"other_{path.name}"))
    output = fresh.fail()
    assert "other_m00" in output
    assert "m00.mrc" in output
    assert "Traceback" not in output


def test_coordinates_outside_the_image(fresh: Workspace) -> None:
    path = fresh.directory / "coordinates/m04.csv"
    path.write_text(path.read_text() + "300.5,20,24\n")
    output = fresh.fail()
    assert "300.5" in output
    assert "m04" in output
    assert "256 x 256" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "fixmatch.confidense_threshold",
            0.7,
            "fixmatch.confidense_threshold is not a known key; did you mean confidence_threshold?",
        ),
        (
            "splits.labeled_ratios",
            [5],
            "splits.labeled_ratios[0] is 5; give a number in (0, 1]",
        ),
        (
            "splits.labeled_ratios",
            [0.0],
            "splits.labeled_ratios[0] is 0.0; give a number in (0, 1]",
        ),
        (
            "datasets.mine.micrographs",
            "nowhere",
            "nowhere: does not exist",
        ),
        (
            "datasets.mine.coordinates",
            "nowhere.star",
            "datasets.mine.coordinates: 'nowhere.star' does not exist",
        ),
        (
            "datasets.mine.split_file",
            "split.tsv",
            "datasets.mine.split_file: 'split.tsv' does not exist",
        ),
    ],
)
def test_configuration_is_refused_when_it_is_read(
    fresh: Workspace, key: str, value: object, said: str
) -> None:
    fresh.edit(key, value)
    output = fresh.fail("--dry-run")
    assert said in output
    assert "Traceback" not in output


@pytest.mark.skipif(has_gpu(), reason="cannot hide the GPU of this machine")
def test_gpu_that_is_not_there(fresh: Workspace) -> None:
    fresh.edit("resources.device", "cuda")
    output = fresh.fail()
    assert "resources.device is 'cuda', but this machine has no NVIDIA GPU" in output
    assert not (fresh.directory / "results/preprocessed").exists()


def test_only_micrographs_that_are_needed_stop_a_run(workspace: Workspace) -> None:
    """A broken micrograph that is added names itself, and what was computed stays."""
    workspace.add_micrograph("m10", 10)
    truncate(workspace.directory / "micrographs/m10.mrc")
    result = workspace.snakemake()
    assert result.returncode != 0
    assert "m10.mrc" in result.stdout
    assert (
        workspace.directory / "results/models/two_thresholds/ratio-0.2/seed-0/model.safetensors"
    ).exists()
