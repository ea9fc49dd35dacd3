"""Score thresholds: from validation labels where there are enough, else from counts or clicks."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fewpick.evaluation.threshold_policy import ENOUGH_PARTICLES
from fewpick.geometry import frame_for
from fewpick.sampling.training_set import Micrograph, Window
from fewpick.tuning.thresholds import final_threshold, validation_uses, without_validation
from fewpick.tuning.validation import validation_micrographs

T = 100


def approx(value: float) -> Any:
    return pytest.approx(value)


@dataclass
class Seen:
    micrograph: Micrograph
    xy: NDArray[np.float64]
    score: NDArray[np.float64]


def sheet(
    split: str = "train",
    *,
    dataset: str = "set",
    windows: tuple[Window, ...] = (),
    points: NDArray[np.float64] | None = None,
    expected: float | None = None,
) -> Micrograph:
    blank = np.zeros((T, T))
    centres = np.empty((0, 2)) if points is None else points
    return Micrograph(
        *(dataset, "m", split, blank.astype(np.float16), blank.astype(np.int8), 4.0, 2.0),
        *((0, 0, T, T), frame_for(T, T, T), windows, centres),
        clicked=len(centres) > 0 and not windows,
        expected=expected,
    )


def row(n: int) -> NDArray[np.float64]:
    """`n` points further apart than any match radius."""
    return np.stack([np.arange(n) % 10 * 10.0 + 5, np.arange(n) // 10 * 10.0 + 5], axis=1)


def seen(micrograph: Micrograph, n: int, first: float = 1.0) -> Seen:
    """Candidates on the first `n` points of `row`, with scores `first`, `first` - 0.01, ..."""
    return Seen(micrograph, row(n), np.asarray(first - 0.01 * np.arange(n), np.float64))


WHOLE: tuple[Window, ...] = ((0, 0, T, T),)


def test_the_best_score_on_validation_is_taken_when_there_are_enough_labels() -> None:
    validation = sheet("val", windows=WHOLE, points=row(ENOUGH_PARTICLES))
    training = sheet(windows=((0, 0, 10, 10),), points=row(1))
    found = [seen(training, 60), seen(validation, ENOUGH_PARTICLES + 15)]
    chosen = final_threshold(found)
    assert chosen["threshold"] == approx(1 - 0.01 * (ENOUGH_PARTICLES - 1))
    assert chosen["source"] == "validation"
    assert chosen["validation"] == {"pick_f1": 1.0, "n_labeled_particles": ENOUGH_PARTICLES}


def test_too_few_validation_labels_tell_the_density_but_not_the_threshold(
    caplog: pytest.LogCaptureFixture,
) -> None:
    few = ENOUGH_PARTICLES - 1
    validation = sheet("val", windows=WHOLE, points=row(few))
    assert validation_micrographs([validation]) == []
    assert f"too few labelled validation particles to select by ({few}," in caplog.text
    training = sheet(windows=WHOLE, points=row(31))
    chosen = final_threshold([seen(training, 60), seen(validation, 5)])
    # (19 + 31) / 2 particles in each micrograph.
    assert chosen == {"threshold": approx(1 - 0.01 * 24), "source": "prevalence"}


def test_enough_is_asked_of_what_is_used_and_of_each_data_set(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Thirty particles on two micrographs, of which one is looked at, are fifteen."""
    half = [sheet("val", windows=WHOLE, points=row(15)) for _ in range(2)]
    assert validation_micrographs(half) == half
    assert validation_micrographs(half, 1) == []
    assert "set: too few labelled validation particles to select by (15," in caplog.text
    other = sheet("val", dataset="other", windows=WHOLE, points=row(15))
    assert validation_micrographs([*half, other]) == half
    found = [seen(half[0], 15), seen(half[1], 15), seen(other, 60, first=0.999)]
    chosen = final_threshold(found)["datasets"]
    assert chosen["set"]["validation"] == {"pick_f1": 1.0, "n_labeled_particles": 30}
    assert chosen["other"]["source"] == "other data sets"


def test_as_many_micrographs_of_each_data_set_validate() -> None:
    a = [sheet("val", dataset="a", windows=WHOLE, points=row(30)) for _ in range(3)]
    b = [sheet("val", dataset="b", windows=WHOLE, points=row(30)) for _ in range(2)]
    assert validation_micrographs([*a, *b], 1) == [a[0], b[0]]
    assert validation_micrographs([*a, *b], 3) == [*a, *b]


