"""Gather evidence on which picker suits unlabelled micrographs: network, ring or blob template.

A network may not recognise a kind of particle, or mistake dirt for it, and still be confident.
Templates (`image_evidence.templates`) are not trained, so they provide an independent check.
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

# Minimum lopsidedness that counts as evidence of rings: apoferritin has .33 to .36, micrographs and
# simulated particles without rings at most .12.
RING_EVIDENCE = 0.2
# The contrast of one kind of particle spreads about equally to both sides of the median; above this
# ratio, the picks contain something else as well, see `contrast_tail`.
MIXED = 2.5
TAIL = 0.05  # fraction of the picks on either side that `contrast_tail` ignores
# If more than this fraction of a micrograph is conspicuous, it is the particles that stand out.
MOSTLY_DIRT = 0.15
FEWEST = 10  # with fewer picks, `contrast_tail` is NaN
CONTRAST_WIDTH = 0.5  # inner Gaussian for measuring contrast, in particle radii


class Finder(Protocol):
    """Anything that picks micrographs."""

    def see(self, path: Path) -> PreparedMicrograph:
        """Read and preprocess one micrograph."""
        ...

    def find(self, seen: PreparedMicrograph) -> Picks:
        """Return all candidates, best first, in px of the original micrograph."""
        ...


@dataclass(frozen=True)
class TemplatePicker:
    """Pick by correlation with a template.

    Attributes
    ----------
    picker : prepares the micrographs
    template : name of a template of `templates.correlations`
    """

    picker: Picker
    template: str

    def see(self, path: Path) -> PreparedMicrograph:
        """Read and preprocess one micrograph."""
        return self.picker.see(path)

    def find(self, seen: PreparedMicrograph) -> Picks:
        """Return all candidates, best first, in px of the original micrograph."""
        found = templates.correlations(unpadded(seen), seen.radius, [self.template])
        xy, score = templates.template_peaks(found[self.template], seen.radius, seen.area)
        return Picks(seen.frame.to_original(xy), score, 2 * seen.radius / seen.frame.scale)


def unpadded(prepared: PreparedMicrograph) -> NDArray[np.float32]:
    """Return the image without the padding that makes it square."""
    return prepared.frame.without_padding(prepared.image).astype(np.float32)


def evidence(sample: Sequence[PreparedMicrograph]) -> dict[str, float]:
    """Return the mean lopsidedness over `sample` of each template's correlations outside dirt."""
    measured = []
    for prepared in sample:
        image, (y0, x0, y1, x1) = unpadded(prepared), prepared.area
        counted = np.zeros(image.shape, bool)
        counted[y0:y1, x0:x1] = True
        dirt = templates.conspicuous(image, prepared.radius)
        if dirt[counted].mean() <= MOSTLY_DIRT:
            counted &= ~dirt
        found = templates.correlations(image, prepared.radius)
        measured.append(templates.lopsidedness(found, counted))
    return {name: float(np.mean([one[name] for one in measured])) for name in measured[0]}


def contrast_tail(sample: Sequence[PreparedMicrograph], picks: Sequence[Picks]) -> float:
    """Return how far the contrast of picks extends above its median, relative to below it.

    Near 1 for particles of one kind, however faint; larger if some picks stand out from the rest,
    as dirt does among faint particles. NaN with fewer than `FEWEST` picks.
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
