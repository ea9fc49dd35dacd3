"""RELION's Laplacian of Gaussian as a row of the table, with a program that stands in for it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from workspace import ROOT, Workspace

from fewpick.stacks import read_table

SCORED = {
    "relion_log dataset=mine",
    "external picker=relion_log seed=0",
    *("comparison", "figure_scores", "report"),
}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "relion_autopick"
    source = (ROOT / "tests/helpers/fake_relion_autopick.py").read_text()
    path.write_text(f"#!{sys.executable}\n{source}")
    path.chmod(0o755)
    return path


def test_the_filter_is_a_row_without_labels(workspace: Workspace, program: Path) -> None:
    workspace.edit("baselines.relion_log", {"executable": str(program)})
    assert workspace.jobs() == SCORED
    workspace.run()
    table = read_table(workspace.directory / "results/comparison.tsv")
    row = table[(table["seed"].astype(str) == "0") & (table["arm"] == "relion_log")].iloc[0]
    # What stands in for RELION finds dark discs, so names and frames are right.
    assert row["pick_f1_0.3"] > 0.5
    assert row["flipped_pick_f1_0.3"] < row["pick_f1_0.3"]
    assert np.isnan(row["labeled_ratio"])
    workspace.edit("baselines.relion_log.diameters", [0.7, 0.9])
    assert workspace.jobs() == SCORED


def test_without_the_program_its_row_is_left_out_with_a_warning(workspace: Workspace) -> None:
    workspace.edit("baselines.relion_log", {"executable": "no-such-program"})
    said = workspace.run("--dry-run")
    assert "RELION is left out of the comparison: baselines.relion_log.executable" in said
    assert "Nothing to be done" in said
