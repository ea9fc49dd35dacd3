"""Each script's conda environment holds what the script imports, in the tested versions."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))

# script -> environment, as the rules say it.
RULES = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
SCRIPTS = {
    script: env
    for env, script in re.findall(
        r'conda:\s*"\.\./\.\./envs/(\w+\.yaml)"\s*script:\s*"\.\./scripts/(\w+\.py)"', RULES
    )
}


def pinned(environment: Path) -> dict[str, str]:
    """Package -> version specifier of the pip section."""
    parts = yaml.safe_load(environment.read_text())["dependencies"]
    requirements = map(Requirement, next(part["pip"] for part in parts if isinstance(part, dict)))
    return {canonicalize_name(r.name): str(r.specifier) for r in requirements}


def distributions(script: Path) -> set[str]:
    """Distributions that a script and the package's modules behind it import."""
    files = {script, *codehash.closure(script, SOURCE)}
    modules = {name.split(".")[0] for path in files for name in codehash.imported(path, SOURCE)}
    modules -= set(sys.stdlib_module_names) | {"fewpick", "_stage", "_datasets", ""}
    provided = packages_distributions()
    return {canonicalize_name(provided[module][0]) for module in modules}


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.stem)
def test_versions_are_the_tested_ones(environment: Path) -> None:
    for package, version in pinned(environment).items():
        assert version == CONSTRAINTS[package], f"{environment.name}: {package}"
        assert package in DECLARED, f"{package} is not a dependency in pyproject.toml"


def test_every_script_and_environment_is_found_in_the_rules() -> None:
    scripts = (ROOT / "workflow/scripts").glob("[!_]*.py")
    assert set(SCRIPTS) == {path.name for path in scripts}
    assert set(SCRIPTS.values()) == {path.name for path in ENVIRONMENTS}
    assert RULES.count("conda:") == RULES.count("script:") == len(SCRIPTS)


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.stem)
def test_environment_holds_what_its_scripts_import_and_nothing_else(environment: Path) -> None:
    scripts = [script for script, name in SCRIPTS.items() if name == environment.name]
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
    assert CONSTRAINTS["torch"] == "==2.13.0"
