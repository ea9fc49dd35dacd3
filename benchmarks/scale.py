"""What planning and jobs take when there are more micrographs."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks.data import ROOT, write_micrograph
from benchmarks.measure import Figure, run

NUMBERS = (100, 1_000, 10_000)
# Micrographs of the runs whose memory is measured.
SIZES = (16, 64, 256)
# Micrographs of the run of `fewpick pick`.
PICKED = (100, 1_000)
CONFIG = {
    "datasets": {
        "large": {
            "micrographs": "micrographs",
            "coordinates": "coordinates",
            "particle_radius": 50,
        }
    },
    "splits": {"labeled_ratios": [0.01, 0.02, 0.05, 0.1, 0.2], "seeds": [0, 1, 2, 3, 4]},
    "arms": {
        "supervised": {"method": "supervised"},
        "fixmatch": {"method": "fixmatch"},
        **{
            f"fixmatch_{rule}": {"method": "fixmatch", "labelling": rule}
            for rule in ("prevalence", "two_thresholds", "unmasked")
        },
        "fixmatch_one_threshold": {
            "method": "fixmatch",
            "labelling": "two_thresholds",
            "fixmatch": {"pseudo_label_threshold": 0.7},
        },
    },
}


def planning() -> list[Figure]:
    """`snakemake --dry-run` with 5 ratios, 5 seeds and 6 arms.

    Names are all that counts here. Each micrograph has a file of coordinates, as in CryoPPP.
    """
    found = []
    for n in NUMBERS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for kind, suffix in (("micrographs", "mrc"), ("coordinates", "csv")):
                (folder / kind).mkdir()
                for index in range(n):
                    (folder / f"{kind}/FoilHole_{index:05d}_fractions.{suffix}").touch()
            (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
            command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1"]
            command += ["--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml"]
            seconds, peak = run(command, folder)
        last = n == NUMBERS[-1]
        title = f"dry-run with {n:,} micrographs"
        found.append(Figure(title, seconds, "s", 20 if last else None))
        found.append(Figure(f"{title}, peak memory", peak / 1024, "GiB", 1.5 if last else None))
    return found


def memory() -> list[Figure]:
    """Peak memory of jobs, without the pages of the mapped files, which the system may drop."""
    found = []
    for job in ("preprocess", "train", "pick"):
        used = {}
        for n in SIZES:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "used.txt"
                run([sys.executable, "-m", "benchmarks.job", job, str(n), folder, str(path)], ROOT)
                used[n] = float(path.read_text())
        growth = used[SIZES[-1]] - used[SIZES[0]]
        title = f"{job}: memory that {SIZES[-1] - SIZES[0]} more micrographs take"
        found.append(Figure(title, growth, "MiB", detail={"MiB by micrographs": used}))
    return [*found, _memory_of_picking()]


def _memory_of_picking() -> Figure:
    """`fewpick pick general` from files to a STAR file, the whole program."""
    used = {}
    few, many = PICKED
    for n in PICKED:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_micrograph(folder / "one.mrc", 1024)
            (folder / "micrographs").mkdir()
            for index in range(n):
                (folder / f"micrographs/m{index:04d}.mrc").hardlink_to(folder / "one.mrc")
            command = [sys.executable, "-m", "fewpick.cli", "pick", "general", "micrographs"]
            command += ["--diameter", "54", "--threshold", "0.0001", "--device", "cpu"]
            used[n] = run(command, folder)[1]
    title = f"fewpick pick: peak memory for {many:,} micrographs, by that for {few}"
    return Figure(title, used[many] / used[few], mark=1.1, detail={"MiB by micrographs": used})
