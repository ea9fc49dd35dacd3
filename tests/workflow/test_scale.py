"""What a large data set costs before the first job starts."""

from __future__ import annotations

import re
import subprocess
import sys

from workspace import Workspace

# A process in between, since a new one begins with the peak memory of the one that starts it.
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print("measured", code, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


def test_dry_run_with_ten_thousand_micrographs(fresh: Workspace) -> None:
    """Names are all that counts here, so the files may be empty; each has its coordinates."""
    for index in range(10_000):
        (fresh.directory / f"micrographs/FoilHole_{index:05d}_fractions.mrc").touch()
        (fresh.directory / f"coordinates/FoilHole_{index:05d}_fractions.csv").touch()
    fresh.edit("preprocess.shard_size", 64)
    fresh.edit("splits.seeds", [0, 1, 2])
    output = subprocess.run(
        [sys.executable, "-c", MEASURE, *fresh.command("--dry-run")],
        cwd=fresh.directory,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    code, seconds, peak = re.findall(r"^measured (.*)$", output, flags=re.MULTILINE)[0].split()
    assert code == "0"
    assert re.search(r"^preprocess +256$", output, flags=re.MULTILINE)
    # Processor time, which does not depend on what else the machine is doing.
    assert float(seconds) < 30
    assert int(peak) < 1.5 * 2**20  # KiB
