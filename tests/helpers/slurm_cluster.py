"""Talk to a SLURM cluster: its records of jobs, and a workspace whose jobs go there."""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from workspace import Workspace


@dataclass
class Job:
    """A job as `scontrol show job` tells it; `name` is its rule, or the rules of its group."""

    number: int
    name: str
    state: str
    partition: str
    cores: int
    gpus: int
    restarts: int


@dataclass
class Cluster:
    """The running cluster.

    Attributes
    ----------
    folder : its state, logs and records
    """

    folder: Path

    def jobs(self, name: str = "") -> list[Job]:
        """Jobs since the cluster was started, by number, whose name begins with `name`."""
        command = ["scontrol", "--oneliner", "show", "job"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = []
        for record in text.splitlines():
            values = dict(re.findall(r"(\w+)=(\S*)", record))
            if "JobId" not in values:
                continue  # there are none
            gpus = re.fullmatch(r"gres:gpu(?::\w+)??(?::(\d+))?", values.get("TresPerJob", ""))
            found.append(
                Job(
                    number=int(values["JobId"]),
                    name=values.get("Comment", "").removeprefix("rule_"),
                    state=values["JobState"],
                    partition=values["Partition"],
                    cores=int(values["NumCPUs"]),
                    gpus=int(gpus[1] or 1) if gpus else 0,
                    restarts=int(values["Restarts"]),
                )
            )
        return sorted(
            (job for job in found if job.name.startswith(name)), key=lambda job: job.number
        )

    def wait(self, name: str, state: str, after: int = 0, timeout: float = 1800) -> Job:
        """Wait until a job of that name with a number above `after` is in `state`."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for job in self.jobs(name):
                if job.state == state and job.number > after:
                    return job
            time.sleep(0.3)
        raise AssertionError(f"no job {name} became {state}: {self.jobs()}")

    def last(self) -> int:
        """Number of the newest job, 0 without any."""
        return max((job.number for job in self.jobs()), default=0)

    def control(self, *arguments: str) -> None:
        subprocess.run(["scontrol", *arguments], check=True)


class ClusterWorkspace(Workspace):
    """A workspace whose jobs go to the cluster, by the profile as it is."""

    def command(self, *arguments: str) -> list[str]:
        command = super().command(*arguments)
        del command[command.index("--cores") : command.index("--cores") + 2]
        # The waiting times fit a cluster with thousands of jobs; these are the only changes.
        command += ["--workflow-profile", str(self.project / "profiles/slurm")]
        return [
            *command,
            *("--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "5"),
        ]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a run; its output goes to `output.txt`."""
        with (self.directory / "output.txt").open("w") as output:
            return subprocess.Popen(
                self.command(*arguments),
                cwd=self.directory,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def output(self) -> str:
        return (self.directory / "output.txt").read_text()
