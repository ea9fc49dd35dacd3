"""RELION 3.1.3 takes what fewpick writes: every pick is extracted, and lies where it should.

Needs the programs of Debian's package relion: make test-relion.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray
from relion_project import missing_program, random_picker
from scipy import signal

from fewpick import cli
from fewpick.coordinates import read_picks
from fewpick.coordinates.star_blocks import read_blocks

pytestmark = pytest.mark.relion

NY, NX, RADIUS, BOX, N_MICROGRAPHS, N_PARTICLES = 400, 480, 8, 40, 3, 30
MOVIES = "MotionCorr/job002/Movies"
CTF = "CtfFind/job003/micrographs_ctf.star"
OPTICS = {
    "rlnOpticsGroupName": "grid_7",
    "rlnOpticsGroup": "1",
    "rlnMicrographPixelSize": "2.000000",
    "rlnVoltage": "200.000000",
    "rlnSphericalAberration": "1.400000",
    "rlnAmplitudeContrast": "0.070000",
}

Boxes = NDArray[np.float32]


def loop(block: str, columns: list[str], rows: list[list[str]]) -> str:
    names = "".join(f"_{column} #{i} \n" for i, column in enumerate(columns, start=1))
    lines = "".join(" ".join(row) + " \n" for row in rows)
    return f"\n# version 30001\n\ndata_{block}\n\nloop_ \n{names}{lines} \n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with micrographs that hold discs, and the list of a CTF job."""
    if missing := missing_program():
        pytest.skip(f"NO RELION: {missing} is not installed (Debian: relion)")
    folder = tmp_path_factory.mktemp("relion")
    (folder / MOVIES).mkdir(parents=True)
    (folder / CTF).parent.mkdir(parents=True)
    rng = np.random.default_rng(1)
    grid = np.hypot(*np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1])
    truth, rows = {}, []
    for index in range(N_MICROGRAPHS):
        margin = BOX // 2 + 1
        # In the upper half, so that flipped centres meet no particle.
        high = (NX - margin, NY // 2 - margin)
        xy = rng.integers((margin, margin), high, (N_PARTICLES, 2))
        dots = np.zeros((NY, NX))
        dots[tuple(xy[:, ::-1].T)] = 1
        image = 4 * signal.fftconvolve(dots, (grid <= RADIUS).astype(float), mode="same")
        image += rng.normal(size=image.shape)
        name = f"{MOVIES}/mic_{index}.mrc"
        with mrcfile.new(folder / name) as mrc:
            mrc.set_data(image.astype(np.float32))
            mrc.voxel_size = 2.0
        truth[f"mic_{index}.mrc"] = xy.tolist()
        rows.append([name, "1", "15000.0", "15000.0", "0.0"])
    columns = ["rlnMicrographName", "rlnOpticsGroup"]
    columns += ["rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"]
    (folder / CTF).write_text(
        loop("optics", list(OPTICS), [list(OPTICS.values())]) + loop("micrographs", columns, rows)
    )
    (folder / "truth.json").write_text(json.dumps(truth))
    flipped = {name: [[x, NY - 1 - y] for x, y in xy] for name, xy in truth.items()}
    (folder / "flipped.json").write_text(json.dumps(flipped))
    random_picker(folder / "picker.safetensors")
    return folder


@pytest.fixture(autouse=True)
def inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)


def relion(*words: str) -> None:
    subprocess.run(words, check=True, timeout=300, capture_output=True)


def extract(name: str, *words: str) -> Boxes:
    """Let RELION extract particles; return their boxes."""
    relion(
        *("relion_preprocess", "--i", CTF, *words, "--extract", "--extract_size", str(BOX)),
        *("--part_dir", f"Extract/{name}/", "--part_star", f"Extract/{name}/particles.star"),
    )
    stacks = sorted(Path("Extract", name).rglob("*.mrcs"))
    boxes = [mrcfile.read(stack).reshape(-1, BOX, BOX) for stack in stacks]
    return np.concatenate(boxes) if boxes else np.empty((0, BOX, BOX), np.float32)


