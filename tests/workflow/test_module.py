"""The workflow as a module of another one, and from a checkout that nobody may write to."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import yaml
from workspace import ROOT, Workspace

IMPORTER = """\
configfile: "importer.yaml"


module fewpick:
    snakefile:
        "{snakefile}"
    config:
        config["picking_study"]


use rule * from fewpick as fewpick_*


rule all:
    default_target: True
    input:
        "mine.txt",


rule mine:
    input:
        rules.fewpick_all.input,
    output:
        "mine.txt",
    shell:
        "echo PYTHONPATH=$PYTHONPATH > {{output}}"
"""


def imported(workspace: Workspace, folder: Path) -> Workspace:
    """A workflow of somebody else that runs the finished one as a part of its own."""
    theirs = Workspace(folder / "theirs", workspace.directory)
    theirs.project.mkdir()
    snakefile = IMPORTER.format(snakefile=workspace.project / "Snakefile")
    (theirs.project / "Snakefile").write_text(snakefile)
    shutil.copytree(workspace.project / "profiles", theirs.project / "profiles")
    study = {"picking_study": workspace.config, "something": "else"}
    workspace.config_file.unlink()
    (workspace.directory / "importer.yaml").write_text(yaml.safe_dump(study))
    return theirs


def files(folder: Path) -> dict[str, int]:
    """Times of all files; what Python compiles is its own affair, and none of it is needed."""
    return {
        str(path): path.stat().st_mtime_ns
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_a_module_of_another_workflow(workspace: Workspace, tmp_path: Path) -> None:
    ours = workspace.project
    for path in (ours, *ours.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    before = files(ours)
    theirs = imported(workspace, tmp_path)

    # The results are those of the workflow by itself: nothing has to run again but their own rule.
    assert theirs.jobs() == {"mine"}

    # Their configuration counts.
    study = yaml.safe_load((theirs.directory / "importer.yaml").read_text())
    study["picking_study"]["evaluation"] = {"match_radii": [0.25, 0.5]}
    (theirs.directory / "importer.yaml").write_text(yaml.safe_dump(study))
    scores = "results/evaluation/supervised/ratio-0.2/seed-0/scores.tsv"
    said = theirs.run(scores)
    assert re.findall(r"^(?:local)?rule (\w+):", said, flags=re.MULTILINE) == ["fewpick_evaluate"]
    assert "pick_f1_0.25" in (theirs.directory / scores).read_text().splitlines()[0]

    # A wrong key is theirs too, and named as such.
    study["picking_study"]["evaluation"] = {"match_radius": 0.3}
    (theirs.directory / "importer.yaml").write_text(yaml.safe_dump(study))
    said = theirs.snakemake("-n").stdout
    assert "config of the module fewpick: evaluation.match_radius is not a known key" in said

    assert files(ours) == before
    for path in (ours, *ours.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)  # for pytest to remove it


def test_rules_that_run_at_once_are_marked_so_in_a_module_too() -> None:
    """Snakemake does not rename what the directive `localrules` lists."""
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        assert "localrules:" not in path.read_text(), path
