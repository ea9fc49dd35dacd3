"""Locate initial weights, without importing PyTorch, which takes seconds."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

# Names for the network that comes with the package (trained on many proteins) and random weights.
GENERAL, SCRATCH = "general", "scratch"


def general_path() -> Path:
    """Return the path of the general network; see docs/general_model.md."""
    return Path(str(resources.files("fewpick") / "general" / "network.safetensors"))


def start_path(start: str) -> Path:
    """Return the file of the weights that a training starts from: `general`, or a path."""
    return general_path() if start == GENERAL else Path(start)