def test_only_labels_inside_windows_count_as_enough() -> None:
    """Clicked particles of a validation micrograph cannot say that a pick is false."""
    points = row(40)
    window = (0, 0, 10, 100)
    validation = sheet("val", windows=(window,), points=points)
    assert (points[:, 1] < 10).sum() < ENOUGH_PARTICLES
    assert validation_micrographs([validation]) == []


@pytest.mark.parametrize(
    ("source", "keep", "method", "labelling", "uses"),
    [
        ("validation", "best", "supervised", None, ["checkpoint", "score threshold"]),
        ("validation", "last", "supervised", None, ["warm-start checkpoint", "score threshold"]),
        (
            *("validation", "best", "fixmatch", "objects"),
            ["checkpoint", "score threshold", "pseudo-label threshold"],
        ),
        ("validation", "best", "fixmatch", "prevalence", ["checkpoint", "score threshold"]),
        ("prevalence", "best", "fixmatch", "objects", ["particle density"]),
        ("expected", "best", "fixmatch", "objects", []),
    ],
)
def test_uses_of_validation_labels_are_named(
    source: str, keep: str, method: str, labelling: str | None, uses: list[str]
) -> None:
    hyperparameters = {"method": method, "training": {"keep": keep}}
    rule = {"labelling": labelling, "threshold_labels": "validation"}
    hyperparameters |= {"fixmatch": rule} if labelling else {}
    validation = sheet("val", windows=WHOLE, points=row(30))
    assert validation_uses(source, [validation], hyperparameters) == uses
    assert validation_uses("prevalence", [sheet()], hyperparameters) == []
    rule |= {"threshold_labels": "training"}
    expected = [use for use in uses if use != "pseudo-label threshold"]
    assert validation_uses(source, [validation], hyperparameters) == expected


def test_the_labelled_density_gives_the_number_of_picks() -> None:
    labelled = sheet(windows=((0, 0, 50, 50),), points=row(6))
    other = sheet()
    # 6 in a quarter of a micrograph make 48 in two.
    found = [seen(labelled, 40), seen(other, 40, first=0.995)]
    scores = np.sort(np.concatenate([f.score for f in found]))[::-1]
    assert without_validation(found) == (approx(scores[47]), "prevalence")


def test_clicks_outside_labelled_areas_do_not_tell_the_density() -> None:
    labelled = replace(sheet(windows=((0, 0, 50, 100),), points=row(60)), clicked=True)
    # 50 of the 60 lie in half of a micrograph.
    scores = np.asarray(1 - 0.01 * np.arange(150), np.float64)
    found = [Seen(labelled, row(150), scores)]
    assert without_validation(found) == (approx(scores[99]), "prevalence")


def test_an_expected_number_overrules_the_density() -> None:
    labelled = sheet(windows=((0, 0, 50, 50),), points=row(6), expected=10)
    found = [seen(labelled, 40), seen(sheet(expected=10), 40, first=0.995)]
    scores = np.sort(np.concatenate([f.score for f in found]))[::-1]
    assert without_validation(found) == (approx(scores[19]), "expected")


def test_each_data_set_has_its_own_density_and_one_without_labels_does_not_count() -> None:
    crowded = sheet(dataset="a", windows=WHOLE, points=row(30))
    sparse = sheet(dataset="b", windows=WHOLE, points=row(4))
    unknown = sheet(dataset="c")
    found = [seen(crowded, 40), seen(sparse, 40, first=0.5), seen(unknown, 40, first=9.0)]
    assert without_validation(found) == (approx(1 - 0.01 * 33), "prevalence")


def test_clicked_particles_set_the_threshold_by_their_own_scores() -> None:
    clicked = sheet(points=row(11))
    found = [seen(clicked, 40), seen(sheet(), 40)]
    # Nine of ten are reached: the 10 % quantile of 1.00, 0.99, ..., 0.90.
    assert without_validation(found) == (approx(0.91), "labelled")
    told = sheet(points=row(11), expected=25)
    assert without_validation([seen(told, 40)]) == (approx(1 - 0.24), "expected")


def test_a_clicked_particle_that_is_not_found_counts_as_zero() -> None:
    far = sheet(points=row(2) + np.array([0.0, 50.0]))
    assert without_validation([seen(far, 5)]) == (0.0, "labelled")


@pytest.mark.parametrize("expected", [0.001, 1e9])
def test_the_number_of_picks_stays_within_what_there_is(expected: float) -> None:
    found = [seen(sheet(expected=expected), 12)]
    wanted = 1.0 if expected < 1 else 1 - 0.01 * 11
    assert without_validation(found) == (approx(wanted), "expected")
    assert without_validation([seen(sheet(expected=expected), 0)]) == (1.0, "expected")
