"""RELION's Laplacian of Gaussian: frames, sizes and failures, by a stand-in and by RELION."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fewpick.errors import InputError
from fewpick.external.relion_log import pick_log
from fewpick.geometry import frame_for
from fewpick.stacks import table_path, write_stack, write_table

HELPERS = Path(__file__).parents[2] / "helpers"
TARGET = 128
SHAPES = {"a.mrc": (256, 200), "b.mrc": (128, 128)}  # the first one is scaled by one half
RADII = {"a.mrc": 10.0, "b.mrc": 5.0}  # px of the original: 5 px of the target in both
SETTINGS: dict[str, Any] = {"diameters": [1.0, 1.0], "adjust_threshold": 0.0}
# Centres in px of the original, away from the edges, where RELION looks for nothing.
TRUTH = {"a.mrc": [[40.0, 60.0], [150.0, 200.0]], "b.mrc": [[30.0, 90.0], [90.0, 40.0]]}


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    frames = {name: frame_for(*shape, TARGET) for name, shape in SHAPES.items()}
    images = []
    rows, columns = np.mgrid[:TARGET, :TARGET]
    for name, frame in frames.items():
        image = rng.normal(size=(TARGET, TARGET))
        for x, y in frame.to_target(np.array(TRUTH[name])):
            image[np.hypot(columns - x, rows - y) <= 5] -= 6
        images.append(image.astype(np.float16))
    path = tmp_path / "shard.mrcs"
    write_stack(path, images, shape=(2, TARGET, TARGET), dtype=np.float16)
    table = [{"micrograph": name, **frame.to_row()} for name, frame in frames.items()]
    write_table(pd.DataFrame(table), table_path(path))
    return path


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "relion_autopick"
    path.write_text(f"#!{sys.executable}\n{(HELPERS / 'fake_relion_autopick.py').read_text()}")
    path.chmod(0o755)
    return path


def assert_particles_come_first(found: pd.DataFrame) -> None:
    for name, truth in TRUTH.items():
        picks = found[found["micrograph"] == name].sort_values("score", ascending=False)
        best = picks[["x", "y"]].to_numpy()[: len(truth)]
        distance = np.hypot(*(best[:, None] - np.array(truth)).T).min(axis=1)
        assert (distance < 0.5 * RADII[name]).all(), name


def test_picks_are_in_pixels_of_the_micrographs(stack: Path, program: Path) -> None:
    found = pick_log(str(program), [stack], RADII, SETTINGS)
    assert list(found) == ["micrograph", "x", "y", "score"]
    assert_particles_come_first(found)


def test_the_diameter_is_asked_for_in_pixels_of_the_images(stack: Path, program: Path) -> None:
    settings = {"diameters": [0.8, 1.2], "adjust_threshold": -1.0}
    radii = RADII | {"b.mrc": 8.0}
    pick_log(str(program), [stack], radii, settings)
    calls = [json.loads(line) for line in (program.parent / "calls.jsonl").read_text().splitlines()]
    assert [(call["LoG_diam_min"], call["LoG_diam_max"]) for call in calls] == [
        (8.0, 12.0),
        (12.8, 19.2),
    ]
    assert {call["LoG_adjust_threshold"] for call in calls} == {-1.0}


def test_no_pick_at_all_is_an_empty_table(stack: Path, program: Path) -> None:
    found = pick_log(str(program), [stack], RADII, SETTINGS | {"adjust_threshold": 99.0})
    assert list(found) == ["micrograph", "x", "y", "score"]
    assert found.empty


def test_a_missing_or_failing_program_is_named(stack: Path, program: Path) -> None:
    with pytest.raises(InputError, match=r"relion_log\.executable: 'nowhere' was not found"):
        pick_log("nowhere", [stack], RADII, SETTINGS)
    (program.parent / "fail").touch()
    with pytest.raises(InputError, match="exited with status 1: MultidimArray: out of memory"):
        pick_log(str(program), [stack], RADII, SETTINGS)


@pytest.mark.relion
def test_relion_itself_finds_the_particles(stack: Path) -> None:
    program = shutil.which("relion_autopick")
    if program is None:
        pytest.skip("NO RELION: relion_autopick is not installed (Debian: relion)")
    assert_particles_come_first(pick_log(program, [stack], RADII, SETTINGS))
