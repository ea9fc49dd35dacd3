"""The labelling page as a person meets it: mouse and keys in, files out."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser.chromium import Page
from label_server import (
    DIAMETER,
    NX,
    NY,
    SOUND,
    Running,
    command,
    make_micrographs,
    particles,
    served,
)

from fewpick.annotation.areas import read_areas
from fewpick.coordinates import Picks, read_picks, write_picks
from fewpick.coordinates.picks import NoParticles

SHAPES = dict.fromkeys(SOUND, (NY, NX))
LAPTOP = (1366, 768)
SAVED = "page.state.queue.length === 0"
SHOWN = "window.page && page.view.image && page.view.complete"
PROPOSED = "page.state.proposals.has(page.state.current)"


@pytest.fixture(scope="module")
def micrographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_micrographs(tmp_path_factory.mktemp("label") / "micrographs")


@pytest.fixture(scope="module")
def window(browser: str) -> Iterator[Page]:
    with Page(browser, *LAPTOP, local=True) as page:
        yield page


@pytest.fixture
def running(micrographs: Path, tmp_path: Path) -> Iterator[Running]:
    with served(micrographs, tmp_path / "labels.star") as held:
        yield held


@pytest.fixture
def page(window: Page, running: Running) -> Iterator[Page]:
    """The page on its first micrograph, with nothing labelled and no proposals in the way."""
    window.problems.clear()
    window.requests.clear()
    open_(window, running.address)
    window.run("document.querySelector('#show').click()")
    yield window
    assert window.problems == []
    window.open("about:blank")


def open_(window: Page, address: str) -> None:
    window.open(address)
    window.wait(SHOWN)
    window.wait(PROPOSED)
    window.wait(SHOWN)


def place(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where in the window a place of the micrograph is."""
    sx, sy = page.run(f"page.view.toScreen({x}, {y})")
    return sx, sy


def marks(folder: Path, kind: str = "labels") -> dict[str, list[list[float]]]:
    path = folder / f"{kind}.star"
    try:
        held = read_picks(path) if path.exists() else {}
    except NoParticles:
        held = {}
    return {Path(name).name: picks.xy.round(1).tolist() for name, picks in held.items()}


def areas(folder: Path) -> dict[str, list[list[int]]]:
    path = folder / "labels.areas.tsv"
    held = read_areas(path, SHAPES)[0] if path.exists() else {}
    return {name: found.tolist() for name, found in held.items()}


def said(page: Page) -> str:
    return str(page.run("document.querySelector('#message').textContent"))


def near(found: list[list[float]], expected: list[tuple[float, float]]) -> bool:
    """Whether points are those expected, to a px of the screen (1.2 of the micrograph)."""
    return len(found) == len(expected) and np.allclose(found, expected, atol=1.2)


def test_click_adds_and_removes_and_right_click_denies(page: Page, tmp_path: Path) -> None:
    for x, y in [(100, 100), (300, 200)]:
        page.click_at(*place(page, x, y))
    page.wait(SAVED)
    assert near(marks(tmp_path)["a.mrc"], [(100, 100), (300, 200)])
    page.click_at(*place(page, 104, 97))
    page.click_at(*place(page, 500, 50), "right")
    page.wait(SAVED)
    assert near(marks(tmp_path)["a.mrc"], [(300, 200)])
    assert near(marks(tmp_path, "labels.negatives")["a.mrc"], [(500, 50)])
    # A right click on a mark makes it a negative, and one on a negative takes it away.
    page.click_at(*place(page, 300, 200), "right")
    page.click_at(*place(page, 500, 50), "right")
    page.wait(SAVED)
    assert marks(tmp_path) == {}
    assert near(marks(tmp_path, "labels.negatives")["a.mrc"], [(300, 200)])
    counts = page.run("document.querySelector('#counts').textContent")
    assert counts == "0 particles on 0 micrographs, 1 non-particle, 0 finished areas"
    page.click_at(*place(page, -30, 100))
    page.wait(SAVED)
    assert marks(tmp_path) == {}


