"""The rerun contract: what an edit makes run again, by the exact set of jobs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import mrcfile
import pytest
import yaml
from workspace import Workspace

ARMS = ("supervised", "fixmatch", "two_thresholds", "one_threshold")
TABLE = {"comparison", "figure_scores", "report"}
SHARDS = [f"dataset=mine shard=shard-00{i}of004" for i in range(4)]


def runs(rule: str, arms: Iterable[str] = ARMS, ratio: str = "0.2", seed: int = 0) -> set[str]:
    return {f"{rule} arm={arm} ratio={ratio} seed={seed}" for arm in arms}


def scored(arms: Iterable[str] = ARMS, ratio: str = "0.2", seed: int = 0) -> set[str]:
    """Scoring of some arms, and what shows it. Micrographs are drawn for the first seed only."""
    drawn = runs("figure_micrographs", arms, ratio, seed) if seed == 0 else set()
    return runs("evaluate", arms, ratio, seed) | drawn | TABLE


def picked(arms: Iterable[str] = ARMS, ratio: str = "0.2", seed: int = 0) -> set[str]:
    """Picking with trained networks, and the tables of picks."""
    return runs("pick", arms, ratio, seed) | runs("export", arms, ratio, seed)


def trained(arms: Iterable[str] = ARMS, ratio: str = "0.2", seed: int = 0) -> set[str]:
    """Training of some arms, and all that follows from it."""
    work = runs("train", arms, ratio, seed) | picked(arms, ratio, seed)
    return work | scored(arms, ratio, seed) | {f"figure_training ratio={ratio} seed={seed}"}


def configured(arms: Iterable[str], ratio: str = "0.2", seed: int = 0) -> set[str]:
    """New hyperparameters of arms."""
    return {f"hyperparameters model={arm} ratio={ratio} seed={seed}" for arm in arms}


def warm(workspace: Workspace, rules: Iterable[str], ratio: str = "0.2", seed: int = 0) -> set[str]:
    """Jobs of the warm start, whose key is a hash."""
    (folder,) = (workspace.directory / "results/models/warm_start").iterdir()
    name = {
        "hyperparameters": f"model=warm_start/{folder.name}",
        "warm_start": f"key={folder.name}",
    }
    return {f"{rule} {name[rule]} ratio={ratio} seed={seed}" for rule in rules}


def listed() -> set[str]:
    """The files of the data set, and what is made of them but for images and labels."""
    datasets = {f"{rule} dataset=mine" for rule in ("inventory", "manifest", "shards")}
    return datasets | {f"masks {shard}" for shard in SHARDS} | {"split seed=0", "baselines seed=0"}


def labelled(workspace: Workspace, ratio: str = "0.2", seed: int = 0) -> set[str]:
    """The labels of one ratio, and all that follows from them."""
    return (
        {f"labelled ratio={ratio} seed={seed}"}
        | warm(workspace, ["warm_start"], ratio, seed)
        | trained(ratio=ratio, seed=seed)
    )


def test_nothing_runs_twice(workspace: Workspace) -> None:
    assert workspace.jobs() == set()


def test_comments_order_of_keys_and_touched_files(workspace: Workspace) -> None:
    def turned(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: turned(value) for key, value in reversed(node.items())}
        return node

    text = yaml.safe_dump(turned(workspace.config), sort_keys=False)
    assert list(yaml.safe_load(text)) == list(reversed(list(workspace.config)))
    workspace.config_file.write_text(f"# A comment.\n{text}\n# Another.\n")
    now = time.time()
    for path in sorted(workspace.directory.rglob("*")):
        if ".snakemake" not in path.parts and path.is_file():
            now += 0.001
            os.utime(path, (now, now))
    assert workspace.jobs() == set()


@pytest.mark.parametrize("profile", ["default", "slurm"])
def test_touched_code(workspace: Workspace, profile: str) -> None:
    """Scripts, rules, modules and environments, as a `git checkout` there and back leaves them."""
    now = time.time() + 10
    for path in workspace.project.rglob("*"):
        os.utime(path, (now, now))
    settings = yaml.safe_load((workspace.project / f"profiles/{profile}/profile.yaml").read_text())
    assert workspace.jobs("--rerun-triggers", *settings["rerun-triggers"]) == set()
    if profile == "default":
        assert workspace.jobs() == set()  # taken from beside the Snakefile


@pytest.mark.parametrize(
    ("key", "value", "arms"),
    [
        # The arm `one_threshold` has a value of its own, `fixmatch` another rule of labelling.
        ("fixmatch.pseudo_label_threshold", 0.6, {"two_thresholds"}),
        ("fixmatch.confidence_threshold", 0.8, {"two_thresholds", "one_threshold"}),
        ("arms.one_threshold.fixmatch.pseudo_label_threshold", 0.8, {"one_threshold"}),
        ("fixmatch.doubt", 0.6, {"fixmatch"}),
        ("fixmatch.weight", 0.5, {"fixmatch", "two_thresholds", "one_threshold"}),
    ],
)
def test_fixmatch_keys(workspace: Workspace, key: str, value: Any, arms: set[str]) -> None:
    workspace.edit(key, value)
    assert workspace.jobs() == configured(arms) | trained(arms)


def test_training_of_one_arm(workspace: Workspace) -> None:
    """It has a warm start of its own then."""
    workspace.edit("arms.two_thresholds.training", {"batch_size": 1})
    jobs = workspace.jobs()
    new = {job for job in jobs if "warm_start" in job}
    assert {job.split()[0] for job in new} == {"hyperparameters", "warm_start"}
    assert jobs - new == configured({"two_thresholds"}) | trained({"two_thresholds"})


def test_another_arm(workspace: Workspace) -> None:
    workspace.edit("arms.prevalence", {"method": "fixmatch", "labelling": "prevalence"})
    assert workspace.jobs() == configured({"prevalence"}) | trained({"prevalence"})


def test_another_ratio(workspace: Workspace) -> None:
    workspace.edit("splits.labeled_ratios", [0.5, 0.2])
    assert workspace.jobs() == (
        labelled(workspace, ratio="0.5")
        | configured(ARMS, ratio="0.5")
        | warm(workspace, ["hyperparameters"], ratio="0.5")
    )


def test_another_seed(workspace: Workspace) -> None:
    workspace.edit("splits.seeds", [3, 0])
    assert workspace.jobs() == (
        {"split seed=3", "baselines seed=3"}
        | labelled(workspace, seed=3)
        | configured(ARMS, seed=3)
        | warm(workspace, ["hyperparameters"], seed=3)
    )


def test_picking(workspace: Workspace) -> None:
    workspace.edit("picking.nms_radius", 0.9)
    assert workspace.jobs() == picked() | scored()


def test_the_target_picks_is_none_of_the_comparison(workspace: Workspace) -> None:
    workspace.edit("final", {"folds": 2, "method": "supervised"})
    assert workspace.jobs() == set()


def test_evaluation(workspace: Workspace) -> None:
    workspace.edit("evaluation.match_radii", [0.25, 0.5])
    assert workspace.jobs() == scored() | {"baselines seed=0"}


def test_the_scale_of_the_images(workspace: Workspace) -> None:
    workspace.edit("preprocess.particle_px", 12)
    images = {f"{rule} {shard}" for rule in ("preprocess", "masks") for shard in SHARDS}
    images |= {"shards dataset=mine", "baselines seed=0"}
    assert workspace.jobs() == images | labelled(workspace)


def test_what_is_labelled(workspace: Workspace) -> None:
    workspace.edit("splits.draw", "pooled")
    assert workspace.jobs() - {"baselines seed=0"} == labelled(workspace)


def test_keys_for_several_data_sets(workspace: Workspace) -> None:
    """One data set has as many steps as ever; the page shows the configuration."""
    workspace.edit("training.grow", False)
    assert workspace.jobs() == {"report"}
    workspace.edit("fixmatch.rival", "always")
    arms = set(ARMS) - {"supervised"}
    assert workspace.jobs() == configured(arms) | trained(arms)


@pytest.mark.parametrize(
    ("key", "value"),
    [("resources.device", "auto"), ("resources.train_threads", 2)],
)
def test_the_machine_changes_nothing(workspace: Workspace, key: str, value: Any) -> None:
    workspace.edit(key, value)
    assert workspace.jobs() == set()


def test_one_more_micrograph(workspace: Workspace) -> None:
    workspace.add_micrograph("m10", 10)
    jobs = workspace.jobs()
    preprocessed = {job for job in jobs if job.startswith("preprocess ")}
    assert len(preprocessed) == 1
    assert jobs - preprocessed == listed() | labelled(workspace)


def test_a_changed_micrograph(workspace: Workspace) -> None:
    """Its header says the same as before."""
    path = workspace.directory / "micrographs/m03.mrc"
    with mrcfile.mmap(path, "r+") as mrc:
        mrc.data[-1, -1] += 1
    jobs = workspace.jobs()
    preprocessed = {job for job in jobs if job.startswith("preprocess ")}
    assert len(preprocessed) == 1
    assert jobs - preprocessed == listed() | labelled(workspace)


def test_changed_coordinates(workspace: Workspace) -> None:
    with (workspace.directory / "coordinates/m03.csv").open("a") as file:
        file.write("20,20,24\n")
    assert workspace.jobs() == listed() | labelled(workspace)


def test_a_changed_file_whose_run_was_stopped_after_it_was_listed(workspace: Workspace) -> None:
    with (workspace.directory / "coordinates/m03.csv").open("a") as file:
        file.write("20,20,24\n")
    workspace.run("results/data/mine/inventory.tsv")
    assert workspace.jobs() == listed() - {"inventory dataset=mine"} | labelled(workspace)


def moved(workspace: Workspace) -> None:
    """Move the data to a folder of another name."""
    for name in ("micrographs", "coordinates"):
        path = workspace.directory / f"elsewhere/the_{name}"
        path.parent.mkdir(exist_ok=True)
        (workspace.directory / name).rename(path)
        workspace.edit(f"datasets.mine.{name}", f"elsewhere/the_{name}")


def by_absolute_paths(workspace: Workspace) -> None:
    for name in ("micrographs", "coordinates"):
        workspace.edit(f"datasets.mine.{name}", str(workspace.directory / name))


def as_a_linked_folder(workspace: Workspace) -> None:
    (workspace.directory / "linked").symlink_to(".")
    for name in ("micrographs", "coordinates"):
        workspace.edit(f"datasets.mine.{name}", f"linked/{name}")


def as_a_folder_of_links(workspace: Workspace) -> None:
    folder = workspace.directory / "links"
    folder.mkdir()
    for path in (workspace.directory / "micrographs").iterdir():
        (folder / path.name).symlink_to(path)
    workspace.edit("datasets.mine.micrographs", "links")


def copied(workspace: Workspace) -> None:
    """Copy the data without its times."""
    for name in ("micrographs", "coordinates"):
        target = workspace.directory / "copy" / name
        shutil.copytree(workspace.directory / name, target, copy_function=shutil.copyfile)
        workspace.edit(f"datasets.mine.{name}", f"copy/{name}")


@pytest.mark.parametrize(
    "change", [moved, by_absolute_paths, as_a_linked_folder, as_a_folder_of_links, copied]
)
def test_data_elsewhere_trains_nothing_again(
    workspace: Workspace, change: Callable[[Workspace], None]
) -> None:
    """Tables of picks name micrographs by their paths, and the page shows the configuration."""
    change(workspace)
    assert workspace.jobs() == runs("export") | {"report"}


def test_results_of_moved_data_differ_in_paths_alone(workspace: Workspace) -> None:
    def contents() -> dict[str, bytes]:
        results = workspace.directory / "results"
        return {
            str(path.relative_to(results)): path.read_bytes()
            for path in sorted(results.rglob("*"))
            if path.is_file() and path.relative_to(results).parts[0] not in ("logs", "benchmarks")
        }

    before = contents()
    moved(workspace)
    workspace.run()
    assert workspace.jobs() == set()
    after = contents()
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    tables = {
        f"picks/{arm}/ratio-0.2/seed-0/picks.{kind}" for arm in ARMS for kind in ("star", "csv")
    }
    assert changed - {"report.html"} == tables
    for name in tables:
        assert before[name].replace(b"micrographs/m", b"elsewhere/the_micrographs/m") == after[name]
    # What opens the originals finds them.
    workspace.edit("datasets.mine.on_bad_micrograph", "skip")
    workspace.run("results/data/mine/shards.tsv")


def test_other_data_of_the_same_names_is_other_data(workspace: Workspace) -> None:
    """Also where it is older than the results, and has the time of what it replaces."""
    first, second = workspace.directory / "micrographs", workspace.directory / "second"
    shutil.copytree(first, second)
    with mrcfile.mmap(second / "m03.mrc", "r+") as mrc:
        mrc.data[0, 0] += 1
    shutil.copystat(first / "m03.mrc", second / "m03.mrc")
    workspace.edit("datasets.mine.micrographs", "second")
    jobs = workspace.jobs()
    (preprocessed,) = (job for job in jobs if job.startswith("preprocess "))
    assert jobs - {preprocessed} == listed() | labelled(workspace)


def test_what_becomes_of_broken_micrographs(workspace: Workspace) -> None:
    workspace.edit("datasets.mine.on_bad_micrograph", "skip")
    assert workspace.jobs() == READING | labelled(workspace)


PICTURES = runs("figure_micrographs") | {"figure_training ratio=0.2 seed=0", "figure_scores"}
READING = listed() | {f"preprocess {shard}" for shard in SHARDS}
# Module -> the jobs that an edit of it causes.
EDITS: dict[str, Callable[[Workspace], set[str]]] = {
    "micrographs/mrc": lambda workspace: READING | labelled(workspace),
    "data/splits": lambda workspace: {"split seed=0", "baselines seed=0"} | labelled(workspace),
    "network/unet": lambda workspace: warm(workspace, ["warm_start"]) | trained(),
    "training/train": lambda workspace: warm(workspace, ["warm_start"]) | trained(),
    "picking/candidates": lambda workspace: picked() | scored(),
    "picking/export": lambda workspace: runs("export"),
    "evaluation/scores": lambda workspace: scored() | {"baselines seed=0"} | PICTURES,
    "evaluation/baselines": lambda workspace: {"baselines seed=0"} | TABLE,
    "comparison/result_table": lambda workspace: TABLE,
    "figures/plots": lambda workspace: PICTURES,
    "picking/picker": lambda workspace: picked() | scored(),
    "report/page": lambda workspace: {"report"},
    "simulation/simulate": lambda workspace: set(),
    "config/plan": lambda workspace: set(),
    "codehash": lambda workspace: set(),
}
# Script -> the jobs that an edit of it causes.
SCRIPT_EDITS: dict[str, Callable[[Workspace], set[str]]] = {
    "report": lambda workspace: {"report"},
    "train": lambda workspace: warm(workspace, ["warm_start"]) | trained(),
    "hyperparameters": lambda workspace: (
        configured(ARMS) | warm(workspace, ["hyperparameters", "warm_start"]) | trained()
    ),
    # All scripts import it.
    "_stage": lambda workspace: (
        READING | configured(ARMS) | warm(workspace, ["hyperparameters"]) | labelled(workspace)
    ),
}


@pytest.mark.parametrize("script", SCRIPT_EDITS)
def test_a_script_reruns_its_stage(workspace: Workspace, script: str) -> None:
    path = workspace.project / f"workflow/scripts/{script}.py"
    times = os.stat(path)
    path.write_text(path.read_text() + "\n\nEDITED = True\n")
    # Older than the results, as after a checkout of an older commit by way of an archive.
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert workspace.jobs() == SCRIPT_EDITS[script](workspace)


@pytest.mark.parametrize("module", EDITS)
def test_a_module_reruns_the_stages_that_import_it(workspace: Workspace, module: str) -> None:
    path = workspace.project / f"src/fewpick/{module}.py"
    path.write_text(path.read_text() + "\n\nEDITED = True\n")
    assert workspace.jobs() == EDITS[module](workspace)


def test_a_docstring_or_comment_in_a_module_reruns_nothing(workspace: Workspace) -> None:
    for path in sorted((workspace.project / "src/fewpick").rglob("*.py")):
        first, rest = path.read_text().split("\n", 1)
        assert first.startswith('"""'), path
        path.write_text(first.replace('"""', '"""New. ', 1) + "\n# New.\n" + rest + "# New.\n")
    assert workspace.jobs() == set()


def test_scripts_take_nothing_from_the_configuration() -> None:
    """A queued job reads the configuration again, which may have been edited since."""
    scripts = Path(__file__).parents[2] / "workflow/scripts"
    for path in scripts.glob("*.py"):
        assert "snakemake.config" not in path.read_text(), path


def test_targets_for_parts(fresh: Workspace) -> None:
    def rules(target: str) -> set[str]:
        return {job.split()[0] for job in fresh.jobs(target)} - {target}

    labels = {"inventory", "manifest", "preprocess", "split", "labelled"}
    assert rules("splits") == labels
    assert rules("models") == labels | {
        *("masks", "shards", "hyperparameters", "warm_start", "train")
    }
