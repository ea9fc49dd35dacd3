"""Record the forward and backward passes of a training step as CUDA graphs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fewpick.network.unet import UNet


class _Pass(nn.Module):
    """One forward pass of a step, a separate module because the network is recorded repeatedly."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


class ForwardPasses:
    """A network as one function per batch of a training step, recorded on first use.

    Parameters
    ----------
    shapes : sequence of tuple
        Shapes of a step's batches, in the order in which they are processed.
    device : torch.device
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], device: torch.device) -> None:
        self.shapes, self.device = shapes, device
        self._recorded: list[Callable[[Tensor], Tensor]] = []

    def of(self, network: UNet) -> list[Callable[[Tensor], Tensor]]:
        """Return the functions; they follow the network's weights as training changes them."""
        if not self._recorded:
            self._recorded = forward_passes(network, self.shapes, self.device)
        return self._recorded

    def forget(self) -> None:
        """Discard the recordings, because the network or optimiser is replaced."""
        self._recorded = []

    def state(self) -> dict[str, Any]:
        """Return the state to save in a checkpoint: none, recordings are remade."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Discard the recordings."""
        self.forget()


def forward_passes(
    network: UNet, shapes: Sequence[tuple[int, ...]], device: torch.device
) -> list[Callable[[Tensor], Tensor]]:
    """Return the network as functions of batches of these shapes, to be called in this order.

    A GPU runs a small network faster than Python can launch its four hundred kernels, so forward
    and backward passes are recorded once and then launched as a whole (CUDA graphs; Gray, "Getting
    Started with CUDA Graphs", NVIDIA 2019). On a CPU, the functions are the network itself.
    """
    if device.type == "cpu":
        return [network] * len(shapes)
    kept = copy.deepcopy(network.state_dict())  # recording runs the network, changing batch norm
    passes = tuple(_Pass(network).train() for _ in shapes)
    batches = tuple((torch.zeros(shape, device=device),) for shape in shapes)
    # Gradients accumulate on another stream than the recording one; this is harmless here.
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    # No cache, so that the recording converts weights to bfloat16: a cached copy would go stale.
    with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
        torch.cuda.make_graphed_callables(passes, batches)
    network.load_state_dict(kept)
    return list(passes)
