from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewpick.coordinates import Picks, write_picks
from fewpick.label_page.guide import DONE, Guide, Tile, spread_out
from fewpick.label_page.proposals import (
    BlobProposer,
    FileProposer,
    ModelProposer,
    Unsized,
    shown_from,
)
from fewpick.label_page.ranking import Ranking
from fewpick.label_page.worth import AREAS, CLICKS, worth
from fewpick.network.model_file import save_model
from fewpick.network.unet import UNet
from fewpick.picking.picker import Picker
from fewpick.stacks import read_table

RESULTS = Path(__file__).parents[3] / "docs/results"
SHAPES = {"a.png": (400, 600), "b.png": (400, 600), "c.png": (400, 600)}


def dark_blobs(path: Path, xy: np.ndarray, radius: float) -> None:
    y, x = np.mgrid[:400, :600]
    image = np.random.default_rng(0).normal(128, 6, (400, 600))
    for cx, cy in xy:
        image -= 60 * (np.hypot(x - cx, y - cy) < radius)
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path)


def test_blobs_of_the_particle_size_are_proposed_where_they_are(tmp_path: Path) -> None:
    xy = np.array([[50.0, 60], [300, 200], [420, 90], [120, 330], [560, 350]])
    dark_blobs(tmp_path / "a.png", xy, 12)
    proposer = BlobProposer(24.0)
    picks = proposer.propose(tmp_path / "a.png")
    assert picks.score is not None
    chosen = picks.xy[picks.score >= shown_from(proposer, picks)]
    assert len(chosen) == 5
    distance = np.linalg.norm(chosen[:, None] - xy[None], axis=-1).min(1)
    assert distance.max() < 2
    assert len(BlobProposer(None).propose(tmp_path / "a.png")) == 0


def test_picks_of_any_program_are_proposed(tmp_path: Path) -> None:
    scored = Picks(np.array([[1.0, 2], [3, 4], [5, 6]]), np.array([0.2, 0.9, 0.4]))
    write_picks(tmp_path / "picks.star", {"job1/a.png": scored})
    proposer = FileProposer(tmp_path / "picks.star", SHAPES, "down")
    picks = proposer.propose(tmp_path / "a.png")
    assert picks.xy.tolist() == [[3, 4], [5, 6], [1, 2]]
    assert proposer.threshold == 0.2
    assert len(proposer.propose(tmp_path / "b.png")) == 0
    write_picks(tmp_path / "boxes", {"b.png": Picks(np.array([[9.0, 9]]))}, fmt="box", box_size=4)
    unscored = FileProposer(tmp_path / "boxes", SHAPES, "up").propose(tmp_path / "b.png")
    assert unscored.xy.tolist() == [[9, 391]]
    assert unscored.score is not None
    assert unscored.score.tolist() == [1]


def test_without_a_model_the_least_labelled_micrograph_comes_first() -> None:
    shown: list[Tile] = []
    labelled = {"a.png": 5, "b.png": 0, "c.png": 2}
    for name in ("b.png", "c.png", "a.png", "b.png"):
        tile = spread_out(SHAPES, labelled, {}, shown, 20.0)
        assert tile is not None
        assert tile.micrograph == name
        x0, y0, x1, y1 = tile.area
        assert (x1 - x0, y1 - y0) == (100, 100)
        assert x0 >= 0
        assert y0 >= 0
        assert x1 <= 600
        assert y1 <= 400
        shown.append(tile)
    assert len({(tile.micrograph, tile.area) for tile in shown}) == 4


def test_finished_tiles_are_not_shown_again() -> None:
    whole = (0, 0, 600, 400)
    finished = {"a.png": [whole], "b.png": [(0, 0, 600, 200), (0, 200, 600, 400)]}
    for _ in range(3):
        tile = spread_out(SHAPES, {}, finished, [], 20.0)
        assert tile is not None
        assert tile.micrograph == "c.png"
    assert spread_out(SHAPES, {}, {name: [whole] for name in SHAPES}, [], 20.0) is None
    assert DONE == 0.5


def test_proposals_are_made_once_until_the_diameter_changes(tmp_path: Path) -> None:
    calls: list[float | None] = []

    class Counted:
        name, threshold = "counted", 0.5

        def __init__(self, diameter: float | None) -> None:
            self.diameter = diameter

        def propose(self, path: Path) -> Picks:
            calls.append(self.diameter)
            return Picks(np.array([[1.0, 2.0]]), np.array([0.7]))

    guide = Guide([tmp_path / "a.png"], SHAPES, Counted)
    for diameter in (10.0, 10.0, 12.0, 12.0):
        name, picks, threshold = guide.proposals(tmp_path / "a.png", diameter)
        assert (name, len(picks), threshold) == ("counted", 1, 0.5)
    assert calls == [10.0, 12.0]
    assert not guide.ranks


