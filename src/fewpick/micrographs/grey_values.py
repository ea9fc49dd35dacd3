"""Robust statistics of grey values, which contamination hardly affects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Standard deviations per median, and per mean, absolute deviation of a Gaussian.
SIGMA_PER_MAD = 1.4826
SIGMA_PER_MEAN_DEVIATION = 1.2533


def location_and_mad(values: NDArray[np.generic], rounding: float = 0.0) -> tuple[float, float]:
    """Return the median of the values, and their median absolute deviation (MAD) from it.

    If more than half of the values are equal (blank areas, few grey levels), the MAD is 0, or at
    most the error `rounding`, and meaningless. The mean absolute deviation, scaled to match,
    replaces it.
    """
    values = values.astype(np.float32).ravel()
    median = np.median(values)
    deviation = np.abs(values - median)
    mad = float(np.median(deviation))
    if mad <= rounding:
        mad = float(deviation.mean(dtype=np.float64)) * SIGMA_PER_MEAN_DEVIATION / SIGMA_PER_MAD
    return float(median), mad
