"""What Topaz is given and what is made of its answers, with a program that stands in for it.

Where FEWPICK_TOPAZ is the path of the real one, that is asked the same.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
import pytest

from fewpick.coordinates import Picks, read_picks, write_picks
from fewpick.errors import InputError
from fewpick.external.topaz import DISC, Topaz, extract, positive_shares, train_topaz, write_images
from fewpick.geometry import frame_for
from fewpick.stacks import read_table, table_path, write_stack, write_table
from fewpick.stage_tables.definitions import LabelTable

TARGET, SHAPE = 64, (300, 400)  # the image fills 48 rows of the target
FRAME = frame_for(*SHAPE, TARGET)
AREA = [4, 4, 44, 60]
SETTINGS = {"network": "resnet8", "epochs": 3, "epoch_updates": 1, "pretrained": False}
# Data set and micrograph -> part, windows and points in the target frame. Names are numbers, and
# the same in two data sets.
SET: dict[Any, tuple[str, list[list[int]], list[list[float]]]] = {
    ("a", "001.mrc"): ("train", [[8, 8, 24, 24]], [[10.4, 12.6], [20, 9]]),
    ("a", "002.mrc"): ("train", [], []),
    ("a", "003.mrc"): ("val", [AREA], [[30, 30]]),
    ("a", "004.mrc"): ("test", [], []),
    ("a", "005.mrc"): ("unannotated", [], []),
    ("b", "001.mrc"): ("train", [[8, 8, 40, 40]], [[63.9, 47.8]]),
    ("b", "006.mrc"): ("val", [], []),
    ("b", "007.mrc"): ("test", [], []),
}
PEAKS = np.array([[12, 10], [40, 30], [25, 20], [61, 14]])  # the last one in the border


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """An executable that stands in for Topaz."""
    path = tmp_path / "bin of topaz" / "topaz"
    path.parent.mkdir()
    fake = Path(__file__).parents[2] / "helpers/fake_topaz.py"
    path.write_text(f"#!{sys.executable}\n{fake.read_text()}")
    path.chmod(0o755)
    return path


def calls(program: Path, command: str) -> list[dict[str, Any]]:
    lines = (program.parent / "calls.jsonl").read_text().splitlines()
    return [call for line in lines if (call := json.loads(line))["command"] == command]


@pytest.fixture
def files(tmp_path: Path, program: Path) -> dict[str, Any]:
    return prepare(tmp_path, Topaz(str(program)))


def prepare(tmp_path: Path, topaz: Topaz) -> dict[str, Any]:
    """Images as the first stage leaves them, and a table of labels."""
    folders = []
    for dataset in ("a", "b"):
        names = [name for owner, name in SET if owner == dataset]
        stack = tmp_path / "preprocessed" / dataset / "shard-000of001.mrcs"
        stack.parent.mkdir(parents=True)
        image = np.zeros((TARGET, TARGET), np.float16)
        y, x = np.mgrid[:TARGET, :TARGET]
        for px, py in PEAKS:
            image -= 5 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18).astype(np.float16)
        image[FRAME.height :] = 0
        shape = (len(names), TARGET, TARGET)
        write_stack(stack, [image] * len(names), shape=shape, dtype=np.float16)
        rows = [{"micrograph": name} | FRAME.to_row() for name in names]
        write_table(pd.DataFrame(rows), table_path(stack))
        folders.append(tmp_path / "images" / dataset / "shard-000of001")
        write_images(topaz, stack, folders[-1])
    rows = [
        {
            "dataset": dataset,
            "micrograph": name,
            "split": part,
            "labelled": "part" if windows else "none",
            "n_labeled_particles": len(points),
            "radius": 5.0 if dataset == "a" else 8.0,
            "area": AREA,
            "windows": windows,
            "points": points,
            "expected": float("nan"),
        }
        for (dataset, name), (part, windows, points) in SET.items()
    ]
    LabelTable.write(pd.DataFrame(rows), tmp_path / "ratio.tsv")
    return {"folders": folders, "ratio_table": tmp_path / "ratio.tsv"}


@pytest.fixture
def one_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the single validation particle of these files choose the epoch."""
    monkeypatch.setattr("fewpick.evaluation.threshold_policy.ENOUGH_PARTICLES", 1)


