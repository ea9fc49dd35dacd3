"""Each script's conda environment holds what the script imports, in the tested versions."""

from __future__ import annotations

import re
import sys
import tomllib
from functools import cache
from importlib.metadata import EntryPoint, packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from workspace import PARTS

from fewpick import codehash

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
CONSTRAINTS = {
    canonicalize_name(requirement.name): str(requirement.specifier)
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
    for requirement in [Requirement(line)]
}
# Programs that are called and not imported, and that are no part of the project.
PROGRAMS = {"topaz-em"}
PROVIDED = packages_distributions()  # module -> distributions
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))

RULES = [
    block
    for path in (ROOT / "workflow/rules").glob("*.smk")
    for block in re.split(r"^ *rule\b", path.read_text(), flags=re.MULTILINE)[1:]
]


def said(rule: str, directive: str) -> str:
    """File name that a rule gives with `conda:` or `script:`."""
    return Path(re.findall(rf'{directive}:\s*"(.+?)"', rule)[0]).name


# Script -> its environments.
SCRIPTS: dict[str, set[str]] = {}
for rule in RULES:
    SCRIPTS.setdefault(said(rule, "script"), set()).add(said(rule, "conda"))


def pinned(environment: Path) -> dict[NormalizedName, str]:
    """Package -> version specifier of the pip section."""
    parts = yaml.safe_load(environment.read_text())["dependencies"]
    requirements = map(Requirement, next(part["pip"] for part in parts if isinstance(part, dict)))
    return {
        canonicalize_name(r.name): str(r.specifier) for r in requirements if r.name not in PROGRAMS
    }


@cache
def distributions(script: Path) -> set[NormalizedName]:
    """Distributions that a script and the package's modules behind it import."""
    files = {script, *codehash.closure(script, SOURCE)}
    modules = {name.split(".")[0] for path in files for name in codehash.imported(path, SOURCE)}
    modules -= set(sys.stdlib_module_names) | {"fewpick", "_stage", ""}
    return {canonicalize_name(PROVIDED[module][0]) for module in modules}


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.stem)
def test_versions_are_the_tested_ones(environment: Path) -> None:
    for package, version in pinned(environment).items():
        assert version == CONSTRAINTS[package], f"{environment.name}: {package}"
        assert package in DECLARED, f"{package} is not a dependency in pyproject.toml"


def test_every_script_and_environment_is_used_by_a_rule() -> None:
    scripts = (ROOT / "workflow/scripts").glob("[!_]*.py")
    assert set(SCRIPTS) == {path.name for path in scripts}
    assert set().union(*SCRIPTS.values()) == {path.name for path in ENVIRONMENTS}


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.stem)
def test_environment_holds_what_its_scripts_import_and_nothing_else(environment: Path) -> None:
    scripts = [script for script, names in SCRIPTS.items() if environment.name in names]
    needed = set().union(*(distributions(ROOT / "workflow/scripts" / name) for name in scripts))
    assert set(pinned(environment)) == needed


def test_dependencies_are_what_the_package_and_the_workflow_import() -> None:
    files = [*SOURCE.rglob("*.py"), *(ROOT / "workflow/scripts").glob("*.py")]
    used = set().union(*map(distributions, files)) | {"snakemake"}
    assert used == DECLARED


def test_tested_versions_satisfy_the_declared_bounds() -> None:
    optional = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    for line in PROJECT["dependencies"] + optional:
        requirement = Requirement(line)
        version = CONSTRAINTS[canonicalize_name(requirement.name)].removeprefix("==")
        assert requirement.specifier.contains(version), line
    assert CONSTRAINTS[canonicalize_name("torch")] == "==2.13.0"


def test_containers_hold_what_the_workflow_needs() -> None:
    docker, apptainer = (
        (ROOT / "envs" / name).read_text() for name in ("Dockerfile", "fewpick.def")
    )
    copied = {
        name
        for line in re.findall(r"^COPY (.*) /opt/fewpick", docker, re.M)
        for name in line.split()
    }
    files = re.search(r"^%files\n((?: .*\n)+)", apptainer, re.M)
    assert files is not None
    assert dict(line.split() for line in files[1].splitlines()) == {
        name: f"/opt/fewpick/{name}" for name in copied
    }
    assert copied >= {*PARTS, "pyproject.toml", "constraints.txt", PROJECT["readme"]}
    allowed = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.M)
    assert set(allowed) == copied
    base = "debian:bookworm-slim"
    assert f"FROM docker.io/library/{base}\n" in docker
    assert f"From: {base}\n" in apptainer


def test_commands_are_there() -> None:
    for name, target in PROJECT["scripts"].items():
        assert callable(EntryPoint(name, target, "console_scripts").load())
