"""Detect drift towards collapse, and lower the weight of the pseudo-labels."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)

# Consecutive checks with too many or too few pseudo-particles before the guard acts.
GUARD_CHECKS = 2
# Fraction of a round that a new student gets before its score is judged.
GUARD_PATIENCE = 0.5


class Guards:
    """One guard per data set, since one may drift while the mean over all looks fine.

    Parameters
    ----------
    guards : mapping of data set to Guard
    """

    def __init__(self, guards: Mapping[str, Guard]) -> None:
        self.guards = guards

    @property
    def trust(self) -> float:
        """Factor for the weight of the unlabelled loss, a mean over the data sets."""
        return sum(guard.trust for guard in self.guards.values()) / len(self.guards)

    def drifting(
        self,
        step: int,
        progress: float,
        positive_rates: Mapping[str, float],
        f1s: Mapping[str, float],
    ) -> list[str]:
        """Return the names of the data sets that drift at this check; see `Guard.drifts`."""
        return [
            name
            for name, guard in self.guards.items()
            if guard.drifts(step, progress, positive_rates[name], f1s[name])
        ]

    def state(self) -> dict[str, Any]:
        """Return the state to save in a checkpoint."""
        return {name: guard.state() for name, guard in self.guards.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        for name, held in state.items():
            self.guards[name].restore(held)


class Guard:
    """Watch one data set for drift: compare pseudo-labels with labels, and F1 with the warm start.

    Training drifts if the particle fraction of the pseudo-labels is outside [0.5, 2] x that of the
    labels at `GUARD_CHECKS` consecutive checks, or if the validation F1 falls below 0.9 x that of
    the warm start. With few labels their particle fraction is uncertain: n particles give it to
    about 2 / sqrt(n), and the bounds widen by that much.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    on : bool
        Whether the guard acts at all.
    start_f1 : float
        Validation F1 of the warm start.
    prevalence : float
        Fraction of particle pixels in the labelled area.
    n_particles : int
        Number of labelled particles.
    new_students : bool
        Whether each round starts with a new network, which gets time to catch up.

    Attributes
    ----------
    trust : float
        Factor for the weight of the unlabelled loss, halved at each drift.
    """

    def __init__(
        self,
        dataset: str,
        *,
        on: bool,
        start_f1: float,
        prevalence: float,
        n_particles: int,
        new_students: bool,
    ) -> None:
        self.dataset = dataset
        self.on, self.start_f1, self.prevalence = on, start_f1, prevalence
        self.new_students = new_students
        self.tolerance = 1 + 2 / math.sqrt(max(n_particles, 1))
        self.trust = 1.0
        self.drifting = 0

    def drifts(self, step: int, progress: float, positive_rate: float, f1: float) -> bool:
        """Return whether training drifts at this check, and if so halve `trust`.

        Parameters
        ----------
        step : int
            Steps done, for the log.
        progress : float
            Completed fraction of the round.
        positive_rate : float
            Fraction of particle pixels among the pseudo-labels; may be NaN.
        f1 : float
            Validation F1; may be NaN.
        """
        if not self.on:
            return False
        ratio = positive_rate / self.prevalence
        outside = ratio < 0.5 / self.tolerance or ratio > 2 * self.tolerance
        self.drifting = self.drifting + 1 if outside else 0
        early = self.new_students and progress < GUARD_PATIENCE
        fallen = f1 < 0.9 * self.start_f1 and not early
        if self.drifting < GUARD_CHECKS and not fallen:
            return False
        self.trust /= 2
        self.drifting = 0
        logger.warning(
            "%s, step %d: drift towards collapse (particle fraction of pseudo-labels %.2f x that "
            "of labels, validation F1 %.3f, warm start %.3f); returning to the best weights, "
            "with fixmatch.weight x %g",
            self.dataset,
            step,
            ratio,
            f1,
            self.start_f1,
            self.trust,
        )
        return True

    def state(self) -> dict[str, Any]:
        """Return the state to save in a checkpoint."""
        return {"start_f1": self.start_f1, "trust": self.trust, "drifting": self.drifting}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.start_f1, self.trust = state["start_f1"], state["trust"]
        self.drifting = state["drifting"]