def test_a_drag_finishes_an_area_and_its_cross_removes_it(page: Page, tmp_path: Path) -> None:
    page.click_at(*place(page, 100, 100))
    page.drag(place(page, 50, 60), place(page, 250, 200))
    page.wait(SAVED)
    ((x0, y0, x1, y1),) = areas(tmp_path)["a.mrc"]
    assert np.allclose([x0, y0, x1, y1], [50, 60, 251, 201], atol=1.6)
    assert "1 particle inside; everything else inside counts as background" in said(page)
    # One that overlaps is refused, one around it takes it in, one beyond the edge is cut there.
    page.drag(place(page, 200, 150), place(page, 400, 300))
    page.wait(SAVED)
    assert "overlaps a finished one" in said(page)
    page.drag(place(page, -15, 20), place(page, 300, 300))
    page.wait(SAVED)
    ((x0, y0, x1, y1),) = areas(tmp_path)["a.mrc"]
    assert np.allclose([x0, y0, x1, y1], [0, 20, 301, 301], atol=1.6)
    x, y = place(page, x1 - 0.5, y0 - 0.5)
    page.click_at(x - 8, y + 8)
    page.wait(SAVED)
    assert areas(tmp_path) == {}
    assert near(marks(tmp_path)["a.mrc"], [(100, 100)])
    page.drag(place(page, 400, 400), place(page, 408, 404))
    page.wait(SAVED)
    assert "smaller than a particle" in said(page)
    assert areas(tmp_path) == {}


def test_undo_and_redo_by_keys_and_buttons_also_after_a_reload(
    page: Page, running: Running, tmp_path: Path
) -> None:
    page.click_at(*place(page, 100, 100))
    page.click_at(*place(page, 300, 200))
    page.type("z", control=True)
    page.wait(SAVED)
    assert near(marks(tmp_path)["a.mrc"], [(100, 100)])
    page.type("y")
    page.wait(SAVED)
    assert near(marks(tmp_path)["a.mrc"], [(100, 100), (300, 200)])
    open_(page, running.address)
    assert near(page.run("page.state.labels.get(0).marks"), [(100, 100), (300, 200)])
    page.click("#undo")
    page.click("#undo")
    page.wait(SAVED)
    assert marks(tmp_path) == {}
    page.click("#undo")
    page.wait("document.querySelector('#message').textContent === 'Nothing to undo.'")
    page.click("#redo")
    page.wait(SAVED)
    assert near(marks(tmp_path)["a.mrc"], [(100, 100)])


def test_undo_leads_to_the_micrograph_that_it_changes(page: Page, tmp_path: Path) -> None:
    page.click_at(*place(page, 100, 100))
    page.type("PageDown")
    page.wait(f"page.state.current === 1 && {SHOWN}")
    page.type("z")
    page.wait(f"page.state.current === 0 && {SAVED}")
    assert marks(tmp_path) == {}


def test_proposals_are_accepted_and_rejected_singly_and_all(page: Page, tmp_path: Path) -> None:
    # None is decided while they are hidden.
    page.wait("document.querySelector('#accept').disabled")
    page.type("A", shift=True)
    page.wait("document.querySelector('#message').textContent === 'No proposals are shown.'")
    page.type("p")
    first = particles("a.mrc")
    page.wait("document.querySelector('#n-accept').textContent !== '0'")
    n = page.run("Number(document.querySelector('#n-accept').textContent)")
    assert abs(n - len(first)) <= 3
    # A click that is a little off accepts the proposal, where the proposal is.
    page.click_at(*place(page, first[0, 0] + 6, first[0, 1] - 5))
    page.click_at(*place(page, first[1, 0] - 6, first[1, 1] + 5), "right")
    page.wait(SAVED)
    (accepted,), (rejected,) = (
        marks(tmp_path)["a.mrc"],
        marks(tmp_path, "labels.negatives")["a.mrc"],
    )
    assert np.linalg.norm(accepted - first[0]) < 2
    assert np.linalg.norm(rejected - first[1]) < 2
    page.wait(f"document.querySelector('#n-accept').textContent === '{n - 2}'")
    # Those above the threshold only: fewer when it is raised by key.
    shown = n - 2
    for _ in range(40):
        if shown < n - 2:
            break
        page.type("t")
        page.run("new Promise(requestAnimationFrame)")
        shown = page.run("Number(document.querySelector('#n-accept').textContent)")
    assert 0 < shown < n - 2
    page.click("#accept")
    page.wait(SAVED)
    assert len(marks(tmp_path)["a.mrc"]) == 1 + shown
    page.wait("document.querySelector('#n-accept').textContent === '0'")
    page.run(
        "(() => { const s = document.querySelector('#threshold'); s.value = s.min;"
        " s.dispatchEvent(new Event('input')); })()"
    )
    page.wait("document.querySelector('#n-reject').textContent !== '0'")
    more = page.run("Number(document.querySelector('#n-reject').textContent)")
    page.type("R", shift=True)
    page.wait(SAVED)
    assert len(marks(tmp_path, "labels.negatives")["a.mrc"]) == 1 + more
    page.type("z")
    page.type("z")
    page.wait(SAVED)
    assert len(marks(tmp_path)["a.mrc"]) == 1
    assert len(marks(tmp_path, "labels.negatives")["a.mrc"]) == 1


