"""A small project folder to run the workflow in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import mrcfile
import numpy as np
import yaml

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "workflow", "src", "config", "envs", "profiles")


@dataclass
class Workspace:
    """A copy of the project and a working directory, both free to be changed.

    Attributes
    ----------
    project : Snakefile, workflow, src and so on
    directory : where data and results are
    """

    project: Path
    directory: Path

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Copy the project; the working directory is empty."""
        ignore = shutil.ignore_patterns("__pycache__")
        for part in PARTS:
            source, target = ROOT / part, folder / "project" / part
            if source.is_dir():
                shutil.copytree(source, target, ignore=ignore)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        (folder / "run").mkdir()
        return cls.at(folder)

    @classmethod
    def at(cls, folder: Path) -> Self:
        """Return the workspace that a folder holds."""
        return cls(folder / "project", folder / "run")

    def copy(self, folder: Path) -> Workspace:
        """Copy both folders with all times as they are."""
        shutil.copytree(self.project, folder / "project")
        shutil.copytree(self.directory, folder / "run", symlinks=True)
        return Workspace.at(folder)

    @property
    def config_file(self) -> Path:
        return self.directory / "config.yaml"

    @property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = yaml.safe_load(self.config_file.read_text())
        return config

    @config.setter
    def config(self, config: dict[str, Any]) -> None:
        self.config_file.write_text(yaml.safe_dump(config))

    def edit(self, path: str, value: Any) -> None:
        """Set one value of the configuration, at a dotted path."""
        config = node = self.config
        *parents, last = path.split(".")
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = value
        self.config = config

    @property
    def environment(self) -> dict[str, str]:
        """That of the tests, without another copy of the package."""
        return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def command(self, *arguments: str) -> list[str]:
        """The command line of a run on two cores, to be started in the working directory."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2"]
        command += ["--snakefile", str(self.project / "Snakefile"), *arguments]
        if self.config_file.exists():
            command += ["--configfile", str(self.config_file)]
        return command

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run snakemake; stdout and stderr come back together."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def run(self, *arguments: str) -> str:
        """Run snakemake, which has to succeed, and return what it printed."""
        result = self.snakemake(*arguments)
        assert result.returncode == 0, result.stdout[-8000:]
        return result.stdout

    def fail(self, *arguments: str) -> str:
        """Run snakemake, which has to fail before any training, and return what it printed."""
        result = self.snakemake(*arguments)
        assert result.returncode != 0, result.stdout[-8000:]
        assert not list(self.directory.glob("results/models/**/history.tsv"))
        return result.stdout

    def jobs(self, *arguments: str) -> set[str]:
        """What would run now, such as "pick arm=fixmatch ratio=0.2 seed=0"; targets left out."""
        found = set()
        for rule, details in re.findall(
            r"^(?:local)?rule (\w+):\n((?:    .*\n)*)",
            self.run("--dry-run", *arguments),
            flags=re.MULTILINE,
        ):
            wildcards = re.findall(r"^    wildcards: (.*)$", details, flags=re.MULTILINE)
            values = "".join(" " + part for part in "".join(wildcards).split(", ") if part)
            found.add(rule + values)
        return found - {"all", "picks"}

    def add_micrograph(self, name: str, seed: int, size: int = 256, radius: float = 12) -> None:
        """Write `micrographs/{name}.mrc` with dark discs, and `coordinates/{name}.csv`."""
        rng = np.random.default_rng(seed)
        image = rng.normal(0, 1, (size, size)).astype(np.float32)
        steps = np.arange(radius, size - radius, 3 * radius)
        xy = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
        xy = (xy + rng.uniform(0, radius / 2, xy.shape))[rng.random(len(xy)) < 0.7]
        rows, columns = np.mgrid[:size, :size]
        for x, y in xy:
            image[(columns - x) ** 2 + (rows - y) ** 2 <= radius**2] -= 1.5
        for folder in ("micrographs", "coordinates"):
            (self.directory / folder).mkdir(exist_ok=True)
        with mrcfile.new(self.directory / f"micrographs/{name}.mrc") as mrc:
            mrc.set_data(image)
            mrc.voxel_size = 5.0
        lines = ["X-Coordinate,Y-Coordinate,Diameter", *(f"{x},{y},{2 * radius}" for x, y in xy)]
        (self.directory / f"coordinates/{name}.csv").write_text("\n".join(lines) + "\n")


# Four arms at one ratio, on micrographs that `Workspace.add_micrograph` makes.
CONFIG: dict[str, Any] = {
    "datasets": {
        "mine": {
            "micrographs": "micrographs",
            "coordinates": "coordinates",
            "particle_radius": 12,
        }
    },
    "preprocess": {"target_size": 128, "shard_size": 3},
    "splits": {"labeled_ratios": [0.2]},
    "model": {"widths": [8, 8, 8]},
    "training": {"steps": 4, "warm_start_steps": 2, "crop_size": 64, "checks": 1},
    "arms": {
        "supervised": {"method": "supervised"},
        "fixmatch": {"method": "fixmatch"},
        "two_thresholds": {"method": "fixmatch", "labelling": "two_thresholds"},
        "one_threshold": {
            "method": "fixmatch",
            "labelling": "two_thresholds",
            "fixmatch": {"pseudo_label_threshold": 0.7},
        },
    },
    "resources": {"device": "cpu", "train_threads": 1},
}


def small_workspace(folder: Path, n_micrographs: int = 10) -> Workspace:
    """A workspace with its own small data set and CONFIG."""
    workspace = Workspace.create(folder)
    for index in range(n_micrographs):
        workspace.add_micrograph(f"m{index:02d}", index)
    workspace.config = CONFIG
    return workspace
