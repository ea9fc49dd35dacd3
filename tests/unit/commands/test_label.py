"""`fewpick label` on the command line: what it refuses, and what it prints."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from label_server import DIAMETER, NX, NY, SOUND, command, make_micrographs, particles
from relion_project import random_picker

from fewpick import cli
from fewpick.coordinates import Picks, read_picks, write_picks
from fewpick.label_page.helpers import choose_helpers
from fewpick.picking.picker import Picker
from fewpick.picking.without_labels import network_threshold


@pytest.fixture(scope="module")
def micrographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_micrographs(tmp_path_factory.mktemp("label") / "micrographs")


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    model = () if "--model" in arguments else ("--model", "none")
    assert cli.main(["label", *map(str, arguments), *model, "--no-browser"]) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_labels_of_other_micrographs_are_refused(
    micrographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.star"
    write_picks(labels, {"zzz.mrc": Picks(np.ones((1, 2)))})
    line = refused(capsys, micrographs, "-o", labels)
    assert str(labels) in line
    assert "'zzz.mrc' matches no micrograph" in line
    assert "Check that this file and the micrographs belong" in line


def test_marks_outside_their_micrograph_are_refused(
    micrographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.star"
    write_picks(labels, {"a.mrc": Picks(np.array([[3000.0, 10.0]]))})
    line = refused(capsys, micrographs, "-o", labels)
    assert "a.mrc: 1 of 1 points lie outside the image of 640 x 480 px" in line
    assert "other micrographs?" in line


def test_a_port_in_use_is_refused_before_anything_is_written(
    micrographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        where = ("-o", tmp_path / "labels.star", "--diameter", "20", "--port", port)
        assert f"port {port} is in use" in refused(capsys, micrographs, *where)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("-o", "boxes/"), "Choose an -o that ends in"),
        (("--model", "nothing"), "nothing: not a model to pick with"),
        (("--picks", "nothing.star"), "nothing.star: no such file"),
    ],
)
def test_wrong_arguments_are_refused(
    micrographs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    part: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert part in refused(capsys, micrographs, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_micrographs_none_of_which_can_be_read_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mrc").write_bytes(b"nothing")
    assert "none of the 1 micrographs can be read" in refused(
        capsys, tmp_path, "-o", tmp_path / "l.star"
    )


def test_without_a_browser_the_address_is_printed(micrographs: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.star"
    write_picks(labels, {"b.mrc": Picks(np.array([[5.0, 6.0], [7.0, 8.0]]))})
    nowhere = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "SSH_CONNECTION": "1 2 3 4"}
    with command(micrographs, labels, environment=nowhere, browser=True) as (process, address):
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as answer:
            assert b"fewpick label" in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        text = process.stdout.read()
        assert process.wait() == 0
    port = address.split(":")[2].split("/")[0]
    assert f"ssh -L {port}:localhost:{port}" in text
    assert "No browser found: open the address yourself." in text
    assert "2 particles, 0 non-particles and 0 finished areas on 1 of 4 micrographs" in text
    assert len(read_picks(labels)["b.mrc"]) == 2


def test_the_general_model_waits_for_the_particle_size(micrographs: Path) -> None:
    paths = [micrographs / name for name in SOUND]
    shapes = {path.name: (NY, NX) for path in paths}
    helpers = choose_helpers(paths, shapes, model=Path("general"), device="cpu")
    assert helpers.own_diameter(paths) is None
    assert helpers.rank is not None
    assert helpers.rank(None) is None
    waiting = helpers.propose(None)
    assert (waiting.name, len(waiting.propose(paths[0]))) == ("general", 0)
    proposer = helpers.propose(DIAMETER)
    picks = proposer.propose(paths[0])
    assert picks.score is not None
    # Read from these micrographs: the one of the file would hide most of them, or show too many.
    ready = Picker("general", torch.device("cpu"), radius=DIAMETER / 2)
    assert proposer.threshold == network_threshold(ready, paths) != ready.threshold
    assert network_threshold(ready, [micrographs / "broken.mrc"]) == ready.threshold
    best = picks.xy[: len(particles("a.mrc"))]
    distance = np.linalg.norm(best[:, None] - particles("a.mrc")[None], axis=-1).min(1)
    assert (distance < 0.3 * DIAMETER).mean() > 0.5


def test_a_model_proposes_and_brings_its_particle_size(micrographs: Path, tmp_path: Path) -> None:
    model = random_picker(tmp_path / "picker.safetensors")
    labels = tmp_path / "labels.star"
    with command(micrographs, labels, "--model", str(model)) as (_, address):
        with urllib.request.urlopen(f"{address}api/micrographs/0/proposals") as answer:
            proposals = json.load(answer)
        request = urllib.request.Request(
            f"{address}api/next", b"{}", {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            tile = json.load(answer)
    assert proposals["name"] == "picker.safetensors"
    assert len(proposals["proposals"]) > 20
    assert tile["doubt"] is not None
    assert (tmp_path / "labels.settings.yaml").read_text().endswith("diameter: 32\n")
