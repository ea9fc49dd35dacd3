"""The target `picks`: clicks on a few micrographs, picks of all, and what an edit runs again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from workspace import CONFIG, Workspace, small_workspace

from fewpick import cli
from fewpick.annotation.areas import write_areas
from fewpick.coordinates import Picks, read_picks, write_picks
from fewpick.stacks import read_table

CLICKED = ("m01", "m04", "m07")
PARTS = ("all", "fold-0", "fold-1")
SHARDS = [f"dataset=mine shard=shard-00{i}of004" for i in range(4)]


def click(workspace: Workspace, n: int) -> None:
    """Keep the first `n` particles of three micrographs, in one STAR file."""
    marks = read_picks(workspace.directory / "coordinates")
    held = {f"{name}.mrc": Picks(marks[name].xy[:n]) for name in CLICKED}
    write_picks(workspace.directory / "labels.star", held)


@pytest.fixture(scope="module")
def picked(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which `picks` has run; not to be changed."""
    workspace = small_workspace(tmp_path_factory.mktemp("picked"))
    click(workspace, 5)
    (workspace.directory / "areas.tsv").write_text("micrograph\tx0\ty0\tx1\ty1\n")
    spec = {
        "micrographs": "micrographs",
        "coordinates": "labels.star",
        "annotation": "areas",
        "areas": "areas.tsv",
        "particle_radius": 12,
    }
    shared = {key: CONFIG[key] for key in ("preprocess", "model", "training", "resources")}
    workspace.config = shared | {"datasets": {"mine": spec}, "final": {"folds": 2}}
    workspace.run("picks")
    return workspace


@pytest.fixture
def workspace(picked: Workspace, tmp_path: Path) -> Workspace:
    return picked.copy(tmp_path)


def of_parts(*rules: str) -> set[str]:
    return {f"{rule} part={part}" for rule in rules for part in PARTS}


CONCLUDED = {"final_picks", "final_report"}
PICKED = of_parts("final_candidates") | CONCLUDED
LEARNED = of_parts("final_warm_start", "final_train") | PICKED
LABELLED = (
    {f"{rule} dataset=mine" for rule in ("inventory", "manifest", "shards")}
    | {f"masks {shard}" for shard in SHARDS}
    | {"final_labels"}
    | LEARNED
)


def test_picks_for_other_programs_and_a_verdict(picked: Workspace) -> None:
    results = picked.directory / "results/final"
    micrographs = sorted(path.stem for path in (picked.directory / "micrographs").iterdir())
    stars = {path.name for path in (results / "micrographs").glob("[!.]*")}
    assert stars == {f"{name}_autopick.star" for name in micrographs} | {"autopick.star"}
    outcome = json.loads((results / "quality.json").read_text())["mine"]
    assert outcome["source"] == "marks"
    assert outcome["labels"] == {"micrographs": 3, "particles": 15}
    assert outcome["quality"]["marks"]["marks"] == 15
    assert outcome["verdict"][0].startswith("Too few labels to judge the picks")
    picks = read_picks(results / "picks.star")
    assert sum(map(len, picks.values())) == outcome["picks"] > 0
    page = (results / "report.html").read_text()
    assert "Too few labels to judge the picks" in page
    assert page.count("<figure>") == 6
    assert page.count('class="mark"') == 15


def test_every_label_trains_and_no_micrograph_is_kept_for_a_test(picked: Workspace) -> None:
    training = picked.directory / "results/final/training"
    table = read_table(training / "all/labels.tsv")
    assert set(table["split"]) == {"train", "unannotated"}
    assert table["n_labeled_particles"].sum() == 15
    assert table["held"].isna().all()
    held = [read_table(training / part / "labels.tsv") for part in PARTS[1:]]
    assert sum(fold["n_labeled_particles"].sum() for fold in held) == 15


