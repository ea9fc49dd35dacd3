"""The state of a training on disk."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from fewpick.atomic import atomic_path

logger = logging.getLogger(__name__)


class Part(Protocol):
    """A part of a training with a state of its own: plain numbers, lists and tensors."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """A file that holds the parts of a training.

    Attributes
    ----------
    path : Path
    key : str
        What the training is; the state of another one is ignored.
    """

    path: Path
    key: str

    def save(self, parts: Mapping[str, Part]) -> None:
        """Write the states of all parts."""
        states = {name: part.state() for name, part in parts.items()}
        with atomic_path(self.path) as temporary:
            torch.save({"key": self.key, "state": states}, temporary)

    def resume(self, parts: Mapping[str, Part], device: torch.device) -> bool:
        """Restore all parts, if the file is there, has the same key and can be read."""
        if not self.path.exists():
            return False
        try:
            content = torch.load(self.path, map_location=device, weights_only=True)
        except Exception as error:  # whatever a damaged file raises, starting over is right
            logger.warning("%s cannot be read (%s); training starts over", self.path, error)
            return False
        if content["key"] != self.key:
            return False
        for name, part in parts.items():
            part.restore(content["state"][name])
        return True

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)
