"""Record the history of a training, one row per check."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from fewpick.training.history import in_dataset
from fewpick.tuning.validation import Validation

# Columns that are always present, even if there were no steps to do.
COLUMNS = (
    *("step", "phase", "loss", "loss_labelled", "loss_unlabelled", "lr", "val_pick_f1"),
    *("val_average_precision", "val_threshold", "val_pixel_recall", "labelled_prevalence"),
    "seconds",
)


class Recorder:
    """Average over the steps since the last check, and collect one row per check.

    Attributes
    ----------
    seconds : float
        Time spent on steps and validation.
    last_loss : float
        Loss of the last step.
    """

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self.seconds = 0.0
        self.last_loss = math.nan
        self.rows: list[dict[str, Any]] = []
        self._recent: list[dict[str, float]] = []

    def add(self, numbers: dict[str, float]) -> None:
        """Record the values of one step."""
        self.last_loss = numbers["loss"]
        self._recent.append(numbers)

    def write(
        self, step: int, rate: float, validation: Validation, prevalence: float
    ) -> dict[str, Any]:
        """Append a row for the steps since the last one, and return it."""
        means = pd.DataFrame(self._recent).mean()
        self._recent = []
        row: dict[str, Any] = {
            "step": step,
            "phase": self.phase,
            "lr": rate,
            "seconds": self.seconds,
            "val_pick_f1": validation.f1,
            "val_threshold": validation.threshold,
            "val_average_precision": validation.average_precision,
            "val_pixel_recall": validation.pixel_recall,
            "labelled_prevalence": prevalence,
        }
        for name, held in validation.datasets.items():
            row[in_dataset("val_pick_f1", name)] = held.f1
            row[in_dataset("val_threshold", name)] = held.threshold
        # Checkpoints can only hold plain floats.
        row |= {str(name): float(value) for name, value in means.items()}
        self.rows.append(row)
        return row

    def table(self) -> pd.DataFrame:
        """Return the history."""
        columns = dict.fromkeys([*COLUMNS, *(key for row in self.rows for key in row)])
        return pd.DataFrame(self.rows, columns=list(columns))

    def state(self) -> dict[str, Any]:
        """Return the state to save in a checkpoint."""
        return {
            "seconds": self.seconds,
            "last_loss": self.last_loss,
            "rows": self.rows,
            "recent": self._recent,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.seconds, self.last_loss = state["seconds"], state["last_loss"]
        self.rows, self._recent = state["rows"], state["recent"]
