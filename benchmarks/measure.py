"""Times and memory on a machine that does other things as well."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Task = Callable[[], object]
Times = dict[str, NDArray[np.float64]]

# A process in between, since a new one begins with the peak memory of the one that starts it.
_CHILD = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


@dataclass
class Figure:
    """One row of the table.

    Attributes
    ----------
    name, unit: what was measured
    value: the figure
    mark: what it should be at most (or at least), None without such
    at_least: larger is better
    detail: the times and sizes behind it
    """

    name: str
    value: float
    unit: str = "x"
    mark: float | None = None
    at_least: bool = False
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool | None:
        if self.mark is None:
            return None
        return self.value >= self.mark if self.at_least else self.value <= self.mark

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"holds": self.holds}


def clock(device: torch.device) -> Callable[[], float]:
    """Seconds of work so far.

    On the CPU, processor time of this process: what else the machine does hardly enters it. On a
    GPU, wall-clock time after all that was asked of it is done.
    """
    if device.type == "cpu":
        return time.process_time

    def synchronised() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return synchronised


def interleave(tasks: Mapping[str, Task], rounds: int, now: Callable[[], float]) -> Times:
    """Time the tasks in turn, `rounds` times over, after one round that is not counted.

    A disturbance then meets all tasks alike, and ratios within a round hardly notice it.
    """
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(rounds + 1):
        for name, task in tasks.items():
            begin = now()
            task()
            if number:
                times[name].append(now() - begin)
    return {name: np.array(values) for name, values in times.items()}


def ratio(times: Times, name: str, reference: str) -> float:
    """Median over the rounds of a task's time by that of another."""
    return float(np.median(times[name] / times[reference]))


def marginal(commands: dict[str, list[str]], paths: list[str], rounds: int) -> dict[str, float]:
    """Processor seconds that each command takes per further file, median of the rounds."""
    found: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        run([*command, paths[0]])  # a program's first start reads its libraries from disk
    for _ in range(rounds):
        for name, command in commands.items():
            few, many = run([*command, paths[0]])[0], run([*command, *paths])[0]
            found[name].append((many - few) / (len(paths) - 1))
    return {name: float(np.median(values)) for name, values in found.items()}


def milliseconds(times: Times) -> dict[str, dict[str, float]]:
    """Median and smallest time of each task; the smallest is what a busy machine blurs least."""
    return {
        name: {
            "median": round(1e3 * float(np.median(values)), 2),
            "least": round(1e3 * float(values.min()), 2),
        }
        for name, values in times.items()
    }


def run(command: Sequence[str], folder: Path | None = None) -> tuple[float, float]:
    """Run a command on one thread; its processor time in seconds and peak memory in MiB.

    Raises
    ------
    RuntimeError
        When it fails.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", _CHILD, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    code, seconds, peak = result.stdout.split()
    if code != "0":
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr[-3000:]}")
    return float(seconds), float(peak)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    flags = ""
    if info.exists():
        text = info.read_text()
        lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        names = {key.strip(): value.strip() for key, value in lines.items()}
        cpu, flags = names.get("model name", cpu), names.get("flags", "")
    told = {
        "processor": cpu,
        "cores": os.cpu_count(),
        "amx_bf16": "amx_bf16" in flags.split(),
        "avx512_bf16": "avx512_bf16" in flags.split(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load": round(os.getloadavg()[0], 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
    return told


def machine_name() -> str:
    """A name for a file of results: the GPU, or the processor and its number of cores."""
    about = machine()
    name = about["gpu"] or f"{about['processor']} {about['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def save(figures: Sequence[Figure], about: Mapping[str, Any], path: Path) -> None:
    """Write one json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {**about, "machine": machine(), "figures": [figure.to_json() for figure in figures]}
    path.write_text(json.dumps(content, indent=1) + "\n")


def table(content: Mapping[str, Any]) -> str:
    """The figures of a json as a Markdown table."""
    lines = ["| figure | measured | mark | |", "|---|--:|--:|---|"]
    for row in content["figures"]:
        sign = "at least" if row["at_least"] else "at most"
        mark = "" if row["mark"] is None else f"{sign} {row['mark']:g} {row['unit']}"
        verdict = {None: "", True: "holds", False: "**missed**"}[row["holds"]]
        lines.append(f"| {row['name']} | {row['value']:.3g} {row['unit']} | {mark} | {verdict} |")
    return "\n".join(lines)
