"""The page as a reader meets it: opened from a file, in a browser without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser.chromium import Page
from example_report import HOSTILE, MATCH_RADII, MICROGRAPHS, RATIOS, Example

from fewpick.evaluation.matching import match, precision_recall_f1
from fewpick.evaluation.truth import Candidates, Truth, read_candidates
from fewpick.report.gallery import Run, stops_for
from fewpick.report.summary import best_run
from fewpick.stacks import read_table

COUNTS = """[...document.querySelectorAll("#counts tr")].map(
    (row) => [...row.cells].map((cell) => cell.textContent.replaceAll(",", "")))"""
VISIBLE = """["found", "false", "missed"].map((kind) => [...document.querySelectorAll(
    "#picture circle." + kind)].filter((node) => node.style.display !== "none").length)"""


def choose(page: Page, selector: str, index: int) -> None:
    page.run(
        f"(() => {{ const s = document.querySelector({json.dumps(selector)});"
        f" s.selectedIndex = {index}; s.dispatchEvent(new Event('change')); }})()"
    )


def slide(page: Page, stop: int) -> None:
    page.run(
        "(() => { const s = document.querySelector('#threshold');"
        f" s.value = {stop}; s.dispatchEvent(new Event('input')); }})()"
    )


def counted(truths: list[Truth], run: Run, threshold: float) -> tuple[int, int, int]:
    """Picks, correct picks and particles, by the scorer's own matching."""
    held = read_candidates(run.candidates, threshold)
    picks, correct, particles = 0, 0, 0
    for truth in truths:
        mine = held.get(truth.key, Candidates.none()).within(truth)
        xy = mine.xy[mine.kept]
        picks += len(xy)
        particles += len(truth.xy)
        correct += len(match(xy, truth.xy, MATCH_RADII[0] * truth.diameter)[0])
    return picks, correct, particles


def expected(truths: list[Truth], run: Run, threshold: float) -> list[Any]:
    """The column of numbers beside the picture; scores to three decimals, which may round a half
    either way."""
    picks, correct, particles = counted(truths, run, threshold)
    false, missed = picks - correct, particles - correct
    scores = precision_recall_f1(correct, false, missed)
    return [picks, correct, false, missed, *(pytest.approx(s, abs=5.01e-4) for s in scores)]


def test_page_loads_without_network_and_without_complaint(opened: Page, example: Example) -> None:
    assert opened.problems == []
    assert opened.requests == [example.page.absolute().as_uri()]
    drawn = opened.run(
        "[...document.querySelectorAll('canvas')].map((c) => c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data.some((v) => v > 0))"
    )
    assert len(drawn) >= 10
    assert all(drawn)


def test_hostile_names_are_shown_and_not_run(opened: Page) -> None:
    assert opened.run("typeof window.hacked") == "undefined"
    options = "[...document.querySelectorAll('#micrograph option')].map((o) => o.textContent)"
    assert HOSTILE in opened.run(options)
    assert "<b>&" in opened.run("document.querySelector('pre').textContent")


@pytest.mark.parametrize("arm", [0, 1, 2])
@pytest.mark.parametrize("ratio", range(len(RATIOS)))
def test_slider_gives_the_scorers_numbers(
    opened: Page, example: Example, arm: int, ratio: int
) -> None:
    opened.click(f"#arm-buttons button:nth-child({arm + 1})")
    choose(opened, "#share", ratio)
    # The last one is of another program, which knows no ratio and some of the micrographs.
    run = example.comparison.runs[2 * arm + ratio if arm < 2 else -1]
    covered = [truth for truth in example.truths if run.covers(truth)]
    names = opened.run(
        "[...document.querySelectorAll('#micrograph option')].map((o) => o.textContent)"
    )
    assert sorted(names) == sorted(MICROGRAPHS)
    scores = np.concatenate([p.score for p in read_candidates(run.candidates, 0).values()])
    stops, chosen = stops_for(scores, run.threshold)
    assert opened.run("Number(document.querySelector('#threshold').value)") == chosen
    for index, name in enumerate(names):
        choose(opened, "#micrograph", index)
        here = [truth for truth in covered if truth.micrograph == name]
        assert opened.run("document.querySelector('#uncovered').hidden") == bool(here)
        for stop in (0, 1, 40, 77, chosen, 120, 160, len(stops) - 1):
            slide(opened, stop)
            table: list[list[str]] = opened.run(COUNTS)
            assert [row[0] for row in table][:4] == ["picks", "correct", "false", "missed"]
            this, everywhere = ([float(row[i]) for row in table] for i in (1, 2))
            assert this == expected(here, run, stops[stop])
            assert everywhere == expected(covered, run, stops[stop])
            assert opened.run(VISIBLE) == this[1:4]


