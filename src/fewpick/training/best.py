"""Keep the weights that a training returns."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from fewpick.tuning.validation import Validation

# Without validation labels for early stopping, supervised training keeps the weights after this
# many steps per labelled particle: a network overfits five particles after about fifty steps, but
# not twenty-five after two hundred (docs/experiments.md, entry 13).
STEPS_PER_PARTICLE = 10


class Best:
    """The best weights so far, by validation score or by the number of steps.

    Parameters
    ----------
    network : Module
        Its weights are the initial best ones.
    validation : Validation
        Its validation result.
    by_score : bool
        Whether to keep weights whose validation score is no lower than the best so far. If not,
        keep the last weights offered up to `last_step`.
    last_step : float
        Counted from the start of the warm start.
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
        """Keep the network's weights if they are the best so far."""
        if not validation.score < self.score if self.by_score else step <= self.last_step:
            self.score = validation.score
            self.weights = copy.deepcopy(network.state_dict())

    def state(self) -> dict[str, Any]:
        """Return the state to save in a checkpoint."""
        return {"score": self.score, "weights": self.weights}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.score, self.weights = state["score"], state["weights"]
