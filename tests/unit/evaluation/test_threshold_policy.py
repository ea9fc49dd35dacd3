from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from fewpick.evaluation.threshold_policy import (
    ENOUGH_PARTICLES,
    BestThreshold,
    Case,
    best_threshold,
    dataset_threshold,
    datasets_with_enough,
)
from fewpick.evaluation.truth import read_candidates
from fewpick.picking.export import kept_candidates
from fewpick.stacks import write_table


def case(
    n_particles: int = ENOUGH_PARTICLES,
    false_score: float = 0.5,
    dataset: str = "d",
    offset: float = 0.0,
) -> Case:
    """Particles that are found with falling scores below 1, and as many false candidates."""
    truth = np.column_stack([3.0 * np.arange(n_particles), np.zeros(n_particles)])
    found = truth + np.array([offset, 0.0])
    false = truth + np.array([0.0, 100.0])
    score = np.r_[np.linspace(0.9, 0.6, n_particles), np.full(n_particles, false_score)]
    return Case(dataset, np.r_[found, false], score, truth)


def test_the_best_f1_is_chosen() -> None:
    assert best_threshold([case()]) == BestThreshold(0.6, 1.0, ENOUGH_PARTICLES)


def test_candidates_are_true_within_three_tenths_of_a_diameter() -> None:
    """At 0.31 diameters every candidate is false, so that no threshold is better than another."""
    near, far = best_threshold([case(offset=0.29)]), best_threshold([case(offset=0.31)])
    assert near is not None
    assert far is not None
    assert (near.f1, far.f1) == (1.0, 0.0)


def test_too_few_particles_choose_nothing() -> None:
    assert best_threshold([case(ENOUGH_PARTICLES - 1)]) is None
    assert best_threshold([]) is None


def test_particles_are_counted_for_each_data_set() -> None:
    """Enough in all is not enough: a data set with a few would be tuned by luck."""
    few = case(ENOUGH_PARTICLES - 1, false_score=0.95, dataset="few")
    assert best_threshold([few, Case("other", few.xy, few.score, few.truth)]) is None
    chosen = best_threshold([case(), few])
    assert chosen == best_threshold([case()])
    assert datasets_with_enough([("a", 12), ("b", 19), ("a", 8)]) == {"a"}


def test_picks_are_candidates_above_the_threshold_of_their_data_set(tmp_path: Path) -> None:
    """The very same scores are picks in one data set and none in the other."""
    table = pd.DataFrame(
        [(d, f"m{d}", "test", 1.0, 2.0, score) for d in "ab" for score in (0.6, 0.4, 0.2)],
        columns=["dataset", "micrograph", "split", "x", "y", "score"],
    )
    chosen = {"threshold": 0.5, "datasets": {"a": {"threshold": 0.6}, "b": {"threshold": 0.3}}}
    write_table(table, tmp_path / "candidates.tsv")
    least = {name: dataset_threshold(chosen, name) for name in "ab"}
    held = read_candidates(tmp_path / "candidates.tsv", least)
    assert held["a", "ma"].kept.tolist() == [True, False, False]
    assert held["b", "mb"].kept.tolist() == [True, True, False]
    kept = kept_candidates(table, chosen)
    assert kept["dataset"].tolist() == ["a", "b", "b"]
    assert kept_candidates(table, {"threshold": 0.5})["dataset"].tolist() == ["a", "b"]
    assert dataset_threshold({"threshold": None}, "a") == -np.inf