def test_the_keyboard_moves_the_threshold_and_the_button_brings_it_back(opened: Page) -> None:
    value = "Number(document.querySelector('#threshold').value)"
    opened.click("#threshold-chosen")
    chosen = opened.run(value)
    before = opened.run(COUNTS)
    opened.press("#threshold", "ArrowRight", times=30)
    assert opened.run(value) == chosen + 30
    assert opened.run(COUNTS) != before
    opened.click("#threshold-chosen")
    assert opened.run(COUNTS) == before
    assert "the run's" in opened.run("document.querySelector('#threshold-value').textContent")


def test_kinds_of_picks_can_be_hidden(opened: Page) -> None:
    choose(opened, "#micrograph", 1)
    opened.click("#show-false")
    found, false, missed = opened.run(VISIBLE)
    assert (found > 0, false, missed > 0) == (True, 0, True)
    opened.click("#show-false")
    assert opened.run(VISIBLE)[1] > 0


def test_zoom_keeps_picks_on_the_picture(opened: Page) -> None:
    def box() -> list[float]:
        return [
            float(v)
            for v in opened.run("document.querySelector('svg').getAttribute('viewBox')").split()
        ]

    choose(opened, "#micrograph", 1)
    whole = box()
    opened.click("#zoom-in")
    opened.click("#zoom-in")
    near = box()
    assert near[2] == pytest.approx(whole[2] / 1.6**2)
    assert near[3] / near[2] == pytest.approx(whole[3] / whole[2])
    # Picture and circles share the one frame that is zoomed.
    assert opened.run("document.querySelectorAll('svg > image, svg > g > circle').length") > 30
    opened.click("#zoom-reset")
    assert box() == whole


def test_the_gallery_opens_on_the_arm_of_the_headline(browser: str, example: Example) -> None:
    best = best_run(read_table(example.comparison.table), "pick_f1_0.3")
    assert best is not None
    with Page(browser) as page:
        page.open(example.page)
        text = page.run("document.querySelector('.answers li').textContent")
        pressed = "[...document.querySelectorAll('#arm-buttons button')]"
        pressed += ".filter((b) => b.getAttribute('aria-pressed') === 'true')[0].textContent"
        share = "document.querySelector('#share').selectedOptions[0].textContent"
        assert page.run(pressed) == best["arm"] == "fixmatch"
        assert f"({best['arm']}, " in text
        assert page.run(share) == f"{100 * best['ratio']:g} %"
        assert page.run("document.querySelector('#caption').textContent").startswith(
            f"fixmatch, {100 * best['ratio']:g} % labelled, "
        )
        steps = page.run("document.querySelector('#next').textContent")
        assert f"fewpick pick results/models/fixmatch/ratio-{best['ratio']}/seed-0" in steps


def test_arrows_pan_a_zoomed_picture_and_counts_are_announced(opened: Page) -> None:
    def box() -> list[float]:
        text = opened.run("document.querySelector('#picture').getAttribute('viewBox')")
        return [float(value) for value in text.split()]

    choose(opened, "#micrograph", 1)
    opened.click("#zoom-reset")
    whole = box()
    opened.press("#picture", "ArrowRight")
    assert box() == whole
    opened.click("#zoom-in")
    near = box()
    opened.press("#picture", "ArrowLeft")
    assert box()[0] == pytest.approx(near[0] - near[2] / 8)
    opened.press("#picture", "ArrowDown")
    assert box()[1] == pytest.approx(near[1] + near[2] / 8)
    opened.click("#zoom-reset")
    slide(opened, 40)
    opened.wait("document.querySelector('#announced').textContent.startsWith('threshold 0.205: ')")
    counts = opened.run(COUNTS)
    said = opened.run("document.querySelector('#announced').textContent")
    assert said.endswith(", ".join(f"{row[1]} {row[0]}" for row in counts[1:4]))
    label = opened.run("document.querySelector('#picture').getAttribute('aria-label')")
    assert label.startswith("Micrograph ")
    opened.click("#threshold-chosen")