@pytest.mark.parametrize(("pairs", "name"), [(CLICKS, "clicks"), (AREAS, "tiles")])
def test_what_labels_are_worth_is_what_was_measured(
    pairs: tuple[tuple[int, float], ...], name: str
) -> None:
    table = read_table(RESULTS / f"empiar10017_{name}.tsv")
    rows = table[(table["arm"] == "fixmatch") & (table["seed"] == "mean")]
    assert [round(n) for n in rows["n_labeled_particles"]] == [n for n, _ in pairs]
    assert [round(f1, 2) for f1 in rows["pick_f1_0.3"]] == [f1 for _, f1 in pairs]


@pytest.mark.parametrize(
    ("marks", "inside", "line"),
    [
        (
            0,
            0,
            "No particles are marked yet. A dozen, spread over several micrographs, is a good "
            "start.",
        ),
        (3, 0, "On EMPIAR-10017, 7 particles clicked gave an F1 of 0.82."),
        (14, 2, "On EMPIAR-10017, 7 particles clicked gave an F1 of 0.82, 23 of 0.83."),
        (99, 0, "On EMPIAR-10017, 23 particles clicked gave an F1 of 0.83."),
        (14, 7, "On EMPIAR-10017, 7 particles in finished areas gave an F1 of 0.85, 24 of 0.86."),
        (500, 500, "On EMPIAR-10017, 108 particles in finished areas gave an F1 of 0.88."),
    ],
)
def test_the_counter_says_it_in_a_line(marks: int, inside: int, line: str) -> None:
    assert worth(marks, inside) == line


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights, two micrographs, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("ranking")
    rng = np.random.default_rng(0)
    for name in ("a", "b", "bad"):
        pixels = rng.integers(0, 255, (400, 600)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "bad.png").write_bytes((folder / "bad.png").read_bytes()[:3000])
    use = {
        "target_size": 128,
        "normalise": "robust",
        "lowpass_angstrom": None,
        "picking": {"views": 1, "nms_radius": 1.2},
        "threshold": {"threshold": 0.1},
        "particles": {
            "d": {"radius": 20.0, "border": 0.0, "longest": 600, "pixel_size": None},
        },
    }
    torch.manual_seed(0)
    hyperparameters = {"model": {"stem_stride": 4, "widths": [8, 8]}}
    network = UNet(stem_stride=4, widths=[8, 8])
    save_model(folder / "picker.safetensors", network, hyperparameters, use)
    return folder


def test_a_model_leads_to_the_tiles_that_it_doubts_most(project: Path) -> None:
    paths = [project / f"{name}.png" for name in ("bad", "a", "b")]
    picker = Picker(project, torch.device("cpu"))
    shapes = {path.name: (400, 600) for path in paths}
    guide = Guide(
        paths,
        shapes,
        lambda diameter: ModelProposer(picker, "m"),
        lambda diameter: Ranking([picker], paths),
    )
    assert guide.ranks
    whole: list[Tile] = []
    while (tile := guide.next(40.0, {}, {})) is not None:
        whole.append(tile)
    guide.stop()
    assert guide.progress() == (3, 3)
    assert {tile.micrograph for tile in whole} == {"a.png", "b.png"}
    assert len({(tile.micrograph, tile.area) for tile in whole}) == len(whole)
    doubts = [tile.doubt for tile in whole]
    assert None not in doubts
    for tile in whole:
        x0, y0, x1, y1 = tile.area
        assert 0 <= x0 < x1 <= 600
        assert 0 <= y0 < y1 <= 400
        assert abs((x1 - x0) - (y1 - y0)) <= 2
    # A new guide, to which the first micrograph's areas are finished, passes them over.
    again = Guide(
        paths, shapes, lambda d: ModelProposer(picker, "m"), lambda d: Ranking([picker], paths)
    )
    finished = {"a.png": [(0, 0, 600, 400)]}
    while (tile := again.next(40.0, {}, finished)) is not None:
        assert tile.micrograph == "b.png"
    again.stop()
    name, picks, threshold = guide.proposals(paths[1], 40.0)
    assert (name, threshold) == ("m", picker.threshold)
    assert picks.score is not None
    assert (np.diff(picks.score) <= 0).all()


def test_a_model_without_a_size_of_its_own_waits_for_one() -> None:
    guide = Guide([Path("a.png")], SHAPES, lambda diameter: Unsized("m"), lambda diameter: None)
    name, picks, _ = guide.proposals(Path("a.png"), None)
    assert (name, len(picks)) == ("m", 0)
    tile = guide.next(None, {}, {})
    assert tile is not None
    assert tile.doubt is None
    assert guide.progress() == (0, 0)
