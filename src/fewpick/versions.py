"""Collect the versions of the programs behind a result."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python, this package and the installed ones of `packages`.

    In a checkout, the commit is added, with a plus sign if files were modified.
    """
    found = {}
    for name in ("fewpick", *packages):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    commit = _commit(Path(__file__).parent)
    if commit:
        found["fewpick"] = f"{found.get('fewpick', '')} (commit {commit})".strip()
    return {"Python": platform.python_version(), **found}


def _commit(folder: Path) -> str | None:
    """Return the abbreviated commit of the checkout with this file; None outside a checkout."""
    try:
        # Ask for this file, so that a checkout around an installed package does not count.
        _git(folder, "ls-files", "--error-unmatch", __file__)
    except (OSError, subprocess.SubprocessError):
        return None
    try:
        name = _git(folder, "rev-parse", "--short", "HEAD")
        changed = _git(folder, "status", "--porcelain", ".")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return name + "+" * bool(changed)


# Git refuses to read a checkout owned by another user, because its configuration may name programs
# to run. The commands used here do not run any, and fewpick itself runs from that checkout.
READ_ONLY = (
    "-c",
    "safe.directory=*",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
)


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *READ_ONLY, "-C", str(folder), *arguments],
        check=True,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        capture_output=True,
        text=True,
        timeout=10,
    )
    return done.stdout.strip()
