"""When a training validates, starts a round, and how fast it learns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

# Share of the steps in which the learning rate rises.
WARM_UP = 0.05


class Schedule:
    """Where a training stands, and what follows from that.

    Parameters
    ----------
    steps : int
        Optimiser steps of the training.
    checks : int
        How often it is validated at even distances, and again early on, see `check_steps`.
    rounds : int
        Into how many rounds the steps are divided.
    peak : float
        Highest learning rate.

    Attributes
    ----------
    step : int
        Steps that are done.
    """

    def __init__(self, steps: int, checks: int, *, rounds: int, peak: float) -> None:
        self.step = 0
        self.steps, self.rounds, self.peak = steps, rounds, peak
        self.checks = check_steps(steps, checks, rounds)
        self.even_checks = even_steps(steps, checks, rounds)

    @property
    def done(self) -> bool:
        """Whether no step is left."""
        return self.step >= self.steps

    @property
    def round(self) -> int:
        """Number of the round that the next step belongs to."""
        return round_of(self.step, self.steps, self.rounds)[0]

    @property
    def begins_round(self) -> bool:
        """Whether the next step is the first one of its round."""
        return self.step == round_of(self.step, self.steps, self.rounds)[1]

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step; each round rises and falls by itself."""
        _, first, length = round_of(self.step, self.steps, self.rounds)
        return learning_rate(self.step - first, length, self.peak)

    @property
    def checking(self) -> bool:
        """Whether the training is validated after the step just done."""
        return self.step in self.checks

    @property
    def judging(self) -> bool:
        """Whether the check just done is an even one, at which a drift is judged."""
        return self.step in self.even_checks

    def progress(self, ahead: int = 0) -> float:
        """Share of the present round that is done, or will be in `ahead` steps."""
        _, first, length = round_of(self.step, self.steps, self.rounds)
        return (self.step - first + ahead) / length

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold."""
        return {"step": self.step}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a checkpoint."""
        self.step = state["step"]


def round_of(step: int, steps: int, rounds: int) -> tuple[int, int, int]:
    """Find the round that a step falls into: its number, its first step and its length.

    The rounds are equally long; the last one takes what the division leaves over.
    """
    length = max(1, steps // rounds)
    number = min(step // length, rounds - 1)
    first = number * length
    return number, first, length if number < rounds - 1 else steps - first


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Rise linearly over the first `WARM_UP`, then fall along half a cosine to 0."""
    rise = max(1, round(WARM_UP * steps))
    return peak * min(1.0, (step + 1) / rise) * 0.5 * (1 + math.cos(math.pi * step / steps))


def check_steps(steps: int, n: int, rounds: int = 1) -> set[int]:
    """Choose the steps after which a training is validated, the same for every arm and phase.

    The union of `n` even steps and `n` steps in a geometric series from the 5th on: with a handful
    of labels, a network is at its best after a few dozen steps and overfits after that. An arm that
    is looked at where another is not would be stopped at its best by better luck.
    """
    first = min(5, steps)
    early = {round(first * (steps / first) ** (i / max(n - 1, 1))) for i in range(n)}
    return early | even_steps(steps, n, rounds)


def even_steps(steps: int, n: int, rounds: int = 1) -> set[int]:
    """Choose `n` evenly spaced steps, and the last one of each round."""
    ends = {sum(round_of(step, steps, rounds)[1:]) for step in range(steps)}
    return {round(steps * (i + 1) / n) for i in range(n)} - {0} | ends
