"""The weights that a training returns."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from fewpick.tuning.validation import Validation

# Where no validation labels tell when to stop, supervised training ends after so many steps for
# each labelled particle: a network overfits five particles after some fifty steps, and twenty-five
# not yet after two hundred (docs/experiments.md, entry 13).
STEPS_PER_PARTICLE = 10


class Best:
    """The best weights so far, by validation or by the number of steps.

    Parameters
    ----------
    network : Module
        Its weights are the best ones at the beginning.
    validation : Validation
        Its score.
    by_score : bool
        Whether weights are kept for a validation score that is no lower than the best so far.
        Otherwise the last ones offered until `last_step` are kept.
    last_step : float
        Counted from the beginning of the warm start.
    """

    def __init__(
        self,
        network: nn.Module,
        validation: Validation,
        *,
        by_score: bool,
        last_step: float = math.inf,
    ) -> None:
        self.by_score, self.last_step = by_score, last_step
        self.score = validation.score
        self.weights = copy.deepcopy(network.state_dict())

    def offer(self, network: nn.Module, validation: Validation, step: int) -> None:
        """Keep the weights of a network if they are the best so far."""
        if not validation.score < self.score if self.by_score else step <= self.last_step:
            self.score = validation.score
            self.weights = copy.deepcopy(network.state_dict())

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold."""
        return {"score": self.score, "weights": self.weights}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a checkpoint."""
        self.score, self.weights = state["score"], state["weights"]
