"""Topaz as a row of the table, with a program that stands in for it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from workspace import ROOT, Workspace

from fewpick.coordinates import read_picks
from fewpick.stacks import read_table

RUN = "ratio=0.2 seed=0"
SHARDS = [f"dataset=mine shard=shard-00{i}of004" for i in range(4)]
SCORED = {f"evaluate arm=topaz {RUN}", "comparison", "figure_scores", "report"}
PICKED = {f"topaz_extract {RUN}", f"topaz_threshold {RUN}", f"export arm=topaz {RUN}"} | SCORED
TRAINED = {f"hyperparameters model=topaz {RUN}", f"topaz_train {RUN}"} | PICKED


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "topaz"
    path.write_text(f"#!{sys.executable}\n{(ROOT / 'tests/helpers/fake_topaz.py').read_text()}")
    path.chmod(0o755)
    return path


def test_topaz_is_a_row_beside_the_arms(workspace: Workspace, program: Path) -> None:
    workspace.edit("baselines.topaz", {"executable": str(program), "epochs": 2})
    assert workspace.jobs() == TRAINED | {f"topaz_images {shard}" for shard in SHARDS}
    workspace.run()
    results = workspace.directory / "results"
    table = read_table(results / "comparison.tsv")
    rows = table[table["seed"].astype(str) == "0"].set_index("arm")
    topaz, supervised = rows.loc["topaz"], rows.loc["supervised"]
    for column in ("n_labeled_particles", "n_validation_particles", "n_test_particles"):
        assert topaz[column] == supervised[column] > 0
    # What stands in for Topaz finds dark discs, so names, frames and thresholds are right.
    assert topaz["pick_f1_0.3"] > 0.5
    assert topaz["flipped_pick_f1_0.3"] < topaz["pick_f1_0.3"]
    assert topaz["train_seconds"] > 0
    assert topaz["delta_pick_f1_0.3"] == pytest.approx(
        topaz["pick_f1_0.3"] - supervised["pick_f1_0.3"]
    )
    assert "| topaz |" in (results / "comparison.md").read_text()

    # The labels are those of the ratio, the threshold comes from the same validation labels.
    labels = read_table(results / "splits/seed-0/ratio-0.2.tsv")
    lines = (program.parent / "calls.jsonl").read_text().splitlines()
    calls = [json.loads(line) for line in lines]
    (training,) = (call for call in calls if call["command"] == "train")
    given = labels[labels["split"] == "train"]["n_labeled_particles"].sum()
    assert len(training["train_labels"]) == given
    assert len(training["train"]) == (labels["split"] == "train").sum()
    threshold = json.loads((results / "models/topaz/ratio-0.2/seed-0/threshold.json").read_text())
    assert threshold["source"] == "validation"
    folder = results / "picks/topaz/ratio-0.2/seed-0"
    candidates = read_table(folder / "candidates.tsv")
    chosen = candidates[candidates["score"] >= threshold["threshold"]]
    assert sum(map(len, read_picks(folder / "picks.star").values())) == len(chosen)
    assert candidates["micrograph"].nunique() == len(labels)

    # Where the program lies changes no result; only the page, which shows the configuration, is
    # drawn anew. What it is asked changes its row.
    elsewhere = program.rename(program.parent / "elsewhere")
    workspace.edit("baselines.topaz.executable", str(elsewhere))
    assert workspace.jobs() == {"report"}
    workspace.edit("baselines.topaz.epochs", 3)
    assert workspace.jobs() == TRAINED
    workspace.edit("baselines.topaz.epochs", 2)
    workspace.edit("fixmatch.weight", 0.5)
    assert not any("topaz" in job for job in workspace.jobs())


def test_without_the_program_its_rows_are_left_out_with_a_warning(workspace: Workspace) -> None:
    workspace.edit("baselines.topaz", {"executable": "no-such-program"})
    said = workspace.run("--dry-run")
    assert "Topaz is left out of the comparison" in said
    assert "'no-such-program'" in said
    assert "Nothing to be done" in said
