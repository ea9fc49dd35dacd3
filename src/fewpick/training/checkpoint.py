"""Save the state of a training to disk, and resume from it."""

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
    """A part of a training with its own state, made of plain numbers, lists and tensors."""

    def state(self) -> dict[str, Any]:
        """Return the state to save in a checkpoint."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file of a training.

    Attributes
    ----------
    path : Path
    key : str
        Identifies the training; a file with another key is ignored.
    """

    path: Path
    key: str

    def save(self, parts: Mapping[str, Part]) -> None:
        """Save the states of all parts."""
        states = {name: part.state() for name, part in parts.items()}
        with atomic_path(self.path) as temporary:
            torch.save({"key": self.key, "state": states}, temporary)

    def resume(self, parts: Mapping[str, Part], device: torch.device) -> bool:
        """Restore all parts if the file exists, is readable and has the same key."""
        if not self.path.exists():
            return False
        try:
            content = torch.load(self.path, map_location=device, weights_only=True)
        except Exception as error:  # a damaged file may raise anything; always start over
            logger.warning("%s cannot be read (%s); starting training over", self.path, error)
            return False
        if content["key"] != self.key:
            return False
        for name, part in parts.items():
            part.restore(content["state"][name])
        return True

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)
