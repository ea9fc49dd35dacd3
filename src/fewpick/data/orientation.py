"""Test whether coordinates fit the images, or rather a flipped, transposed or shifted one.

Averaging the image patches at the true centres leaves the average particle, bright, dark or
ring-shaped; in any other frame it leaves noise. So the evidence for a frame is the energy of that
average within a particle radius of the centres, divided by the 99th percentile of its energy at
arbitrary offsets. On real data a wrong frame stays below 2 whatever the number of particles; the
right one grows with it, from 3 to 17 for 50 particles to hundreds for a whole data set.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from fewpick.coordinates.picks import Points
from fewpick.micrographs import Image32, read_micrograph

logger = logging.getLogger(__name__)

SAMPLED = 8  # micrographs looked at
FEWEST = 10  # particles below which nothing is concluded
CLEAR = 4.0  # evidence that noise does not reach
OPPOSITE = -0.7  # correlation with the other micrographs below which contrast is inverted
MARGIN = 3.0  # factor by which another frame must beat the declared one
BINNED_RADIUS = 6.0  # px of the particle radius after binning
NEAR, SHIFTS, WINDOW = 0.5, 4.0, 10.0  # offsets in radii: same place, searched, null

# Where a point (x, y) given in a frame lies in the image; n is the image's (nx, ny).
FRAMES: dict[str, Callable[[Points, Points, int, int], tuple[Points, Points]]] = {
    "ok": lambda x, y, nx, ny: (x, y),
    "flip_y": lambda x, y, nx, ny: (x, ny - 1 - y),
    "flip_x": lambda x, y, nx, ny: (nx - 1 - x, y),
    "rotate_180": lambda x, y, nx, ny: (nx - 1 - x, ny - 1 - y),
    "transpose": lambda x, y, nx, ny: (y, x),
    "transpose_flip_y": lambda x, y, nx, ny: (y, ny - 1 - x),
    "transpose_flip_x": lambda x, y, nx, ny: (nx - 1 - y, x),
    "transpose_rotate_180": lambda x, y, nx, ny: (nx - 1 - y, ny - 1 - x),
}


@dataclass(frozen=True)
class Orientation:
    """What the images say about the frame of the coordinates.

    Attributes
    ----------
    verdict : str
        "ok", "unclear", "<frame> suspected" or "shift by ... suspected".
    evidence : dict
        Energy of the average patch per frame, relative to what noise may have.
    inverted : tuple of paths
        Micrographs whose particles have the opposite contrast of those of the others.
    """

    verdict: str
    evidence: dict[str, float]
    n_micrographs: int
    n_particles: int
    inverted: tuple[Path, ...] = ()

    def summary(self) -> str:
        """Return the evidence on one line, the strongest first."""
        ranked = sorted(self.evidence.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{frame} {value:.1f}" for frame, value in ranked[:3])
        return (
            f"{self.verdict} (evidence on {self.n_micrographs} micrographs, "
            f"{self.n_particles} particles: {shown or 'none'}; noise reaches 2)"
        )


def measure_orientation(points: Mapping[Path, Points], radius: float) -> Orientation:
    """Compare the declared frame with the seven other flips and transpositions, and with shifts.

    Parameters
    ----------
    points : dict
        Micrograph to its (n, 2) points x, y in the declared frame, px.
    radius : float
        Particle radius in px of the micrograph.
    """
    peopled = sorted(path for path, xy in points.items() if len(xy))
    # Spread over the whole session: neighbours share their grid square.
    count = min(SAMPLED, len(peopled))
    sampled = [peopled[i * len(peopled) // count] for i in range(count)]
    n_particles = sum(len(points[path]) for path in sampled)
    if n_particles < FEWEST:
        return Orientation("unclear", {}, len(sampled), n_particles)

    binning = max(1, int(radius / BINNED_RADIUS))
    reach = int(np.ceil(WINDOW * radius / binning))
    sums = {frame: np.zeros((2 * reach + 1, 2 * reach + 1)) for frame in FRAMES}
    counts = dict.fromkeys(FRAMES, 0)
    declared: dict[Path, tuple[NDArray[np.float64], int]] = {}
    for path in sampled:
        image = flatten(read_micrograph(path)[0], binning, radius / binning)
        spectrum = fft.rfft2(image)
        x, y = (points[path] / binning).T
        ny, nx = image.shape
        for frame, place in FRAMES.items():
            patch, count = _average_patch(image.shape, spectrum, *place(x, y, nx, ny), reach)
            sums[frame] += patch
            counts[frame] += count
            if frame == "ok":
                declared[path] = patch, count
    found = _judge(sums, counts, radius / binning, binning, len(sampled), n_particles)
    if found.verdict != "ok":
        return found
    return replace(found, inverted=_inverted(declared, sums["ok"], radius / binning))


def _inverted(
    patches: Mapping[Path, tuple[NDArray[np.float64], int]],
    together: NDArray[np.float64],
    radius: float,
) -> tuple[Path, ...]:
    """Micrographs whose average patch is clear, and the negative of that of the others."""
    dx, dy, null, near = _offsets(together, radius)
    particle = np.hypot(dx, dy) <= radius
    found = []
    for path, (patch, count) in patches.items():
        energy, others = _energy(patch, count, radius), (together - patch)[particle]
        clear = count >= FEWEST and energy[near].max() >= CLEAR * np.percentile(energy[null], 99)
        likeness = (patch[particle] * others).sum() / np.linalg.norm(patch[particle])
        if clear and likeness < OPPOSITE * np.linalg.norm(others):
            found.append(path)
    return tuple(found)


def flatten(image: Image32, binning: int, radius: float) -> NDArray[np.float64]:
    """Bin an image and keep what has the size of particles, at equal contrast everywhere.

    Parameters
    ----------
    image : (ny, nx) float32 array
    binning : int
        Pixels per side averaged into one.
    radius : float
        Particle radius in binned px.
    """
    ny, nx = (side // binning * binning for side in image.shape)
    binned = image[:ny, :nx].reshape(ny // binning, binning, nx // binning, binning)
    small = binned.mean((1, 3), dtype=np.float64)
    small -= ndimage.gaussian_filter(small, 2 * radius)
    small = ndimage.gaussian_filter(small, radius / 4)
    # Carbon edges and contamination outshine particles: cap them by the contrast around them.
    contrast = np.sqrt(ndimage.gaussian_filter(small**2, 3 * radius))
    floor = 0.3 * float(np.median(contrast)) or 1.0
    flat: NDArray[np.float64] = np.clip(small / np.maximum(contrast, floor), -3, 3)
    return flat - flat.mean()


def _average_patch(
    shape: tuple[int, int], spectrum: NDArray[np.complex128], x: Points, y: Points, reach: int
) -> tuple[NDArray[np.float64], int]:
    """Return the sum of the image at offsets -reach to reach around the points, and their number.

    All offsets at once: the cross-correlation of the image with the points, by FFT.
    """
    ny, nx = shape
    columns, rows = np.rint(x).astype(int), np.rint(y).astype(int)
    inside = (columns >= 0) & (columns < nx) & (rows >= 0) & (rows < ny)
    density = np.zeros(shape)
    np.add.at(density, (rows[inside], columns[inside]), 1)
    around = fft.irfft2(spectrum * np.conj(fft.rfft2(density)), s=shape)
    offsets = np.arange(-reach, reach + 1)
    return around[np.ix_(offsets % ny, offsets % nx)], int(inside.sum())


def _offsets(
    patch: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Offsets x and y of a patch, those that stand for noise, and those in the same place."""
    reach = len(patch) // 2
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    offset = np.hypot(dx, dy)
    null = (offset > SHIFTS * radius) & (np.maximum(abs(dx), abs(dy)) < reach - radius)
    return dx, dy, null, offset <= NEAR * radius


