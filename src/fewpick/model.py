"""Model files: weights and all that is needed to use them, without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from fewpick.atomic import atomic_path
from fewpick.errors import InputError
from fewpick.unet import UNet


@dataclass(frozen=True)
class Model:
    """A trained network and its hyperparameters."""

    network: UNet
    hyperparameters: dict[str, Any]


def save(path: str | Path, network: UNet, hyperparameters: Mapping[str, Any]) -> None:
    """Write weights (float32) and hyperparameters as one safetensors file."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    # One metadata entry, since the format does not fix the order of several.
    metadata = {"fewpick": json.dumps(hyperparameters, sort_keys=True)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load(path: str | Path, device: torch.device | str = "cpu") -> Model:
    """Read a model file.

    Raises
    ------
    InputError
        If the file is no model of this package.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            hyperparameters = json.loads((file.metadata() or {})["fewpick"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        network = UNet(**hyperparameters["model"])
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{path}: not a fewpick model ({type(error).__name__}: {error}). "
            "Delete it and run again."
        ) from error
    return Model(network.to(device), hyperparameters)
