"""The workflow on a real SLURM, judged by SLURM's own records.

The tests go on from one another, since each job costs seconds. `make test-slurm` runs them; they
are not part of `make test`, because they take minutes and need root and SLURM.
"""

from __future__ import annotations

import json
import re
import subprocess
import time

import pytest
from slurm_cluster import Cluster, ClusterWorkspace

pytestmark = pytest.mark.slurm

FIXMATCH = "fixmatch/ratio-0.5/seed-0"
# Given on the command line, this replaces all that the profile sets for trainings.
UNWARNED = ("train:gpu=1", "train:slurm_partition=gpu")


def test_tiny_run_and_an_edit_while_jobs_wait(
    cluster: Cluster, on_cluster: ClusterWorkspace
) -> None:
    """Trainings are jobs of their own with one GPU, preprocessing is grouped.

    The configuration is edited while the jobs wait in the queue. All is made as it was when the
    run began.
    """
    original = on_cluster.config_file.read_text()
    for partition in ("cpu", "gpu"):
        cluster.control("update", f"PartitionName={partition}", "State=DOWN")
    run = on_cluster.start()
    cluster.wait("simulate", "PENDING")
    on_cluster.edit("datasets.tiny.simulate.snr", [9.0, 9.0])
    on_cluster.edit("training.learning_rate", 1.0)
    cluster.control("update", "PartitionName=cpu", "State=UP")
    cluster.wait("warm_start", "PENDING")
    on_cluster.edit("preprocess.target_size", 64)
    on_cluster.edit("model.widths", [16, 16, 16])
    on_cluster.edit("picking.nms_radius", 9.0)
    cluster.control("update", "PartitionName=gpu", "State=UP")
    assert run.wait() == 0, on_cluster.output()[-8000:]

    on_cluster.config_file.write_text(original)
    assert on_cluster.jobs() == set()
    model = on_cluster.directory / "results/models" / FIXMATCH
    values = json.loads((model / "hyperparameters.json").read_text())
    assert values["model"]["widths"] == [8, 8, 8]
    truth = (on_cluster.directory / "results/simulated/tiny/truth.json").read_text()
    assert "9.0" not in re.findall(r'"snr[^,\]}]*', truth)
    assert (on_cluster.directory / "results/comparison.md").exists()

    jobs = cluster.jobs()
    assert {job.state for job in jobs} == {"COMPLETED"}
    trainings = [job for job in jobs if job.name.startswith(("warm_start", "train"))]
    assert len(trainings) == 3
    assert [job.gpus for job in trainings] == [1, 1, 1]
    assert all(job.partition == "gpu" for job in trainings)
    # All shards were read and masked in one job, which asked for no more than the profile allows.
    (grouped,) = [job for job in jobs if "preprocess" in job.name]
    assert grouped.gpus == 0
    assert grouped.cores <= 8
    assert not [job for job in jobs if job.name.startswith("hyperparameters")]


def prepare_long_training(workspace: ClusterWorkspace, weight: float) -> None:
    """Let the FixMatch arm train so long that there is time to disturb it.

    `weight` is another one each time, so that there is something to train.
    """
    arm = {
        "method": "fixmatch",
        "training": {"steps": 500, "checkpoint_steps": 5, "checks": 1},
        "fixmatch": {"weight": weight, "guard": False},
    }
    workspace.edit("arms.fixmatch", arm)


def log(workspace: ClusterWorkspace) -> str:
    path = workspace.directory / f"results/logs/train/{FIXMATCH}.log"
    return path.read_text() if path.exists() else ""


def slurm_log(workspace: ClusterWorkspace, number: int) -> str:
    """What SLURM wrote about a job, in the file that the report names."""
    (path,) = (workspace.directory / ".snakemake/slurm_logs").rglob(f"{number}.log")
    assert str(path) in workspace.output()
    return path.read_text()


def wait_for_checkpoint(workspace: ClusterWorkspace, cluster: Cluster, after: int) -> str:
    """Wait until the training has saved its state; the number of its job."""
    job = cluster.wait("train_", "RUNNING", after)
    folder = workspace.directory / "results/checkpoints"
    begin = time.time()
    while not any(path.stat().st_mtime > begin for path in folder.glob("[!.]*.pt")):
        assert time.time() < begin + 600, workspace.output()
        time.sleep(0.2)
    return str(job.number)


def assert_reported(workspace: ClusterWorkspace, number: str, state: str) -> None:
    said = f"SLURM-job '{number}' failed, SLURM status is: '{state}'"
    assert said in workspace.output(), workspace.output()[-8000:]
    assert not (workspace.directory / f"results/models/{FIXMATCH}/model.safetensors").exists()


def test_cancelled_then_out_of_memory_then_finished(
    cluster: Cluster, on_cluster: ClusterWorkspace
) -> None:
    prepare_long_training(on_cluster, 0.1)
    arguments = ("--retries", "0", "--until", "train")
    run = on_cluster.start(*arguments)
    number = wait_for_checkpoint(on_cluster, cluster, cluster.last())
    subprocess.run(["scancel", number], check=True)
    assert run.wait() != 0
    assert_reported(on_cluster, number, "CANCELLED")
    assert "stopped after step" in log(on_cluster)

    before = cluster.last()
    run = on_cluster.start(*arguments, "--set-resources", "train:mem_mb=250", *UNWARNED)
    assert run.wait() != 0
    (job,) = (job for job in cluster.jobs("train_") if job.number > before)
    # A cluster with cgroups calls it OUT_OF_MEMORY.
    assert_reported(on_cluster, str(job.number), job.state)
    assert "exceeded memory limit" in slurm_log(on_cluster, job.number)

    on_cluster.run("--until", "train")
    assert "resumed at step" in log(on_cluster)


def test_past_its_time_limit_then_preempted_then_finished(
    cluster: Cluster, on_cluster: ClusterWorkspace
) -> None:
    prepare_long_training(on_cluster, 0.2)
    arguments = ("--retries", "0", "--until", "train")
    run = on_cluster.start(*arguments)
    number = wait_for_checkpoint(on_cluster, cluster, cluster.last())
    # The profile has SLURM warn a training two minutes before: at once, with a limit of one.
    cluster.control("update", f"JobId={number}", "TimeLimit=1")
    assert run.wait() != 0
    (job,) = (job for job in cluster.jobs("train_") if str(job.number) == number)
    assert job.state in ("FAILED", "TIMEOUT")  # the latter where it has run for a minute already
    assert_reported(on_cluster, number, job.state)
    assert "stopped after step" in log(on_cluster)

    # Time passes and the training, not warned, does not end: its processes are halted.
    run = on_cluster.start(*arguments, "--set-resources", *UNWARNED)
    number = wait_for_checkpoint(on_cluster, cluster, int(number))
    subprocess.run(["scancel", "--signal=STOP", number], check=True)
    cluster.control("update", f"JobId={number}", "TimeLimit=1")
    assert run.wait() != 0
    assert_reported(on_cluster, number, "TIMEOUT")

    run = on_cluster.start(*arguments)
    number = wait_for_checkpoint(on_cluster, cluster, int(number))
    assert "resumed at step" in log(on_cluster)
    cluster.control("requeue", number)
    cluster.wait("train_", "PENDING", int(number) - 1)
    assert "stopped after step" in log(on_cluster)
    cluster.control("update", f"JobId={number}", "StartTime=now")
    assert run.wait() == 0, on_cluster.output()[-8000:]
    job = cluster.jobs("train_")[-1]
    assert (str(job.number), job.state, job.restarts) == (number, "COMPLETED", 1)
    assert "resumed at step" in log(on_cluster)
