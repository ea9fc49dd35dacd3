"""The page's sentences, numbers and bytes, without a browser."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from example_report import HOSTILE, MATCH_RADII, Example, make_example

import fewpick.report
from fewpick.evaluation.matching import match
from fewpick.evaluation.truth import Candidates, read_candidates
from fewpick.report import summary
from fewpick.report.gallery import Run, build_gallery, stops_for
from fewpick.report.page import build, embedded
from fewpick.stacks import read_table

# Of chart.umd.min.js in the npm package chart.js 4.6.1.
CHART_SHA256 = "87364cc2b2a76a6684929e7d6b80b18a897794db38400caff1fcf1791c6925d2"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return make_example(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def data(example: Example) -> Any:
    page = example.page.read_text()
    return json.loads(page.split('id="report-data">')[1].split("</script>")[0])


def test_counts_at_every_stop_are_the_scorers(example: Example, data: Any) -> None:
    for run, shown in zip(example.comparison.runs, data["gallery"]["runs"], strict=True):
        held = read_candidates(run.candidates, 0)
        stops, chosen = stops_for(np.concatenate([p.score for p in held.values()]), run.threshold)
        assert shown["chosen"] == chosen
        assert stops[chosen] == run.threshold
        pooled = shown["pooled"]["beads"]
        covered = [t for t in example.truths if run.covers(t)]
        assert pooled["micrographs"] == len(covered)
        assert pooled["truth"] == sum(len(t.xy) for t in covered)
        for stop, threshold in enumerate(stops):
            picks = correct = 0
            for truth in covered:
                mine = held.get(truth.key, Candidates.none()).within(truth)
                xy = mine.xy[mine.score >= threshold]
                picks += len(xy)
                correct += len(match(xy, truth.xy, MATCH_RADII[0] * truth.diameter)[0])
            assert (pooled["picks"][stop], pooled["true"][stop]) == (picks, correct)


def test_the_page_begins_at_the_threshold_of_each_data_set(
    example: Example, tmp_path: Path
) -> None:
    (tmp_path / "threshold.json").write_text(
        json.dumps(
            {"threshold": 0.4, "datasets": {"beads": {"threshold": 0.3}, "b": {"threshold": 0.7}}}
        )
    )
    candidates = example.comparison.runs[0].candidates
    run = Run.read("both", 0.1, candidates, tmp_path / "threshold.json")
    assert run.own == {"beads": 0.3, "b": 0.7}
    (shown,) = build_gallery(example.truths, [], [run], {}, 0.3)["runs"]
    assert shown["stops"][shown["own"]["beads"]] == 0.3
    assert shown["stops"][shown["own"]["b"]] == 0.7
    assert shown["stops"][shown["chosen"]] == 0.4


def test_a_program_shows_nothing_where_it_was_not_run(example: Example, data: Any) -> None:
    run, shown = example.comparison.runs[-1], data["gallery"]["runs"][-1]
    assert (shown["arm"], shown["ratio"]) == ("elsewhere", None)
    names = [m["name"] for m in data["gallery"]["micrographs"]]
    covered = {t.micrograph for t in example.truths if run.covers(t)}
    assert len(covered) == 2 < len(example.truths)
    assert [picks is not None for picks in shown["picks"]] == [n in covered for n in names]


def test_what_the_page_shows_lies_on_the_picture(example: Example, data: Any) -> None:
    """In px of the picture: a quarter of those of the micrograph, and inside the border."""
    for shown in data["gallery"]["micrographs"]:
        truth = next(t for t in example.truths if t.micrograph == shown["name"])
        assert (shown["width"], shown["height"], shown["disc"]) == (128, 100, 5.0)
        at = np.array(shown["truth"]).reshape(-1, 2)
        np.testing.assert_allclose(4 * at, truth.xy, atol=0.21)
        assert shown["area"] == pytest.approx([7.5, 7.5, 120.2, 92.2], abs=0.1)


@pytest.mark.parametrize(
    ("scores", "threshold"),
    [([-3.0, 0.5, 7.0], 1.5), ([0.2, 0.9], 0.5), ([], 0.5), ([1.0, 1.0], -np.inf)],
)
def test_stops_hold_the_threshold_whatever_the_scores(
    scores: list[float], threshold: float
) -> None:
    stops, chosen = stops_for(np.array(scores), threshold)
    assert (np.diff(stops) > 0).all()
    kept = np.array(scores) >= threshold
    assert (np.array(scores) >= stops[chosen]).tolist() == kept.tolist()


def test_nothing_is_fetched_and_no_name_is_markup(example: Example) -> None:
    page = example.page.read_text()
    assert "default-src 'none'; img-src data:" in page
    assert not re.search(r"""(src|href)=["']?(https?:|//)""", page)
    assert HOSTILE not in page
    assert "<i>" not in page
    assert embedded({"a": "</script>"}) == '{"a":"\\u003c/script>"}'


