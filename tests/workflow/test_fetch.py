"""A public data set as a target of the workflow, from a server on this machine."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest
import yaml
from fake_site import archive, entry, serving
from workspace import Workspace


def test_a_data_set_is_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    workspace = Workspace.create(tmp_path)
    noise = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    mrcfile.write(tmp_path / "m.mrc", noise)
    target = "data/cryoppp-10017/config.yaml"
    tiny = yaml.safe_load((workspace.project / "config/tiny.yaml").read_text())
    with serving() as site:
        site.files["/10017.tar.gz"] = archive(entry((tmp_path / "m.mrc").read_bytes()))
        site.faults["/10017.tar.gz"] = [200]
        workspace.config = tiny | {"fetch": {"mirror": site.url}}
        workspace.run(target)
        spec = yaml.safe_load((workspace.directory / target).read_text())["datasets"]
        assert spec["cryoppp-10017"]["micrographs"] == "data/cryoppp-10017/micrographs"
        # What was fetched outlives its target, which is all that Snakemake may delete.
        n = len(site.transfers("/10017.tar.gz"))
        workspace.run(target, "--forcerun", "fetch")
        assert len(site.transfers("/10017.tar.gz")) == n == 2
    # The configuration that was written plans a run.
    workspace.config = yaml.safe_load((workspace.directory / target).read_text())
    assert "manifest dataset=cryoppp-10017" in workspace.jobs()
