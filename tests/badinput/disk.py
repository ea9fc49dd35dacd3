"""Disks that are full, locked or change under a run."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from badinput.book import Case, Refused, Right
from badinput.project import Project, image, write_mrc
from badinput.stages import Run, before_training, run_stages

NEW_NAMESPACE = 0x00020000  # CLONE_NEWNS


def mount(*arguments: str) -> None:
    """Mount something for this process alone; takes root."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NAMESPACE) != 0:
        raise OSError(ctypes.get_errno(), "mounting takes root")
    for command in (("mount", "--make-rprivate", "/"), ("mount", *arguments)):
        subprocess.run(command, check=True, capture_output=True)


def small(where: str) -> None:
    """A disk of 64 kB in the place of a folder."""
    mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", where)


def read_only(where: str) -> None:
    """A folder that nothing can be written to, not even by root."""
    mount("--bind", "-o", "ro", where, where)


def largest_file(n_bytes: int) -> None:
    """No file may grow beyond this."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


def after_manifest(change: Callable[[], object]) -> Run:
    """All stages before training; the change comes after micrographs were listed."""
    return replace(before_training, work=partial(run_stages, change))


def results(project: Project) -> None:
    project.path("results").mkdir()


M3 = Path("micrographs/m3.mrc")


def twice() -> None:
    """Run, delete a micrograph and its coordinates, run again."""
    if os.fork() == 0:
        run_stages()
        os._exit(0)
    assert os.wait()[1] == 0
    M3.unlink()
    Path("coordinates/m3.csv").unlink()
    run_stages()


CASES = [
    Case(
        "results on a full disk",
        "other people's movies",
        results,
        Refused("results/preprocessed/mine", "No space left on device", "Free some space"),
        host=partial(small, "results"),
    ),
    Case(
        "a limit on the file size",
        "quotas and queueing systems",
        lambda project: None,
        Refused("results/preprocessed/mine", "File too large", "Raise the file size limit"),
        host=partial(largest_file, 100_000),
    ),
    Case(
        "results on a read-only disk",
        "archives, and disks remounted after an error",
        results,
        Refused("results/inputs/datasets/mine", "Read-only file system", "snakemake --directory"),
        host=partial(read_only, "results"),
    ),
    Case(
        "micrographs on a read-only disk",
        "archives",
        lambda project: None,
        Right(),
        host=partial(read_only, "micrographs"),
    ),
    Case(
        "a micrograph that is truncated during the run",
        "copying had not finished",
        lambda project: None,
        Refused(str(M3), "1500 bytes", "Copy the file again"),
        run=after_manifest(partial(os.truncate, M3, 1500)),
    ),
    Case(
        "a micrograph whose size changes during the run",
        "it was reprocessed with different binning",
        lambda project: None,
        Refused(str(M3), "96 x 72", "then rerun"),
        run=after_manifest(partial(write_mrc, M3, image("m3")[::2, ::2])),
    ),
    Case(
        "a micrograph that is deleted during the run",
        "someone cleaned up",
        lambda project: None,
        Refused(str(M3), "no such file", "Check the path"),
        run=after_manifest(M3.unlink),
    ),
    Case(
        "a micrograph that is deleted between two runs",
        "removed after looking at the results",
        lambda project: None,
        Right({"micrographs": 5, "annotated": 5, "particles": 75}),
        run=replace(before_training, work=twice),
    ),
]
