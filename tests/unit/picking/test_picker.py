"""A model file as a tool: the same picks as the workflow, and any format out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fewpick import cli
from fewpick.coordinates import read_picks
from fewpick.data.masks import mask_shard
from fewpick.data.preprocess import input_sizes, preprocess_shard
from fewpick.data.splits import label_subset, split_micrographs
from fewpick.errors import InputError
from fewpick.network.model_file import load_model, save_model
from fewpick.network.unet import UNet
from fewpick.picking.candidates import candidate_table, find
from fewpick.picking.picker import Picker, describe_use, is_model, kept, resolve
from fewpick.sampling.training_set import load_training_set
from fewpick.stacks import read_table, write_table
from fewpick.stage_tables.definitions import LabelTable

SPEC = {"particle_radius": 12.0, "border": 20.0}
PICKING: dict[str, Any] = {"views": 2, "nms_radius": 1.2}
HYPERPARAMETERS: dict[str, Any] = {
    "model": {"stem_stride": 4, "widths": [8, 8]},
    "method": "supervised",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Micrographs at one size, and a model that has picked them."""
    return build(tmp_path_factory.mktemp("picker"), None)


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with particles 12 px wide, which takes 128 px, too, so that the picks are equal."""
    return build(tmp_path_factory.mktemp("scaled"), 12.0)


def build(folder: Path, particle_px: float | None) -> Path:
    """Four micrographs that are not square, preprocessed, and a model that has picked them."""
    rng = np.random.default_rng(3)
    names = [f"m{i}.mrc" for i in range(4)]
    (folder / "micrographs").mkdir()
    for name in names:
        with mrcfile.new(folder / "micrographs" / name) as mrc:
            mrc.set_data(rng.normal(size=(200, 260)).astype(np.float32))
            mrc.voxel_size = 2.0
    manifest = pd.DataFrame({"micrograph": names, "annotated": True, "ny": 200, "nx": 260})
    manifest = manifest.assign(
        path=[str(folder / "micrographs" / name) for name in names], pixel_size=2.0
    )
    coordinates = pd.DataFrame({"micrograph": names, "x": 100.0, "y": 90.0})
    sizes = input_sizes(manifest, 128, particle_px, SPEC)
    geometry = preprocess_shard(manifest, folder / "d" / "stack.mrcs", sizes)
    radii = dict.fromkeys(names, SPEC["particle_radius"])
    mask_shard(geometry, manifest, coordinates, folder / "d" / "masks.mrcs", radii, border=20.0)
    split = split_micrographs("d", names, [True] * 4, seed=0)
    table = label_subset(
        "d", split, geometry, coordinates, ratio=0.5, seed=0, particle_radius=radii, border=20.0
    )
    LabelTable.write(table, folder / "ratio.tsv")
    torch.manual_seed(0)
    network = UNet(**HYPERPARAMETERS["model"]).eval()
    micrographs = load_training_set(
        [folder / "d/stack.mrcs"], [folder / "d/masks.mrcs"], folder / "ratio.tsv"
    )
    save_model(folder / "model" / "model.safetensors", network, HYPERPARAMETERS)
    trained = load_model(folder / "model" / "model.safetensors").network
    found = list(find(trained, micrographs, torch.device("cpu"), **PICKING))
    write_table(candidate_table(found), folder / "candidates.tsv")
    use = describe_use(
        micrographs,
        {"d": manifest},
        {"d": SPEC},
        threshold={"threshold": 0.1},
        picking=PICKING,
        particle_px=particle_px,
    )
    save_model(folder / "model" / "picker.safetensors", network, HYPERPARAMETERS, use)
    return folder


def test_picks_are_those_of_the_workflow(project: Path) -> None:
    """Bit for bit: the same preprocessing, network, border and peaks."""
    picker = Picker(project / "model", torch.device("cpu"))
    expected = read_table(project / "candidates.tsv")
    assert len(expected) > 20
    for name, rows in expected.groupby("micrograph"):
        found = picker.find(picker.see(project / "micrographs" / str(name)))
        np.testing.assert_array_equal(found.xy, rows[["x", "y"]])
        np.testing.assert_array_equal(found.score, rows["score"])
        assert found.diameter == 24.0


@pytest.mark.parametrize("given", ["model", "model/picker.safetensors", "model/model.safetensors"])
def test_a_model_is_found_beside_what_is_given(project: Path, given: str) -> None:
    assert resolve(project / given) == project / "model/picker.safetensors"


def test_a_model_that_has_not_picked_is_refused(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model.safetensors"
    copy.write_bytes((project / "model/model.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"picker\.safetensors"):
        resolve(copy)
    copy.write_bytes((project / "model/picker.safetensors").read_bytes())
    assert resolve(copy) == copy


def size(picker: Picker, path: Path) -> float:
    """Particle radius, px of the micrograph."""
    seen = picker.see(path)
    return seen.radius / seen.frame.scale


def test_particle_size_follows_the_pixel_size(
    project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same particle at half the pixel size covers twice the pixels."""
    fine = tmp_path / "fine.mrc"
    with mrcfile.new(fine) as mrc:
        mrc.set_data(np.random.default_rng(0).normal(size=(200, 260)).astype(np.float32))
        mrc.voxel_size = 1.0
    picker = Picker(project / "model", torch.device("cpu"))
    assert size(picker, fine) == pytest.approx(24.0)
    told = Picker(project / "model", torch.device("cpu"), diameter_angstrom=30.0)
    for _ in range(2):
        assert size(told, fine) == pytest.approx(15.0)
    # Once for each picker, because programs write 1 where they do not know the pixel size.
    assert [line.count("exactly 1 angstrom per pixel") for line in caplog.messages] == [1, 1]
    sure = Picker(project / "model", torch.device("cpu"), diameter_angstrom=30.0, pixel_size=1.0)
    assert size(sure, fine) == pytest.approx(15.0)
    assert len(caplog.messages) == 2
    # Without pixel sizes, the share of the micrograph decides.
    picture = tmp_path / "half.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (100, 130), np.uint8)).save(picture)
    assert size(picker, picture) == pytest.approx(6.0)


