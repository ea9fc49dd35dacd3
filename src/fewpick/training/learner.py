"""The network being trained, its optimiser, and the random number generators of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewpick.network.model_file import load_start
from fewpick.network.unet import UNet
from fewpick.network.weights import SCRATCH

GRADIENT_NORM = 1.0
# Offset between the seeds of one training's networks; larger than any seed in a configuration, so
# they do not coincide with those of another training.
NETWORKS_APART = 1_000_003


class Learner:
    """A network and its optimiser."""

    def __init__(self, network: UNet, *, learning_rate: float, weight_decay: float) -> None:
        self.network = network
        self.optimiser = torch.optim.AdamW(
            network.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True
        )

    def learn(self, loss: Tensor, learning_rate: float) -> None:
        """Take one optimiser step, with clipped gradient norm."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM, foreach=True)
        self.optimiser.step()

    def state(self) -> dict[str, Any]:
        """Return the state to save in a checkpoint."""
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])


class Streams:
    """The random number generators of a training.

    Attributes
    ----------
    rng : numpy.random.Generator
        For crops, views and rounds.
    generator : torch.Generator
        For noise, on the training's device.
    """

    def __init__(self, seed: int, phase: int, device: torch.device) -> None:
        # Each phase has its own stream, so that none repeats the crops of another.
        sequence = np.random.SeedSequence([seed, phase])
        self.rng = np.random.default_rng(sequence)
        self.generator = torch.Generator(device)
        self.generator.manual_seed(int(sequence.generate_state(1)[0]))

    def state(self) -> dict[str, Any]:
        """Return the state to save in a checkpoint."""
        return {"rng": self.rng.bit_generator.state, "generator": self.generator.get_state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.rng.bit_generator.state = state["rng"]
        self.generator.set_state(state["generator"].cpu())


def new_network(hyperparameters: Mapping[str, Any], device: torch.device, number: int = 0) -> UNet:
    """Initialise the `number`-th network of a seed without touching the global generator.

    If `training.start` is not `scratch`, all networks start from the same weights.
    """
    start = hyperparameters.get("training", {}).get("start", SCRATCH)
    if start != SCRATCH:
        return placed(load_start(start, hyperparameters["model"]), device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(hyperparameters["seed"] + NETWORKS_APART * number)
        network = UNet(**hyperparameters["model"])
    return placed(network, device)


def placed(network: UNet, device: torch.device) -> UNet:
    """Prepare a network for training on a device; channels last is fastest for convolutions."""
    network.to(device).requires_grad_(True)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
