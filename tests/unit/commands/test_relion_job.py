"""`fewpick relion-job` by the conventions of RELION's External jobs, without RELION."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from label_server import SOUND, make_micrographs
from relion_project import random_picker

from fewpick import cli
from fewpick.coordinates import read_picks
from fewpick.errors import InputError
from fewpick.external.relion_project import coordinate_file, read_micrographs_star

OPTICS = """
data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnMicrographPixelSize #3
opticsGroup1 1 3.0
opticsGroup2 2 2.5

data_micrographs

loop_
_rlnMicrographName #1
_rlnOpticsGroup #2
"""
JOB = Path("External/job007")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Micrographs of a motion correction, their list, and a model."""
    make_micrographs(tmp_path / "MotionCorr/job002/Movies")
    (tmp_path / "MotionCorr/job002/Movies/broken.mrc").unlink()
    random_picker(tmp_path / "picker.safetensors")
    lines = [f"MotionCorr/job002/Movies/{name} 1" for name in SOUND]
    (tmp_path / "micrographs.star").write_text(OPTICS + "\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def job(*more: str, model: str = "picker.safetensors") -> int:
    words = ("--in_mics", "micrographs.star", "--o", f"{JOB}/", "--j", "1", "--model", model)
    return cli.main(["relion-job", *words, *more])


def endings() -> list[str]:
    return sorted(path.name.removeprefix("RELION_JOB_") for path in JOB.glob("RELION_JOB_*"))


@pytest.mark.parametrize(
    ("pipeline", "node"),
    [
        ("_rlnPipeLineProcessType #3", ("_rlnPipeLineNodeType", f"{JOB}/coords_suffix", "\t2\n")),
        (
            "_rlnPipeLineProcessTypeLabel #3",
            ("_rlnPipeLineNodeTypeLabel", f"{JOB}/autopick.star\tMicrographCoordsGroup.star"),
        ),
    ],
)
def test_a_job_leaves_what_relion_looks_for(
    project: Path, pipeline: str, node: tuple[str, ...]
) -> None:
    (project / "default_pipeline.star").write_text(f"data_x\n\nloop_\n{pipeline}\nx\n")
    assert job() == 0
    assert endings() == ["EXIT_SUCCESS"]
    held = read_picks(JOB / "autopick.star")
    assert list(held) == [f"MotionCorr/job002/Movies/{name}" for name in SOUND]
    for name in SOUND:
        text = (JOB / f"Movies/{Path(name).stem}_autopick.star").read_text()
        assert "\ndata_\n" in text
        assert "optics" not in text  # RELION 3 reads the first table
        picks = held[f"MotionCorr/job002/Movies/{name}"]
        assert len(picks) > 0
        assert picks.score is not None
        assert (np.diff(picks.score) <= 0).all()
    assert (JOB / "coords_suffix_autopick.star").read_text() == "micrographs.star\n"
    nodes = (JOB / "RELION_OUTPUT_NODES.star").read_text()
    for part in node:
        assert part in nodes


def test_picks_are_those_of_fewpick_pick(project: Path) -> None:
    assert job("--threshold", "0.05", "--diameter_angstrom", "90") == 0
    words = ("picker.safetensors", "MotionCorr/job002/Movies", "-o", "picks.star")
    more = ("--threshold", "0.05", "--diameter-angstrom", "90", "--pixel-size", "3")
    assert cli.main(["pick", *words, *more]) == 0
    theirs, ours = read_picks("picks.star"), read_picks(JOB / "autopick.star")
    assert sum(map(len, theirs.values())) > 0
    for name, picks in theirs.items():
        assert np.abs(ours[name].xy - picks.xy).max() < 1e-3


def test_a_continued_job_picks_what_is_new(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert job() == 0
    first = JOB / "Movies/a_autopick.star"
    first.write_text("\ndata_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n1 2\n")
    (JOB / "Movies/b_autopick.star").unlink()
    assert job() == 0
    assert "on 1 micrographs; 2 had already been picked" in capsys.readouterr().out
    assert len(read_picks(first)["a_autopick"]) == 1
    assert (JOB / "Movies/b_autopick.star").exists()


def test_a_broken_micrograph_is_named_and_the_others_are_picked(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = project / "MotionCorr/job002/Movies/b.mrc"
    broken.write_bytes(broken.read_bytes()[:3000])
    assert job() == 0
    assert endings() == ["EXIT_SUCCESS"]
    assert "Movies/b.mrc" in capsys.readouterr().err
    assert len(read_picks(JOB / "autopick.star")) == 2


def test_a_job_that_fails_says_so_and_forgets_an_earlier_success(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert job() == 0
    assert job(model="nowhere/nothing") == 0  # nothing was left to pick
    for path in (JOB / "Movies").iterdir():
        path.unlink()
    assert job(model="nowhere/nothing") == 2
    assert endings() == ["EXIT_FAILURE"]
    assert "nowhere/nothing: not a model to pick with" in capsys.readouterr().err


def test_mistyped_parameters_end_the_job_too(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """RELION waits for a file that says how a job ended."""
    with pytest.raises(SystemExit):
        job("--treshold", "0.3")
    assert endings() == ["EXIT_FAILURE"]
    assert "--treshold" in capsys.readouterr().err


def test_a_job_ends_when_the_user_asks_for_it(project: Path) -> None:
    JOB.mkdir(parents=True)
    (JOB / "RELION_JOB_ABORT_NOW").touch()
    assert job() == 130
    assert endings() == ["EXIT_ABORTED"]
    assert job() == 0
    assert endings() == ["EXIT_SUCCESS"]


def test_micrographs_keep_their_optics_groups_pixel_sizes(tmp_path: Path) -> None:
    path = tmp_path / "micrographs.star"
    path.write_text(OPTICS + "a.mrc 1\nb.mrc 2\nc.mrc 3\n")
    assert read_micrographs_star(path) == {"a.mrc": 3.0, "b.mrc": 2.5, "c.mrc": None}
    path.write_text("data_\n\nloop_\n_rlnMicrographName #1\nx/a.mrc\n")
    assert read_micrographs_star(path) == {"x/a.mrc": None}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("data_x\n\nloop_\n_rlnCoordinateX #1\n1.0\n", "contains no list of micrographs"),
        (OPTICS + "a.mrc 1\na.mrc 1\n", "lists a.mrc twice"),
        (None, "no such file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str | None, part: str) -> None:
    path = tmp_path / "micrographs.star"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=part) as error:
        read_micrographs_star(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("micrograph", "file"),
    [
        ("MotionCorr/job002/Movies/a.mrc", "Movies/a_autopick.star"),
        ("Micrographs/a.mrc", "Micrographs/a_autopick.star"),
        ("Import/job001/x/y/a.b.mrc", "x/y/a.b_autopick.star"),
        ("a.tiff", "a_autopick.star"),
    ],
)
def test_picks_lie_where_relion_looks_for_them(micrograph: str, file: str) -> None:
    assert coordinate_file(JOB, micrograph) == JOB / file