def _energy(patch: NDArray[np.float64], count: int, radius: float) -> NDArray[np.float64]:
    """Mean energy within a radius of each offset of a sum of `count` patches."""
    half = int(np.ceil(radius))
    disc = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1]) <= radius
    # Divided by the count, noise has the same energy for any number of points.
    energy: NDArray[np.float64] = ndimage.convolve(patch**2 / max(count, 1), disc / disc.sum())
    return energy


def _judge(
    sums: dict[str, NDArray[np.float64]],
    counts: dict[str, int],
    radius: float,
    binning: int,
    n_micrographs: int,
    n_particles: int,
) -> Orientation:
    dx, dy, null, near = _offsets(sums["ok"], radius)
    energy = {
        frame: _energy(patch, counts[frame], radius)
        for frame, patch in sums.items()
        if counts[frame] >= FEWEST
    }
    noise = float(np.percentile([values[null] for values in energy.values()], 99)) or 1.0
    evidence = {frame: float(values[near].max()) / noise for frame, values in energy.items()}

    declared = evidence.get("ok", 0.0)
    best = max(evidence, key=lambda frame: (evidence[frame], frame == "ok"))
    verdict = "ok" if declared >= CLEAR else "unclear"
    if evidence[best] >= max(CLEAR, MARGIN * declared):
        verdict = "ok" if best == "ok" else f"{best} suspected"
    elif "ok" in energy:
        searched = np.where(np.hypot(dx, dy) <= SHIFTS * radius, energy["ok"], 0) / noise
        at = np.unravel_index(np.argmax(searched), searched.shape)
        if searched[at] >= max(CLEAR, MARGIN * declared):
            x, y = int(dx[at]) * binning, int(dy[at]) * binning
            verdict = f"shift by x {x:+d}, y {y:+d} px suspected"
            evidence["shift"] = float(searched[at])
    return Orientation(verdict, evidence, n_micrographs, n_particles)
