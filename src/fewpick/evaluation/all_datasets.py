"""Compute the row `all`: the mean over data sets, weighted equally whatever their size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

ALL = "all"


def append_all(rows: pd.DataFrame) -> pd.DataFrame:
    """Append the row `all`, if there are several data sets.

    Parameters
    ----------
    rows : DataFrame
        One row per data set, with a column `dataset`. Counts, whose names begin with `n_`, are
        summed; everything else is averaged over the data sets where it is not NaN.
    """
    if len(rows) < 2:
        return rows
    counts = [c for c in rows.columns if str(c).startswith("n_")]
    numbers = rows.drop(columns=["dataset", *counts])
    total = {"dataset": ALL, **rows[counts].sum(), **numbers.mean()}
    joined = pd.concat([rows, pd.DataFrame([total])], ignore_index=True)
    return joined.astype({c: rows[c].dtype for c in counts})


def mean_curve(curves: Sequence[pd.DataFrame], points: int) -> pd.DataFrame:
    """Average precision-recall curves at equal thresholds.

    Parameters
    ----------
    curves : sequence of DataFrame
        One per data set: threshold (decreasing), precision and recall of the picks that score at
        least the threshold.
    points : int
        Maximum number of thresholds to keep.

    Returns
    -------
    DataFrame
        threshold (decreasing), precision, recall. It starts where every data set has a pick, and is
        empty if one has no picks.
    """
    if not all(len(curve) for curve in curves):
        return pd.DataFrame({"threshold": [], "precision": [], "recall": []})
    begin = min(curve["threshold"].iloc[0] for curve in curves)
    thresholds = np.unique(np.concatenate([curve["threshold"] for curve in curves]))[::-1]
    thresholds = thresholds[thresholds <= begin]
    kept = np.unique(np.linspace(0, len(thresholds) - 1, min(len(thresholds), points)).round())
    thresholds = thresholds[kept.astype(int)]
    means = {}
    for measure in ("precision", "recall"):
        # The last point with a threshold not below the requested one.
        means[measure] = np.mean(
            [
                curve[measure].to_numpy()[
                    np.searchsorted(-curve["threshold"].to_numpy(), -thresholds, side="right") - 1
                ]
                for curve in curves
            ],
            axis=0,
        )
    return pd.DataFrame({"threshold": thresholds, **means})
