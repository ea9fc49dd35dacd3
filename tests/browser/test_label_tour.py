"""The pictures of docs/labelling.md, from looking to a corrected tile, each looked at by a test.

They are written into the folder that $FEWPICK_SCREENSHOTS names: make screenshots.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser.chromium import Page
from label_server import Running, served
from PIL import Image

from fewpick.coordinates import read_picks
from fewpick.simulation.simulate import simulate_dataset

LAPTOP = (1366, 768)
WIDTH, GREYS = 1024, 24  # of the pictures in the documentation
# Colours of the page that greys do not stand for: labels, buttons, the word "saved".
TINTS = ("56B4E9", "F0E442", "009E73", "D55E00", "175A82", "7FD6A8", "99C8FF", "3B7D74")
DIAMETER = 72.0  # px: 180 angstrom at 2.5
SAVED = "page.state.queue.length === 0"
SHOWN = "window.page && page.view.image && page.view.complete"
PROPOSED = "page.state.proposals.has(page.state.current)"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tour")
    simulate_dataset(folder, n_micrographs=2, seed=3, snr=(0.1, 0.12), density=(60.0, 90.0))
    return folder


@pytest.fixture
def running(simulated: Path, tmp_path: Path) -> Iterator[Running]:
    with served(simulated / "micrographs", tmp_path / "labels.star", diameter=None) as held:
        yield held


def palette() -> Image.Image:
    """Greys and tints, in an image as Pillow wants them."""
    greys = [round(255 * i / (GREYS - 1)) for i in range(GREYS)]
    held = Image.new("P", (1, 1))
    held.putpalette(b"".join([bytes([g, g, g]) for g in greys] + list(map(bytes.fromhex, TINTS))))
    return held


def picture(page: Page, tmp_path: Path, name: str) -> np.ndarray:
    """A screenshot of the window; smaller and in fewer colours for the documentation."""
    page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.wait(SHOWN)
    path = tmp_path / f"{name}.png"
    page.screenshot(path, whole=False)
    with Image.open(path) as shot:
        seen = shot.convert("RGB")
    if folder := os.environ.get("FEWPICK_SCREENSHOTS"):
        height = round(WIDTH * seen.height / seen.width)
        small = seen.resize((WIDTH, height), Image.Resampling.LANCZOS)
        few = small.quantize(palette=palette(), dither=Image.Dither.NONE)
        file = io.BytesIO()
        few.save(file, format="PNG", optimize=True)
        Path(folder, f"{name}.png").write_bytes(file.getvalue())
    return np.asarray(seen)


def coloured(pixels: np.ndarray, colour: str) -> int:
    """How many pixels of the picture have a colour, nearly."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    stage = pixels[:, : LAPTOP[0] - 290].astype(int)
    return int((np.abs(stage - wanted).max(-1) < 24).sum())


def test_a_tour_from_looking_to_a_finished_tile(
    browser: str, simulated: Path, running: Running, tmp_path: Path
) -> None:
    truth = {Path(n).name: p.xy for n, p in read_picks(simulated / "particles.star").items()}
    mark, proposal, area, bad = "#56B4E9", "#F0E442", "#009E73", "#D55E00"
    with Page(browser, *LAPTOP, local=True) as page:
        page.open(running.address)
        page.wait(SHOWN)
        page.wait(PROPOSED)
        look = picture(page, tmp_path, "label_look")
        assert look.shape == (LAPTOP[1], LAPTOP[0], 3)
        assert coloured(look, mark) == coloured(look, proposal) == 0
        assert "How large is a particle?" in page.run("document.querySelector('#hint').textContent")

        name = "sim_0001.mrc"
        centre = truth[name][len(truth[name]) // 2]
        ends = [page.run(f"page.view.toScreen({centre[0] + s * DIAMETER / 2}, {centre[1]})")
                for s in (-1, 1)]  # fmt: skip
        page.type("d")
        page.drag((ends[0][0], ends[0][1]), (ends[1][0], ends[1][1]))
        page.wait("page.state.diameter !== null")
        assert page.run("page.state.diameter") == pytest.approx(DIAMETER, abs=2)
        page.wait(PROPOSED)
        page.type("p")
        inside = [xy for xy in truth[name] if (np.abs(xy - 512) < 450).all()]
        for x, y in inside[:10]:
            page.click_at(*page.run(f"page.view.toScreen({x}, {y})"))
        page.wait(SAVED)
        clicks = picture(page, tmp_path, "label_clicks")
        assert len(running.session.of(name)[1].marks) == 10
        assert coloured(clicks, mark) > 500

        page.type("p")
        page.type("n")
        page.wait(f"page.state.tile !== null && {SAVED}")
        page.wait(PROPOSED)
        tile = page.run("page.state.tile.area")
        at = page.run("page.state.session.micrographs[page.state.tile.micrograph].name")
        here = [
            (x, y) for x, y in truth[at] if tile[0] < x < tile[2] - 1 and tile[1] < y < tile[3] - 1
        ]
        for x, y in here:
            page.click_at(*page.run(f"page.view.toScreen({x}, {y})"))
        page.wait(SAVED)
        false = page.run(
            "(() => { const [x0, y0, x1, y1] = page.state.tile.area; return page.state.proposals"
            ".get(page.state.current).proposals.filter(([x, y]) => x > x0 && x < x1 && y > y0"
            " && y < y1).filter(([x, y]) => page.state.labels.get(page.state.current).marks.every("
            "(m) => Math.hypot(m[0] - x, m[1] - y) > 50)).slice(0, 2); })()"
        )
        for x, y, _ in false:
            sx, sy = page.run(f"page.view.toScreen({x}, {y})")
            page.click_at(sx, sy, "right")
        page.wait(SAVED)
        shown = picture(page, tmp_path, "label_tile")
        assert coloured(shown, mark) > 200 * len(here) / 2
        assert not false or coloured(shown, bad) > 50
        page.type("f")
        page.wait(f"page.state.tiles.length === 2 && {SAVED}")
        page.type("b")
        page.wait(f"page.state.tile?.area[0] === {tile[0]} && {SHOWN}")
        page.wait(PROPOSED)
        done = picture(page, tmp_path, "label_done")
        assert coloured(done, area) > 200
        assert running.session.of(at)[1].areas == [tuple(tile)]
        assert page.problems == []