def test_equal_input_gives_equal_bytes(example: Example, tmp_path: Path) -> None:
    build(example.comparison, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == example.page.read_bytes()


def test_what_speaks_against_trust_is_said(example: Example) -> None:
    page = example.page.read_text()
    cautions = page.split("Reasons for caution</h2>")[1].split("</div>")[0]
    for said in (
        "the images do not confirm the frame of the coordinates (flip_y suspected)",
        "particle discs cover 60% of the annotated area",
        "Scored on 4 test micrographs",
        "Labelled for validation: 60 validation particles.",
        "The smallest training has 20 labels; a lab with so few would not have the extra ones.",
        "fixmatch with 10 % of the training data: in 2 of 2 trainings the validation F1 fell",
    ):
        assert said in cautions
    assert "One seed" not in cautions


def test_facts_of_a_data_set_are_said_once(example: Example) -> None:
    page = example.page.read_text()
    facts = dict(re.findall(r'<th scope="row">([^<]+)</th><td>([^<]*)</td></tr>', page))
    assert facts["image size"] == "512 x 400 px"
    assert facts["particle diameter"] == "40 px, 80 Å"
    assert facts["micrographs"] == "4 (4 annotated)"
    assert facts["fraction of particle pixels"] == "60.0%"


def table(columns: dict[str, Any]) -> pd.DataFrame:
    every = {"dataset": "d", "seed": "mean", "labeled_ratio": 0.1}
    every |= {"n_seeds": 3, "n_seeds_above": 2, "n_seeds_below": 1}
    rows = pd.DataFrame(every | columns)
    return rows.assign(n_labeled_particles=1000 * rows["labeled_ratio"])


def test_best_run_is_best_in_the_mean_over_data_sets() -> None:
    rows = {
        "dataset": ["a", "a", "b", "b", "all", "all"],
        "arm": ["supervised", "fixmatch"] * 3,
        "pick_f1_0.3": [0.8, 0.7, 0.2, 0.6, 0.5, 0.65],
    }
    found = summary.best_run(table(rows), "pick_f1_0.3")
    assert found == {"arm": "fixmatch", "ratio": 0.1}
    one = table(rows).query("dataset == 'a'")
    assert summary.best_run(one, "pick_f1_0.3") == {"arm": "supervised", "ratio": 0.1}
    assert summary.best_run(one.assign(**{"pick_f1_0.3": np.nan}), "pick_f1_0.3") is None


@pytest.mark.parametrize(("own", "flipped", "suspected"), [(0.14, 0.21, False), (0.15, 0.7, True)])
def test_a_wrong_y_axis_is_only_suspected_above_chance(
    own: float, flipped: float, suspected: bool
) -> None:
    rows = {
        "arm": ["supervised", "y_flipped", "random"],
        "labeled_ratio": [0.1, 0.1, 0.0],
        "pick_f1_0.3": [own, flipped, 0.17],
        "n_test_micrographs": 9,
        "n_validation_particles": 0,
        "validation_used_for": "",
    }
    said = " ".join(summary.cautions(table(rows), "supervised", [], [], "pick_f1_0.3"))
    assert ("upside down" in said) is suspected


def test_answer_names_the_fewest_labels_that_suffice() -> None:
    rows = {
        "arm": ["supervised", "supervised", "fixmatch", "fixmatch"],
        "labeled_ratio": [0.01, 0.1, 0.01, 0.1],
        "pick_f1_0.3": [0.6, 0.8, 0.79, 0.78],
        "delta_pick_f1_0.3": [np.nan, np.nan, 0.19, -0.02],
        "delta_low": [np.nan, np.nan, 0.1, -0.05],
        "delta_high": [np.nan, np.nan, 0.3, 0.01],
    }
    first, few, many = summary.answers(table(rows), "supervised", "pick_f1_0.3")
    assert "0.80 (supervised, 100 labelled particles)" in first
    assert "10 labelled particles come within 0.02 of it (fixmatch, 0.79)" in first
    assert "10 labelled particles (1 % of the training data)" in few
    assert (
        "+0.190 [+0.100, +0.300], a difference whose 95 % interval excludes 0 "
        "(above in 2 of 3 seeds)." in few
    )
    assert "which may be chance: the interval contains 0 (above in 2 of 3 seeds)." in many


def test_an_interval_of_one_seed_is_not_called_beyond_chance() -> None:
    rows = {
        "arm": ["supervised", "fixmatch"],
        "pick_f1_0.3": [0.6, 0.8],
        "delta_pick_f1_0.3": [np.nan, 0.2],
        "delta_low": [np.nan, 0.1],
        "delta_high": [np.nan, 0.3],
        "n_seeds": [np.nan, 1],
    }
    said = summary.answers(table(rows), "supervised", "pick_f1_0.3")[1]
    assert "+0.200 [+0.100, +0.300], the spread over the test micrographs of this one" in said
    assert "chance" not in said
    assert "separates" not in said


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (["0", "mean", "sd"], "its spread over the test micrographs of one training (one seed)"),
        (["0", "1", "mean", "sd"], "its 95 % interval over test micrographs and seeds"),
    ],
)
def test_the_plot_says_what_its_interval_covers(seeds: list[str], said: str) -> None:
    assert summary.interval_of(pd.DataFrame({"seed": seeds})) == said


