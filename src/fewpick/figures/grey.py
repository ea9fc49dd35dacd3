"""Convert micrographs to greyscale images in which particles are visible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.stats import median_abs_deviation

from fewpick.evaluation.scores import FLIPPED_ARM
from fewpick.stacks import read_table

# Grey levels span this many standard deviations around the median.
GREY_REACH = 3.5
# Low-pass, in particle radii: removes noise, keeps particles.
PICTURE_SIGMA = 0.2
# Side of the square whose mean is subtracted, in particle radii: removes gradients of ice and
# illumination.
BACKGROUND = 10.0


def smooth_levels(
    image: NDArray[np.generic], radius: float
) -> tuple[NDArray[np.float32], float, float]:
    """Band-pass an image and choose its black and white levels for display.

    Parameters
    ----------
    image : (h, w) array
    radius : particle radius, px of the image

    Returns
    -------
    smooth : (h, w) float32 array
    black, white : levels suited to ice and particles; carbon and contamination may saturate
    """
    smooth = gaussian_filter(np.asarray(image, np.float32), max(PICTURE_SIGMA * radius, 0.7))
    side = max(3, round(BACKGROUND * radius))
    smooth -= uniform_filter(uniform_filter(smooth, side), side)
    middle = float(np.median(smooth))
    reach = GREY_REACH * float(median_abs_deviation(smooth, axis=None, scale="normal")) or 1.0
    return smooth, middle - reach, middle + reach


def grey(image: NDArray[np.generic], radius: float) -> NDArray[np.uint8]:
    """Convert an image to (h, w) uint8 grey levels; see `smooth_levels`."""
    smooth, black, white = smooth_levels(image, radius)
    scaled = (smooth - black) * (255 / (white - black))
    return np.asarray(scaled.clip(0, 255) + 0.5, np.uint8)


def choose_micrographs(micrographs: Path, n: int = 3) -> list[tuple[str, str]]:
    """Choose `n` micrographs per data set by F1: the worst, the best, and evenly in between.

    Parameters
    ----------
    micrographs : Path
        `micrographs.tsv` of a run.
    n : int
    """
    table = read_table(micrographs)
    table = table[(table["radius"] == table["radius"].iloc[0]) & (table["arm"] != FLIPPED_ARM)]
    chosen: list[tuple[str, str]] = []
    for name, rows in table.groupby("dataset", sort=False):
        order = rows.sort_values(["f1", "micrograph"])["micrograph"].tolist()
        places = np.unique(np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(int))
        chosen += [(str(name), order[i]) for i in places]
    return chosen
