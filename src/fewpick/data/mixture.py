"""Grey level and spread of the larger part of a micrograph, excluding carbon and the like.

After Topaz (Bepler et al. 2019, doi 10.1038/s41592-019-0575-8): the grey values are a mixture of
two Gaussians of one width, the ice with its particles and whatever is darker or brighter, such as
carbon. A Beta(900, 1) prior on the share of the first says that it is the larger part. The
parameters of the best fit are those of the ice alone, whereas mean and median are pulled by the
rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ALPHA = 900.0  # of the prior on the share of the larger part
SHARES = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98)  # initial values of the fit
BINS = 2000
REACH = 10.0  # standard deviations from the median that the histogram spans
ITERATIONS = 200
TOLERANCE = 1e-8  # of the log posterior per pixel

Floats = NDArray[np.float64]


def mixture_location_and_scale(values: NDArray[np.floating]) -> tuple[float, float]:
    """Return the mean and standard deviation of the larger part.

    The fit works on a histogram, so that its time does not depend on the number of pixels.

    Parameters
    ----------
    values : array of any shape; not constant
    """
    flat = values.astype(np.float64).ravel()
    median, spread = float(np.median(flat)), float(flat.std())
    low, high = max(flat.min(), median - REACH * spread), min(flat.max(), median + REACH * spread)
    counts, edges = np.histogram(flat, bins=BINS, range=(low, high))
    centres, weights = (edges[:-1] + edges[1:]) / 2, counts / counts.sum()
    # A single Gaussian is the fit to beat.
    mean = float(weights @ centres)
    variance = float(weights @ (centres - mean) ** 2)
    best = (_log_likelihood(weights, _normal(centres, mean, variance)), mean, variance)
    cumulative = np.cumsum(weights)
    for share in SHARES:
        for larger in (cumulative > 1 - share, cumulative <= share):  # the rest is darker, brighter
            fit = _fit(centres, weights, larger.astype(np.float64), len(flat))
            best = max(best, fit)
    _, mean, variance = best
    return mean, float(np.sqrt(variance))


def _fit(x: Floats, weights: Floats, belongs: Floats, n_values: int) -> tuple[float, float, float]:
    """Run expectation maximisation, starting with a guess of what belongs to the larger part.

    Returns
    -------
    log posterior per value, mean and variance of the larger part
    """
    prior = (ALPHA - 1) / n_values
    posterior = previous = -np.inf
    for _ in range(ITERATIONS):
        share = float(weights @ belongs)
        if not 1e-6 < share < 1 - 1e-6:
            return -np.inf, 0.0, 1.0
        means = [float(weights @ (r * x)) / float(weights @ r) for r in (belongs, 1 - belongs)]
        variance = sum(
            float(weights @ (r * (x - mean) ** 2))
            for r, mean in zip((belongs, 1 - belongs), means, strict=True)
        )
        share = (share + prior) / (1 + prior)
        parts = [
            p * _normal(x, mean, variance)
            for p, mean in zip((share, 1 - share), means, strict=True)
        ]
        posterior = _log_likelihood(weights, parts[0] + parts[1]) + prior * float(np.log(share))
        if posterior - previous < TOLERANCE:
            break
        previous = posterior
        belongs = parts[0] / (parts[0] + parts[1])
    return posterior, means[0], variance


def _normal(x: Floats, mean: float, variance: float) -> Floats:
    density: Floats = np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    return density + 1e-300


def _log_likelihood(weights: Floats, density: Floats) -> float:
    return float(weights @ np.log(density))
