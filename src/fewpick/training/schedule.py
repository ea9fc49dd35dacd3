"""Schedule validation, rounds and the learning rate of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

# Fraction of the steps during which the learning rate rises.
WARM_UP = 0.05


class Schedule:
    """The progress of a training, and what it implies for the next step.

    Parameters
    ----------
    steps : int
        Number of optimiser steps.
    checks : int
        Number of evenly spaced validations; there are as many early ones, see `check_steps`.
    rounds : int
        Number of rounds that the steps are divided into.
    peak : float
        Highest learning rate.

    Attributes
    ----------
    step : int
        Steps done so far.
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
        """Number of the next step's round, starting at 0."""
        return round_of(self.step, self.steps, self.rounds)[0]

    @property
    def begins_round(self) -> bool:
        """Whether the next step is the first of its round."""
        return self.step == round_of(self.step, self.steps, self.rounds)[1]

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step; it rises and falls in each round."""
        _, first, length = round_of(self.step, self.steps, self.rounds)
        return learning_rate(self.step - first, length, self.peak)

    @property
    def checking(self) -> bool:
        """Whether to validate after the step just done."""
        return self.step in self.checks

    @property
    def judging(self) -> bool:
        """Whether the check just done is an evenly spaced one, which the guard uses."""
        return self.step in self.even_checks

    def progress(self, ahead: int = 0) -> float:
        """Return the fraction of the current round that is done, or will be in `ahead` steps."""
        _, first, length = round_of(self.step, self.steps, self.rounds)
        return (self.step - first + ahead) / length

    def state(self) -> dict[str, Any]:
        """Return the state to save in a checkpoint."""
        return {"step": self.step}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.step = state["step"]


def round_of(step: int, steps: int, rounds: int) -> tuple[int, int, int]:
    """Return the number, the first step and the length of the round that contains a step.

    All rounds have the same length, except that the last one also takes the remainder.
    """
    length = max(1, steps // rounds)
    number = min(step // length, rounds - 1)
    first = number * length
    return number, first, length if number < rounds - 1 else steps - first


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the learning rate: linear rise over the first `WARM_UP`, then half a cosine to 0."""
    rise = max(1, round(WARM_UP * steps))
    return peak * min(1.0, (step + 1) / rise) * 0.5 * (1 + math.cos(math.pi * step / steps))


def check_steps(steps: int, n: int, rounds: int = 1) -> set[int]:
    """Choose the steps after which a training is validated, the same for every arm and phase.

    This is the union of `n` evenly spaced steps and `n` steps in a geometric series from step 5:
    with a handful of labels, a network is best after a few dozen steps and overfits after that.
    Checks at different steps would favour the arm that happens to be checked at its best.
    """
    first = min(5, steps)
    early = {round(first * (steps / first) ** (i / max(n - 1, 1))) for i in range(n)}
    return early | even_steps(steps, n, rounds)


def even_steps(steps: int, n: int, rounds: int = 1) -> set[int]:
    """Choose `n` evenly spaced steps, and the last step of each round."""
    ends = {sum(round_of(step, steps, rounds)[1:]) for step in range(steps)}
    return {round(steps * (i + 1) / n) for i in range(n)} - {0} | ends
