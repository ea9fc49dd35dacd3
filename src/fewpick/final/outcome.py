"""Conclude the target `picks`: a threshold per data set, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fewpick.final.quality import (
    Fold,
    RatedCandidates,
    choose_rate,
    judge,
    read_held,
    verdict,
)
from fewpick.final.sample import rate_sample

# Labels and candidates of one network.
Part = tuple[pd.DataFrame, pd.DataFrame]


def conclude(
    everything: Part, folds: Sequence[Part], expected: Mapping[str, float | None]
) -> dict[str, dict[str, Any]]:
    """Choose thresholds and judge the picks, separately for each data set.

    Parameters
    ----------
    everything : labels and candidates of the network trained on all labels
    folds : labels and candidates of the networks that left some labels out
    expected : data set -> approximate number of particles per micrograph, if known

    Returns
    -------
    data set -> JSON-ready dictionary: threshold; source (basis of the threshold: areas, expected,
        counted or marks; none for a data set without labels, which gets the median threshold of
        the others); picks; micrographs; labels (micrographs and particles); quality
        (`quality.judge`); verdict (sentences)
    """
    labels, candidates = everything
    outcome: dict[str, dict[str, Any]] = {}
    for dataset, mine in labels.groupby("dataset"):
        name = str(dataset)
        seen = _seen(mine, candidates)
        left_out = [
            Fold(_seen(part, found), read_held(part))
            for part, found in ((_of(part, name), found) for part, found in folds)
        ]
        # Without an expected number from the user, the table holds a counted one.
        counted = mine["expected"].iloc[0]
        rate, source = choose_rate(
            left_out, expected[name], None if math.isnan(counted) else float(counted)
        )
        quality = judge(left_out, 0.0 if rate is None else rate)
        outcome[name] = {
            "threshold": None if rate is None else seen.score_at(rate),
            "source": source,
            "micrographs": len(mine),
            "labels": {
                "micrographs": int((mine["split"] == "train").sum()),
                "particles": int(mine["n_labeled_particles"].sum()),
            },
            "quality": quality,
            "verdict": verdict(quality),
        }
    known = [held["threshold"] for held in outcome.values() if held["threshold"] is not None]
    for name, held in outcome.items():
        if held["threshold"] is None:
            held["threshold"] = float(np.median(known)) if known else 1.0
        scores = _of(candidates, name)["score"]
        held["picks"] = int((scores >= held["threshold"]).sum())
    return outcome


def _seen(labels: pd.DataFrame, candidates: pd.DataFrame) -> RatedCandidates:
    """Select the candidates of the labels' data set."""
    (dataset,) = labels["dataset"].unique()
    names = [micrograph for _, micrograph in rate_sample(labels)]
    return RatedCandidates.of(_of(candidates, dataset), names)


def _of(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    return pd.DataFrame(table[table["dataset"] == dataset])


def threshold_of(outcome: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return thresholds for a picker: that of the data set with the most picks, and each one's."""
    main = max(outcome, key=lambda name: (outcome[name]["picks"], name))
    each = {
        name: {"threshold": held["threshold"], "source": held["source"]}
        for name, held in outcome.items()
    }
    return {**each[main], "datasets": each}
