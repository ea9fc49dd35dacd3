"""Check the frame of each micrograph's coordinates against the average particle of all.

The image is filtered with the average particle (a matched filter) and summed at the points. In the
right frame, the sum is large; in any other, it varies as it does at arbitrary offsets. Divided by
the standard deviation over such offsets, it is a significance that can be compared between frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from fewpick.coordinates.picks import Points
from fewpick.micrographs.grey_values import SIGMA_PER_MAD

OK, UNCLEAR, SCALE, SHIFT = "ok", "unclear", "scale", "shift"
INVERTED, NOTHING = "opposite contrast", "no particle"
CLEAR = 5.0  # the declared frame is right if it reaches this many standard deviations
FEWEST = 8  # with fewer points, a micrograph is not reported as being in another frame
CERTAIN = 7.0  # standard deviations that another frame must reach, as hundreds are tried,
BETTER = 1.7  # and the factor by which it must exceed the declared one
# "No particle" means this many standard deviations expected, and fewer than this found.
EXPECTED, ABSENT = 12.0, 3.0
SAME_PLACE, SHIFTED, SEARCHED, NULL = 0.5, 1.2, 4.0, 10.0  # offsets in radii; corners are 1.4
EXTENT = 1.5  # of the filter, in radii
CAPPED = 8.0  # standard deviations at which the filtered image is clipped
SCALES = (0.2, 5.0)  # range of scale factors tried
CANDIDATES = 12  # number of scale factors examined closely
ALIKE = 0.03  # relative; scale factors this close to 1 count as the declared frame
N_NULL, GOLDEN = 1000, 2.399963  # number of offsets that represent noise, and angle between them
AT_ONCE = 1 << 20  # values gathered at a time
INSIDE = 0.7  # fraction of the points that must be inside the image in another frame

Frames = Mapping[str, Callable[[Points, Points, int, int], tuple[Points, Points]]]
Image = NDArray[np.float32]


@dataclass
class Judged:
    """The result for one micrograph.

    Attributes
    ----------
    kind : "ok", "unclear", a frame, "scale", "shift", "opposite contrast" or "no particle"
    verdict : the same with numbers
    evidence : standard deviations in favour of the verdict
    declared : standard deviations of the declared frame, with the sign of the filtered image at
        the points
    n_particles : number of points inside the image
    noise : standard deviation of the sum at the points, in units of the filtered image
    """

    kind: str
    verdict: str
    evidence: float
    declared: float
    n_particles: int
    noise: float

    @property
    def moved(self) -> bool:
        """Whether the points seem to be in another frame, scaled or shifted."""
        return self.kind not in (OK, UNCLEAR, INVERTED, NOTHING)


def radial(patch: NDArray[np.float64], dx: int, dy: int, radius: float) -> NDArray[np.float64]:
    """Return the radial average of a patch around an offset from its centre, as a filter."""
    reach = len(patch) // 2
    cut = int(np.ceil(EXTENT * radius))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.rint(np.hypot(columns - dx, rows - dy)).astype(int)
    held = distance <= cut
    sums = np.bincount(distance[held], patch[held], minlength=cut + 1)
    profile = sums / np.maximum(np.bincount(distance[held], minlength=cut + 1), 1)
    return _filter(profile, cut)


def plain(radius: float) -> NDArray[np.float64]:
    """Return a filter for bright discs, for use without an average particle."""
    cut = int(np.ceil(EXTENT * radius))
    return _filter((np.arange(cut + 1) <= radius).astype(float), cut)


def _filter(profile: NDArray[np.float64], cut: int) -> NDArray[np.float64]:
    rows, columns = np.mgrid[-cut : cut + 1, -cut : cut + 1]
    distance = np.hypot(columns, rows)
    return np.where(distance <= cut, np.interp(distance, np.arange(cut + 1), profile), 0.0)


def judge_micrograph(
    image: Image,
    points: Points,
    radius: float,
    template: NDArray[np.float64] | None,
    frames: Frames,
) -> Judged:
    """Compare the declared frame of one micrograph with others, with scales and with shifts.

    Parameters
    ----------
    image : (ny, nx) array, flattened, with particles of `radius` px
    points : (n, 2) array of x, y in px of `image`, in the declared frame
    radius : particle radius, px of `image`
    template : average particle as a filter, or None if unknown
    frames : name -> function that maps points of that frame into the image; "ok" is the declared
        frame
    """
    kernel = plain(radius) if template is None else template
    filtered = signal.fftconvolve(image, kernel.astype(np.float32), mode="same")
    filtered -= np.median(filtered)
    # Clip, so that hot columns and carbon edges do not outweigh the particles.
    spread = SIGMA_PER_MAD * float(np.median(np.abs(filtered))) or float(filtered.std()) or 1.0
    filtered = np.clip(filtered / spread, -CAPPED, CAPPED)
    filtered /= float(filtered.std()) or 1.0
    ny, nx = image.shape
    offsets = _offsets(SEARCHED * radius)
    near = np.hypot(*offsets.T) <= SAME_PLACE * radius
    # A deterministic spiral, so that results are reproducible.
    turns = np.arange(N_NULL)
    distance = radius * np.sqrt(np.linspace(SEARCHED**2, NULL**2, N_NULL))
    away = np.stack([distance * np.cos(turns * GOLDEN), distance * np.sin(turns * GOLDEN)], axis=1)
    null = np.rint(away).astype(int)
    x, y = points.T
    found: dict[str, tuple[str, float]] = {}
    declared, noise, count = 0.0, 1.0, 0
    for frame, place in frames.items():
        placed, n = _inside(image.shape, *place(x, y, nx, ny))
        if n == 0 or (frame != OK and n < INSIDE * len(points)):
            continue
        spread = float(_sums(filtered, placed, null).std()) or 1.0
        searched = offsets if frame == OK else offsets[near]
        sums = _sums(filtered, placed, searched) / spread
        at_points = sums[near] if frame == OK else sums
        value = float(at_points[np.argmax(np.abs(at_points))])
        if frame != OK:
            found[frame] = frame, abs(value)
            continue
        declared, noise, count = value, spread, n
        best = int(np.argmax(np.abs(sums) * (np.hypot(*offsets.T) >= SHIFTED * radius)))
        dx, dy = offsets[best].tolist()
        found[SHIFT] = (
            f"shift by {dx / radius:+.1f}, {dy / radius:+.1f} radii in x, y",
            float(abs(sums[best])),
        )
    factor, value = _best_scale(filtered, points, radius, null)
    found[SCALE] = f"scale by {factor:.3g}", value
    kind = max(found, key=lambda name: found[name][1])
    verdict, evidence = found[kind]
    if len(points) < FEWEST or evidence < CERTAIN or evidence < BETTER * abs(declared):
        kind = verdict = OK if abs(declared) >= CLEAR else UNCLEAR
        evidence = abs(declared)
    return Judged(kind, verdict, evidence, declared, count, noise)


def _offsets(most: float) -> NDArray[np.int64]:
    """Return all integer offsets x, y up to a distance, (k, 2)."""
    reach = int(np.ceil(most))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    held = np.hypot(columns, rows) <= most
    return np.stack([columns[held], rows[held]], axis=1)


def _inside(shape: tuple[int, ...], x: Points, y: Points) -> tuple[NDArray[np.int64], int]:
    """Return the rounded points inside the image, (n, 2) x, y, and their number."""
    ny, nx = shape
    places = np.rint(np.stack([x, y], axis=1)).astype(int)
    places = places[((places >= 0) & (places < [nx, ny])).all(axis=1)]
    return places, len(places)


def _sums(
    image: Image, places: NDArray[np.int64], offsets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Sum the image over the places shifted by each offset, with periodic edges."""
    ny, nx = image.shape
    sums = np.zeros(len(offsets))
    for part in np.array_split(places, max(1, len(places) * len(offsets) // AT_ONCE)):
        columns = (part[None, :, 0] + offsets[:, None, 0]) % nx
        rows = (part[None, :, 1] + offsets[:, None, 1]) % ny
        sums += image[rows, columns].sum(axis=1, dtype=np.float64)
    return sums


def _best_scale(
    filtered: Image, points: Points, radius: float, null: NDArray[np.int64]
) -> tuple[float, float]:
    """Return the scale factor other than 1 that fits the points best, and its significance."""
    ny, nx = filtered.shape
    # Steps small enough that no point is ever more than a third of a radius off.
    step = 0.6 * radius / max(ny, nx)
    n = int(np.ceil(np.log(SCALES[1] / SCALES[0]) / step))
    factors = np.geomspace(*SCALES, max(n, 2))
    factors = factors[np.abs(np.log(factors)) > ALIKE]
    scaled = np.rint(factors[:, None, None] * points).astype(int)
    columns, rows = scaled[..., 0], scaled[..., 1]
    inside = (columns >= 0) & (columns < nx) & (rows >= 0) & (rows < ny)
    count = inside.sum(axis=1)
    values = filtered[np.clip(rows, 0, ny - 1), np.clip(columns, 0, nx - 1)] * inside
    evidence = np.abs(values.sum(axis=1)) / np.sqrt(np.maximum(count, 1))
    evidence[count < INSIDE * len(points)] = 0
    best, most = 1.0, 0.0
    for candidate in np.argsort(-evidence)[:CANDIDATES]:
        # Points crowded by a small factor are not independent, so measure their spread.
        places, _ = _inside(filtered.shape, *(factors[candidate] * points).T)
        spread = float(_sums(filtered, places, null).std()) or 1.0
        value = float(abs(_sums(filtered, places, np.zeros((1, 2), int))[0])) / spread
        if value > most:
            best, most = float(factors[candidate]), value
    return best, most


def compare(each: Mapping[Path, Judged]) -> None:
    """Detect what needs comparison with the others: opposite contrast, points without particles.

    Updates `kind` and `verdict` in place.
    """
    clear = [judged for judged in each.values() if judged.kind == OK]
    if not clear:
        return
    sign = np.sign(sum(judged.declared for judged in clear))
    for judged in clear:
        if judged.declared * sign < 0:
            judged.kind = judged.verdict = INVERTED
    fine = [judged for judged in clear if judged.kind == OK]
    typical = float(
        np.median([abs(judged.declared) * judged.noise / judged.n_particles for judged in fine])
    )
    for judged in each.values():
        expected = typical * judged.n_particles / judged.noise
        if judged.kind == UNCLEAR and expected > EXPECTED and abs(judged.declared) < ABSENT:
            judged.kind = judged.verdict = NOTHING