def test_next_tile_is_framed_and_finished_by_a_key(page: Page, tmp_path: Path) -> None:
    page.type("n")
    page.wait("page.state.tile !== null")
    tile = page.run("[page.state.tile.micrograph, ...page.state.tile.area]")
    page.wait(SHOWN)
    sx, sy = place(page, (tile[1] + tile[3]) / 2, (tile[2] + tile[4]) / 2)
    assert abs(sx - page.run("page.view.width") / 2) < 2
    assert abs(sy - page.run("page.view.height") / 2) < 2
    hint = page.run("document.querySelector('#hint').textContent")
    assert hint == "Mark every particle inside the dashed frame, then press f."
    page.type("f")
    page.wait(f"page.state.tiles.length === 2 && page.state.tile !== null && {SAVED}")
    name = ["a.mrc", "b.mrc", "broken.mrc", "c.mrc"][tile[0]]
    assert areas(tmp_path) == {name: [tile[1:]]}
    second = page.run("[page.state.tile.micrograph, ...page.state.tile.area]")
    assert second != tile
    page.type("b")
    page.wait(f"page.state.tile?.micrograph === {tile[0]} && page.state.tile.area[0] === {tile[1]}")


def test_the_keyboard_alone_labels(page: Page, tmp_path: Path) -> None:
    page.type("ArrowRight")
    x, y = page.run("page.state.cross")
    assert np.allclose([x, y], [(NX - 1) / 2 + DIAMETER / 2, (NY - 1) / 2], atol=0.1)
    page.type("Enter")
    page.type("ArrowDown", shift=True)
    for _ in range(4):
        page.type("ArrowLeft")
    page.type("x")
    page.type("a")
    for _ in range(3):
        page.type("ArrowDown")
        page.type("ArrowRight")
    assert "opposite corner" in page.run("document.querySelector('#hint').textContent")
    page.type("a")
    page.wait(SAVED)
    assert near(marks(tmp_path)["a.mrc"], [(x, y)])
    assert near(marks(tmp_path, "labels.negatives")["a.mrc"], [(x - 64, y + 2)])
    ((x0, y0, x1, y1),) = areas(tmp_path)["a.mrc"]
    assert np.allclose([x0, y0, x1, y1], [x - 64, y + 2, x - 15, y + 51], atol=1.6)
    page.type("Delete")
    page.type("ArrowUp")
    page.type("Delete")
    page.wait(SAVED)
    assert areas(tmp_path) == {}
    page.type("p")
    page.type("j")
    page.type("Enter")
    page.wait(SAVED)
    assert len(marks(tmp_path)["a.mrc"]) == 2
    page.type("PageDown")
    page.wait("page.state.current === 1")
    page.type("PageUp")
    page.wait("page.state.current === 0")


def test_every_button_and_field_is_reached_by_tab(page: Page) -> None:
    reached = set()
    for _ in range(40):
        page.type("Tab")
        reached.add(page.run("document.activeElement.id"))
    wanted = {"undo", "redo", "next", "threshold", "contrast", "lowpass", "diameter", "measure"}
    assert wanted <= reached


