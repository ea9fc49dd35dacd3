"""`fewpick relion-job` as a job of a RELION project, run by RELION and extracted by it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from label_server import make_micrographs
from relion_project import (
    EXTERNAL_TYPE,
    IMPORT,
    IMPORT_TYPE,
    PIPELINE,
    external_options,
    missing_program,
    random_picker,
    run_job,
)

from fewpick.coordinates import read_picks
from fewpick.coordinates.star_blocks import read_blocks

BOX = 48


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with imported micrographs, one of them without a particle to find."""
    if missing := missing_program():
        pytest.skip(f"NO RELION: {missing} is not installed (Debian: relion)")
    folder = tmp_path_factory.mktemp("relion")
    make_micrographs(folder / "Micrographs")
    (folder / "Micrographs/broken.mrc").unlink()
    random_picker(folder / "picker.safetensors")
    program = folder / "fewpick-relion-job.sh"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m fewpick.cli relion-job "$@"\n')
    program.chmod(0o755)
    (folder / "default_pipeline.star").write_text(PIPELINE)
    run_job(folder, IMPORT_TYPE, IMPORT, "Import/job001/")
    return folder


def test_relion_runs_the_job_and_extracts_its_picks(project: Path) -> None:
    values = {"model": "picker.safetensors", "diameter_angstrom": "96"}
    options = external_options("./fewpick-relion-job.sh", "Import/job001/micrographs.star", values)
    run_job(project, EXTERNAL_TYPE, options, "External/job002/")
    job = project / "External/job002"
    assert (job / "RELION_JOB_EXIT_SUCCESS").exists(), (job / "run.err").read_text()
    tables = read_blocks(project / "default_pipeline.star", ())
    processes = tables["pipeline_processes"]
    row = processes[processes["rlnPipeLineProcessName"] == "External/job002/"].iloc[0]
    assert int(row["rlnPipeLineProcessStatus"]) == 2  # finished
    nodes = tables["pipeline_nodes"].set_index("rlnPipeLineNodeName")["rlnPipeLineNodeType"]
    assert int(nodes["External/job002/coords_suffix_autopick.star"]) == 2  # coordinates

    # One micrograph without picks, as they occur.
    empty = job / "Micrographs/b_autopick.star"
    header = [line for line in empty.read_text().splitlines() if not line[:1].isdigit()]
    empty.write_text("\n".join(header) + "\n")
    words = ("--i", "Import/job001/micrographs.star", "--coord_dir", "External/job002/")
    subprocess.run(
        [
            *("relion_preprocess", *words, "--coord_suffix", "_autopick.star", "--extract"),
            *("--part_dir", "Extract/", "--part_star", "Extract/particles.star"),
            *("--extract_size", str(BOX)),
        ],
        cwd=project,
        check=True,
        timeout=300,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    particles = read_picks(project / "Extract/particles.star")
    assert set(particles) == {"Micrographs/a.mrc", "Micrographs/c.mrc"}
    for name in ("a", "c"):
        (picks,) = read_picks(job / f"Micrographs/{name}_autopick.star").values()
        found = particles[f"Micrographs/{name}.mrc"]
        assert len(found) == len(picks) > 20
        assert np.abs(found.xy - picks.xy).max() < 1e-3
        with mrcfile.open(project / f"Extract/Micrographs/{name}.mrcs") as stack:
            boxes = stack.data.reshape(-1, BOX, BOX).copy()
        with mrcfile.open(project / f"Micrographs/{name}.mrc") as mrc:
            image = mrc.data.copy()
        same = [
            np.allclose(box, image[y - BOX // 2 : y + BOX // 2, x - BOX // 2 : x + BOX // 2])
            for box, (x, y) in zip(boxes, found.xy.astype(int), strict=True)
            if BOX <= x <= image.shape[1] - BOX and BOX <= y <= image.shape[0] - BOX
        ]
        assert len(same) > 20
        assert all(same)  # RELION cuts positions off to whole pixels


def test_relion_sees_that_a_job_failed(project: Path) -> None:
    options = external_options(
        "./fewpick-relion-job.sh", "Import/job001/micrographs.star", {"model": "nowhere/nothing"}
    )
    run_job(project, EXTERNAL_TYPE, options, "External/job003/")
    job = project / "External/job003"
    assert (job / "RELION_JOB_EXIT_FAILURE").exists()
    assert "nowhere/nothing: not a model to pick with" in (job / "run.err").read_text()
