"""The passes of a step, recorded on a GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fewpick.network.unet import UNet


class _Pass(nn.Module):
    """One of the forward passes of a step; the network itself is recorded more than once."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


class ForwardPasses:
    """A network as one function for each batch of a step, recorded when first asked for.

    Parameters
    ----------
    shapes : sequence of tuple
        Shapes of the batches, in the order in which a step sees them.
    device : torch.device
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], device: torch.device) -> None:
        self.shapes, self.device = shapes, device
        self._recorded: list[Callable[[Tensor], Tensor]] = []

    def of(self, network: UNet) -> list[Callable[[Tensor], Tensor]]:
        """Return the functions for the network's present weights and whatever they become."""
        if not self._recorded:
            self._recorded = forward_passes(network, self.shapes, self.device)
        return self._recorded

    def forget(self) -> None:
        """Drop the recordings, since another network or optimiser takes over."""
        self._recorded = []

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold: nothing, a recording is made again."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Drop the recordings."""
        self.forget()


def forward_passes(
    network: UNet, shapes: Sequence[tuple[int, ...]], device: torch.device
) -> list[Callable[[Tensor], Tensor]]:
    """Return the network as functions of batches of these shapes, called in this order.

    A GPU is done with a small network sooner than Python has asked for its four hundred kernels.
    So they are recorded, forward and backward, and from then on asked for all at once (CUDA graphs;
    Gray, "Getting Started with CUDA Graphs", NVIDIA 2019). On a CPU, the network itself.
    """
    if device.type == "cpu":
        return [network] * len(shapes)
    kept = copy.deepcopy(network.state_dict())  # of batch norm: recording runs the network
    passes = tuple(_Pass(network).train() for _ in shapes)
    batches = tuple((torch.zeros(shape, device=device),) for shape in shapes)
    # Gradients are summed on another stream than the one that records; this costs nothing here.
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    # Weights are converted to bfloat16 within the record: a cached conversion would grow old.
    with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
        torch.cuda.make_graphed_callables(passes, batches)
    network.load_state_dict(kept)
    return list(passes)