def test_zoom_contrast_and_low_pass_by_wheel_and_keys(page: Page) -> None:
    x, y = place(page, 200, 150)
    before = page.run("page.view.zoom")
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-300)
    page.wait(f"page.view.zoom > {1.4 * before}")
    assert np.allclose(page.run(f"page.view.toImage({x}, {y})"), [200, 150], atol=0.5)
    contrast = "Number(document.querySelector('#contrast').value)"
    lowpass = "Number(document.querySelector('#lowpass').value)"
    had = page.run(f"[{contrast}, {lowpass}]")
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-100, modifiers=8)
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-100, modifiers=1)
    page.wait(f"{contrast} > {had[0]} && {lowpass} === {had[1] + 1}")
    page.type("C", shift=True)
    page.type("L", shift=True)
    page.wait(f"Math.abs({contrast} - {had[0]}) < 1e-6 && {lowpass} === {had[1]}")
    page.type("0")
    page.wait(f"Math.abs(page.view.zoom - {before}) < 1e-9")
    page.type("1")
    assert page.run("page.view.zoom") == pytest.approx(1)
    page.wait(SHOWN)
    filters = page.run("document.querySelector('#image').style.filter")
    page.type("i")
    page.wait(f"document.querySelector('#image').style.filter !== '{filters}'")
    page.type("i")


def test_the_picture_has_the_particles_where_the_files_have_them(page: Page) -> None:
    """Dark discs: the drawn pixels at their centres are darker than between them."""
    page.type("1")
    # The picture is drawn anew with the next frame, and until then it is that of another zoom.
    page.run("requestAnimationFrame(() => requestAnimationFrame(() => { window.drawn = true; }))")
    page.wait(f"window.drawn && {SHOWN}")
    places = np.concatenate([particles("a.mrc")[8:20], particles("a.mrc")[8:20] + 30]).tolist()
    grey = page.run(
        "(() => { const c = document.createElement('canvas'), d = document.querySelector('#image');"
        " c.width = d.width; c.height = d.height;"
        " const t = c.getContext('2d', {willReadFrequently: true}); t.drawImage(d, 0, 0);"
        f" return {places}.map(([x, y]) => page.view.toScreen(x, y).map(Math.round))"
        ".map(([x, y]) => t.getImageData(x, y, 1, 1).data[0]); })()"
    )
    inside, between = grey[:12], grey[12:]
    assert max(inside) < min(between)


def test_a_circle_drawn_across_a_particle_sets_the_diameter(page: Page, tmp_path: Path) -> None:
    page.type("d")
    page.drag(place(page, 100, 100), place(page, 150, 100))
    page.wait("page.state.diameter !== 32")
    assert page.run("page.state.diameter") == pytest.approx(50, abs=1.5)
    text = (tmp_path / "labels.settings.yaml").read_text()
    assert f"diameter: {page.run('page.state.diameter'):g}" in text
    assert areas(tmp_path) == {}
    page.type("[")
    page.wait("page.state.diameter < 49.5")


def test_a_micrograph_that_cannot_be_read_is_passed_with_a_word(page: Page, tmp_path: Path) -> None:
    page.click("#list li:nth-child(3) button")
    page.wait("!document.querySelector('#broken').hidden")
    text = page.run("document.querySelector('#broken').textContent")
    assert text.startswith("This micrograph cannot be shown.")
    assert "broken.mrc" in text
    page.click_at(400, 300)
    page.type("PageDown")
    page.wait(f"page.state.current === 3 && {SHOWN}")
    page.click_at(*place(page, 300, 200))
    page.wait(SAVED)
    assert list(marks(tmp_path)) == ["c.mrc"]


def test_two_windows_show_and_keep_each_others_labels(
    page: Page, browser: str, running: Running, tmp_path: Path
) -> None:
    with Page(browser, *LAPTOP, local=True) as second:
        open_(second, running.address)
        second.type("p")
        page.click_at(*place(page, 100, 100))
        second.click_at(*place(second, 300, 200))
        for window in (page, second):
            window.wait("page.state.labels.get(0).marks.length === 2")
        second.type("z")
        page.wait("page.state.labels.get(0).marks.length === 1")
        assert near(marks(tmp_path)["a.mrc"], [(100, 100)])
        assert second.problems == []


