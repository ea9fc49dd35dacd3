"""Describe the grey values of a micrograph by statistics that contamination does not move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Standard deviations per median, and per mean, absolute deviation of a Gaussian.
SIGMA_PER_MAD = 1.4826
SIGMA_PER_MEAN_DEVIATION = 1.2533


def location_and_mad(values: NDArray[np.generic], rounding: float = 0.0) -> tuple[float, float]:
    """Median of the values, and their median absolute deviation (MAD) from it.

    Where more than half of the values are equal (blank areas, few grey levels), the MAD is 0, or
    no more than an error of `rounding`, and says nothing. The mean absolute deviation, brought to
    the same scale, then stands in.
    """
    values = values.astype(np.float32).ravel()
    median = np.median(values)
    deviation = np.abs(values - median)
    mad = float(np.median(deviation))
    if mad <= rounding:
        mad = float(deviation.mean(dtype=np.float64)) * SIGMA_PER_MEAN_DEVIATION / SIGMA_PER_MAD
    return float(median), mad
