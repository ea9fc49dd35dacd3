"""Thresholds and verdicts from what folds left out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fewpick.final.outcome import conclude, threshold_of
from fewpick.final.quality import (
    ENOUGH,
    Fold,
    Held,
    RatedCandidates,
    choose_rate,
    held_to_marks,
    judge,
    mark_rates,
    verdict,
    wilson,
)

NONE = np.empty((0, 2))
D = 10.0


def grid(n: int) -> np.ndarray:
    """Points three diameters apart."""
    return np.stack([np.arange(n) % 10 * 30.0 + 15, np.arange(n) // 10 * 30.0 + 15], axis=1)


def seen(n: int, scale: float = 1.0, sample: tuple[str, ...] = ("u", "v")) -> RatedCandidates:
    """`n` candidates on each micrograph, on the points of `grid`, with falling scores."""
    scores = scale * (1 - np.arange(n) / 1000)
    names = ("m", *sample)
    return RatedCandidates(dict.fromkeys(names, grid(n)), dict.fromkeys(names, scores), sample)


def area(n_true: int) -> Held:
    """All of micrograph m, with particles on the first points of `grid`."""
    return Held("m", np.array([[0, 0, 400, 400.0]]), grid(n_true), NONE, NONE, D)


def clicks(xy: np.ndarray, negatives: np.ndarray = NONE) -> Held:
    return Held("m", np.empty((0, 4)), NONE, xy, negatives, D)


def test_rates_count_candidates_whatever_the_scale_of_scores() -> None:
    for scale in (1.0, 0.01):
        candidates = seen(50, scale)
        np.testing.assert_array_equal(candidates.rates("m"), np.arange(1, 51))
        assert candidates.score_at(7.0) == pytest.approx(scale * (1 - 6 / 1000))
    assert seen(5).score_at(0.0) == 1.0
    assert seen(5).score_at(np.inf) == pytest.approx(1 - 4 / 1000)
    assert seen(0).score_at(3) == 1.0


def test_areas_with_enough_particles_choose_the_rate() -> None:
    """The best F1 is at as many picks as there are particles, in each of two networks."""
    folds = [Fold(seen(60), [area(15)]), Fold(seen(60, 0.2), [area(15)])]
    assert choose_rate(folds, expected=99) == (15.0, "areas")


def test_few_particles_leave_the_choice_to_the_user_or_to_the_marks() -> None:
    folds = [Fold(seen(60), [area(ENOUGH - 1)])]
    assert choose_rate(folds, expected=40) == (40, "expected")
    rates = [5.0 + k for k in range(11)]
    marked = [Fold(seen(60), [clicks(grid(60)[4:15])])]
    np.testing.assert_array_equal(mark_rates(marked), rates)
    assert choose_rate(marked, None) == (14.0, "marks")
    assert choose_rate([Fold(seen(60), [])], None) == (None, "none")


def test_marks_hold_a_count_that_they_contradict() -> None:
    """Of 14 marks, 12 or more lie below the rate that finds nine in ten, with a chance of .84."""
    rates = np.arange(100.0, 1500.0, 100.0)
    assert held_to_marks(1250, rates) == 1250
    assert held_to_marks(9999, rates) == 9999  # too few marks to say that it is too many
    assert held_to_marks(300, rates) == 1200
    assert held_to_marks(300, np.empty(0)) == 300
    many = np.arange(1.0, 1001.0)
    assert held_to_marks(300, many) == pytest.approx(900, abs=15)
    assert held_to_marks(5000, many) == pytest.approx(900, abs=15)


def test_a_count_stands_in_for_the_number_that_the_user_expects() -> None:
    marked = [Fold(seen(60), [clicks(grid(60)[4:15])])]
    assert choose_rate(marked, None, 20.0) == (20.0, "counted")
    assert choose_rate(marked, None, 6.0) == (13.0, "counted")
    assert choose_rate(marked, 40, 20.0) == (40, "expected")
    assert choose_rate([], None, 20.0) == (20.0, "counted")


def test_a_mark_that_is_never_found_asks_for_everything() -> None:
    lost = np.array([[999.0, 999.0]])
    folds = [Fold(seen(30), [clicks(lost)])]
    assert mark_rates(folds).tolist() == [np.inf]
    assert choose_rate(folds, None) == (30.0, "marks")


def test_what_is_counted() -> None:
    """20 picks in an area of 18 particles; one of two negatives is picked."""
    held = Held("m", np.array([[0, 0, 400, 400.0]]), grid(18), NONE, grid(40)[[3, 39]], D)
    found = judge([Fold(seen(60), [held])], rate=20)
    assert found["areas"]["picks"] == 20
    assert (found["areas"]["true"], found["areas"]["found"]) == (18, 18)
    assert found["areas"]["precision"][0] == pytest.approx(18 / 20)
    assert found["areas"]["f1"][0] == pytest.approx(2 * 18 / 38)
    assert found["negatives"] == {"negatives": 2, "picked": 1}
    assert found["marks"]["recall"][0] == 1.0


def test_each_fold_is_judged_at_the_rate_of_the_others() -> None:
    """The threshold of a fold must not be chosen by its own labels."""
    folds = [Fold(seen(90), [area(80)]), Fold(seen(90), [area(40)])]
    found = judge(folds, rate=80)
    assert found["areas"]["picks"] == 40 + 80


def test_too_little_is_said_to_be_too_little() -> None:
    few = verdict(judge([Fold(seen(60), [clicks(grid(14))])], 14))
    assert few[0].startswith("Too few labels to judge the picks: 14 of 14 marked")
    many = verdict(judge([Fold(seen(60), [clicks(grid(30))])], 30))
    assert "recall 1.00 [0.89, 1.00]. Too few of them are in fully marked areas (0; 20" in many[0]
    told = verdict(judge([Fold(seen(60), [area(30)])], 30))
    assert told == [
        "On labelled areas left out of training (30 particles), picks reach an F1 of 1.00 "
        "[0.89, 1.00]: precision 1.00 [0.89, 1.00], recall 1.00 [0.89, 1.00]."
    ]
    nothing = verdict(judge([], 1))
    assert nothing == [
        "No labels were left out of training, so the quality of the picks is unknown."
    ]
    wrong = verdict(judge([Fold(seen(60), [clicks(grid(14), grid(60)[50:52])])], 51))
    assert wrong[1] == "1 of 2 marked non-particles would have been picked."


def test_interval_of_a_share() -> None:
    """Newcombe 1998, table I: 81 of 263."""
    assert list(wilson(81, 263)) == pytest.approx([0.2553, 0.3662], abs=1e-4)
    assert list(wilson(0, 20)) == pytest.approx([0, 0.1611], abs=1e-4)


def part(held: dict[str, Any] | None, n: int, scale: float = 1.0) -> tuple[Any, Any]:
    """Labels and candidates of one network; nothing is said about the micrographs u, v and w."""
    names = ["m", "u", "v", "w"]
    labels = pd.DataFrame(
        {
            "dataset": "mine",
            "micrograph": names,
            "split": ["train", *["unannotated"] * 3],
            "n_labeled_particles": [14, 0, 0, 0],
            "expected": np.nan,
            "held": [json.dumps(held) if held else np.nan, *[np.nan] * 3],
        }
    )
    candidates = pd.DataFrame(
        [
            ("mine", name, x, y, scale * (1 - k / 1000))
            for name in names
            for k, (x, y) in enumerate(grid(n))
        ],
        columns=["dataset", "micrograph", "x", "y", "score"],
    )
    return labels, candidates


def test_the_last_network_picks_at_the_rate_of_the_folds() -> None:
    held = {"areas": [], "points": [], "clicks": grid(11).tolist(), "negatives": [], "diameter": D}
    everything, fold = part(None, 50, scale=0.3), part(held, 60)
    other = (everything[0].assign(dataset="other", split="unannotated"), everything[1])
    assert list(other[0]["dataset"].unique()) == ["other"]
    outcome = conclude(everything, [fold], {"mine": None})
    assert outcome["mine"]["threshold"] == pytest.approx(0.3 * (1 - 9 / 1000))
    assert outcome["mine"]["picks"] == 4 * 10
    assert outcome["mine"]["labels"] == {"micrographs": 1, "particles": 14}
    json.dumps(outcome, allow_nan=False)
    use = threshold_of(outcome)
    assert use["source"] == "marks"
    assert use["datasets"]["mine"]["threshold"] == use["threshold"] == outcome["mine"]["threshold"]


def test_the_count_of_the_table_sets_the_threshold() -> None:
    labels, candidates = part(None, 50)
    outcome = conclude((labels.assign(expected=30.0), candidates), [], {"mine": None})
    assert outcome["mine"]["source"] == "counted"
    assert outcome["mine"]["picks"] == 4 * 30


def test_a_data_set_without_labels_takes_the_others_threshold() -> None:
    held = {"areas": [], "points": [], "clicks": grid(11).tolist(), "negatives": [], "diameter": D}
    labels, candidates = part(None, 50)
    both = (
        pd.concat([labels, labels.assign(dataset="bare", split="unannotated")]),
        pd.concat([candidates, candidates.assign(dataset="bare")]),
    )
    fold_labels, fold_candidates = part(held, 50)
    fold = (
        pd.concat([fold_labels, fold_labels.assign(dataset="bare", held=np.nan)]),
        pd.concat([fold_candidates, fold_candidates.assign(dataset="bare")]),
    )
    outcome = conclude(both, [fold], {"mine": None, "bare": None})
    assert outcome["bare"]["source"] == "none"
    assert outcome["bare"]["threshold"] == outcome["mine"]["threshold"]
