"""Where particles may be: proposals to accept or reject.

They come from a trained model, from a file of picks, or, without either, from a band-pass
filter for blobs of the particle's size.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from skimage.filters import threshold_otsu

from fewpick.coordinates import Picks
from fewpick.coordinates.frame import read_in_frame
from fewpick.data.preprocess import preprocess_micrograph
from fewpick.evaluation.baselines import difference_of_gaussians
from fewpick.evaluation.truth import Truth
from fewpick.micrographs import read_micrograph

if TYPE_CHECKING:
    from fewpick.picking.picker import Picker  # PyTorch takes seconds that other proposers need not

# Target size and width of the blob filter, in particle radii, as in `evaluation.baselines`.
BLOB_SIZE, BLOB_WIDTH, DARK = 768, 0.5, -1.0


class Proposer(Protocol):
    """Something that proposes particles.

    Attributes
    ----------
    name : shown on the page
    threshold : score from which proposals are shown at first; None when `propose` has to say
    """

    @property
    def name(self) -> str:
        """Return what the proposals are called on the page."""

    @property
    def threshold(self) -> float | None:
        """Return the score from which on candidates are shown."""

    def propose(self, path: Path) -> Picks:
        """Candidates of a micrograph with scores, px of the original."""


class ModelProposer:
    """Candidates of a trained model."""

    def __init__(self, picker: Picker, name: str) -> None:
        self.picker, self.name = picker, name
        self.threshold: float | None = picker.threshold

    def propose(self, path: Path) -> Picks:
        """Propose candidates of a micrograph."""
        return self.picker.find(self.picker.see(path))


class Unsized:
    """Proposes nothing while the model has not been told how large particles are."""

    threshold: float | None = 0.0

    def __init__(self, name: str) -> None:
        self.name = name

    def propose(self, path: Path) -> Picks:
        """Propose candidates of a micrograph."""
        return Picks(np.empty((0, 2)), np.empty(0))


class FileProposer:
    """Picks of any program; those without scores have the score 1."""

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, int]], y_axis: str) -> None:
        self.name = path.name
        self._picks = read_in_frame(path, shapes, y_axis=y_axis)
        scores = [p.score for p in self._picks.values() if p.score is not None and len(p)]
        self.threshold: float | None = float(min(map(np.min, scores))) if scores else 1.0

    def propose(self, path: Path) -> Picks:
        """Propose candidates of a micrograph."""
        picks = self._picks.get(path.name)
        if picks is None:
            return Picks(np.empty((0, 2)), np.empty(0))
        score = np.ones(len(picks)) if picks.score is None else picks.score
        best = np.argsort(-score, kind="stable")
        return Picks(picks.xy[best], score[best])


class BlobProposer:
    """Dark blobs of the particle's size, by a difference of Gaussians; nothing is learnt.

    Parameters
    ----------
    diameter : of particles, px, or None while nobody has said it: nothing is proposed then
    """

    name = "blob filter"
    threshold: float | None = None

    def __init__(self, diameter: float | None) -> None:
        self._diameter = diameter

    def propose(self, path: Path) -> Picks:
        """Scores are standard deviations of the filtered image."""
        diameter = self._diameter
        if diameter is None:
            return Picks(np.empty((0, 2)), np.empty(0))
        image, frame, _, _ = preprocess_micrograph(read_micrograph(path)[0], BLOB_SIZE, path.name)
        everything = Truth("", path.name, frame.ny, frame.nx, 0.0, diameter, np.empty((0, 2)))
        found = difference_of_gaussians(image, frame, everything, DARK, BLOB_WIDTH)
        score = found.score / (found.score.std() or 1.0)
        return Picks(found.xy, score)


def shown_from(proposer: Proposer, picks: Picks) -> float:
    """Score from which proposals are shown at first."""
    if proposer.threshold is not None:
        return proposer.threshold
    if picks.score is None or len(np.unique(picks.score)) < 2:
        return 0.0
    return float(threshold_otsu(picks.score))
