"""The workflow, killed again and again at random moments, ends in the table of a quiet run."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
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


def begin(workspace: Workspace) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        workspace.command("--quiet", "all"),
        cwd=workspace.directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


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
        jobs = jobs_of(process.pid)
        if jobs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(draw.choice(jobs), signal.SIGKILL)
    process.wait()


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
    """Each run may be killed several times; each that is completed is compared."""
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
        for _ in range(draw.choice((1, 2, 3))):
            victim = draw.choice(VICTIMS)
            process = begin(workspace)
            try:
                process.wait(draw.uniform(0, duration))
            except subprocess.TimeoutExpired:
                kill(process, victim, draw)
                kills += 1
                print(f"kill {kills}, run {runs}: {victim}", flush=True)
            # A killed Snakemake leaves its lock behind. Jobs that outlive it are not waited for.
            workspace.run("--unlock")
        workspace.run()
        assert_same(results(workspace), wanted)
    print(f"{kills} kills in {runs} runs, each with the same results", flush=True)
