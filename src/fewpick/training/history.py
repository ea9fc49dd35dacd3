"""What a training wrote down about itself, joined over its phases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fewpick.stacks import read_table

# What a training is watched by: a title, and the columns drawn under it.
DIAGNOSTICS = {
    "loss": ("loss_labelled", "loss_unlabelled"),
    "picks on validation": ("val_pick_f1", "val_average_precision"),
    "share of particle pixels found at 0.5": ("val_pixel_recall",),
    "threshold between particle and background": ("threshold", "val_threshold"),
    "share of pixels used": ("keep_particle", "keep_background"),
    "share of pixels labelled particle": ("pseudo_positive_rate", "labelled_prevalence"),
    "student agrees with pseudo-label": ("agreement",),
    "pseudo-labels against the hidden truth": ("pseudo_precision", "pseudo_recall"),
    "weight of the unlabelled loss": ("lambda",),
    "learning rate": ("lr",),
}
# Of these, the ones that lie between 0 and 1: a fixed axis shows a collapse for what it is.
FRACTIONS = (
    "picks on validation",
    "share of particle pixels found at 0.5",
    "share of pixels used",
    "student agrees with pseudo-label",
    "pseudo-labels against the hidden truth",
)


def in_dataset(column: str, dataset: str) -> str:
    """Name the column of a history that is about one of several data sets."""
    return f"{column}.{dataset}"


def join_phases(paths: Sequence[Path]) -> pd.DataFrame:
    """Histories of consecutive phases (warm start, then the arm) as one, steps counted on."""
    parts, done = [], 0
    for path in paths:
        history = read_table(path)
        if len(history):
            parts.append(history.assign(step=history["step"] + done))
            done = int(parts[-1]["step"].iloc[-1])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"step": []})


def phase_changes(history: pd.DataFrame) -> list[float]:
    """Last steps of all phases but the last."""
    if "phase" not in history:
        return []
    ends = history["phase"].ne(history["phase"].shift(-1)).to_numpy()[:-1]
    return [float(step) for step in history["step"].to_numpy()[:-1][ends]]
