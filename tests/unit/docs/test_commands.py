"""Each command of the pages is run, here or by another test, or a page says why not."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from fewpick import cli
from fewpick.coordinates import Picks, write_picks

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
PROGRAMS = "fewpick|snakemake|make|pip|python3?|conda|source|relion_[a-z]+|[a-z-]*/bin/[a-z]+"

# Run in the folder that `folder` makes, in this order, since one writes what the next one reads.
HERE = [
    "fewpick init micrographs/ particles.star -o mine.yaml",
    "fewpick check mine.yaml",
    "snakemake --cores all --configfile mine.yaml",
    "fewpick init micrographs/ labels.star -o mine.yaml",
    "snakemake --cores all picks --configfile mine.yaml",
    "fewpick pick general micrographs/ --diameter 108 -o picks.star",
    "fewpick convert particles.star boxes --to box --box-size 180",
    "fewpick convert topaz.txt picks.star --scale 8 --min-score 0 --micrographs micrographs",
    "fewpick convert coordinates particles.star --flip-y --micrographs micrographs "
    "--pixel-size 1.77",
]
# Commands by their beginning, and the test that runs them on data of its own.
ELSEWHERE = {
    "fewpick label": "tests/browser/test_label_tour.py",
    "fewpick suggest": "tests/unit/picking/test_disagreement.py",
    "fewpick pick results/": "tests/workflow/test_run.py",
    "fewpick pick general MotionCorr": "tests/workflow/test_relion.py",
    "fewpick init data/": "tests/unit/commands/test_commands.py",
    "fewpick check config/": "tests/unit/commands/test_commands.py",
    "fewpick fetch": "tests/unit/fetching/test_fetch.py",
    "snakemake --cores 1 data/": "tests/workflow/test_fetch.py",
    "snakemake --cores all --configfile config/": "tests/workflow/test_run.py",
    "snakemake --cores all --configfile data/": "tests/workflow/test_fetch.py",
    "snakemake -s /": "tests/workflow/test_run.py",
    "snakemake --workflow-profile profiles/slurm": "tests/cluster/test_slurm.py",
    "relion_preprocess": "tests/workflow/test_relion.py",
}
# Of these docs/testing.md says why no test runs them.
NOT_RUN = ("make", "pip install", "conda create", "source", "python3 -m venv", "topaz-env/")


def commands() -> dict[str, str]:
    """Command -> page, of all blocks of code."""
    found = {}
    for page in PAGES:
        for block in re.findall(r"```\w*\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                command = " ".join(re.sub(r"\s#.*", "", line).split()).removeprefix("$ ")
                if re.match(rf"({PROGRAMS}) ", command):
                    found[command] = page.name
    return found


@pytest.mark.parametrize("command", commands())
def test_each_command_has_its_test(command: str) -> None:
    if command in HERE or command.startswith(NOT_RUN):
        return
    by = [test for begin, test in ELSEWHERE.items() if command.startswith(begin)]
    assert by, "run it in HERE, or name the test that does"
    assert all((ROOT / test).is_file() for test in by)


def test_a_page_says_which_commands_no_test_runs() -> None:
    said = (ROOT / "docs/testing.md").read_text().partition("## Commands of the documentation")[2]
    for command in NOT_RUN:
        assert f"`{command.rstrip('/')}" in said, command


def test_no_command_is_listed_in_vain() -> None:
    written = list(commands())
    assert set(HERE) <= set(written)
    for begin in (*ELSEWHERE, *NOT_RUN):
        assert any(command.startswith(begin) for command in written), begin


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the files that the commands name."""
    folder = tmp_path_factory.mktemp("documented")
    (folder / "micrographs").mkdir()
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:640, :640]
    points = {}
    for index in range(6):
        xy = np.stack(np.meshgrid([100, 250, 400, 540], [100, 250, 400, 540]), -1).reshape(-1, 2)
        xy = xy[rng.permutation(16)[:11]] + rng.uniform(-20, 20, (11, 2))
        image = rng.normal(0, 1, (640, 640))
        for x, y in xy:
            image -= 2 * np.exp(-((np.hypot(columns - x, rows - y) / 40) ** 4))
        with mrcfile.new(folder / f"micrographs/m{index}.mrc") as mrc:
            mrc.set_data(image.astype(np.float32))
            mrc.voxel_size = 1.77
        points[f"m{index}.mrc"] = xy
    picks = {name: Picks(xy) for name, xy in points.items()}
    for name in ("particles.star", "labels.star"):
        write_picks(folder / name, picks)
    scored = {name: Picks(xy / 8, np.ones(len(xy))) for name, xy in points.items()}
    write_picks(folder / "topaz.txt", scored)
    flipped = {name: Picks(np.array([0, 640]) + xy * [1, -1]) for name, xy in points.items()}
    write_picks(folder / "coordinates", flipped, fmt="csv", box_size=108)
    (folder / "labels.settings.yaml").write_text("diameter: 108\n")
    every = "micrograph\tx0\ty0\tx1\ty1\n" + "".join(f"{name}\t0\t0\t640\t640\n" for name in points)
    (folder / "labels.areas.tsv").write_text(every)
    with contextlib.chdir(folder):
        yield folder


@pytest.mark.parametrize("command", HERE)
def test_commands_run_as_written(command: str, folder: Path) -> None:
    """Trainings are planned and not done: other tests run the workflow."""
    program, *words = shlex.split(command)
    if program == "fewpick":
        # An earlier command of another page has written the same file.
        again = ["--force"] if words[0] != "check" else []
        assert cli.main([*words, *again]) == 0
        return
    options = ["--snakefile", str(ROOT / "Snakefile"), "--dry-run", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    result = subprocess.run(
        [sys.executable, "-m", program, *words, *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
