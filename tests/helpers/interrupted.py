"""The training script in a process of its own, which may be killed."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from workspace import ROOT

SCRIPTS = ROOT / "workflow/scripts"

# New processes are forked from a server that has imported PyTorch, which saves seconds each.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        f"fewpick.{name}"
        for name in ("training.train", "sampling.training_set", "network.model_file")
    ]
)


class _Files(dict[str, Any]):
    """Named files and lists of files, as Snakemake hands them to a script."""

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __iter__(self) -> Iterator[str]:
        for value in self.values():
            yield from [value] if isinstance(value, str) else value


def start(directory: Path, inputs: dict[str, Any], output: Path) -> ForkServerProcess:
    """Start the training script in `directory`.

    Parameters
    ----------
    directory: working directory
    inputs: of the rule, by name
    output: folder for model.safetensors, history.tsv and log.txt
    """
    process = _context.Process(target=_train, args=(directory, inputs, output))
    process.start()
    return process


def _train(directory: Path, inputs: dict[str, Any], output: Path) -> None:
    torch.set_num_threads(1)  # as the workflow has it
    os.chdir(directory)
    output.mkdir(exist_ok=True)
    sys.path.insert(0, str(SCRIPTS))
    snakemake = SimpleNamespace(
        input=_Files({"rival": []} | inputs),
        output=_Files({name.split(".")[0]: str(output / name) for name in OUTPUTS}),
        params=SimpleNamespace(code="0"),
        resources=SimpleNamespace(device="cpu"),
        rule="train",
        log=[str(output / "log.txt")],
    )
    runpy.run_path(str(SCRIPTS / "train.py"), init_globals={"snakemake": snakemake})


OUTPUTS = ("model.safetensors", "history.tsv")
