"""What a large data set costs before the first job starts."""

from __future__ import annotations

import os
import re
import subprocess

from workspace import Workspace


def test_dry_run_with_ten_thousand_micrographs(fresh: Workspace) -> None:
    """Names are all that counts here, so the files may be empty."""
    for index in range(10_000):
        (fresh.directory / f"micrographs/FoilHole_{index:05d}_fractions.mrc").touch()
    fresh.edit("preprocess.shard_size", 64)
    fresh.edit("splits.seeds", [0, 1, 2])
    with (fresh.directory / "output").open("w") as output:
        process = subprocess.Popen(
            fresh.command("--dry-run"), cwd=fresh.directory, stdout=output, stderr=output
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    # Processor time, which does not depend on what else the machine is doing.
    assert used.ru_utime + used.ru_stime < 20
    assert used.ru_maxrss < 1.5 * 2**20  # KiB
    output_text = (fresh.directory / "output").read_text()
    assert re.search(r"^preprocess +256$", output_text, flags=re.MULTILINE)
