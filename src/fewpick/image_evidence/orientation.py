"""Check whether coordinates fit the images, or are flipped, transposed, scaled or shifted.

Averaging image patches at the true centres gives the average particle, be it bright, dark or
ring-shaped; in any other frame, it gives noise. The evidence for a frame is the energy of this
average within a particle radius of the centres, divided by the 99th percentile of its energy at
arbitrary offsets. On real data, a wrong frame stays below 2 whatever the number of particles; for
the right one it grows with their number, from 3 to 17 for 50 particles to hundreds for a whole data
set.

In the average over all, a minority of micrographs in another frame only weakens the evidence.
Therefore each micrograph is also checked individually against the average particle of all
(`fewpick.image_evidence.each_orientation`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from fewpick.coordinates.picks import Points
from fewpick.image_evidence import each_orientation
from fewpick.image_evidence.each_orientation import OK, UNCLEAR, Judged
from fewpick.micrographs import Image32, read_micrograph
from fewpick.micrographs.listing import shown

logger = logging.getLogger(__name__)

SAMPLED = 100  # micrographs checked
FEWEST = 10  # minimum number of particles for a verdict
CLEAR = 4.0  # evidence that noise does not reach
MARGIN = 3.0  # factor by which another frame must beat the declared one
NEARLY_ALL = 4.0  # the declared frame is wrong if more than this many times as many fit another
NAMED = 8  # micrographs named in a message
BINNED_RADIUS = 6.0  # particle radius after binning, px
FFT_COST = 20  # cost of an FFT, in additions per pixel
NEAR, SHIFTS, WINDOW = 0.5, 4.0, 10.0  # offsets in radii: same place, searched, null

# Maps a point (x, y) given in a frame to its position in the image of nx x ny px.
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
    """The frame of the coordinates according to the images.

    Attributes
    ----------
    verdict : str
        "ok", "unclear", "<frame> suspected", "shift by ... suspected" or "scale by ... suspected";
        "... suspected in k of n micrographs" if only some are in another frame.
    evidence : dict
        Frame -> energy of the average patch, relative to the 99th percentile of noise.
    n_micrographs, n_particles : int
        How many were checked.
    each : dict
        Micrograph -> its individual result.
    """

    verdict: str
    evidence: dict[str, float]
    n_micrographs: int
    n_particles: int
    each: dict[Path, Judged] = field(default_factory=dict)

    def odd(self) -> dict[str, list[Path]]:
        """Return the micrographs that disagree with nearly all others, by kind of result."""
        usual = OK
        if self.verdict.endswith(" suspected"):
            usual = self.verdict.removesuffix(" suspected").split(" by ")[0]
        found: dict[str, list[Path]] = {}
        for path, judged in self.each.items():
            if judged.kind not in (UNCLEAR, usual):
                found.setdefault(judged.kind, []).append(path)
        return found

    def warnings(self) -> list[str]:
        """Return a warning for each kind of disagreement, with the micrographs concerned."""
        lines = []
        for what, paths in self.odd().items():
            share = f"on {len(paths)} of the {self.n_micrographs} checked"
            if len(paths) > 1:
                share += f", {shown((path.name for path in paths), NAMED)}"
            if what == each_orientation.INVERTED:
                line = (
                    "the particles have the opposite contrast to those on other micrographs "
                    f"({share}). Invert the micrograph, or leave it out."
                )
            elif what == each_orientation.NOTHING:
                line = (
                    "no particles are visible at the points, unlike on other micrographs "
                    f"({share}). Check that these coordinates belong to the micrograph."
                )
            else:
                judged = self.each[paths[0]]
                where = "that of the file" if what == OK else judged.verdict
                line = (
                    f"the points fit a different frame from those of other micrographs: {where} "
                    f"({share}; on the first, {abs(judged.evidence):.0f} standard deviations "
                    f"against {max(judged.declared, 0):.0f}). Correct its coordinates, or leave "
                    "it out."
                )
            lines.append(f"{paths[0]}: {line}")
        return lines

    def summary(self) -> str:
        """Return the evidence on one line, the strongest first."""
        ranked = sorted(self.evidence.items(), key=lambda item: -item[1])
        text = ", ".join(f"{frame} {value:.1f}" for frame, value in ranked[:3])
        return (
            f"{self.verdict} (evidence on {self.n_micrographs} micrographs, {self.n_particles} "
            f"particles, in standard deviations: {text or 'none'}; noise reaches 2)"
        )


def measure_orientation(
    points: Mapping[Path, Points], radius: float | Mapping[Path, float]
) -> Orientation:
    """Compare the declared frame with the seven other flips and transpositions, and with shifts.

    Parameters
    ----------
    points : dict
        Micrograph -> its (n, 2) points x, y in the declared frame, px.
    radius : float or dict
        Particle radius in px of the micrograph, for all or for each.
    """
    peopled = sorted(path for path, xy in points.items() if len(xy))
    # Spread over the whole data collection: consecutive micrographs share their grid square.
    count = min(SAMPLED, len(peopled))
    sampled = [peopled[i * len(peopled) // count] for i in range(count)]
    n_particles = sum(len(points[path]) for path in sampled)
    if n_particles < FEWEST:
        return Orientation(UNCLEAR, {}, len(sampled), n_particles)

    radii = {path: radius[path] if isinstance(radius, Mapping) else radius for path in sampled}
    # Bin each micrograph so that particles have about the same size in all.
    binnings = {path: max(1, int(held / BINNED_RADIUS)) for path, held in radii.items()}
    binned_radius = float(np.median([radii[path] / binnings[path] for path in sampled]))
    binning = float(np.median(list(binnings.values())))
    reach = int(np.ceil(WINDOW * binned_radius))
    sums = {frame: np.zeros((2 * reach + 1, 2 * reach + 1)) for frame in FRAMES}
    counts = dict.fromkeys(FRAMES, 0)
    flats: dict[Path, NDArray[np.float32]] = {}
    for path in sampled:
        image = flatten(read_micrograph(path)[0], binnings[path], radii[path] / binnings[path])
        flats[path] = image.astype(np.float32)
        few = len(points[path]) * sums["ok"].size < FFT_COST * image.size
        spectrum = None if few else fft.rfft2(image)
        x, y = (points[path] / binnings[path]).T
        ny, nx = image.shape
        for frame, place in FRAMES.items():
            patch, count = average_patch(image, spectrum, *place(x, y, nx, ny), reach)
            sums[frame] += patch
            counts[frame] += count
    together = _judge(sums, counts, binned_radius, binning, len(sampled), n_particles)
    template = _template(sums, counts, binned_radius, together)
    each = {
        path: each_orientation.judge_micrograph(
            flats[path], points[path] / binnings[path], binned_radius, template, FRAMES
        )
        for path in sampled
    }
    each_orientation.compare(each)
    return Orientation(
        _overall(together, each),
        together.evidence,
        together.n_micrographs,
        together.n_particles,
        each,
    )


def _overall(together: Orientation, each: Mapping[Path, Judged]) -> str:
    """Return the verdict on all micrographs: that of nearly all, or that some disagree."""
    kinds = Counter(judged.kind for judged in each.values() if judged.moved)
    if not kinds:
        return together.verdict
    kind, many = kinds.most_common(1)[0]
    fine = sum(judged.kind == OK for judged in each.values())
    if many > NEARLY_ALL * fine:
        if together.verdict.startswith(kind):
            return together.verdict
        verdicts = Counter(judged.verdict for judged in each.values() if judged.kind == kind)
        return f"{verdicts.most_common(1)[0][0]} suspected"
    total = sum(kinds.values())
    return f"{kind} suspected in {total} of {len(each)} micrographs"


def _template(
    sums: Mapping[str, NDArray[np.float64]],
    counts: Mapping[str, int],
    radius: float,
    together: Orientation,
) -> NDArray[np.float64] | None:
    """Average the particles into a radial filter; None if they are not visible."""
    if max(together.evidence.values(), default=0.0) < CLEAR:
        return None
    best = max(
        (frame for frame in together.evidence if frame in sums),
        key=lambda frame: together.evidence[frame],
    )
    if together.evidence.get("shift", 0.0) <= together.evidence[best]:
        patch = sums[best] / max(counts[best], 1)
        return each_orientation.radial(patch, 0, 0, radius)
    patch = sums["ok"] / max(counts["ok"], 1)
    dx, dy, _, _ = _offsets(patch, radius)
    energy = np.where(np.hypot(dx, dy) <= SHIFTS * radius, _energy(patch, 1, radius), 0)
    at = np.unravel_index(np.argmax(energy), energy.shape)
    return each_orientation.radial(patch, int(dx[at]), int(dy[at]), radius)


def flatten(image: Image32, binning: int, radius: float) -> NDArray[np.float64]:
    """Bin and band-pass an image around the particle size, and equalise its local contrast.

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
    # Carbon edges and contamination outshine particles: normalise by local contrast and clip.
    contrast = np.sqrt(ndimage.gaussian_filter(small**2, 3 * radius))
    floor = 0.3 * float(np.median(contrast)) or 1.0
    flat: NDArray[np.float64] = np.clip(small / np.maximum(contrast, floor), -3, 3)
    return flat - flat.mean()