def test_the_picker_picks_the_same(picked: Workspace, tmp_path: Path) -> None:
    results = picked.directory / "results/final"
    command = ["pick", str(results), str(picked.directory / "micrographs")]
    assert cli.main([*command, "-o", str(tmp_path / "picks.csv")]) == 0
    workflow = {Path(name).name: held for name, held in read_picks(results / "picks.csv").items()}
    alone = read_picks(tmp_path / "picks.csv")
    assert set(alone) == set(workflow)
    for name, held in workflow.items():
        np.testing.assert_allclose(alone[name].xy, held.xy, atol=1e-3)


def test_nothing_runs_twice(workspace: Workspace) -> None:
    assert workspace.jobs("picks") == set()


def test_data_elsewhere_trains_nothing_again(workspace: Workspace) -> None:
    """The tables of picks name micrographs by their paths."""
    (workspace.directory / "micrographs").rename(workspace.directory / "moved")
    workspace.edit("datasets.mine.micrographs", "moved")
    assert workspace.jobs("picks") == CONCLUDED


def test_a_click_trains_again_and_reads_no_micrograph_again(workspace: Workspace) -> None:
    click(workspace, 6)
    assert workspace.jobs("picks") == LABELLED


def test_a_finished_area_trains_again(workspace: Workspace) -> None:
    write_areas(workspace.directory / "areas.tsv", {"m01.mrc": [[0, 0, 60, 60]]})
    assert workspace.jobs("picks") == LABELLED


def test_keys_rerun_what_uses_them(workspace: Workspace) -> None:
    config = workspace.config
    workspace.edit("fixmatch.weight", 0.5)
    learned = of_parts("final_train") | PICKED | {"final_hyperparameters phase=train"}
    assert workspace.jobs("picks") == learned
    workspace.config = config
    workspace.edit("picking.nms_radius", 0.9)
    assert workspace.jobs("picks") == PICKED
    workspace.config = config
    # The comparison alone uses these.
    workspace.edit("splits.seeds", [3])
    workspace.edit("arms", {"only": {"method": "supervised"}})
    workspace.edit("evaluation", {"reference_arm": "only"})
    assert workspace.jobs("picks") == set()


def test_the_comparison_refuses_clicks(workspace: Workspace) -> None:
    text = workspace.fail("results/splits/seed-0/split.tsv")
    assert "m01.mrc is annotated by clicks" in text
    assert "Run the target picks" in text


def test_clicks_alone_are_enough_to_begin_with_the_general_network(tmp_path: Path) -> None:
    """It counts the particles that the clicks do not tell, and what is made of it picks alone."""
    workspace = small_workspace(tmp_path, 8)
    click(workspace, 5)
    spec = {
        "micrographs": "micrographs",
        "coordinates": "labels.star",
        "annotation": "clicks",
        "particle_radius": 12,
    }
    workspace.config = {
        "datasets": {"mine": spec},
        "preprocess": {"particle_px": 20},
        "training": CONFIG["training"] | {"start": "general"},
        "final": {"folds": 2},
        "resources": CONFIG["resources"],
    }
    workspace.run("picks")
    results = workspace.directory / "results/final"
    table = read_table(results / "training/all/labels.tsv")
    (counted,) = table["expected"].unique()
    assert counted > 0
    for part in PARTS[1:]:
        assert (read_table(results / f"training/{part}/labels.tsv")["expected"] == counted).all()
    outcome = json.loads((results / "quality.json").read_text())["mine"]
    assert outcome["source"] == "counted"
    assert outcome["quality"]["marks"]["marks"] == 15
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "count by the initial network, checked against marks" in page
    picks = read_picks(results / "picks.star")
    assert sum(map(len, picks.values())) == outcome["picks"] > 0
    command = ["pick", str(results), str(workspace.directory / "micrographs")]
    assert cli.main([*command, "-o", str(workspace.directory / "again.star")]) == 0
    assert workspace.jobs("picks") == set()
    # An expected number leaves nothing to count, and decides.
    workspace.edit("datasets.mine.expected_particles", 40)
    assert workspace.jobs("picks") >= {"final_labels"} | LEARNED
