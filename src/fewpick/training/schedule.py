"""When a training validates, starts a round, and how fast it learns."""

from __future__ import annotations

import math

# Share of the steps in which the learning rate rises.
WARM_UP = 0.05


def round_of(step: int, steps: int, rounds: int) -> tuple[int, int, int]:
    """Round that a step falls into: its number, its first step and its length.

    The rounds are equally long; the last one takes what the division leaves over.
    """
    length = max(1, steps // rounds)
    number = min(step // length, rounds - 1)
    first = number * length
    return number, first, length if number < rounds - 1 else steps - first


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear rise over the first `WARM_UP`, then half a cosine down to 0."""
    rise = max(1, round(WARM_UP * steps))
    return peak * min(1.0, (step + 1) / rise) * 0.5 * (1 + math.cos(math.pi * step / steps))


def check_steps(steps: int, n: int, *, early: bool, rounds: int = 1) -> set[int]:
    """After which steps a training is validated, the last one of each round included.

    Evenly spaced, or (`early`) from the 5th step on in a geometric series: with a handful of
    labels, a network is at its best after a few dozen steps and learns them by heart after that.
    """
    if not early:
        ends = {sum(round_of(step, steps, rounds)[1:]) for step in range(steps)}
        return {round(steps * (i + 1) / n) for i in range(n)} - {0} | ends
    first = min(5, steps)
    return {round(first * (steps / first) ** (i / max(n - 1, 1))) for i in range(n)} | {steps}
