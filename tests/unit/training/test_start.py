"""Where a training begins: at random weights, at the general network, at a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fewpick.config.complete import complete
from fewpick.config.hyperparameters import resolve_arm
from fewpick.config.schema import load_schema
from fewpick.errors import InputError
from fewpick.network.model_file import load_model, save_model
from fewpick.network.unet import UNet
from fewpick.network.weights import GENERAL, general_path
from fewpick.training.learner import new_network

CPU = torch.device("cpu")
TINY = {"stem_stride": 4, "widths": [8, 8], "norm": "group", "dropout": 0.0}


def config(start: str) -> dict[str, Any]:
    raw = {
        "datasets": {"a": {"simulate": {"n_micrographs": 3}, "particle_radius": 5}},
        "arms": {"supervised": {"method": "supervised"}},
        "training": {"start": start},
    }
    return complete(raw, load_schema())


def hyperparameters(start: str | None, model: dict[str, Any]) -> dict[str, Any]:
    training = {} if start is None else {"start": start}
    return {"seed": 5, "model": model, "training": training}


def test_every_network_begins_with_the_file(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = UNet(**TINY)  # type: ignore[arg-type]
    path = tmp_path / "model.safetensors"
    save_model(path, network, {"model": TINY})
    for number in range(2):
        made = new_network(hyperparameters(str(path), TINY), CPU, number)
        for name, value in network.state_dict().items():
            torch.testing.assert_close(made.state_dict()[name], value)
        assert all(p.requires_grad for p in made.parameters())
    scratch = [new_network(hyperparameters(None, TINY), CPU, number) for number in range(2)]
    assert not torch.equal(scratch[0].head[0].weight, scratch[1].head[0].weight)  # type: ignore[arg-type]


def test_the_general_network_is_that_of_the_default_configuration() -> None:
    model = config("general")["model"]
    made = new_network(hyperparameters(GENERAL, model), CPU)
    shipped = load_model(general_path()).network
    for name, value in shipped.state_dict().items():
        torch.testing.assert_close(made.state_dict()[name], value)
    assert general_path().stat().st_size < 6_000_000


def test_a_start_of_another_network_is_refused() -> None:
    with pytest.raises(InputError, match=r"training\.start: general .*but model is"):
        new_network(hyperparameters(GENERAL, TINY), CPU)


def test_other_weights_are_another_training(tmp_path: Path) -> None:
    scratch = resolve_arm(config("scratch"), "supervised", 0.1, 0)["training"]
    assert not {"start", "start_digest"} & set(scratch)
    path = tmp_path / "m.safetensors"
    digests = []
    for content in (b"one", b"two", b"one"):
        path.write_bytes(content)
        resolved = resolve_arm(config(str(path)), "supervised", 0.1, 0)["training"]
        assert resolved["start"] == str(path)
        digests.append(resolved["start_digest"])
    assert digests[0] == digests[2] != digests[1]
    general = resolve_arm(config("general"), "supervised", 0.1, 0)["training"]
    assert general["start"] == "general"


def test_a_start_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"training\.start: nowhere\.safetensors cannot be read"):
        resolve_arm(config("nowhere.safetensors"), "supervised", 0.1, 0)