def test_targets_are_large_enough_for_a_finger(opened: Page) -> None:
    opened.resize(390, 800, phone=True)
    small = opened.run(
        "[...document.querySelectorAll('button, select, nav a, summary, label:has(input)')]"
        ".map((node) => [node.textContent, node.getBoundingClientRect()])"
        ".filter(([, box]) => box.width && (box.height < 24 || box.width < 24))"
        ".map(([text, box]) => `${text}: ${box.width} x ${box.height}`)"
    )
    assert small == []
    opened.wait("document.querySelectorAll('.wide.scrolls').length > 0")
    opened.resize(1366, 800, phone=False)


def test_columns_are_explained_by_the_names_that_the_page_shows(opened: Page) -> None:
    terms = opened.run("[...document.querySelectorAll('#table dt')].map((t) => t.textContent)")
    assert (
        "F1 at 0.3 D, precision, recall, F1 at 0.5 D (pick_precision, pick_recall, pick_f1)"
        in terms
    )


def test_lines_that_lie_on_each_other_are_both_drawn(opened: Page) -> None:
    drawn = opened.run(
        "(() => { const sets = [[1, 2], [1, 3], [1, 2], [1, 2]]"
        ".map((data) => ({ data, borderWidth: 2, borderDash: [] }));"
        " apartWhereEqual(sets, ({ data }) => data);"
        " return sets.map(({ borderWidth, borderDash }) => [borderWidth, borderDash]); })()"
    )
    assert drawn == [[4, []], [2, []], [2, [6, 6]], [2, [6, 12]]]


def test_a_printed_page_names_what_the_picture_shows_and_cuts_no_table(opened: Page) -> None:
    opened.call("Emulation.setEmulatedMedia", media="print")
    opened.resize(700, 1000)  # A4 within its margins
    try:
        assert opened.run("document.querySelector('#caption').offsetHeight") > 0
        assert opened.run("document.querySelector('#threshold').offsetHeight") == 0
        cut = "[...document.querySelectorAll('.wide')].filter((w) => w.scrollWidth > w.clientWidth)"
        assert opened.run(cut + ".length") == 0
    finally:
        opened.call("Emulation.setEmulatedMedia", media="")
        opened.resize(1366, 800)


def rows(page: Page, column: int) -> list[Any]:
    return page.run(
        "[...document.querySelectorAll('#comparison tbody tr')].filter((r) => !r.hidden).map("
        f"(r) => {{ const c = r.cells[{column}]; return 'value' in c.dataset"
        " ? Number(c.dataset.value) : c.textContent; })"
    )


def test_table_sorts_numbers_as_numbers_and_blanks_last(opened: Page) -> None:
    header = "#comparison thead th:nth-child({}) button"
    opened.click(header.format(3))
    values = rows(opened, 2)
    assert len(values) == 4
    assert values == sorted(values, reverse=True)
    opened.click(header.format(3))
    assert rows(opened, 2) == sorted(values)
    opened.click(header.format(4))  # the gain: the reference has none
    gains = rows(opened, 3)
    assert gains[:2] == sorted(gains[:2], reverse=True)
    assert gains[2:] == ["", ""]
    opened.click(header.format(1))
    assert rows(opened, 0) == ["fixmatch", "fixmatch", "supervised", "supervised"]
    opened.click("#show-seeds")
    assert rows(opened, 0)[:3] == ["fixmatch", "fixmatch, seed 0", "fixmatch, seed 1"]
    opened.click("#show-seeds")
    assert len(rows(opened, 0)) == 4


@pytest.mark.parametrize(("width", "phone"), [(1366, False), (390, True)])
def test_nothing_is_wider_than_the_window(
    opened: Page, tmp_path: Path, width: int, phone: bool
) -> None:
    opened.resize(width, 800, phone=phone)
    opened.wait(f"document.documentElement.scrollWidth <= {width}")
    opened.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 50_000
    assert opened.problems == []


def test_answers_and_tables_are_there_without_scripts(browser: str, example: Example) -> None:
    with Page(browser) as page:
        page.call("Emulation.setScriptExecutionDisabled", value=True)
        page.open(example.page)
        page.call("Emulation.setScriptExecutionDisabled", value=False)
        text = page.run("document.body.innerText")
    assert "What was found" in text
    assert "fixmatch reaches" in text
    assert "F1 at 0.3 D" in text