def test_labels_written_by_another_program_appear_and_stay(page: Page, tmp_path: Path) -> None:
    page.click_at(*place(page, 100, 100))
    page.wait(SAVED)
    theirs = np.array([*marks(tmp_path)["a.mrc"], [400.0, 400.0]])
    write_picks(tmp_path / "labels.star", {"a.mrc": Picks(theirs)})
    page.wait("page.state.labels.get(0).marks.length === 2")
    assert "labels.star was changed by another program (labels added: 1, removed: 0)" in said(page)
    page.click_at(*place(page, 300, 200))
    page.wait(SAVED)
    assert near(marks(tmp_path)["a.mrc"], [(100, 100), (400, 400), (300, 200)])


def test_a_closed_lid_loses_no_click(page: Page, tmp_path: Path) -> None:
    page.cut()
    for x in (100, 200, 300):
        page.click_at(*place(page, x, 100))
    page.wait("!document.querySelector('#alarm').hidden")
    alarm = page.run("document.querySelector('#alarm').textContent")
    assert "The server does not respond" in alarm
    assert page.run("document.querySelector('#saved').textContent") == "3 not saved yet"
    assert marks(tmp_path) == {}
    page.cut(False)
    page.wait(f"{SAVED} && document.querySelector('#alarm').hidden")
    assert near(marks(tmp_path)["a.mrc"], [(100, 100), (200, 100), (300, 100)])
    page.problems.clear()  # the browser reports each request that found no network


def test_clicks_that_a_dead_server_missed_are_saved_by_the_next_one(
    window: Page, micrographs: Path, tmp_path: Path
) -> None:
    with served(micrographs, tmp_path / "labels.star") as first:
        open_(window, first.address)
        window.type("p")
        window.click_at(*place(window, 100, 100))
        window.wait(SAVED)
    window.click_at(*place(window, 300, 200))
    window.wait("!document.querySelector('#alarm').hidden")
    with served(micrographs, tmp_path / "labels.star", port=first.port) as second:
        window.wait("document.querySelector('#alarm').textContent.includes('restarted')")
        window.run("localStorage.setItem(Object.keys(localStorage)[0], JSON.stringify({"
                   "...JSON.parse(Object.values(localStorage)[0]), time: 0}))")  # fmt: skip
        open_(window, second.address)
        window.wait(SAVED)
        window.wait("page.state.labels.get(0).marks.length === 2")
        assert near(marks(tmp_path)["a.mrc"], [(100, 100), (300, 200)])
        window.open("about:blank")
    window.problems.clear()


def test_a_wrong_token_gets_a_word_and_nothing_else(window: Page, running: Running) -> None:
    window.requests.clear()
    window.open(f"http://127.0.0.1:{running.port}/wrong/")
    text = window.run("document.body.textContent")
    assert "This is not the address that fewpick label printed" in text
    assert len(window.requests) == 1
    window.problems.clear()


def test_the_page_asks_nobody_but_its_server(page: Page, running: Running) -> None:
    page.type("n")
    page.wait("page.state.tile !== null")
    assert page.requests
    assert all(url.startswith((running.address, "blob:")) for url in page.requests)


def test_the_page_fits_a_laptop_and_shows_all_its_controls(page: Page) -> None:
    page.resize(*LAPTOP)
    for selector in (
        "#list",
        "#counts",
        "#undo",
        "#next",
        "#threshold",
        "#measure",
        "#help-button",
    ):
        box = page.run(
            f"(() => {{ const b = document.querySelector('{selector}').getBoundingClientRect();"
            " return [b.left, b.top, b.right, b.bottom]; })()"
        )
        assert box[0] >= 0
        assert box[1] >= 0
        assert box[2] <= LAPTOP[0]
        assert box[3] <= LAPTOP[1]
    assert page.run("document.documentElement.scrollWidth") <= LAPTOP[0]


def test_the_command_serves_the_same_page(window: Page, micrographs: Path, tmp_path: Path) -> None:
    output = tmp_path / "labels.csv"
    with command(micrographs, output, "--diameter", "32") as (process, address):
        open_(window, address)
        window.type("p")
        window.click_at(*place(window, 100, 100))
        window.wait(SAVED)
        window.type("?")
        commands = window.run("document.querySelector('#commands').textContent")
        assert f"fewpick init {micrographs} {output} -o mine.yaml" in commands
        window.open("about:blank")
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        ending = process.stdout.read()
        assert "1 particle, 0 non-particles and 0 finished areas on 1 of 4 micrographs" in ending
    assert len(read_picks(output)["a.mrc"]) == 1