def contrast(boxes: Boxes) -> float:
    """Grey value of the average in a disc at its middle, less that around it."""
    rows, columns = np.mgrid[:BOX, :BOX] - BOX // 2
    distance = np.hypot(rows, columns)
    average = boxes.mean(axis=0)
    return float(average[distance <= RADIUS - 1].mean() - average[distance > RADIUS + 3].mean())


def convert(source: str, output: str, *words: str) -> None:
    assert cli.main(["convert", source, output, "--relion", CTF, *words, "--force"]) == 0


def test_centres_are_extracted_with_the_particle_in_the_middle() -> None:
    for source, low, high in (("truth", 3.0, 6.0), ("flipped", -0.3, 0.3)):
        convert(f"{source}.json", f"AutoPick/{source}", "--to", "star")
        boxes = extract(source, "--coord_dir", f"AutoPick/{source}/", *SUFFIX)
        assert len(boxes) == N_MICROGRAPHS * N_PARTICLES
        assert low < contrast(boxes) < high


SUFFIX = ("--coord_suffix", "_autopick.star")


def test_boxes_are_extracted() -> None:
    convert("truth.json", "AutoPick/box", "--to", "box", "--box-size", "32")
    boxes = extract("box", "--coord_dir", "AutoPick/box/", "--coord_suffix", ".box")
    assert len(boxes) == N_MICROGRAPHS * N_PARTICLES
    assert 3 < contrast(boxes) < 6


def test_one_table_is_imported_and_extracted_again() -> None:
    convert("truth.json", "particles.star")
    optics = read_blocks(Path("particles.star"), list(OPTICS))["optics"]
    assert optics.iloc[0].to_dict() == OPTICS
    boxes = extract("again", "--reextract_data_star", "particles.star")
    assert len(boxes) == N_MICROGRAPHS * N_PARTICLES
    assert 3 < contrast(boxes) < 6
    Path("Import/job010").mkdir(parents=True)
    relion(
        *("relion_import", "--do_particles", "--i", "particles.star"),
        *("--odir", "Import/job010/", "--ofile", "particles.star"),
    )
    assert list(Path("Import/job010").glob("*.star"))


def test_picks_are_extracted_all_of_them() -> None:
    words = ["pick", "picker.safetensors", MOVIES, "-o", "AutoPick/pick", "--to", "star"]
    assert cli.main([*words, "--relion", CTF, "--device", "cpu"]) == 0
    picks = read_picks("AutoPick/pick/autopick.star")
    assert set(picks) == {f"{MOVIES}/mic_{i}.mrc" for i in range(N_MICROGRAPHS)}
    # The layouts of pick and convert are the same.
    convert("truth.json", "AutoPick/same", "--to", "star")
    layouts = [
        sorted(path.relative_to(folder) for path in folder.rglob("*.star"))
        for folder in map(Path, ("AutoPick/pick", "AutoPick/same"))
    ]
    assert layouts[0] == layouts[1]
    assert Path("AutoPick/pick/coords_suffix_autopick.star").read_text() == f"{CTF}\n"
    n_picks = sum(map(len, picks.values()))
    assert n_picks > 10
    assert len(extract("pick", "--coord_dir", "AutoPick/pick/", *SUFFIX)) == n_picks


def test_names_and_lists_count_from_the_project_wherever_the_command_runs(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [str(project / "truth.json"), str(project / "AutoPick/elsewhere"), "--to", "star"]
    assert cli.main(["convert", *words, "--relion", str(project / CTF)]) == 0
    listed = read_blocks(project / "AutoPick/elsewhere/autopick.star", ())["coordinate_files"]
    assert listed.iloc[0].to_list() == [
        f"{MOVIES}/mic_0.mrc",
        "AutoPick/elsewhere/Movies/mic_0_autopick.star",
    ]
