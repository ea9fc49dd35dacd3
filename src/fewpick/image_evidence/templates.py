"""Pick without training, by templates: blobs of several widths, and a ring as wide as the particle.

A template's normalised correlation with the micrograph has peaks where something looks like it.
Noise is darker than its surroundings as often as it is brighter, but particles are dark, so the
best template is the one with the most lopsided correlations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import distance_transform_edt, gaussian_filter

from fewpick.evaluation.baselines import WIDTH_RATIO
from fewpick.micrographs.grey_values import SIGMA_PER_MAD
from fewpick.network.inference import find_peaks

RING = "ring"
# Width of the inner Gaussian of each blob filter, in particle radii.
BLOBS = {"narrow blob": 0.25, "blob": 0.35, "wide blob": 0.5, "very wide blob": 0.7}
# Radius of the ring and the width of its rim, in particle radii.
RING_RADIUS, RING_WIDTH = 0.8, 0.25
# Extent of a template in particle radii; that of wide blob filters in outer Gaussians.
REACH, BLOB_REACH = 1.3, 2.2
# Candidates between this fraction of a threshold and the threshold may be particles.
DOUBT = 0.75
# Fraction of a map on either side that `lopsidedness` ignores: covers a few outliers, but less than
# a tenth of even sparse particles.
TAIL = 0.002
# Anything that stands out by more than CONSPICUOUS robust standard deviations, in an image smoothed
# by FINE radii and flattened over FLAT radii, is not a particle but dirt, gold or an edge.
CONSPICUOUS, FINE, FLAT = 6.0, 0.25, 2.5

FloatArray = NDArray[np.float64]


def spread(values: NDArray[np.floating]) -> float:
    """Return a robust standard deviation, from the median absolute deviation."""
    return SIGMA_PER_MAD * float(np.median(np.abs(values - np.median(values)))) + 1e-9


def correlations(
    image: NDArray[np.floating], radius: float, names: Sequence[str] = (RING, *BLOBS)
) -> dict[str, NDArray[np.float32]]:
    """Correlate an image with templates; dark matches have high values.

    Parameters
    ----------
    image : (h, w) array
    radius : particle radius, px
    names : templates to use

    Returns
    -------
    mapping of template name to (h, w) float32 array
    """
    reaches, kernels = {}, {}
    for name in names:
        width = BLOBS.get(name)
        profile = _ring if width is None else partial(_blob, width=width)
        reaches[name] = REACH if width is None else max(REACH, BLOB_REACH * WIDTH_RATIO * width)
        kernels[name] = _kernel(profile, reaches[name], radius)
    edge = max(len(kernel) for kernel in kernels.values()) // 2
    centred = image - np.mean(image, dtype=np.float64)
    padded = np.pad(centred.astype(np.float32), edge, mode="symmetric")
    shape = tuple(fft.next_fast_len(n, real=True) for n in padded.shape)
    spectrum, squares = fft.rfft2(padded, shape), fft.rfft2(padded**2, shape)

    def correlated(transformed: NDArray[np.complexfloating], kernel: FloatArray) -> FloatArray:
        start = edge + len(kernel) // 2
        full = fft.irfft2(transformed * fft.rfft2(kernel.astype(np.float32), shape), shape)
        return np.asarray(full[start : start + image.shape[0], start : start + image.shape[1]])

    contrast = {}
    for reach in set(reaches.values()):
        disc = (_distance(reach, radius) <= reach).astype(np.float64)
        sums = correlated(spectrum, disc)
        variance = correlated(squares, disc) - sums**2 / disc.sum()
        contrast[reach] = np.sqrt(np.maximum(variance, 1e-3))
    return {
        name: correlated(spectrum, kernel) / contrast[reaches[name]]
        for name, kernel in kernels.items()
    }


def template_peaks(
    correlation: NDArray[np.floating], radius: float, area: tuple[int, int, int, int]
) -> tuple[FloatArray, FloatArray]:
    """Find where a template fits, best first: (n, 2) x, y in px, and (n,) scores.

    Scores are correlations in robust standard deviations of the map.

    Parameters
    ----------
    correlation : (h, w) map from `correlations`
    radius : particle radius, px
    area : y0, x0, y1, x1, half open; peaks elsewhere are dropped
    """
    y0, x0, y1, x1 = area
    scores = correlation / spread(correlation[y0:y1, x0:x1])
    return find_peaks(np.maximum(scores, 0), radius, area)


def conspicuous(image: NDArray[np.floating], radius: float) -> NDArray[np.bool_]:
    """Return a mask of the pixels within a radius of anything too conspicuous for a particle."""
    fine = gaussian_filter(image.astype(np.float32), FINE * radius)
    fine -= gaussian_filter(fine, FLAT * radius)
    seen = np.abs(fine - np.median(fine)) > CONSPICUOUS * spread(fine)
    return np.asarray(distance_transform_edt(~seen) <= radius) if seen.any() else seen


def lopsidedness(
    correlations: Mapping[str, NDArray[np.floating]], counted: NDArray[np.bool_]
) -> dict[str, float]:
    """Measure how much further high correlations extend than low ones, per template.

    0 in noise, at most 1 in absolute value; negative if low correlations extend further.

    Parameters
    ----------
    correlations : template -> its (h, w) map
    counted : (h, w) mask of the pixels to use
    """
    measured = {}
    for name, values in correlations.items():
        low, middle, high = np.quantile(values[counted], [TAIL, 0.5, 1 - TAIL])
        measured[name] = float((high + low - 2 * middle) / max(high - low, 1e-9))
    return measured


def _distance(reach: float, radius: float) -> FloatArray:
    """Return the distance from the centre of a kernel, in radii."""
    edge = math.ceil(reach * radius)
    y, x = np.mgrid[-edge : edge + 1, -edge : edge + 1]
    return np.hypot(x, y) / radius


def _kernel(profile: Callable[[FloatArray], FloatArray], reach: float, radius: float) -> FloatArray:
    """Return a template with mean 0 and norm 1 that extends to `reach` radii."""
    distance = _distance(reach, radius)
    inside = distance <= reach
    kernel = np.where(inside, profile(distance), 0)
    kernel[inside] -= kernel[inside].mean()
    return np.asarray(kernel / np.sqrt((kernel**2).sum()))


def _ring(distance: FloatArray) -> FloatArray:
    return np.asarray(-np.exp(-(((distance - RING_RADIUS) / RING_WIDTH) ** 2)))


def _blob(distance: FloatArray, width: float) -> FloatArray:
    inner, outer = width, WIDTH_RATIO * width
    return np.asarray(
        np.exp(-0.5 * (distance / outer) ** 2) / outer**2
        - np.exp(-0.5 * (distance / inner) ** 2) / inner**2
    )