@pytest.mark.parametrize("fmt", ["star", "json", "cbox", "box", "csv", "topaz"])
def test_command_writes_every_format(project: Path, tmp_path: Path, fmt: str) -> None:
    out = tmp_path / ("out" if fmt in ("box", "cbox") else f"out.{fmt.replace('topaz', 'txt')}")
    command = ["pick", str(project / "model"), str(project / "micrographs"), "-o", str(out)]
    assert cli.main([*command, "--to", fmt, "--threshold", "0.09"]) == 0
    held = {Path(name).stem: xy for name, xy in read_picks(out).items()}
    picker = Picker(project / "model", torch.device("cpu"))
    for index in range(4):
        seen = picker.see(project / f"micrographs/m{index}.mrc")
        expected = kept(picker.find(seen), 0.09)
        assert len(expected) > 0
        np.testing.assert_allclose(held[f"m{index}"].xy, expected.xy, atol=0.5)


def test_overlay_shows_the_picks(project: Path, tmp_path: Path) -> None:
    command = ["pick", str(project / "model"), str(project / "micrographs/m0.mrc")]
    command += ["-o", str(tmp_path / "p.star"), "--overlay", str(tmp_path / "look")]
    assert cli.main([*command, "--threshold", "0"]) == 0
    picture = np.asarray(Image.open(tmp_path / "look/m0.png")).astype(int)
    assert picture.shape == (99, 128, 3)
    assert (abs(picture - [0x56, 0xB4, 0xE9]).sum(-1) == 0).sum() > 50
    assert cli.main([*command, "--threshold", "2", "--force"]) == 0
    picture = np.asarray(Image.open(tmp_path / "look/m0.png")).astype(int)
    assert (abs(picture - [0x56, 0xB4, 0xE9]).sum(-1) == 0).sum() == 0


