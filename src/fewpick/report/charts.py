"""Prepare the page's plots as JSON for the browser."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fewpick.comparison import intervals
from fewpick.comparison.result_table import PICKS, read_counts
from fewpick.evaluation.scores import FLIPPED_ARM, at_radius
from fewpick.figures.palette import arm_styles
from fewpick.stacks import read_table
from fewpick.training.history import DIAGNOSTICS, FRACTIONS, phase_changes

DIGITS = 4  # decimals of plotted values
POINTS = 150  # at most, per precision-recall curve


def arms(table: pd.DataFrame) -> dict[str, str]:
    """Return the colour of each trained arm."""
    return {arm: style.colour for arm, style in arm_styles(table).items()}


def scores(table: pd.DataFrame, micrographs: Iterable[Path], radius: float) -> list[dict[str, Any]]:
    """Return scores and errors against the number of labels, a chart per data set and metric.

    A chart has dataset, metric, title, points and levels. A point is an arm at a labelled ratio: x
    is the number of labelled particles, y the mean over seeds, `seeds` each seed's value, and low
    to high the 95 % interval over seeds and test micrographs (F1) or the mean plus and minus the
    standard deviation over seeds (other metrics). A level is a picker that used none of these
    labels.
    """
    headline = at_radius("pick_f1", radius)
    metrics = {
        headline: f"F1 of the picks, within {radius:g} diameters",
        "average_precision": "average precision",
        "localisation_error_diameters": "distance from the centre, diameters (median)",
        "count_error": "count error, fraction of the particles",
    }
    counts = read_counts(micrographs, radius)
    styles = arm_styles(table)
    charts: list[dict[str, Any]] = []
    for dataset, metric in product(dict.fromkeys(table["dataset"]), metrics):
        points: list[dict[str, Any]] = []
        levels: list[dict[str, Any]] = []
        rows = table[(table["dataset"] == dataset) & (table["arm"] != FLIPPED_ARM)]
        for (arm, ratio), run in rows.groupby(["arm", "labeled_ratio"], sort=False, dropna=False):
            by_seed: dict[str, Any] = dict(zip(run["seed"].astype(str), run[metric], strict=True))
            mean, deviation = by_seed.pop("mean"), by_seed.pop("sd")
            if pd.isna(mean):
                continue
            low, high = mean - deviation, mean + deviation
            if metric == headline:
                low, high = _interval(counts, dataset, arm, ratio)
            point = {
                "arm": arm,
                "x": _number(run.loc[run["seed"] == "mean", "n_labeled_particles"].iloc[0]),
                "y": _number(mean),
                "low": _number(low),
                "high": _number(high),
                "ratio": _number(ratio),
                "seeds": [_number(value) for value in by_seed.values()],
            }
            if arm in styles:
                points.append(point)
            elif metric == headline:
                levels.append(point)
        charts.append(
            {
                "dataset": dataset,
                "metric": metric,
                "title": metrics[metric],
                "points": points,
                "levels": levels,
            }
        )
    return charts


def curves(table: pd.DataFrame, paths: Iterable[Path], radius: float) -> list[dict[str, Any]]:
    """Return precision (y) against recall (x) within `radius`, a curve per run.

    A curve has dataset, arm, ratio, seed, x, y and chosen: the recall and precision at the run's
    own threshold, None for controls.
    """
    keys = ["dataset", "arm", "labeled_ratio", "seed"]
    points = {
        (row["dataset"], row["arm"], _number(row["labeled_ratio"]), str(row["seed"])): row
        for row in table.to_dict("records")
    }
    found = []
    for path in paths:
        read = read_table(path)
        read = read[(read["radius"] == radius) & (read["arm"] != FLIPPED_ARM)]
        for (dataset, arm, ratio, seed), curve in read.groupby(keys, sort=False, dropna=False):
            row = points.get((dataset, arm, _number(ratio), str(seed)), {})
            kept = np.unique(np.linspace(0, len(curve) - 1, POINTS).round().astype(int))
            recall, precision = (
                curve[column].iloc[kept].map(_number).tolist() for column in ("recall", "precision")
            )
            found.append(
                {
                    "dataset": dataset,
                    "arm": arm,
                    "ratio": _number(ratio),
                    "seed": str(seed),
                    "x": recall,
                    "y": precision,
                    "chosen": [
                        _number(row.get(at_radius(f"pick_{name}", radius)))
                        for name in ("recall", "precision")
                    ],
                }
            )
    return found


def training(arm: str, history: pd.DataFrame) -> dict[str, Any]:
    """Return the columns of a joined history that show how a training went."""
    watched = [c for columns in DIAGNOSTICS.values() for c in columns if c in history]
    columns = [c for c in watched if history[c].notna().any()]
    return {
        "arm": arm,
        "step": [int(step) for step in history["step"]],
        "phases": phase_changes(history),
        "values": {
            c: [_number(v) for v in history[c]] for c in columns if history[c].notna().any()
        },
    }


def panels() -> list[dict[str, Any]]:
    """Return the title and columns of each training plot, and whether it ranges from 0 to 1."""
    return [
        {"title": title, "columns": list(columns), "fraction": title in FRACTIONS}
        for title, columns in DIAGNOSTICS.items()
    ]


def _interval(counts: pd.DataFrame, dataset: Any, arm: Any, ratio: Any) -> tuple[float, float]:
    """Return the 95 % interval of an F1, clipped to [0, 1]."""
    here = counts[counts["arm"] == arm]
    here = here[here["labeled_ratio"].isna() if pd.isna(ratio) else here["labeled_ratio"] == ratio]
    if dataset != "all":
        here = here[here["dataset"] == dataset]
    found = intervals.estimate(here[[*intervals.KEYS, *PICKS]], intervals.f1)
    return max(found.low, 0.0), min(found.high, 1.0)


def _number(value: Any) -> float | None:
    """Round a value; a missing one becomes None, as JSON has no NaN."""
    return None if value is None or pd.isna(value) else round(float(value), DIGITS)
