"""Read training histories, and define what is plotted of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fewpick.stacks import read_table

# Training plots: title -> columns drawn in it.
DIAGNOSTICS = {
    "loss": ("loss_labelled", "loss_unlabelled"),
    "picks on validation": ("val_pick_f1", "val_average_precision"),
    "fraction of particle pixels found at 0.5": ("val_pixel_recall",),
    "threshold between particle and background": ("threshold", "val_threshold"),
    "fraction of pixels used": ("keep_particle", "keep_background"),
    "fraction of pixels labelled particle": ("pseudo_positive_rate", "labelled_prevalence"),
    "student agrees with pseudo-label": ("agreement",),
    "pseudo-labels against the hidden ground truth": ("pseudo_precision", "pseudo_recall"),
    "weight of the unlabelled loss": ("lambda",),
    "learning rate": ("lr",),
}
# Plots with a fixed axis from 0 to 1, on which a collapse is obvious.
FRACTIONS = (
    "picks on validation",
    "fraction of particle pixels found at 0.5",
    "fraction of pixels used",
    "student agrees with pseudo-label",
    "pseudo-labels against the hidden ground truth",
)


def in_dataset(column: str, dataset: str) -> str:
    """Return the name of a history column for one of several data sets."""
    return f"{column}.{dataset}"


def join_phases(paths: Sequence[Path]) -> pd.DataFrame:
    """Join the histories of consecutive phases (warm start, then the arm), continuing the steps."""
    parts, done = [], 0
    for path in paths:
        history = read_table(path)
        if len(history):
            parts.append(history.assign(step=history["step"] + done))
            done = int(parts[-1]["step"].iloc[-1])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"step": []})


def phase_changes(history: pd.DataFrame) -> list[float]:
    """Return the last step of each phase except the last."""
    if "phase" not in history:
        return []
    ends = history["phase"].ne(history["phase"].shift(-1)).to_numpy()[:-1]
    return [float(step) for step in history["step"].to_numpy()[:-1][ends]]
