"""Propose particles for a person to accept or reject.

Proposals come from a trained model, from a file of picks or, without either, from a band-pass
filter for blobs of the particle's size.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from skimage.filters import threshold_otsu

from fewpick.annotation.frame import read_in_frame
from fewpick.coordinates import Picks
from fewpick.data.preprocess import preprocess_micrograph
from fewpick.evaluation.baselines import difference_of_gaussians
from fewpick.evaluation.truth import Truth
from fewpick.micrographs import read_micrograph

if TYPE_CHECKING:
    from fewpick.picking.picker import Picker  # imports PyTorch, which takes seconds

# Target size and width of the blob filter, in particle radii, as in `evaluation.baselines`.
BLOB_SIZE, BLOB_WIDTH, DARK = 768, 0.5, -1.0


class Proposer(Protocol):
    """Something that proposes particles.

    Attributes
    ----------
    name : name shown on the page
    threshold : initial minimum score; None if it depends on the candidates (see `shown_from`)
    """

    @property
    def name(self) -> str:
        """Return the name shown on the page."""

    @property
    def threshold(self) -> float | None:
        """Return the initial minimum score, or None."""

    def propose(self, path: Path) -> Picks:
        """Return scored candidates of a micrograph, best first, in px of the original."""


class ModelProposer:
    """Propose the candidates of a trained model."""

    def __init__(self, picker: Picker, name: str) -> None:
        self.picker, self.name = picker, name
        self.threshold: float | None = picker.threshold

    def propose(self, path: Path) -> Picks:
        """Return scored candidates of a micrograph."""
        return self.picker.find(self.picker.see(path))


class Unsized:
    """Propose nothing, as long as the model lacks a particle diameter."""

    threshold: float | None = 0.0

    def __init__(self, name: str) -> None:
        self.name = name

    def propose(self, path: Path) -> Picks:
        """Return scored candidates of a micrograph."""
        return Picks(np.empty((0, 2)), np.empty(0))


class FileProposer:
    """Propose the picks in a file; picks without a score get score 1."""

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, int]], y_axis: str) -> None:
        self.name = path.name
        self._picks = read_in_frame(path, shapes, y_axis=y_axis)
        scores = [p.score for p in self._picks.values() if p.score is not None and len(p)]
        self.threshold: float | None = float(min(map(np.min, scores))) if scores else 1.0

    def propose(self, path: Path) -> Picks:
        """Return scored candidates of a micrograph."""
        picks = self._picks.get(path.name)
        if picks is None:
            return Picks(np.empty((0, 2)), np.empty(0))
        score = np.ones(len(picks)) if picks.score is None else picks.score
        best = np.argsort(-score, kind="stable")
        return Picks(picks.xy[best], score[best])


class BlobProposer:
    """Propose dark blobs of the particle's size, found by a difference of Gaussians.

    Parameters
    ----------
    diameter : particle diameter, px; as long as it is None, nothing is proposed
    """

    name = "blob filter"
    threshold: float | None = None

    def __init__(self, diameter: float | None) -> None:
        self._diameter = diameter

    def propose(self, path: Path) -> Picks:
        """Return candidates scored in standard deviations of all candidate scores."""
        diameter = self._diameter
        if diameter is None:
            return Picks(np.empty((0, 2)), np.empty(0))
        image, frame, _, _ = preprocess_micrograph(read_micrograph(path)[0], BLOB_SIZE, path.name)
        everything = Truth("", path.name, frame.ny, frame.nx, 0.0, diameter, np.empty((0, 2)))
        found = difference_of_gaussians(image, frame, everything, DARK, BLOB_WIDTH)
        score = found.score / (found.score.std() or 1.0)
        return Picks(found.xy, score)


def shown_from(proposer: Proposer, picks: Picks) -> float:
    """Return the initial minimum score: the proposer's own, else Otsu's threshold."""
    if proposer.threshold is not None:
        return proposer.threshold
    if picks.score is None or len(np.unique(picks.score)) < 2:
        return 0.0
    return float(threshold_otsu(picks.score))
