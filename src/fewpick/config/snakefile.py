"""The command that runs the workflow, for messages."""

from __future__ import annotations

import shlex
from pathlib import Path


def snakemake_command(*configs: str | Path, target: str = "") -> str:
    """Return a command that works from the current folder.

    Parameters
    ----------
    configs : paths of the configuration files
    target : target of the workflow; the default target if empty
    """
    ours = Path(__file__).resolve().parents[3] / "Snakefile"
    words = ["snakemake"]
    if not ours.is_file():  # installed without the repository
        words += ["-s", "PATH/TO/fewpick/Snakefile"]
    elif Path("Snakefile").resolve() != ours:
        words += ["-s", shlex.quote(str(ours))]
    words += ["--cores", "all", *([target] if target else []), "--configfile"]
    return " ".join([*words, *(shlex.quote(str(config)) for config in configs)])