def test_a_broken_micrograph_is_named_and_the_others_are_picked(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("m0.mrc", "m1.mrc"):
        (tmp_path / name).write_bytes((project / "micrographs" / name).read_bytes())
    (tmp_path / "broken.mrc").write_bytes(b"nothing")
    out = tmp_path / "picks.star"
    assert cli.main(["pick", str(project / "model"), str(tmp_path), "-o", str(out)]) == 1
    assert set(read_picks(out)) == {str(tmp_path / "m0.mrc"), str(tmp_path / "m1.mrc")}
    said = capsys.readouterr()
    assert "broken.mrc" in said.err
    assert "1 of 3 micrographs were not picked" in said.err


def test_another_particle_size_is_scaled_to_that_of_the_training(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Particles half as wide ask for an image twice as wide; a tenth more is left as it is."""
    path = project / "micrographs/m0.mrc"
    for diameter, size in [(24.0, 128), (26.4, 128), (12.0, 256), (6.0, 512), (40.0, 64)]:
        seen = Picker(project / "model", torch.device("cpu"), radius=diameter / 2).see(path)
        assert seen.image.shape == (size, size)
        assert seen.radius == pytest.approx(diameter / 2 * size / 260)
    command = ["pick", str(project / "model"), str(project / "micrographs")]
    command += ["-o", str(tmp_path / "picks.star"), "--diameter"]
    assert cli.main([*command, "12"]) == 0
    assert "4 micrographs were rescaled" in capsys.readouterr().out
    assert cli.main([*command, "24", "--force"]) == 0
    assert "scaled" not in capsys.readouterr().out


def test_a_scale_out_of_bounds_names_the_micrograph(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["pick", str(project / "model"), str(project / "micrographs/m0.mrc")]
    assert cli.main([*command, "-o", str(tmp_path / "p.star"), "--diameter", "190"]) == 1
    said = capsys.readouterr().err
    assert "m0.mrc: particles 190 px wide in 260 x 200 px need" in said


def test_a_model_of_one_particle_width_scales_every_micrograph(
    project: Path, scaled: Path, tmp_path: Path
) -> None:
    picker = Picker(scaled / "model", torch.device("cpu"))
    alike = Picker(project / "model", torch.device("cpu"))
    path = project / "micrographs/m0.mrc"
    np.testing.assert_array_equal(picker.find(picker.see(path)).xy, alike.find(alike.see(path)).xy)
    fine = tmp_path / "fine.mrc"
    with mrcfile.new(fine) as mrc:
        mrc.set_data(np.random.default_rng(0).normal(size=(400, 520)).astype(np.float32))
        mrc.voxel_size = 1.0
    seen = picker.see(fine)
    assert seen.frame.size == 128
    assert seen.radius == pytest.approx(24 * 128 / 520)
    seen = Picker(scaled / "model", torch.device("cpu"), radius=6.0).see(fine)
    assert seen.frame.size == 512
    assert seen.radius == pytest.approx(6 * 512 / 520)


def test_metadata_says_how_to_pick(project: Path) -> None:
    """Without this package: it is JSON in the header of the file."""
    raw = (project / "model/picker.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    said = json.loads(header["__metadata__"]["fewpick"])
    assert said["use"]["target_size"] == 128
    assert said["use"]["threshold"]["threshold"] == 0.1
    assert said["use"]["particles"]["d"] == {
        "radius": 12.0,
        "border": 20.0,
        "longest": 260,
        "pixel_size": 2.0,
        "others": [],
    }
    assert said["use"]["labels"]["particles"] == 1


def test_size_and_border_are_those_of_each_micrograph(project: Path, tmp_path: Path) -> None:
    """A set of two cameras: both configured in pixels, whatever the first micrograph is like."""
    manifest = pd.DataFrame(
        {"micrograph": ["a", "b", "c"], "ny": [200, 100, 200], "nx": [260, 130, 260]}
    ).assign(pixel_size=[2.0, 4.0, 1.0])
    micrographs = load_training_set(
        [project / "d/stack.mrcs"], [project / "d/masks.mrcs"], project / "ratio.tsv"
    )
    use = describe_use(
        micrographs, {"d": manifest}, {"d": SPEC}, threshold={"threshold": 0.1}, picking=PICKING
    )
    network = load_model(project / "model" / "picker.safetensors", torch.device("cpu")).network
    save_model(tmp_path / "picker.safetensors", network, HYPERPARAMETERS, use)
    picker = Picker(tmp_path, torch.device("cpu"))
    assert picker.radius_scale == 0.5
    for shape, pixel_size in (((200, 260), 2.0), ((100, 130), 4.0), ((200, 260), 1.0)):
        path = tmp_path / f"{pixel_size}.mrc"
        with mrcfile.new(path) as mrc:
            mrc.set_data(np.random.default_rng(0).normal(size=shape).astype(np.float32))
            mrc.voxel_size = pixel_size
        seen = picker.see(path)
        assert seen.radius / seen.frame.scale == pytest.approx(12.0)
        # 20 px of the micrograph, whole pixels of the network's input.
        assert seen.area[0] / seen.frame.scale == pytest.approx(20.0, abs=1 / seen.frame.scale)
    # Another microscope: the size in angstrom is that of the first micrograph.
    other = tmp_path / "other.mrc"
    with mrcfile.new(other) as mrc:
        mrc.set_data(np.random.default_rng(0).normal(size=(200, 260)).astype(np.float32))
        mrc.voxel_size = 3.0
    assert size(picker, other) == pytest.approx(8.0)


def test_models_are_told_from_micrographs(project: Path, tmp_path: Path) -> None:
    assert is_model("general")
    assert is_model(project / "model")
    assert is_model(str(project / "model/picker.safetensors"))
    assert not is_model(project / "micrographs")
    assert not is_model(project / "micrographs/m0.mrc")


def test_several_paths_and_globs(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a shell expands a glob, and as it leaves one in quotes."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("HERE", str(project))
    sources = ["micrographs/m0.mrc", "$HERE/micrographs/m[12].mrc"]
    assert cli.main(["pick", "model", *sources, "-o", str(tmp_path / "p.json")]) == 0
    assert set(read_picks(tmp_path / "p.json")) == {"m0.mrc", "m1.mrc", "m2.mrc"}


def test_where_picks_go_is_checked_before_the_work(
    project: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("a micrograph was read")

    monkeypatch.setattr(Picker, "see", never)
    (tmp_path / "file").write_text("")
    command = ["pick", str(project / "model"), str(project / "micrographs"), "-o"]
    for out, message in [
        ("picks.cs", "cannot write the format 'cs'"),
        ("picks.doc", "cannot infer the format from the suffix .doc"),
        ("file/picks.star", "file is not a folder"),
    ]:
        assert cli.main([*command, str(tmp_path / out)]) == 2
        assert message in capsys.readouterr().err
    monkeypatch.setattr("os.access", lambda *_: False)
    assert cli.main([*command, str(tmp_path / "new/picks.star")]) == 2
    assert f"no permission to write to {tmp_path}." in capsys.readouterr().err


def test_stopping_keeps_what_was_picked(
    project: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    see = Picker.see

    def stop_at_the_third(picker: Picker, path: Path) -> Any:
        if path.name == "m2.mrc":
            raise KeyboardInterrupt
        return see(picker, path)

    command = ["pick", str(project / "model"), str(project / "micrographs"), "--threshold", "0.09"]
    assert cli.main([*command, "-o", str(tmp_path / "all.json")]) == 0
    monkeypatch.setattr(Picker, "see", stop_at_the_third)
    assert cli.main([*command, "-o", str(tmp_path / "some.json")]) == 130
    assert "stopped after 2 of 4 micrographs" in capsys.readouterr().err
    assert not (tmp_path / "some.json").exists()
    everything = json.loads((tmp_path / "all.json").read_text())
    kept_ones = json.loads((tmp_path / "some.partial.json").read_text())
    assert kept_ones == {name: everything[name] for name in ("m0.mrc", "m1.mrc")}


def test_the_command_says_what_the_model_was_trained_on(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["pick", str(project / "model"), str(project / "micrographs/m0.mrc")]
    assert cli.main([*command, "-o", str(tmp_path / "p.star")]) == 0
    model = project / "model/picker.safetensors"
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"{model}: trained on d with 1 labelled particle"
    held = load_model(project / "model/picker.safetensors")
    use = held.use | {"arm": "fixmatch", "labels": {"micrographs": 2, "particles": 1234}}
    save_model(tmp_path / "m.safetensors", held.network, held.hyperparameters, use)
    assert Picker(tmp_path / "m.safetensors", torch.device("cpu")).describe() == (
        f"{tmp_path}/m.safetensors: arm fixmatch, trained on d with 1,234 labelled particles"
    )
