"""Exponential moving average of a network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fewpick.network.unet import UNet


class Ema:
    """Exponential moving average of a network, parameters and buffers, always in eval mode.

    The decay starts low, `min(decay, t / (t + 10))`, to forget the first steps quickly.
    """

    def __init__(self, network: UNet, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: UNet) -> None:
        """Update the average with the network's current weights."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 10))
        means: list[Tensor] = list(self.network.parameters())
        values: list[Tensor] = list(network.parameters())
        torch._foreach_lerp_(means, values, 1 - decay)
        for kept, current in zip(self.network.buffers(), network.buffers(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(current, 1 - decay)
            else:
                kept.copy_(current)

    def state(self) -> dict[str, Any]:
        """Return the state to save in a checkpoint."""
        return {"network": self.network.state_dict(), "updates": self.updates}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.network.load_state_dict(state["network"])
        self.updates = state["updates"]