def names_of(files: dict[str, Any]) -> dict[tuple[str, str], str]:
    tables = pd.concat([read_table(folder / "images.tsv") for folder in files["folders"]])
    keys = zip(tables["dataset"], tables["micrograph"], strict=True)
    return dict(zip(keys, tables["image"], strict=True))


def test_images_are_micrographs_without_padding_and_with_names_of_their_own(
    files: dict[str, Any], program: Path
) -> None:
    names = names_of(files)
    assert set(names) == set(SET)
    assert len(set(names.values())) == len(SET)
    assert not any(name.isdecimal() for name in names.values())
    for (dataset, _), name in names.items():
        image = mrcfile.read(files["folders"]["ab".index(dataset)] / f"{name}.mrc")
        assert image.shape == (48, 64)
        assert image.dtype == np.float32
        assert image.min() < -4


def test_what_the_program_says_is_told_as_it_says_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard = tmp_path / "heard"
    path = tmp_path / "topaz"
    path.write_text(
        f"#!/bin/sh\necho begun\nfor i in $(seq 200)\n"
        f"do test -e '{heard}' && exit 0; sleep 0.1\ndone\nexit 4\n"
    )
    path.chmod(0o755)

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "topaz: begun":
                heard.touch()

    caplog.set_level(logging.INFO)
    logger, listener = logging.getLogger("fewpick"), Listener()
    logger.addHandler(listener)
    try:
        Topaz(str(path))("train", cwd=tmp_path)  # status 4 unless it is heard while it runs
    finally:
        logger.removeHandler(listener)