def average_patch(
    image: NDArray[np.float64],
    spectrum: NDArray[np.complex128] | None,
    x: Points,
    y: Points,
    reach: int,
) -> tuple[NDArray[np.float64], int]:
    """Return the sum of the image at offsets -reach to reach around the points, and their number.

    With the image's spectrum, all offsets are computed at once as the cross-correlation of the
    image with the points. Without it, points are added one by one, which is faster for few points
    in a large image.
    """
    ny, nx = image.shape
    columns, rows = np.rint(x).astype(int), np.rint(y).astype(int)
    inside = (columns >= 0) & (columns < nx) & (rows >= 0) & (rows < ny)
    offsets = np.arange(-reach, reach + 1)
    if spectrum is None:
        total = np.zeros((len(offsets), len(offsets)))
        for column, row in zip(columns[inside], rows[inside], strict=True):
            total += image[np.ix_((row + offsets) % ny, (column + offsets) % nx)]
        return total, int(inside.sum())
    density = np.zeros(image.shape)
    np.add.at(density, (rows[inside], columns[inside]), 1)
    around = fft.irfft2(spectrum * np.conj(fft.rfft2(density)), s=image.shape)
    return around[np.ix_(offsets % ny, offsets % nx)], int(inside.sum())


def _offsets(
    patch: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the x and y offsets of a patch, and masks of noise offsets and near-zero offsets."""
    reach = len(patch) // 2
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    offset = np.hypot(dx, dy)
    null = (offset > SHIFTS * radius) & (np.maximum(abs(dx), abs(dy)) < reach - radius)
    return dx, dy, null, offset <= NEAR * radius


def _energy(patch: NDArray[np.float64], count: int, radius: float) -> NDArray[np.float64]:
    """Return the mean energy within a radius of each offset of a sum of `count` patches."""
    half = int(np.ceil(radius))
    disc = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1]) <= radius
    # Divide by the count, so that the energy of noise does not depend on the number of points.
    energy: NDArray[np.float64] = ndimage.convolve(patch**2 / max(count, 1), disc / disc.sum())
    return energy


def _judge(
    sums: dict[str, NDArray[np.float64]],
    counts: dict[str, int],
    radius: float,
    binning: float,
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
            x, y = round(int(dx[at]) * binning), round(int(dy[at]) * binning)
            verdict = f"shift by x {x:+d}, y {y:+d} px suspected"
            evidence["shift"] = float(searched[at])
    return Orientation(verdict, evidence, n_micrographs, n_particles)
