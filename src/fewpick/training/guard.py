"""Notice a drift towards collapse, and trust the pseudo-labels less."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)

# Checks in a row with too many or too few pseudo-particles before the guard acts.
GUARD_CHECKS = 2
# Share of a round that a new student is given before its score is judged.
GUARD_PATIENCE = 0.5


class Guards:
    """A guard for each data set: one alone may drift while the mean over all looks fine.

    Parameters
    ----------
    guards : mapping of data set to Guard
    """

    def __init__(self, guards: Mapping[str, Guard]) -> None:
        self.guards = guards

    @property
    def trust(self) -> float:
        """Factor on the weight of the unlabelled loss: the mean over the data sets."""
        return sum(guard.trust for guard in self.guards.values()) / len(self.guards)

    def drifting(
        self,
        step: int,
        progress: float,
        positive_rates: Mapping[str, float],
        f1s: Mapping[str, float],
    ) -> list[str]:
        """Name the data sets that drift at this check, by what `Guard.drifts` takes of each."""
        return [
            name
            for name, guard in self.guards.items()
            if guard.drifts(step, progress, positive_rates[name], f1s[name])
        ]

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold."""
        return {name: guard.state() for name, guard in self.guards.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a checkpoint."""
        for name, held in state.items():
            self.guards[name].restore(held)


class Guard:
    """Compares pseudo-labels with labels, and scores with that of the warm start.

    Signs of a drift: the share of particles among the pseudo-labels leaves [0.5, 2] x that among
    the labels at `GUARD_CHECKS` checks in a row, or the validation F1 falls below 0.9 x that of
    the warm start. Few labels tell their share badly: n particles give it to about 2 / sqrt(n), by
    which the bounds widen.

    Parameters
    ----------
    on : bool
        Whether it acts at all.
    start_f1 : float
        Validation F1 of the warm start.
    dataset : str
        Name of the data set that is watched.
    prevalence : float
        Share of particle pixels in the labelled area.
    n_particles : int
        Labelled particles.
    new_students : bool
        Whether a new network begins each round; it is given time to catch up.

    Attributes
    ----------
    trust : float
        Factor on the weight of the unlabelled loss, halved at each drift.
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
        """Judge one check, and halve the trust if the training drifts.

        Parameters
        ----------
        step : int
            Steps done, for the message.
        progress : float
            Share of the round that is done.
        positive_rate : float
            Share of particle pixels among the pseudo-labels; may be NaN.
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
            "%s, step %d: drift towards collapse (pseudo-labels contain %.2f x the labelled "
            "share of particles, validation F1 %.3f, warm start %.3f); returning to the best "
            "state, with fixmatch.weight x %g",
            self.dataset,
            step,
            ratio,
            f1,
            self.start_f1,
            self.trust,
        )
        return True

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold."""
        return {"start_f1": self.start_f1, "trust": self.trust, "drifting": self.drifting}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a checkpoint."""
        self.start_f1, self.trust = state["start_f1"], state["trust"]
        self.drifting = state["drifting"]