def test_an_answer_needs_no_second_arm() -> None:
    rows = {"arm": ["supervised"], "pick_f1_0.3": [0.6], "delta_pick_f1_0.3": [np.nan]}
    (said,) = summary.answers(table(rows), "supervised", "pick_f1_0.3")
    assert "No other number of labels was tried" in said


@pytest.mark.parametrize(
    ("few", "many", "said"),
    [
        (0.5, 0.9, "No smaller number of labels tried comes close"),
        (0.9, 0.8, "This is the smallest number tried; using up to 100 was no better"),
        (0.89, 0.9, "10 labelled particles come within 0.02"),
    ],
)
def test_answer_says_what_more_labels_brought(few: float, many: float, said: str) -> None:
    rows = {
        "arm": ["supervised", "supervised"],
        "labeled_ratio": [0.01, 0.1],
        "pick_f1_0.3": [few, many],
        "delta_pick_f1_0.3": [np.nan, np.nan],
    }
    assert said in summary.answers(table(rows), "supervised", "pick_f1_0.3")[0]


def test_equal_picks_are_called_so() -> None:
    rows = {
        "arm": ["supervised", "fixmatch"],
        "pick_f1_0.3": [0.9, 0.9],
        "delta_pick_f1_0.3": [np.nan, 0.0],
        "delta_low": [np.nan, 0.0],
        "delta_high": [np.nan, 0.0],
    }
    assert (
        "both have the same counts" in summary.answers(table(rows), "supervised", "pick_f1_0.3")[1]
    )


@pytest.mark.parametrize(
    ("scores", "state"),
    [
        ([0.5, 0.8, 0.79], "steady"),
        ([0.5, 0.8, 0.6], "drifted"),
        ([0.8, 0.0], "collapsed"),
        ([0.0, 0.0], "collapsed"),
        ([np.nan, np.nan], "unknown"),
    ],
)
def test_health_of_a_training(scores: list[float], state: str) -> None:
    history = pd.DataFrame({"step": range(len(scores)), "val_pick_f1": scores})
    found = summary.health({"arm": "a"}, history)
    assert found["state"] == state
    assert found["agreement"] is None


def test_a_training_without_a_logged_step_has_no_health(tmp_path: Path) -> None:
    assert summary.health({}, pd.DataFrame({"step": []}))["state"] == "unknown"


def test_numbers_of_the_table_are_those_of_the_tsv(example: Example) -> None:
    page = example.page.read_text()
    rows = read_table(example.comparison.table)
    mean = rows[(rows["arm"] == "fixmatch") & (rows["seed"] == "mean")].iloc[0]
    body = page.split('id="comparison">')[1].split("</table>")[0]
    for column in ("pick_f1_0.3", "pick_precision_0.3", "average_precision", "count_error"):
        assert f'data-value="{float(mean[column])!r}">{mean[column]:.3f}' in body


def test_plot_library_is_the_published_one() -> None:
    library = Path(fewpick.report.__file__).with_name("chart.umd.min.js")
    assert hashlib.sha256(library.read_bytes()).hexdigest() == CHART_SHA256


def test_a_score_that_falls_with_more_labels_gets_a_word() -> None:
    part = pd.DataFrame(
        {
            "arm": ["a", "b", "b", "a", "a"],
            "n_labeled_particles": [8, 8, 115, 115, 900],
            "pick_f1_0.3": [0.80, 0.70, 0.695, 0.75, 0.70],
        }
    )
    (line,) = summary._falls(part, "pick_f1_0.3")
    assert line.startswith("a scores 0.75 with 115 labelled particles and 0.80 with 8: more labels")
