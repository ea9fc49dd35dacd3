"""The containers are built, and an ordinary user runs the workflow in them: make test-container.

$FEWPICK_BUILD_OPTIONS are further options of the build, such as mirrors of a site.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from workspace import ROOT

pytestmark = pytest.mark.container

USER = 4321  # has no name and no home in the container


@dataclass(frozen=True)
class Container:
    """A built image.

    Attributes
    ----------
    prefix : the command line before that of the program
    """

    prefix: tuple[str, ...]

    def run(self, folder: Path, *command: str) -> str:
        """Run a program in `folder`, without a right to write elsewhere."""
        where = [part.replace("FOLDER", str(folder)) for part in self.prefix]
        result = subprocess.run(
            [*where, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout[-8000:]
        return result.stdout


def build(*command: str) -> None:
    options = shlex.split(os.environ.get("FEWPICK_BUILD_OPTIONS", ""))
    subprocess.run([*command[:2], *options, *command[2:]], cwd=ROOT, check=True)


@pytest.fixture(scope="module", params=["docker", "podman", "apptainer"])
def container(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Container:
    tool = request.param
    if shutil.which(tool) is None:
        pytest.skip(f"NO CONTAINER of {tool}: it is not installed")
    if subprocess.run([tool, "version"], capture_output=True, check=False).returncode:
        pytest.skip(f"NO CONTAINER of {tool}: it is installed, but does not work here")
    if tool == "apptainer":
        image = str(tmp_path_factory.mktemp("image") / "fewpick.sif")
        build(tool, "build", image, "envs/fewpick.def")
        bound = ("--containall", "--bind", "FOLDER:/data", "--pwd", "/data")
        return Container((tool, "exec", *bound, image))
    build(tool, "build", "-f", "envs/Dockerfile", "-t", "fewpick-test", ".")
    rights = ("--read-only", "--tmpfs", "/tmp", "--user", str(USER))
    return Container((tool, "run", "--rm", *rights, "--volume", "FOLDER:/data", "fewpick-test"))


def test_an_ordinary_user_runs_and_picks(container: Container, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    snakefile = "/opt/fewpick/Snakefile"
    config = "/opt/fewpick/config/tiny.yaml"
    said = container.run(tmp_path, "fewpick", "check", config, "--no-timing")
    assert f"snakemake -s {snakefile} --cores all --configfile {config}" in said
    container.run(tmp_path, "snakemake", "-s", snakefile, "--cores", "2", "--configfile", config)
    assert (tmp_path / "results/report.html").stat().st_size > 100_000
    model = "results/models/fixmatch/ratio-0.5/seed-0"
    micrographs = "results/simulated/tiny/micrographs"
    container.run(tmp_path, "fewpick", "pick", model, micrographs, "-o", "picks.star")
    assert "_rlnCoordinateX" in (tmp_path / "picks.star").read_text()
