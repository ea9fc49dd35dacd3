"""Estimate the particle size from the images around particle centres."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from fewpick.coordinates.picks import Points
from fewpick.micrographs import Image32, read_micrograph
from fewpick.micrographs.grey_values import SIGMA_PER_MAD

SAMPLED = 6  # micrographs used
PER_MICROGRAPH = 150  # particles used per micrograph
FEWEST = 20  # minimum number of particles for an estimate
PIXELS = 60  # from the centre to the edge of the averaged patch
REACH = 1.5  # half width of the first patch, in distances between neighbours
CLOSER = 3.0  # half width of the second patch, in radii from the first estimate
RIM = 0.2  # minimum contrast of a rim, relative to the particle's


def neighbour_distance(points: Mapping[Path, Points]) -> float | None:
    """Return the median distance to the nearest neighbour, px; None without neighbours."""
    near = [KDTree(xy).query(xy, k=2)[0][:, 1] for xy in points.values() if len(xy) > 1]
    return float(np.median(np.concatenate(near))) if near else None


def measure_radius(points: Mapping[Path, Points]) -> float | None:
    """Estimate the particle radius, px, from the average image around the centres; None if unclear.

    Defocus surrounds a particle with a rim of opposite contrast at its edge: on data sets of known
    size, the rim's crest is within a fifth of the radius. Without a rim, the radius is where the
    contrast has fallen to a tenth.

    Parameters
    ----------
    points : micrograph -> (n, 2) centres x (column), y (row) of its array, px
    """
    peopled = [path for path in sorted(points) if len(points[path])][:SAMPLED]
    distance = neighbour_distance(points)
    if distance is None or sum(len(points[path]) for path in peopled) < FEWEST:
        return None
    images = {path: read_micrograph(path)[0] for path in peopled}
    smallest = min(min(image.shape) for image in images.values())
    reach = min(REACH * distance, smallest / 6)
    radius = None
    for _ in range(2):  # the second time with a smaller patch and finer pixels
        found = _radius(images, points, reach)
        if found is None:
            break
        radius, reach = found, min(CLOSER * found, smallest / 6)
    return radius


def _radius(
    images: Mapping[Path, Image32], points: Mapping[Path, Points], reach: float
) -> float | None:
    binning = max(1, int(reach / PIXELS))
    n = int(reach / binning)
    total, count = np.zeros((2 * n + 1, 2 * n + 1)), 0
    for path, image in images.items():
        flat = _binned(image, binning)
        centres = np.rint(points[path] / binning).astype(int)
        ny, nx = flat.shape
        inside = ((centres >= n) & (centres < np.array([nx, ny]) - n)).all(axis=1)
        for x, y in centres[inside][:PER_MICROGRAPH]:
            total += flat[y - n : y + n + 1, x - n : x + n + 1]
            count += 1
    if count < FEWEST or n < 4:
        return None
    offset = np.rint(np.hypot(*np.mgrid[-n : n + 1, -n : n + 1])).astype(int).ravel()
    profile = np.bincount(offset, total.ravel())[:n] / np.bincount(offset)[:n] / count
    # The outermost part is background, which varies over the micrograph.
    profile -= profile[-(n // 4) :].mean()
    edge = _edge(profile)
    return None if edge is None else edge * binning


def _edge(profile: NDArray[np.float64]) -> float | None:
    """Return the index of the rim's crest (or else of the edge) in a radial profile."""
    core = int(np.argmax(np.abs(profile)))
    contrast = profile[core]
    if contrast == 0:
        return None
    relative = profile / contrast
    for i in range(core + 1, len(profile) - 1):
        if relative[i] <= -RIM and relative[i] <= min(relative[i - 1], relative[i + 1]):
            return float(i)
    low = np.flatnonzero(relative[core:] < 0.1)
    return float(core + low[0]) if len(low) else None


def _binned(image: Image32, binning: int) -> NDArray[np.float64]:
    """Bin an image, in robust standard deviations from the median, clipped for carbon and gold."""
    ny, nx = (side // binning * binning for side in image.shape)
    blocks = image[:ny, :nx].reshape(ny // binning, binning, nx // binning, binning)
    small = blocks.mean((1, 3), dtype=np.float64)
    middle = np.median(small)
    spread = SIGMA_PER_MAD * np.median(np.abs(small - middle)) or 1.0
    capped: NDArray[np.float64] = np.clip((small - middle) / spread, -4, 4)
    return capped
