"""Choose the micrographs that fold networks process, and those on which rates are measured."""

from __future__ import annotations

import hashlib

import pandas as pd

# Number of micrographs that the networks of all folds process.
SAMPLE = 16
# With this many unlabelled micrographs, rates are measured on these only: networks have been
# trained on labelled ones.
ENOUGH_UNLABELLED = 3


def rate_sample(labels: pd.DataFrame) -> list[tuple[str, str]]:
    """Choose the micrographs on which rates are measured, for each data set.

    These are unlabelled ones if there are enough, else any; the same for every fold.

    Parameters
    ----------
    labels : from `labels.label_table`
    """
    chosen: list[tuple[str, str]] = []
    for dataset, rows in labels.groupby("dataset"):
        untouched = rows[(rows["split"] == "unannotated") & rows["held"].isna()]
        pool = untouched if len(untouched) >= ENOUGH_UNLABELLED else rows
        names = sorted(pool["micrograph"], key=lambda name: (_hash(name), name))
        chosen += [(str(dataset), name) for name in names[:SAMPLE]]
    return chosen


def looked_at(labels: pd.DataFrame) -> set[tuple[str, str]]:
    """Return the sample and the micrographs with labels left out; all if nothing is left out."""
    held = labels[labels["held"].notna()]
    if held.empty:
        held = labels
    return {*rate_sample(labels), *zip(held["dataset"], held["micrograph"], strict=True)}


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
