"""Turn a network and a preprocessed micrograph into ranked particle centres."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import KDTree
from torch import Tensor, nn

FloatArray = NDArray[np.float64]

# Standard deviation, in particle radii, of the Gaussian that smooths probabilities before peaks are
# sought, so that a ragged disc has one peak.
SMOOTHING = 0.25
# Peaks below this fraction of the highest smoothed probability in the area are dropped. It is
# relative, because a network trained on few labels may rank particles well and still give all of
# them low probabilities.
FLOOR = 0.002
# Limits candidates per micrograph: their discs may cover the area this many times over.
CROWDING = 1.6


@torch.no_grad()
def predict(
    network: nn.Module, images: Tensor, views: int = 4, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Predict particle probabilities, averaged over rotations and flips of the image.

    The network is in eval mode meanwhile, and afterwards in the mode that it was in: a student that
    is its own teacher predicts in the middle of its training step.

    A micrograph rotated by 90 degrees or mirrored is as plausible as the original, so averaging the
    network's back-transformed outputs is an ensemble that needs no further training.

    Parameters
    ----------
    network : maps (n, 1, h, w) images to logits of that shape
    images : (n, 1, h, w) float tensor on the network's device; h = w if views > 1
    views : number of views, 1 to 8: the four rotations, then those of the mirrored image
    dtype : number format of the network's arithmetic; with bfloat16, probabilities differ in the
        third digit

    Returns
    -------
    (n, 1, h, w) float tensor of probabilities
    """
    mode = network.training
    network.eval()
    total = torch.zeros_like(images)
    for k in range(views):
        with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
            logits = network(turned(images, k))
        total += turned_back(torch.sigmoid(logits.float()), k)
    network.train(mode)
    return total / views


def turned(images: Tensor, k: int) -> Tensor:
    """Return the k-th of eight rotations and flips of (..., h, w) images; 0 is the identity."""
    images = torch.rot90(images, k % 4, (-2, -1))
    return images.flip(-1) if k >= 4 else images


def turned_back(images: Tensor, k: int) -> Tensor:
    """Undo `turned`."""
    images = images.flip(-1) if k >= 4 else images
    return torch.rot90(images, -(k % 4), (-2, -1))


def find_peaks(
    probability: NDArray[np.floating],
    radius: float,
    area: Sequence[int],
    *,
    nms_radius: float = 1.0,
) -> tuple[FloatArray, FloatArray]:
    """Find the peaks of a probability map: one per particle, sub-pixel, best first.

    The map is smoothed by a Gaussian of `SMOOTHING` particle radii. A local maximum is a candidate
    unless a higher one is within `nms_radius` particle radii (greedy non-maximum suppression, exact
    distances). Positions are refined by a parabola through three points on each axis; the score is
    the smoothed probability at the maximum.

    Parameters
    ----------
    probability : (h, w) float array
    radius : particle radius, px
    area : y0, x0, y1, x1, half open; peaks elsewhere are dropped
    nms_radius : non-maximum suppression radius, in particle radii

    Returns
    -------
    xy : (n, 2) float64 array of x (column), y (row), px
    score : (n,) float64 array, descending
    """
    smooth = gaussian_filter(np.asarray(probability, np.float32), SMOOTHING * radius)
    y0, x0, y1, x1 = area
    floor = np.float32(FLOOR) * smooth[y0:y1, x0:x1].max(initial=0.0)
    highest = (smooth == maximum_filter(smooth, 3)) & (smooth > floor)
    inside = np.zeros_like(highest)
    inside[y0:y1, x0:x1] = True
    rows, columns = np.nonzero(highest & inside)
    score = smooth[rows, columns].astype(np.float64)
    limit = math.ceil(CROWDING * (y1 - y0) * (x1 - x0) / (math.pi * radius**2))
    best = np.argsort(-score, kind="stable")[: max(limit, 1)]
    rows, columns, score = rows[best], columns[best], score[best]
    xy = np.column_stack([_refine(smooth.T, columns, rows), _refine(smooth, rows, columns)])
    kept = _suppress(xy, nms_radius * radius)
    return xy[kept], score[kept]


def _refine(
    values: NDArray[np.float32], index: NDArray[np.int64], other: NDArray[np.int64]
) -> FloatArray:
    """Refine maxima along the first axis, to the vertex of the parabola through three points."""
    n = values.shape[0]
    before = values[np.maximum(index - 1, 0), other].astype(np.float64)
    after = values[np.minimum(index + 1, n - 1), other].astype(np.float64)
    bend = before - 2 * values[index, other] + after
    usable = (bend < 0) & (index > 0) & (index < n - 1)
    shift = np.where(usable, 0.5 * (before - after) / np.where(usable, bend, -1), 0)
    return index + np.clip(shift, -0.5, 0.5)


def _suppress(xy: FloatArray, distance: float) -> NDArray[np.bool_]:
    """Return a mask of the points (best first) with no better kept point within `distance`."""
    kept = np.ones(len(xy), bool)
    if len(xy) > 1:
        neighbours = KDTree(xy).query_ball_point(xy, distance, return_sorted=True)
        for i, near in enumerate(neighbours):
            if kept[i]:
                kept[[j for j in near if j > i]] = False
    return kept
