"""Where weights lie that exist before a training; read without the seconds that PyTorch takes."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

# How a user names the network that comes with the package, which has seen many proteins, and
# weights that are drawn at random.
GENERAL, SCRATCH = "general", "scratch"


def general_path() -> Path:
    """Where the general network lies; see docs/general_model.md."""
    return Path(str(resources.files("fewpick") / "general" / "network.safetensors"))


def start_path(start: str) -> Path:
    """Return the file of the weights that a training begins with: `general`, or a path."""
    return general_path() if start == GENERAL else Path(start)
