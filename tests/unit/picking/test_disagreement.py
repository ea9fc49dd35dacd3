"""What is suggested for labelling: where voters disagree, and not ten times the same."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch
from PIL import Image

from fewpick import cli
from fewpick.network.model_file import save_model
from fewpick.network.unet import UNet
from fewpick.picking.disagreement import Area, areas, choose_areas, disagreement, vote
from fewpick.picking.picker import Picker
from fewpick.stacks import read_table

HYPERPARAMETERS = {"model": {"stem_stride": 4, "widths": [8, 8]}}


def test_voters_that_are_all_unsure_do_not_disagree() -> None:
    """Noise that no label would settle is not worth labelling."""
    votes = np.array([[[0.5, 0.01, 0.99, 0.01]], [[0.5, 0.99, 0.99, 0.01]]])
    unsure, opposed, agreed_yes, agreed_no = disagreement(votes)[0]
    assert opposed > 0.8
    assert max(unsure, agreed_yes, agreed_no) < 1e-9


def area(doubt: float, *features: float) -> Area:
    return Area(Path("m"), (0, 0, 1, 1), doubt, 0, np.array(features))


def test_the_most_disputed_comes_first_and_its_twin_later() -> None:
    best, twin, other = area(5.0, 0, 0), area(4.9, 0.01, 0), area(2.0, 10, 10)
    filler = [area(0.1, x, -x) for x in (3.0, 6.0, 9.0)]
    chosen = choose_areas([*filler, twin, other, best], 3)
    assert [a.doubt for a in chosen[:2]] == [5.0, 2.0]
    assert twin.doubt > 0  # it is not excluded, only later
    assert len(choose_areas([best, twin], 10)) == 2
    assert choose_areas([], 3) == []


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models with other weights, and three micrographs."""
    folder = tmp_path_factory.mktemp("suggest")
    rng = np.random.default_rng(0)
    (folder / "micrographs").mkdir()
    for name in ("a", "b", "c"):
        with mrcfile.new(folder / f"micrographs/{name}.mrc") as mrc:
            mrc.set_data(rng.normal(size=(180, 240)).astype(np.float32))
    particle = {"radius": 10.0, "border": 0.0, "longest": 240, "pixel_size": None}
    use = {
        "target_size": 128,
        "normalise": "robust",
        "lowpass_angstrom": None,
        "picking": {"views": 1, "nms_radius": 1.2},
        "threshold": {"threshold": 0.1},
        "particles": {"d": particle},
    }
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = UNet(stem_stride=4, widths=[8, 8])
        path = folder / f"seed-{seed}/picker.safetensors"
        save_model(path, network, HYPERPARAMETERS, use)
    (folder / "known.json").write_text('{"b": [[5, 5]]}')
    return folder


@pytest.mark.parametrize("voters", [["seed-0"], ["seed-0", "seed-1"]])
def test_command_writes_a_table_and_a_picture(
    project: Path, tmp_path: Path, voters: list[str]
) -> None:
    command = ["suggest", str(project / "micrographs"), *(str(project / v) for v in voters)]
    command += ["-n", "3", "--tile-size", "48", "--labelled", str(project / "known.json")]
    assert cli.main([*command, "-o", str(tmp_path)]) == 0
    table = read_table(tmp_path / "suggestions.tsv")
    assert table["rank"].tolist() == [1, 2, 3]
    assert set(table["micrograph"]) <= {"a.mrc", "c.mrc"}  # b is labelled
    # Tiles of 48 of the 128 px that show 240.
    assert (table["x1"] - table["x0"]).between(89, 91).all()
    assert table[["x0", "y0"]].to_numpy().min() >= 0
    assert table["x1"].max() <= 240
    assert table["y1"].max() <= 180
    sheet = np.asarray(Image.open(tmp_path / "suggestions.png"))
    assert sheet.std() > 10


def test_whole_micrographs(project: Path, tmp_path: Path) -> None:
    command = ["suggest", str(project / "micrographs"), str(project / "seed-0")]
    assert cli.main([*command, "--unit", "micrograph", "-o", str(tmp_path)]) == 0
    table = read_table(tmp_path / "suggestions.tsv")
    assert sorted(table["micrograph"]) == ["a.mrc", "b.mrc", "c.mrc"]
    assert (table["x1"] == 240).all()


def test_nothing_left_to_label(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["suggest", str(project / "micrographs/b.mrc"), str(project / "seed-0")]
    command += ["--labelled", str(project / "known.json"), "-o", str(tmp_path)]
    assert cli.main(command) == 2
    assert "already labelled" in capsys.readouterr().err
    assert cli.main([*command[:3], "--tile-size", "500", "-o", str(tmp_path)]) == 2
    assert "no tile fits" in capsys.readouterr().err


def test_a_particle_in_dispute_has_the_size_of_the_discs_that_were_learned(project: Path) -> None:
    """Discs of half the radius cover a quarter of the area: as many disputed pixels, fourfold."""
    path = project / "micrographs/a.mrc"
    picker = Picker(project / "seed-0", torch.device("cpu"))
    assert picker.radius_scale == 0.5  # what files without it were made with
    half = areas([picker], path, None)[0].doubt
    picker.radius_scale = 1.0
    assert areas([picker], path, None)[0].doubt == pytest.approx(half / 4)
    assert half > 0


def test_votes_are_shifted_by_thresholds_however_low(project: Path) -> None:
    """A network that finds particles at 0.0001 votes as it picks."""
    picker = Picker(project / "seed-0", torch.device("cpu"))
    seen = picker.see(project / "micrographs/a.mrc")
    picker.threshold = 0.5
    plain = vote([picker], seen)[0]
    picker.threshold = 1e-4
    low = vote([picker], seen)[0]
    shift = np.log(low / (1 - low)) - np.log(plain / (1 - plain))
    np.testing.assert_allclose(shift, np.log((1 - 1e-4) / 1e-4), rtol=1e-2)


def test_micrographs_and_models_in_any_order(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(project / f"micrographs/{name}.mrc") for name in "ab"]
    models = [str(project / "seed-0"), str(project / "seed-1/picker.safetensors")]
    command = ["suggest", models[0], *files, models[1], "--unit", "micrograph"]
    assert cli.main([*command, "-o", str(tmp_path)]) == 0
    assert sorted(read_table(tmp_path / "suggestions.tsv")["micrograph"]) == ["a.mrc", "b.mrc"]
    assert cli.main(["suggest", *files]) == 2
    assert "no model among these" in capsys.readouterr().err
    assert cli.main(["suggest", *models]) == 2
    assert "no micrographs given" in capsys.readouterr().err
