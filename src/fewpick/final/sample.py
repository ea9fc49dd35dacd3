"""Which micrographs a network looks at, and on which of them rates are measured."""

from __future__ import annotations

import hashlib

import pandas as pd

# Micrographs on which the networks of all folds look.
SAMPLE = 16
# Unlabelled micrographs that are enough to measure rates on; a network knows labelled ones.
ENOUGH_UNLABELLED = 3


def rate_sample(labels: pd.DataFrame) -> list[tuple[str, str]]:
    """Choose the micrographs on which rates are measured, for each data set.

    Those that no label touches, if there are enough; else all. The same for every fold.

    Parameters
    ----------
    labels : as `labels.label_table` gives it
    """
    chosen: list[tuple[str, str]] = []
    for dataset, rows in labels.groupby("dataset"):
        untouched = rows[(rows["split"] == "unannotated") & rows["held"].isna()]
        pool = untouched if len(untouched) >= ENOUGH_UNLABELLED else rows
        names = sorted(pool["micrograph"], key=lambda name: (_hash(name), name))
        chosen += [(str(dataset), name) for name in names[:SAMPLE]]
    return chosen


def looked_at(labels: pd.DataFrame) -> set[tuple[str, str]]:
    """Return the sample and the micrographs with labels left out; all when nothing is left out."""
    held = labels[labels["held"].notna()]
    if held.empty:
        held = labels
    return {*rate_sample(labels), *zip(held["dataset"], held["micrograph"], strict=True)}


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
