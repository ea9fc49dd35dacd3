"""The converter: right centres out, or exit code 2 and one line that says why."""

from __future__ import annotations

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from PIL import Image

from fewpick.commands.convert import main
from fewpick.coordinates import Picks, read_picks, write_picks

NY, NX = 50, 80


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A seed json of two micrographs, and their images."""
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        pixels = np.arange(NY * NX, dtype=np.uint16).reshape(NY, NX)
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    file = tmp_path / "in.json"
    file.write_text(json.dumps({"a.png": [[10, 20], [30.5, 40.25]], "b.png": []}))
    return file


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("output", "options"),
    [
        ("out.star", []),
        ("out", ["--to", "star"]),
        ("out", ["--to", "box", "--box-size", 16]),
        ("out", ["--to", "cbox", "--box-size", 16]),
        ("out.txt", []),
        ("out.csv", []),
        ("out", ["--to", "csv"]),
        ("out.json", []),
    ],
)
def test_into_every_format(
    source: Path, capsys: pytest.CaptureFixture[str], output: str, options: list[object]
) -> None:
    path = source.parent / output
    assert run(capsys, source, path, *options) == (0, f"{path}: 2 points of 2 micrographs\n", "")
    picks = read_picks(path)
    first = next(held for key, held in picks.items() if key.startswith("a"))
    np.testing.assert_allclose(first.xy, np.array([[10, 20], [30.5, 40.25]]), atol=0.5)


def test_flip_needs_the_micrographs_and_uses_their_height(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = source.parent / "out.json"
    code, out, err = run(capsys, source, output, "--flip-y")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--micrographs FOLDER" in err
    images = source.parent / "images"
    assert run(capsys, source, output, "--flip-y", "--micrographs", images)[0] == 0
    np.testing.assert_array_equal(read_picks(output)["a.png"].xy, [[10, 30], [30.5, 9.75]])


def test_scale_and_names_of_the_micrographs(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topaz, output = source.parent / "picks.txt", source.parent / "out.star"
    topaz.write_text("image_name\tx_coord\ty_coord\tscore\na\t5\t10\t3.5\n")
    images = f"{source.parent}/images/*.png"
    code, _, _ = run(
        capsys, topaz, output, "--scale", 4, "--micrographs", images, "--pixel-size", 1.5
    )
    assert code == 0
    np.testing.assert_allclose(read_picks(output)["a.png"].xy, [[20, 40]])
    assert "1.500000" in output.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.json", "out.star"], "absent.json: no such file"),
        (["in.json", "out.png"], "cannot infer the format from the suffix .png"),
        (["in.json", "out.cs"], "cryoSPARC imports star"),
        (["in.json", "boxes", "--to", "box"], "the box size is unknown"),
        (["in.json", "out.star", "--scale", "nan"], "scale is nan"),
        (["in.json", "out.star", "--scale", "9", "--micrographs", "images"], "outside the image"),
        (["in.json", "out.star", "--micrographs", "nowhere"], "nowhere: does not exist"),
        (["in.json", "out.star", "--from", "csv"], "column 'X-Coordinate' is missing"),
        (["in.json", "in.json/out.star"], "in.json"),
        (["in.json", "in.json", "--to", "box"], "in.json: is a file, but a folder is needed"),
    ],
)
def test_errors_are_one_line(
    source: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(source.parent)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("fewpick convert: ")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--to", "cs", "invalid choice: 'cs'"),
        ("--box-size", "nan", "nan is not greater than 0"),
        ("--pixel-size", "-5", "-5 is not greater than 0"),
    ],
)
def test_bad_options_exit_with_2(
    source: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, message: str
) -> None:
    with pytest.raises(SystemExit) as raised:
        main([str(source), "out", option, value])
    assert raised.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "options", "warned"),
    [
        ("out.star", [], ["1 of 2 micrographs have no particles, first b.png"]),
        ("out.csv", [], ["1 of 2 micrographs have no particles, first b.png"]),
        ("out.txt", [], ["1 of 2 micrographs have no particles, first b.png"]),
        ("out.json", [], ["the scores are not written, because json holds none"]),
        ("out", ["--to", "star"], []),
        ("out", ["--to", "cbox", "--box-size", 8], []),
    ],
)
def test_what_the_output_does_not_hold_is_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    output: str,
    options: list[object],
    warned: list[str],
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name, row in (("a.png", "1,2,0.5\n"), ("b.png", "")):
        (source / f"{name}.csv").write_text(f"x,y,score\n{row}")
    assert run(capsys, source, tmp_path / output, *options)[0] == 0
    assert len(caplog.messages) == len(warned)
    assert all(part in line for part, line in zip(warned, caplog.messages, strict=True))


@pytest.mark.parametrize(
    ("header", "options", "written"),
    [
        (2.0, [], None),
        (2.0, ["--pixel-size", 2.0], 2.0),
        (1.0, [], 1.06),  # what programs write that do not know it
        (1.07, [], 1.07),
    ],
)
def test_pixel_sizes_that_contradict_each_other(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    header: float,
    options: list[object],
    written: float | None,
) -> None:
    image = np.arange(NY * NX, dtype=np.float32).reshape(NY, NX)
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(image)
        mrc.voxel_size = header
    picks = {"a.mrc": Picks(np.array([[1.0, 2.0]]))}
    write_picks(tmp_path / "in.star", picks, pixel_size=1.06)
    output = tmp_path / "out.star"
    arguments = [tmp_path / "in.star", output, *options, "--micrographs", tmp_path / "a.mrc"]
    code, _, err = run(capsys, *arguments)
    if written is None:
        assert code == 2
        assert "gives 1.06 angstrom per pixel, but the headers of the micrographs 2. Pass" in err
    else:
        assert read_picks(output)["a.mrc"].pixel_size == pytest.approx(written)


def test_nothing_is_written_if_one_micrograph_has_no_box_size(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source.write_text(json.dumps({"a.png": [], "b.png": [[1, 2]]}))
    for fmt in ("box", "cbox"):
        assert run(capsys, source, source.parent / "out", "--to", fmt)[0] == 2
        assert not list(source.parent.rglob("*box"))


def test_several_inputs(
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.csv").write_text("micrograph,x,y\nc.png,1,2\n")
    code, out, _ = run(capsys, source, "c.csv", "out.json")
    assert (code, out) == (0, "out.json: 3 points of 3 micrographs\n")
    assert set(read_picks(Path("out.json"))) == {"a.png", "b.png", "c.png"}
    (tmp_path / "d.csv").write_text("micrograph,x,y\na.png,1,2\n")
    code, _, err = run(capsys, source, "d.csv", "out2.json")
    assert code == 2
    assert f"d.csv: a.png also has coordinates in {source}" in err
    images = ["images/a.png", "images/b.png"]
    assert run(capsys, source, "out3.json", "--flip-y", "--micrographs", *images)[0] == 0
    flipped = read_picks(Path("out3.json"))["a.png"].xy
    assert flipped.tolist() == [[10.0, NY - 20.0], [30.5, NY - 40.25]]


def test_uncertain_picks_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    xy = np.array([[10.0, 20], [30, 40], [50, 60]])
    scores = np.array([0.5, -1, np.nan])  # the last was added by a person
    picks = {"a.mrc": Picks(xy, scores), "b.mrc": Picks(xy[:1], np.array([-3.0]))}
    write_picks(tmp_path / "all.star", picks)
    output = tmp_path / "good.star"
    code, out, _ = run(capsys, tmp_path / "all.star", output, "--min-score", 0.5)
    assert (code, out) == (0, f"{output}: 2 points of 2 micrographs\n")
    good = read_picks(output)
    assert set(good) == {"a.mrc"}
    assert good["a.mrc"].xy.tolist() == [[10, 20], [50, 60]]
    write_picks(tmp_path / "bare.json", {"a.mrc": Picks(xy)})
    code, _, err = run(capsys, tmp_path / "bare.json", tmp_path / "o.json", "--min-score", 1)
    assert code == 2
    assert "bare.json: has no scores. Omit --min-score." in err
