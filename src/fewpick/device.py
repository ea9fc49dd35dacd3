"""Where the network runs."""

from __future__ import annotations

import torch

from fewpick.errors import InputError


def select_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu` or `cuda`; `auto` takes CUDA where there is one.

    Raises
    ------
    InputError
        When `cuda` is demanded and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "resources.device is 'cuda', but PyTorch finds no CUDA GPU on this machine. "
            "Set it to auto or cpu, or run on a machine with a GPU."
        )
    return torch.device(name)
