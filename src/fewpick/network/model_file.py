"""Read and write model files: weights and everything needed to use them, without pickle."""

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
from fewpick.network.unet import UNet
from fewpick.network.weights import start_path


@dataclass(frozen=True)
class Model:
    """A trained network, its hyperparameters, and how to use it (empty until it has picked)."""

    network: UNet
    hyperparameters: dict[str, Any]
    use: dict[str, Any]


def save_model(
    path: str | Path,
    network: UNet,
    hyperparameters: Mapping[str, Any],
    use: Mapping[str, Any] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a network, its hyperparameters and its use to one safetensors file.

    Parameters
    ----------
    path : file to write
    network : the trained network
    hyperparameters : what it was trained with
    use : how to pick with it, see `picker.describe_use`
    dtype : number format of the weights in the file; half precision halves the file size and does
        not change any picks
    """
    tensors = {
        name: value.detach().cpu().to(dtype).contiguous()
        for name, value in network.state_dict().items()
    }
    # One metadata entry, since the format does not fix the order of several.
    content = dict(hyperparameters) | ({"use": dict(use)} if use else {})
    metadata = {"fewpick": json.dumps(content, sort_keys=True)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load_model(path: str | Path, device: torch.device | str = "cpu") -> Model:
    """Read a model file; the network is in float32, whatever the file's precision.

    Raises
    ------
    InputError
        If the file is not a model of this package.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            hyperparameters = json.loads((file.metadata() or {})["fewpick"])
            use = hyperparameters.pop("use", {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        network = UNet(**hyperparameters["model"])
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{path}: not a fewpick model ({type(error).__name__}: {error}). Pass a .safetensors "
            "file from results/models, or retrain the model."
        ) from error
    # Convolutions are a third faster with channels last.
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(network, hyperparameters, use)


def load_start(start: str, model: Mapping[str, Any]) -> UNet:
    """Load the network that a training starts from.

    Parameters
    ----------
    start : `general`, or the path of a model file
    model : configuration of the network to train

    Raises
    ------
    InputError
        If the file is not a model, or its network has a different architecture.
    """
    held = load_model(start_path(start))
    network = UNet(**model)
    try:
        network.load_state_dict(held.network.state_dict())
    except RuntimeError:
        raise InputError(
            f"training.start: {start} has the network {dict(held.hyperparameters['model'])}, but "
            f"model is {dict(model)}. Set model to the former, or set training.start to scratch."
        ) from None
    return network
