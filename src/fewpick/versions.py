"""What a result was made with."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Version of this package, of Python and of those of `packages` that are installed.

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
    """Short name of the commit that holds this file, None outside a checkout."""
    try:
        # Of this file, lest a checkout around an installed package is taken for its own.
        _git(folder, "ls-files", "--error-unmatch", __file__)
        name = _git(folder, "rev-parse", "--short", "HEAD")
        changed = _git(folder, "status", "--porcelain", ".")
    except (OSError, subprocess.SubprocessError):
        return None
    return name + "+" * bool(changed)


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=10,
    )
    return done.stdout.strip()
