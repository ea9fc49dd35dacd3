"""What `pip install` gives: the package without a checkout around it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import mrcfile
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/fewpick"
SIZE, RADIUS = 256, 12

HELP_OF_ALL = """\
import contextlib, io
from fewpick import cli
assert "site-packages/fewpick/" in cli.__file__, cli.__file__
for name in cli.COMMANDS:
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text):
            cli.main([name, "--help"])
    except SystemExit as end:
        assert end.code == 0, name
    assert f"usage: fewpick {name}" in text.getvalue(), name
print(*cli.COMMANDS)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel, which borrows its dependencies from the running one."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install"]
    quiet = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, *quiet, str(wheel)], check=True, capture_output=True)
    # Only now: pip would take the package of the running environment for an older version.
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def run(installed: Path, folder: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(installed / "bin" / arguments[0]), *arguments[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("fewpick/")}
    files = {
        path.relative_to(SOURCE.parent).as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert held == files
    assert {"fewpick/py.typed", "fewpick/config/config.schema.yaml"} <= held


def test_every_command_explains_itself(installed: Path, tmp_path: Path) -> None:
    said = run(installed, tmp_path, "python", "-c", HELP_OF_ALL)
    assert {"init", "check", "pick", "suggest", "fetch", "convert"} <= set(said.split())
    assert run(installed, tmp_path, "fewpick", "--help").startswith("usage: fewpick COMMAND")


def test_version(installed: Path, wheel: Path, tmp_path: Path) -> None:
    version = wheel.name.split("-")[1]
    assert run(installed, tmp_path, "fewpick", "--version") == f"fewpick {version}\n"


def test_init_and_convert(installed: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    (tmp_path / "micrographs").mkdir()
    lines = ["micrograph,x,y"]
    for index in range(2):
        image = rng.normal(0, 1, (SIZE, SIZE)).astype(np.float32)
        for x, y in rng.uniform(2 * RADIUS, SIZE - 2 * RADIUS, (12, 2)):
            image -= 2 * np.exp(-((((columns - x) ** 2 + (rows - y) ** 2) / RADIUS**2) ** 2))
            lines.append(f"m{index}.mrc,{x:.2f},{y:.2f}")
        mrcfile.write(tmp_path / f"micrographs/m{index}.mrc", image, voxel_size=5.0)
    (tmp_path / "points.csv").write_text("\n".join(lines) + "\n")
    run(installed, tmp_path, *["fewpick", "init", "micrographs", "points.csv", "-o", "mine.yaml"])
    assert "particle_radius: " in (tmp_path / "mine.yaml").read_text()
    run(installed, tmp_path, "fewpick", "convert", "points.csv", "picks.star")
    assert (tmp_path / "picks.star").read_text().count("m0.mrc") == 12
