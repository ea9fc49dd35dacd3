"""A training that is killed at any moment ends in the same network as one that is not."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from interrupted import start
from workspace import Workspace

from fewpick.stacks import read_table

# How many trainings to kill; some suffice each time, and 20 for once.
TRIALS = int(os.environ.get("FEWPICK_KILLS", "2"))


@dataclass
class Training:
    """One training of a finished workspace, longer than it was, to be run again and again."""

    workspace: Workspace
    inputs: dict[str, Any]
    folder: Path

    def begin(self, name: str) -> ForkServerProcess:
        return start(self.workspace.directory, self.inputs, self.folder / name)

    def finish(self, name: str) -> tuple[bytes, pd.DataFrame]:
        """Run it to the end; the model file and the history, which holds the time it took."""
        process = self.begin(name)
        process.join()
        assert process.exitcode == 0, self.log(name)
        assert self.checkpoints() == []
        history = read_table(self.folder / name / "history.tsv").drop(columns="seconds")
        return (self.folder / name / "model.safetensors").read_bytes(), history

    def log(self, name: str) -> str:
        path = self.folder / name / "log.txt"
        return path.read_text() if path.exists() else ""

    def checkpoints(self) -> list[Path]:
        return list((self.workspace.directory / "results/checkpoints").glob("[!.]*"))


@pytest.fixture
def training(workspace: Workspace, tmp_path: Path) -> Callable[[int], Training]:
    """Make a FixMatch training with a checkpoint every so many steps."""

    def make(checkpoint_steps: int) -> Training:
        (warm_start,) = workspace.directory.glob("results/models/warm_start/*/*/*/*.safetensors")
        model = Path("results/models/fixmatch/ratio-0.2/seed-0")
        values = json.loads((workspace.directory / model / "hyperparameters.json").read_text())
        values["training"] |= {"steps": 32, "checkpoint_steps": checkpoint_steps, "checks": 5}
        hyperparameters = tmp_path / "hyperparameters.json"
        hyperparameters.write_text(json.dumps(values))
        inputs = {
            "shards": ["results/data/mine/shards.tsv"],
            "ratio": "results/splits/seed-0/ratio-0.2.tsv",
            "hyperparameters": str(hyperparameters),
            "warm_start": str(warm_start),
        }
        return Training(workspace, inputs, tmp_path)

    return make


def test_killed_trainings_end_in_the_same_bits(training: Callable[[int], Training]) -> None:
    """SIGKILL once or twice, anywhere between its start and its end."""
    run = training(3)
    begin = time.monotonic()
    model, history = run.finish("whole")
    duration = time.monotonic() - begin
    draw = random.Random(0)
    for trial in range(TRIALS):
        name = f"trial-{trial}"
        for _ in range(draw.choice((1, 2))):
            delay = draw.uniform(0, duration)
            process = run.begin(name)
            process.join(delay)
            if process.exitcode is None:
                process.kill()
                process.join()
                assert process.exitcode == -signal.SIGKILL
        again, history_again = run.finish(name)
        assert again == model, trial
        pd.testing.assert_frame_equal(history_again, history)


def test_sigterm_saves_at_once_and_the_next_run_goes_on(
    training: Callable[[int], Training],
) -> None:
    """With a checkpoint every 1000 steps there is none but that which the signal asks for."""
    run = training(1000)
    model, _ = run.finish("whole")
    process = run.begin("stopped")
    while "steps left" not in run.log("stopped"):
        assert process.exitcode is None, run.log("stopped")
        time.sleep(0.005)
    process.terminate()
    process.join()
    assert process.exitcode == 1
    assert "stopped after step" in run.log("stopped")
    assert not (run.folder / "stopped/model.safetensors").exists()
    assert len(run.checkpoints()) == 1
    again, _ = run.finish("stopped")
    assert "resumed at step" in run.log("stopped")
    assert again == model
