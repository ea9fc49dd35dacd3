from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fewpick
from fewpick import cli

PACKAGE = Path(fewpick.__file__).parent
STRANGER = 54321  # user id that nobody has


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "safe.directory=*")
    done = subprocess.run(
        ["git", *identity, "-C", str(folder), *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of one commit that holds the modules at the package's root."""
    package = tmp_path / "checkout/src/fewpick"
    package.mkdir(parents=True)
    for module in PACKAGE.glob("*.py"):
        shutil.copy(module, package)
    git(tmp_path, "init", "--quiet", "checkout")
    git(tmp_path / "checkout", "add", ".")
    git(tmp_path / "checkout", "commit", "--quiet", "-m", "One")
    return tmp_path / "checkout"


def said(checkout: Path) -> str:
    """What `fewpick --version` of a checkout prints, for a user without settings of git."""
    environment = os.environ | {
        "PYTHONPATH": str(checkout / "src"),
        "HOME": str(checkout.parent),
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "fewpick.cli", "--version"],
        env=environment,
        cwd=checkout.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_the_commit_is_named_and_changes_are_marked(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "--short", "HEAD")
    assert f"(commit {commit})\n" in said(checkout)
    (checkout / "src/fewpick/errors.py").write_text("")
    assert f"(commit {commit}+)\n" in said(checkout)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a checkout to another user")
def test_the_commit_of_a_checkout_that_another_user_owns_is_named(checkout: Path) -> None:
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, STRANGER, STRANGER)
    commit = git(checkout, "rev-parse", "--short", "HEAD")
    assert f"(commit {commit})\n" in said(checkout)


def test_a_checkout_around_an_installed_package_is_not_its_own(checkout: Path) -> None:
    (checkout / "src/fewpick/versions.py").rename(checkout / "kept")
    git(checkout, "rm", "--quiet", "--cached", "src/fewpick/versions.py")
    git(checkout, "commit", "--quiet", "-m", "Two")
    (checkout / "kept").rename(checkout / "src/fewpick/versions.py")
    assert "commit" not in said(checkout)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert re.match(r"fewpick (\d+\.\d+|\(commit|of unknown)", capsys.readouterr().out)


def test_the_version_is_that_of_the_project_everywhere() -> None:
    """Its home is pyproject.toml."""
    root = Path(__file__).parents[2]
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (root / "CITATION.cff").read_text()
    newest = re.search(r"^## (.*)$", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert re.fullmatch(rf"{re.escape(version)}, (\d{{4}}-\d\d-\d\d|unreleased)", newest[1])
