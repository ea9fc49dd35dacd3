"""A run from micrographs to the comparison, on data small enough for a test."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile
import torch
import yaml
from workspace import CONFIG, ROOT, Workspace

from fewpick import cli
from fewpick.coordinates import read_picks
from fewpick.stacks import Stack, read_table

REAL = ROOT.parent / "shared/data/empiar10017"
COLUMNS = {
    *("dataset", "arm", "labeled_ratio", "seed", "n_labeled_micrographs", "n_labeled_particles"),
    *("pixel_precision", "pixel_recall", "pixel_f1"),
    *("pick_precision_0.3", "pick_recall_0.3", "pick_f1_0.3"),
    *("pick_precision_0.5", "pick_recall_0.5", "pick_f1_0.5"),
    *("average_precision", "threshold", "delta_pick_f1_0.3", "delta_low", "delta_high"),
    "train_seconds",
}


def test_table_has_a_row_for_each_run_and_its_mean(finished: Workspace) -> None:
    table = read_table(finished.directory / "results/comparison.tsv")
    assert set(table.columns) >= COLUMNS
    trained = table[table["labeled_ratio"] > 0]
    assert set(trained["arm"]) == {*CONFIG["arms"], "y_flipped"}
    for _, rows in trained.groupby("arm"):
        assert {"0", "mean", "sd"} == set(rows["seed"].astype(str))
    assert {"random", "difference_of_gaussians", "all_positive"} <= set(table["arm"])
    fractions = table.filter(regex="precision|recall|_f1").drop(columns="delta_pick_f1_0.3")
    values = fractions.to_numpy(float)
    assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()


def test_figures_and_readable_table(finished: Workspace) -> None:
    results = finished.directory / "results"
    pictures = sorted(p.relative_to(results / "figures") for p in results.rglob("*.png"))
    assert {str(p.parts[0]) for p in pictures} == {
        "scores.png",
        "precision_recall.png",
        "training",
        "micrographs",
    }
    assert all((results / "figures" / p).stat().st_size > 5000 for p in pictures)
    assert "supervised" in (results / "comparison.md").read_text()


def test_model_folder_says_how_it_was_made(finished: Workspace) -> None:
    models = finished.directory / "results/models"
    for arm, spec in CONFIG["arms"].items():
        folder = models / arm / "ratio-0.2/seed-0"
        said = json.loads((folder / "hyperparameters.json").read_text())
        assert said["method"] == spec["method"]
        assert said["training"]["steps"] == CONFIG["training"]["steps"]
        assert ("fixmatch" in said) == (spec["method"] == "fixmatch")
        assert len(read_table(folder / "history.tsv")) >= 1
        assert json.loads((folder / "threshold.json").read_text())["source"] == "validation"
    # All arms begin with the same network.
    assert len(list((models / "warm_start").iterdir())) == 1


def test_picks_are_written_for_other_programs(finished: Workspace) -> None:
    """In original pixels, and the same in every format."""
    folder = finished.directory / "results/picks/supervised/ratio-0.2/seed-0"
    candidates = read_table(folder / "candidates.tsv")
    model = finished.directory / "results/models/supervised/ratio-0.2/seed-0"
    threshold = json.loads((model / "threshold.json").read_text())["threshold"]
    chosen = candidates[candidates["score"] >= threshold]
    micrographs = sorted((finished.directory / "micrographs").iterdir())
    assert chosen[["x", "y"]].to_numpy().min() >= 0
    assert chosen[["x", "y"]].to_numpy().max() <= 255

    for path in (folder / "picks.star", folder / "picks.csv"):
        held = read_picks(path)
        assert sum(map(len, held.values())) == len(chosen)
        for name, picks in held.items():
            rows = chosen[chosen["micrograph"] == Path(name).name]
            np.testing.assert_allclose(picks.xy, rows[["x", "y"]], atol=1e-3)
    particles = starfile.read(folder / "picks.star")["particles"]
    assert set(particles["rlnMicrographName"]) <= {f"micrographs/{p.name}" for p in micrographs}
    assert not (folder / "micrographs").exists()  # a file for each micrograph is made on request


def test_check_foretells_the_number_of_files(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished.directory)
    assert cli.main(["check", str(finished.config_file), "--no-timing"]) == 0
    said = re.search(r"results need about .* in ([\d,]+) files", capsys.readouterr().out)
    assert said is not None
    folders = (finished.directory / name for name in ("results", ".snakemake"))
    there = sum(not path.is_dir() for folder in folders for path in folder.rglob("*"))
    assert int(said[1].replace(",", "")) == pytest.approx(there, rel=0.1)


def test_page_shows_every_training(finished: Workspace) -> None:
    page = (finished.directory / "results/report.html").read_text()
    data = json.loads(page.split('id="report-data">')[1].split("</script>")[0])
    assert {run["arm"] for run in data["gallery"]["runs"]} == set(CONFIG["arms"])
    assert {run["arm"] for run in data["trainings"]} == set(CONFIG["arms"])
    # Warm start and arm are one curve: four steps, though each phase counts its own two.
    assert all(run["step"] == [2, 4] for run in data["trainings"])
    assert len(data["gallery"]["micrographs"]) >= 2
    assert "&quot;steps&quot;: 4" in page
    assert "NaN" not in page.split('id="report-data">')[1].split("</script>")[0]


def test_snakemakes_own_report_has_captions(workspace: Workspace) -> None:
    workspace.run("--report", "snakemake.html")
    text = (workspace.directory / "snakemake.html").read_text()
    for said in (
        "Picks of fixmatch with labelled ratio 0.2",
        "gain over supervised and its 95 %",
        '"Micrographs": {',
        '"Training": {',
    ):
        assert said in text


def test_model_picks_the_same_without_the_workflow(finished: Workspace, tmp_path: Path) -> None:
    model = finished.directory / "results/models/fixmatch/ratio-0.2/seed-0"
    micrographs = str(finished.directory / "micrographs")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as many as the workflow's; sums of another number differ in a bit
    try:
        assert cli.main(["pick", str(model), micrographs, "-o", str(tmp_path / "picks.csv")]) == 0
    finally:
        torch.set_num_threads(threads)
    folder = finished.directory / "results/picks/fixmatch/ratio-0.2/seed-0"
    workflow = {Path(name).name: held for name, held in read_picks(folder / "picks.csv").items()}
    alone = read_picks(tmp_path / "picks.csv")
    assert set(alone) == set(workflow)
    for name, held in workflow.items():
        np.testing.assert_array_equal(alone[name].xy, held.xy)


def test_preprocessed_shards_hold_each_micrograph_once(finished: Workspace) -> None:
    results = finished.directory / "results"
    names = []
    for path in sorted((results / "preprocessed/mine").glob("*.mrcs")):
        stack, masks = Stack(path), Stack(results / "masks/mine" / path.name)
        assert stack.images.dtype == np.float16
        assert stack.images.shape[1:] == (128, 128)
        assert stack.voxel_size == pytest.approx(10.0)
        assert list(stack.table["micrograph"]) == list(masks.table["micrograph"])
        names += list(stack.table["micrograph"])
    assert sorted(names) == sorted(p.name for p in (finished.directory / "micrographs").iterdir())


def test_each_job_leaves_a_log_and_a_benchmark(finished: Workspace) -> None:
    results = finished.directory / "results"
    logs = {p.relative_to(results / "logs").with_suffix("") for p in results.rglob("logs/**/*.log")}
    measured = {
        p.relative_to(results / "benchmarks").with_suffix("")
        for p in results.rglob("benchmarks/**/*.tsv")
    }
    assert logs == measured
    text = (results / "logs/train/two_thresholds/ratio-0.2/seed-0.log").read_text()
    # The step, the rate, the remaining time and the validation score.
    assert "2/2" in text
    assert "/s, 0 s left" in text
    assert "val_f1" in text


def test_given_configuration_stands_for_itself(fresh: Workspace) -> None:
    """Data sets and arms of config/config.yaml do not leak into it."""
    jobs = fresh.jobs()
    assert {job.split()[1] for job in jobs if job.startswith("manifest")} == {"dataset=mine"}
    assert {job.split()[1] for job in jobs if job.startswith("train")} == {
        f"arm={arm}" for arm in CONFIG["arms"]
    }


def test_default_configuration_is_the_simulated_comparison(tmp_path: Path) -> None:
    jobs = Workspace.create(tmp_path).jobs()
    trained = {tuple(job.split()[1:3]) for job in jobs if job.startswith("train ")}
    arms = ("supervised", "fixmatch", "fixmatch_two_thresholds", "fixmatch_one_threshold")
    assert {(f"arm={a}", f"ratio={r}") for a in arms for r in ("0.05", "0.1")} <= trained
    assert any(job.startswith("simulate_") for job in jobs)


def test_other_pickers_are_scored_beside(workspace: Workspace) -> None:
    """Perfect picks of another program reach every particle; only the table and scores follow."""
    workspace.edit("external_picks", {"perfect": {"dataset": "mine", "path": "coordinates"}})
    assert {job.split()[0] for job in workspace.jobs()} == {
        "external",
        "comparison",
        "figure_scores",
        "report",
    }
    workspace.run()
    table = read_table(workspace.directory / "results/comparison.tsv")
    row = table[(table["arm"] == "perfect") & (table["seed"].astype(str) == "0")]
    assert row["pick_f1_0.3"].tolist() == [1.0]
    page = (workspace.directory / "results/report.html").read_text()
    data = json.loads(page.split('id="report-data">')[1].split("</script>")[0])
    shown = data["gallery"]["runs"][-1]
    counts = shown["pooled"]["mine"]
    assert (shown["arm"], shown["ratio"]) == ("perfect", None)
    assert counts["picks"][shown["chosen"]] == counts["true"][shown["chosen"]] == counts["truth"]


def test_two_data_sets_make_a_pooled_row(fresh: Workspace) -> None:
    """One simulated, one with files; they share one training."""
    config = fresh.config
    tiny = yaml.safe_load((ROOT / "config/tiny.yaml").read_text())
    config["datasets"] |= tiny["datasets"]
    config["arms"] = {"supervised": {"method": "supervised"}}
    fresh.config = config
    picks = "results/picks/supervised/ratio-0.2/seed-0/micrographs"
    fresh.run("results/comparison.tsv", picks)
    table = read_table(fresh.directory / "results/comparison.tsv")
    row = table[(table["arm"] == "supervised") & (table["seed"].astype(str) == "0")]
    assert set(row["dataset"]) == {"mine", "tiny", "all"}
    assert {path.name for path in (fresh.directory / picks).glob("[!.]*")} == {"mine", "tiny"}


@pytest.mark.skipif(not REAL.is_dir(), reason=f"NO REAL DATA: {REAL} is not there")
def test_real_micrographs(tmp_path: Path) -> None:
    """Six micrographs of EMPIAR-10017, a few steps."""
    workspace = Workspace.create(tmp_path)
    for kind, suffix in (("micrographs", ".jpg"), ("coordinates", ".csv")):
        (workspace.directory / kind).mkdir()
        for path in sorted((REAL / kind).glob("*" + suffix))[:6]:
            (workspace.directory / kind / path.name).symlink_to(path)
    workspace.config = CONFIG | {
        "datasets": {
            "empiar10017": {
                "micrographs": "micrographs",
                "coordinates": "coordinates",
                "particle_radius": 54,
                "border": 131,
            }
        },
        "preprocess": {"target_size": 384},
        "training": {"steps": 20, "warm_start_steps": 10, "crop_size": 128, "checks": 1},
        "arms": {arm: CONFIG["arms"][arm] for arm in ("supervised", "fixmatch")},
    }
    workspace.run()
    manifest = read_table(workspace.directory / "results/data/empiar10017/manifest.tsv")
    assert set(manifest["orientation"]) == {"ok"}
    assert manifest["n_particles"].between(300, 800).all()
    table = pd.read_csv(workspace.directory / "results/comparison.tsv", sep="\t")
    blobs = table[(table["arm"] == "difference_of_gaussians") & (table["seed"] == "mean")]
    # The frame is right if a picker that learns nothing finds most particles.
    assert blobs["pick_f1_0.3"].item() > 0.6