@pytest.mark.usefixtures("one_is_enough")
def test_a_training_tells_how_far_it_is(
    files: dict[str, Any],
    program: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Steps alone count: the curve has a row for the validation of each epoch besides."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("fewpick.external.topaz.FOLLOWED", 0.01)
    program.write_text(program.read_text() + "\nimport time\ntime.sleep(1)\n")
    train_topaz(Topaz(str(program)), **files, settings=SETTINGS, model=tmp_path / "m")
    (line,) = (r.getMessage() for r in caplog.records if "topaz train:" in r.getMessage())
    assert line.startswith("topaz train: 3/3, ")
    assert line.endswith(", loss 0.3333, val_average_precision 0.5")


@pytest.mark.usefixtures("one_is_enough")
def test_training_sees_the_labelled_particles_and_no_other(
    files: dict[str, Any], program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    history = train_topaz(
        Topaz(str(program), threads=2), **files, settings=SETTINGS, model=tmp_path / "m"
    )
    (call,) = calls(program, "train")
    names = names_of(files)
    parts = {"train": ("train", "unannotated"), "val": ("val",)}
    assert call["train"] == sorted(
        name for key, name in names.items() if SET[key][0] in parts["train"]
    )
    # Of the validation micrographs, those that the split has labelled.
    assert call["val"] == [names["a", "003.mrc"]]
    first, other = names["a", "001.mrc"], names["b", "001.mrc"]
    # On the nearest pixel, and inside the image.
    labels = [[first, 10, 13], [first, 20, 9], [other, 63, 47]]
    assert sorted(call["train_labels"]) == sorted(labels)
    assert call["val_labels"] == [[names["a", "003.mrc"], 30, 30]]
    assert call["options"]["--num-threads"] == "2"
    assert call["options"]["--device"] == "-1"
    assert "--no-pretrained" in call["flags"]
    assert call["path"] is None
    # The epoch that validates best is kept.
    assert (tmp_path / "m").read_text() == "epoch 2"
    assert history["val_average_precision"].tolist() == [0.5, 0.9, 0.5]
    assert history["loss"].tolist() == pytest.approx([1, 1 / 2, 1 / 3])
    assert history["seconds"].between(0, 60).all()


@pytest.mark.parametrize(
    ("labelled", "windows"), [("none", "[]"), ("part", json.dumps([AREA]))], ids=["none", "empty"]
)
@pytest.mark.usefixtures("one_is_enough")
def test_without_a_particle_for_validation_the_last_epoch_is_kept(
    labelled: str, windows: str, files: dict[str, Any], program: Path, tmp_path: Path
) -> None:
    table = read_table(files["ratio_table"])
    columns = ["labelled", "windows", "points"]
    table.loc[table["split"] == "val", columns] = [labelled, windows, "[]"]
    write_table(table, files["ratio_table"])
    history = train_topaz(Topaz(str(program)), **files, settings=SETTINGS, model=tmp_path / "m")
    assert (tmp_path / "m").read_text() == "epoch 3"
    assert history["val_average_precision"].isna().all()
    assert "--test-images" not in calls(program, "train")[0]["flags"]


def test_too_few_validation_particles_do_not_choose_the_epoch(
    files: dict[str, Any], program: Path, tmp_path: Path
) -> None:
    """As in the arms: one particle is fewer than the policy asks for."""
    train_topaz(Topaz(str(program)), **files, settings=SETTINGS, model=tmp_path / "m")
    assert (tmp_path / "m").read_text() == "epoch 3"
    assert "--test-images" not in calls(program, "train")[0]["flags"]


def test_the_expected_share_is_that_of_the_labelled_density(
    files: dict[str, Any], program: Path, tmp_path: Path
) -> None:
    assert DISC == 29  # pixels within 3 of a centre
    area = 48 * 64
    # Data set a: 2 particles in 16 x 16 px, three images; b: 1 in 32 x 32, one image.
    expected = 29 * (2 / 256 * 3 * area + 1 / 1024 * area) / (4 * area)
    observed = 29 * 3 / (4 * area)
    train_topaz(Topaz(str(program)), **files, settings=SETTINGS, model=tmp_path / "m")
    given = float(calls(program, "train")[0]["options"]["--pi"])
    # Topaz takes seven times the labelled share off; what is left is what is right.
    assert given - 7 * observed == pytest.approx(expected - observed, rel=1e-4)


def test_an_expected_number_of_particles_is_per_micrograph() -> None:
    table = pd.DataFrame(
        {
            "dataset": ["a", "a"],
            "height": 100,
            "width": 50,
            "windows": [(), ()],
            "points": [[[1, 2]], []],
            "expected": 20.0,
        }
    )
    assert positive_shares(table) == pytest.approx((20 * 29 / 5000, 29 / 10_000))


def test_picks_are_in_pixels_of_the_micrograph_and_leave_the_border_out(
    files: dict[str, Any], program: Path, tmp_path: Path
) -> None:
    (tmp_path / "m").write_text("epoch 2")
    found = extract(Topaz(str(program), gpu=True), **files, model=tmp_path / "m", nms_radius=1.2)
    assert list(found.columns) == ["dataset", "micrograph", "split", "x", "y", "score"]
    for (dataset, name), rows in found.groupby(["dataset", "micrograph"]):
        assert set(rows["split"]) == {SET[dataset, name][0]}
        assert rows["score"].is_monotonic_decreasing
        expected = FRAME.to_original(PEAKS[:3])
        xy = rows[["x", "y"]].to_numpy()
        np.testing.assert_allclose(xy[np.lexsort(xy.T)], expected[np.lexsort(expected.T)])
    assert found["micrograph"].nunique() == 7
    # Each data set has its own particle size.
    asked = calls(program, "extract")
    assert [call["options"]["--radius"] for call in asked] == ["6", "10"]
    assert [len(call["stdin"]) for call in asked] == [5, 3]
    assert {call["options"]["--threshold"] for call in asked} == {"-20"}
    assert {call["options"]["--device"] for call in asked} == {"0"}


def test_no_pick_at_all(files: dict[str, Any], program: Path, tmp_path: Path) -> None:
    for folder in files["folders"]:
        for path in folder.glob("*.mrc"):
            mrcfile.write(path, np.ones((48, 64), np.float32), overwrite=True)
    (tmp_path / "m").touch()
    found = extract(Topaz(str(program)), **files, model=tmp_path / "m", nms_radius=1.2)
    assert len(found) == 0
    assert list(found.columns) == ["dataset", "micrograph", "split", "x", "y", "score"]


def test_what_goes_wrong_is_said(files: dict[str, Any], program: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = files | {"settings": SETTINGS, "model": tmp_path / "m"}
    with pytest.raises(InputError, match=r"executable: 'no such' was not found on this machine"):
        train_topaz(Topaz("no such"), **options)
    (program.parent / "fail").touch()
    with pytest.raises(InputError, match="topaz train exited with status 3: RuntimeError: no mem"):
        train_topaz(Topaz(str(program)), **options)
    program.write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(InputError, match="topaz train: unexpected output"):
        train_topaz(Topaz(str(program)), **options)
    stack = tmp_path / "preprocessed/a/shard-000of001.mrcs"
    with pytest.raises(InputError, match="topaz normalize: did not write"):
        write_images(Topaz(str(program)), stack, tmp_path / "elsewhere")
    assert not (tmp_path / "m").exists()


@pytest.fixture
def real(tmp_path: Path) -> Topaz:
    """The real program, with small steps."""
    path = os.environ.get("FEWPICK_TOPAZ")
    if path is None:
        pytest.skip("FEWPICK_TOPAZ is not set: no Topaz to test with")
    short = '[ "$1" = train ] && set -- "$@" --minibatch-size 32'
    script = tmp_path / "topaz"
    script.write_text(f'#!/bin/sh\n{short}\nexec {shlex.quote(path)} "$@"\n')
    script.chmod(0o755)
    return Topaz(str(script))


@pytest.mark.usefixtures("one_is_enough")
def test_the_real_program_takes_the_images_and_labels(
    real: Topaz, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    files = prepare(tmp_path, real)
    options: dict[str, Any] = {"settings": SETTINGS, "model": tmp_path / "m"}
    history = train_topaz(real, **files, **options)
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["val_average_precision"].between(0, 1).all()
    # All labels arrive, each counted as often as is made up for.
    regions = real.planes() * DISC * 3
    assert any(m.split("\t")[1:4:2] == ["train", f"{regions}"] for m in caplog.messages)
    assert not any("missing from the" in message for message in caplog.messages)

    found = extract(real, **files, model=tmp_path / "m", nms_radius=1.2)
    assert set(zip(found["dataset"], found["micrograph"], strict=True)) == set(SET)
    y0, x0, y1, x1 = AREA
    xy = FRAME.to_target(found[["x", "y"]].to_numpy())
    assert ((xy >= (x0, y0)) & (xy < (x1, y1))).all()
    # A network that has learned nothing scores every place, and none is left out.
    a, b = (len(found[found["dataset"] == dataset]) for dataset in "ab")
    assert a / 5 > b / 3 > 5

    table = read_table(files["ratio_table"])
    table.loc[table["split"] == "val", "points"] = "[]"
    write_table(table, files["ratio_table"])
    assert train_topaz(real, **files, **options)["val_average_precision"].isna().all()


@pytest.mark.parametrize("fmt", ["topaz", "box"])
def test_the_real_program_reads_what_is_written(fmt: str, real: Topaz, tmp_path: Path) -> None:
    picks = {
        "001.mrc": Picks(np.array([[100.25, 20.5], [31.75, 44]]), np.array([0.9, 0.25]), 30),
        "b.c.mrc": Picks(np.array([[7.0, 60.0]]), np.array([0.5]), 30),
        "none.mrc": Picks(np.empty((0, 2)), np.empty(0), 30),
    }
    path = tmp_path / ("picks.txt" if fmt == "topaz" else "boxes")
    write_picks(path, picks, fmt=fmt)
    written = [path] if path.is_file() else sorted(path.iterdir())
    read = tmp_path / "read.txt"
    subprocess.run([real.executable, "convert", *written, "-o", read], check=True)
    found = read_picks(read, fmt="topaz")
    assert set(found) == {"001", "b.c"}
    for name, held in found.items():
        atol = 0 if fmt == "topaz" else 0.5  # corners of boxes are whole pixels
        np.testing.assert_allclose(held.xy, picks[f"{name}.mrc"].xy, atol=atol)
