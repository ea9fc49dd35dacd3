"""The workflow, killed again and again at random moments, ends in the table of a quiet run."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from workspace import Workspace, small_workspace

from fewpick.stacks import read_table

KILLS = int(os.environ.get("FEWPICK_WORKFLOW_KILLS", "100"))
# Whom a trial kills: the whole session, as a machine that loses power does; Snakemake alone, whose
# jobs go on; one job alone, as the kernel does when memory runs out; or Snakemake politely.
VICTIMS = ("session", "snakemake", "job", "polite")

Results = dict[str, pd.DataFrame | bytes]


def workspace_to_kill(folder: Path) -> Workspace:
    """Few jobs of each kind, so that a run takes less than a minute."""
    workspace = small_workspace(folder, 6)
    workspace.edit("preprocess.shard_size", 6)
    workspace.edit("arms", {name: {"method": name} for name in ("supervised", "fixmatch")})
    return workspace


@contextlib.contextmanager
def begun(workspace: Workspace) -> Iterator[subprocess.Popen[bytes]]:
    """Snakemake in a session of its own, which does not outlive a failure of the test.

    It takes no lock: one that was killed would leave it behind.
    """
    with workspace.directory.with_name("log.txt").open("ab") as log:
        process = subprocess.Popen(
            workspace.command("--nolock"),
            cwd=workspace.directory,
            env=workspace.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise


def jobs_of(session: int) -> list[int]:
    """Processes that Snakemake, who leads the session, has started and that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the name, which stands in brackets: state, parent, group, session.
            if int(stat.read_text().rpartition(")")[2].split()[3]) == session:
                found.append(int(stat.parent.name))
    return sorted(set(found) - {session})


def kill(process: subprocess.Popen[bytes], victim: str, draw: random.Random) -> None:
    if victim == "session":
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == "snakemake":
        process.kill()
    elif victim == "polite":
        process.terminate()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.kill(draw.choice(jobs_of(process.pid) or [process.pid]), signal.SIGKILL)
    process.wait()


def is_finished(workspace: Workspace, seconds: float, victim: str, draw: random.Random) -> bool:
    """Run for so many seconds; whether that sufficed. Otherwise the victim is killed."""
    with begun(workspace) as process:
        try:
            # Jobs of one that was killed may still run beside it, and may not harm it.
            assert process.wait(seconds) == 0, workspace.directory.with_name("log.txt")
        except subprocess.TimeoutExpired:
            kill(process, victim, draw)
            return False
    return True


def results(workspace: Workspace) -> Results:
    """The comparison without its times, all picks and all models."""
    folder = workspace.directory / "results"
    table = read_table(folder / "comparison.tsv").drop(columns="train_seconds")
    paths = [*folder.glob("picks/**/*.star"), *folder.glob("models/**/*.safetensors")]
    assert paths
    contents = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return {"comparison": table, **contents}


def assert_same(got: Results, wanted: Results) -> None:
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        again = got[name]
        if isinstance(value, pd.DataFrame) and isinstance(again, pd.DataFrame):
            pd.testing.assert_frame_equal(again, value)
        else:
            assert again == value, name


@pytest.mark.kills
def test_a_killed_workflow_ends_in_the_same_table(tmp_path: Path) -> None:
    """Each run is killed until it comes to its end between two kills, and is compared then."""
    start = time.monotonic()
    quiet = workspace_to_kill(tmp_path / "quiet")
    quiet.run()
    duration = time.monotonic() - start
    wanted = results(quiet)

    draw = random.Random(int(os.environ.get("FEWPICK_SEED", "0")))
    kills = runs = 0
    while kills < KILLS:
        runs += 1
        workspace = workspace_to_kill(tmp_path / f"run-{runs}")
        while kills < KILLS:
            victim = draw.choice(VICTIMS)
            if is_finished(workspace, draw.uniform(0, duration / 3), victim, draw):
                break
            kills += 1
            print(f"kill {kills}, run {runs}: {victim}", flush=True)
        else:
            workspace.run()
        assert_same(results(workspace), wanted)
        shutil.rmtree(tmp_path / f"run-{runs}")
    print(f"{kills} kills in {runs} runs, each with the same results", flush=True)
