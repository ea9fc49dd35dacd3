"""The page on a run that the target `picks` has finished: its picks as proposals, its doubts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from browser.chromium import Page
from label_server import command
from workspace import CONFIG, Workspace, small_workspace

from fewpick.coordinates import Picks, read_picks, write_picks

SAVED = "page.state.queue.length === 0"
SHOWN = "window.page && page.view.image && page.view.complete"
PROPOSED = "page.state.proposals.has(page.state.current)"
CLICKED = "m01.mrc"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Clicks on one of six micrographs, and the picks that follow from them."""
    workspace = small_workspace(tmp_path_factory.mktemp("finished_picks"), 6)
    marks = read_picks(workspace.directory / "coordinates")["m01"]
    write_picks(workspace.directory / "labels.star", {CLICKED: Picks(marks.xy[:8])})
    spec = {
        "micrographs": "micrographs",
        "coordinates": "labels.star",
        "annotation": "clicks",
        "particle_radius": 12,
        "expected_particles": 30,
    }
    workspace.config = {
        "datasets": {"mine": spec},
        "preprocess": {"particle_px": 20},
        "training": CONFIG["training"] | {"start": "general"},
        "final": {"folds": 0},
        "resources": CONFIG["resources"],
    }
    workspace.run("picks")
    return workspace


def test_a_finished_run_proposes_what_it_picked_and_leads_on(
    finished: Workspace, browser: str
) -> None:
    folder = finished.directory
    table = read_picks(folder / "results/final/picks.csv")
    picked = {Path(name).name: held for name, held in table.items()}[CLICKED]
    threshold = json.loads((folder / "results/final/quality.json").read_text())["mine"]["threshold"]
    model = ["--model", str(folder / "results/final")]
    with (
        command(folder / "micrographs", folder / "labels.star", *model) as (_, address),
        Page(browser, 1366, 768, local=True) as page,
    ):
        page.open(address)
        page.wait(SHOWN)
        # The second micrograph, whose labels are there.
        page.type("PageDown")
        page.wait(f"page.state.current === 1 && {PROPOSED}")
        proposals = page.run("page.state.proposals.get(1)")
        assert proposals["threshold"] == pytest.approx(threshold)
        shown = [p for p in proposals["proposals"] if p[2] >= threshold]
        np.testing.assert_allclose(
            sorted(p[:2] for p in shown), sorted(picked.xy.tolist()), atol=0.6
        )
        page.type("n")
        page.wait("page.state.tile !== null")
        page.type("f")
        page.wait(f"page.state.tiles.length === 2 && {SAVED}")
    assert (folder / "labels.areas.tsv").exists()
    assert len(read_picks(folder / "labels.star")[CLICKED]) == 8
