"""A real SLURM of one node."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import Cluster, ClusterWorkspace
from workspace import ROOT

SCRIPT = Path(__file__).parent / "start_slurm.sh"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("slurm")
    environment = {**os.environ, "SLURM_TEST_DIR": str(folder)}
    check = subprocess.run([SCRIPT, "check"], capture_output=True, text=True, check=False)
    if check.returncode != 0:
        needs = ", ".join(check.stdout.splitlines())
        pytest.skip(f"NO SLURM, so the cluster is not tested: {needs}")
    try:
        subprocess.run([SCRIPT, "start"], env=environment, check=True, timeout=60)
        yield Cluster(folder)
    finally:
        subprocess.run([SCRIPT, "stop"], env=environment, check=True, timeout=120)


@pytest.fixture(scope="session")
def on_cluster(tmp_path_factory: pytest.TempPathFactory) -> ClusterWorkspace:
    """The tiny run with fewer trainings and more shards, to be grouped."""
    workspace = ClusterWorkspace.create(tmp_path_factory.mktemp("cluster"))
    workspace.config_file.write_text((ROOT / "config/tiny.yaml").read_text())
    workspace.edit("preprocess.shard_size", 2)
    workspace.edit("splits.labeled_ratios", [0.5])
    arms = workspace.config["arms"]
    workspace.edit("arms", {name: arms[name] for name in ("supervised", "fixmatch")})
    return workspace
