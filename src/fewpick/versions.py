"""Versions that a result was made with."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def versions(packages: Iterable[str]) -> dict[str, str]:
    """List the versions of this package, of Python and of those of `packages` that are installed.

    The commit of the checkout is added where there is one, with a plus sign when files differ
    from it.
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
    """Find the short name of the commit that holds this file, None outside a checkout."""
    try:
        # Of this file, so that a checkout around an installed package is not taken for its own.
        _git(folder, "ls-files", "--error-unmatch", __file__)
    except (OSError, subprocess.SubprocessError):
        return None
    try:
        name = _git(folder, "rev-parse", "--short", "HEAD")
        changed = _git(folder, "status", "--porcelain", ".")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return name + "+" * bool(changed)


# Git refuses to read a checkout that belongs to another user, because its configuration may name
# programs to run. These git commands run none of them, and fewpick itself runs from that checkout.
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
