"""Which picker suits micrographs of which nothing is known: the network, a ring, or a blob filter.

A network may not know a kind of particle, or take dirt for it, and be sure all the same. Templates
(`image_evidence.templates`) have learned nothing, so they can be asked whether it is so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from fewpick.coordinates import Picks
from fewpick.evaluation.baselines import WIDTH_RATIO
from fewpick.image_evidence import templates
from fewpick.picking.picker import Picker, PreparedMicrograph

# Rings are what they seem from this lopsidedness on: apoferritin has .33 to .36, micrographs and
# simulated particles without rings at most .12.
RING_EVIDENCE = 0.2
# Particles of one kind differ in contrast about as much to either side of the median; from this
# ratio on the picks hold something else as well, see `contrast_tail`.
MIXED = 2.5
TAIL = 0.05  # share of the picks on either side that it leaves out
# Where more than this share of a micrograph is conspicuous, it is the particles that stand out.
MOSTLY_DIRT = 0.15
FEWEST = 10  # picks below which it says nothing
CONTRAST_WIDTH = 0.5  # inner Gaussian with which contrast is measured, in particle radii


class Finder(Protocol):
    """What picks micrographs."""

    def see(self, path: Path) -> PreparedMicrograph:
        """Read and preprocess one micrograph."""
        ...

    def find(self, seen: PreparedMicrograph) -> Picks:
        """All candidates, best first, in pixels of the micrograph."""
        ...


@dataclass(frozen=True)
class TemplatePicker:
    """Picks what looks like a template.

    Attributes
    ----------
    picker : prepares the micrographs
    template : of `templates.correlations`
    """

    picker: Picker
    template: str

    def see(self, path: Path) -> PreparedMicrograph:
        """Read and preprocess one micrograph."""
        return self.picker.see(path)

    def find(self, seen: PreparedMicrograph) -> Picks:
        """All candidates, best first, in pixels of the micrograph."""
        found = templates.correlations(unpadded(seen), seen.radius, [self.template])
        xy, score = templates.template_peaks(found[self.template], seen.radius, seen.area)
        return Picks(seen.frame.to_original(xy), score, 2 * seen.radius / seen.frame.scale)


def unpadded(prepared: PreparedMicrograph) -> NDArray[np.float32]:
    """Return the image without the padding that makes a square."""
    return prepared.frame.without_padding(prepared.image).astype(np.float32)


def evidence(sample: Sequence[PreparedMicrograph]) -> dict[str, float]:
    """How lopsided each template's correlations are, away from dirt: the mean over micrographs."""
    told = []
    for prepared in sample:
        image, (y0, x0, y1, x1) = unpadded(prepared), prepared.area
        counted = np.zeros(image.shape, bool)
        counted[y0:y1, x0:x1] = True
        dirt = templates.conspicuous(image, prepared.radius)
        if dirt[counted].mean() <= MOSTLY_DIRT:
            counted &= ~dirt
        found = templates.correlations(image, prepared.radius)
        told.append(templates.lopsidedness(found, counted))
    return {name: float(np.mean([one[name] for one in told])) for name in told[0]}


def contrast_tail(sample: Sequence[PreparedMicrograph], picks: Sequence[Picks]) -> float:
    """How far the contrast of picks reaches above its median, in units of how far below.

    Near 1 for particles of one kind, however faint; more where picks hold conspicuous things among
    what is hardly visible, as dirt among faint particles is. NaN for a few picks.
    """
    contrasts = []
    for prepared, found in zip(sample, picks, strict=True):
        inner = CONTRAST_WIDTH * prepared.radius
        image = unpadded(prepared)
        darker = gaussian_filter(image, WIDTH_RATIO * inner) - gaussian_filter(image, inner)
        x, y = prepared.frame.to_target(found.xy).T
        at_picks = map_coordinates(darker, [y, x], order=1, mode="nearest")
        contrasts.append(at_picks / templates.spread(darker))
    pooled = np.concatenate(contrasts)
    if len(pooled) < FEWEST:
        return float("nan")
    low, middle, high = np.quantile(pooled, [TAIL, 0.5, 1 - TAIL])
    return float((high - middle) / max(middle - low, 1e-6))
