"""Simulate training crops of all kinds of micrographs, at the scale of the general picker.

`imaging.simulate_micrograph` makes physically careful whole micrographs. Here, thousands of small
crops are drawn for training, so each has to be cheap, and everything that varies between
microscopes, proteins and file-writing programs is varied as widely as possible: size, contrast,
crowding, views, defocus, filters, grey levels and contamination, up to micrographs without any
particles.

The projected potential (particles, broken and foreign ones, contamination, carbon) is filtered by
the contrast transfer function, and noise of various spectra is added; then the image is filtered,
clipped, quantised and normalised like real files. Particles come out dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter, map_coordinates
from torch.nn import functional

from fewpick.micrographs.grey_values import SIGMA_PER_MAD
from fewpick.simulation.shapes import BOX, DIAMETER, Views

PARTICLE_PX = 20.0  # diameter that a user would specify, px of a crop
MARGIN = 24  # px around a crop that are simulated and then removed
WAVELENGTHS = (0.0197, 0.0251)  # angstrom, at 300 and 200 kV
EMPTY = 0.3  # fraction of crops without particles
_PATCH = 36  # px, side of the square that one particle is drawn into

Image = NDArray[np.float32]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Crop:
    """A simulated crop.

    Attributes
    ----------
    image : (n, n) float32 array, median about 0 and standard deviation about 1
    particles : (k, 2) array, x and y of centres, px; some are just beyond the edge
    unclear : (m, 3) array, x, y and radius, px, of discs with ambiguous content (clumps)
    """

    image: Image
    particles: FloatArray
    unclear: FloatArray


def draw_crop(kinds: Sequence[Views], size: int, rng: np.random.Generator) -> Crop:
    """Simulate one crop.

    Parameters
    ----------
    kinds : projections of each kind of particle, see `shapes.library`
    size : edge of the crop, px
    rng : random generator
    """
    n = size + 2 * MARGIN
    scene = _Scene(n, rng)
    empty = rng.random() < EMPTY
    carbon = _carbon(scene) if rng.random() < 0.15 else None
    particles, unclear = np.empty((0, 2)), np.empty((0, 3))
    kind = kinds[int(rng.integers(len(kinds)))]
    ratio = float(np.clip(rng.normal(0.92, 0.17), 0.5, 1.2))  # of true to stated diameter
    foreign = np.zeros((n, n), np.float32)
    _contaminate(foreign, kinds, kind, ratio, scene, heavy=rng.random() < (0.5 if empty else 0.25))
    covered = gaussian_filter((np.abs(foreign) > 1.5).astype(np.float32), 2) > 0.3
    potential = np.zeros((n, n), np.float32)
    if not empty:
        particles, unclear = _populate(potential, kind, ratio, covered, carbon, scene)
    passed = _transfer(scene)
    signal = _filtered(potential, passed)
    strength = _strength(signal, particles, ratio, kind, passed)
    image = -(signal + _filtered(foreign + (0 if carbon is None else carbon[1]), passed))
    # Contrast-to-noise ratio inside the particles: from hardly visible to denoised.
    image = image / strength * math.exp(rng.uniform(math.log(0.22), math.log(3.5)))
    image = image + _noise(passed, carbon, empty, scene)
    image = _finish(image.astype(np.float32), rng)[MARGIN:-MARGIN, MARGIN:-MARGIN]
    particles = particles - MARGIN
    near = np.all((particles > -12) & (particles < size + 12), axis=1)
    unclear = unclear - [MARGIN, MARGIN, 0]
    return Crop(np.ascontiguousarray(image), particles[near], unclear)


class _Scene:
    """The coordinate grids and the random generator of one crop."""

    def __init__(self, n: int, rng: np.random.Generator) -> None:
        self.n, self.rng = n, rng
        self.y, self.x = np.ogrid[:n, :n]
        fy, fx = fft.fftfreq(n)[:, None], fft.rfftfreq(n)[None]
        self.frequency = np.hypot(fy, fx).astype(np.float32)
        self.angle = np.arctan2(fy, fx).astype(np.float32)

    def point(self) -> tuple[float, float]:
        x, y = self.rng.uniform(0, self.n, 2)
        return float(x), float(y)

    def distance(self, x: float, y: float) -> NDArray[np.float64]:
        return np.asarray(np.hypot(self.x - x, self.y - y))

    def white(self) -> Image:
        return self.rng.standard_normal((self.n, self.n), dtype=np.float32)


def _filtered(image: NDArray[np.floating], transfer: NDArray[np.floating]) -> Image:
    spectrum = fft.rfft2(image.astype(np.float32))
    return np.asarray(fft.irfft2(spectrum * transfer, s=image.shape), np.float32)


def _transfer(scene: _Scene) -> Image:
    """Draw a contrast transfer function at a random magnification, or a plain band-pass."""
    rng = scene.rng
    k = scene.frequency
    if rng.random() < 0.25:
        low, high = rng.uniform(0.15, 0.6), rng.uniform(0.0, 0.02)
        passed = np.exp(-((k / low) ** 2)) * (1 - np.exp(-((k / max(high, 1e-4)) ** 2)))
        return passed.astype(np.float32)
    pixel = math.exp(rng.uniform(math.log(80), math.log(400))) / PARTICLE_PX
    k = k / pixel
    defocus = 1e4 * math.exp(rng.uniform(math.log(0.6), math.log(4.0)))
    defocus = defocus * (1 + rng.uniform(0, 0.06) * np.cos(2 * (scene.angle - rng.uniform(0, 3))))
    amplitude = math.asin(rng.uniform(0.05, 0.2))
    phase = math.pi * WAVELENGTHS[rng.integers(2)] * defocus * k**2
    envelope = np.exp(-rng.uniform(0, 400) / 4 * k**2)
    return (np.sin(phase + amplitude) * envelope).astype(np.float32)


def _stamp(
    field: Image, views: Views, centres: FloatArray, scales: FloatArray, rng: np.random.Generator
) -> None:
    """Add randomly chosen and rotated views to a field, `scales` field px per view px."""
    if len(centres) == 0:
        return
    chosen = torch.from_numpy(views[rng.integers(len(views), size=len(centres))])[:, None]
    corner = np.floor(centres).astype(int) - _PATCH // 2 + 1
    shift = centres - corner  # centre of the particle in its patch, px
    angle = rng.uniform(0, 2 * np.pi, len(centres))
    mirror = rng.choice([-1.0, 1.0], len(centres))
    # Maps positions in the patch to positions in the view, -1 to 1 over its pixels.
    cos, sin = np.cos(angle) / scales, np.sin(angle) / scales
    matrix = np.stack([np.stack([cos * mirror, -sin], 1), np.stack([sin * mirror, cos], 1)], 1)
    grid = np.arange(_PATCH)
    offset_x, offset_y = grid - shift[:, :1], grid - shift[:, 1:]
    x = matrix[:, 0, 0, None, None] * offset_x[:, None] + (
        matrix[:, 0, 1, None, None] * offset_y[:, :, None]
    )
    y = matrix[:, 1, 0, None, None] * offset_x[:, None] + (
        matrix[:, 1, 1, None, None] * offset_y[:, :, None]
    )
    places = np.stack([x, y], -1) + BOX // 2
    places = places * (2 / (BOX - 1)) - 1
    drawn = functional.grid_sample(
        chosen, torch.from_numpy(places.astype(np.float32)), align_corners=True
    )[:, 0].numpy()
    n = len(field)
    strengths = np.exp(rng.normal(0, 0.12, len(centres))).astype(np.float32)
    for patch, (left, top), strength in zip(drawn, corner, strengths, strict=True):
        y0, x0 = max(top, 0), max(left, 0)
        y1, x1 = min(top + _PATCH, n), min(left + _PATCH, n)
        if y1 > y0 and x1 > x0:
            field[y0:y1, x0:x1] += strength * patch[y0 - top : y1 - top, x0 - left : x1 - left]


def _scatter(
    n: int, count: int, distance: float, density: Image | None, rng: np.random.Generator
) -> FloatArray:
    """Draw points that keep a minimum distance, denser where `density` (0 to 1) is high."""
    kept = np.empty((0, 2))
    for xy in rng.uniform(0, n - 1, (4 * count, 2)):
        if density is not None and rng.random() > density[int(xy[1]), int(xy[0])]:
            continue
        if len(kept) and np.min(np.sum((kept - xy) ** 2, 1)) < distance**2:
            continue
        kept = np.vstack([kept, xy])
        if len(kept) == count:
            break
    return kept


def _populate(
    potential: Image,
    kind: Views,
    ratio: float,
    covered: NDArray[np.bool_],
    carbon: tuple[Image, Image] | None,
    scene: _Scene,
) -> tuple[FloatArray, FloatArray]:
    """Add particles, and some clumps, to a field; return the centres and the unclear discs."""
    rng, n = scene.rng, scene.n
    views = kind[rng.integers(len(kind), size=max(1, int(len(kind) ** rng.uniform(0, 1))))]
    visible = ratio * PARTICLE_PX
    share = rng.choice([rng.uniform(0.01, 0.1), rng.uniform(0.1, 0.35), rng.uniform(0.3, 0.75)])
    count = max(1, round(share * n**2 / (math.pi * (visible / 2) ** 2)))
    density = None
    if rng.random() < 0.4:  # unevenly distributed
        field = gaussian_filter(scene.white(), rng.uniform(8, 30))
        density = np.clip(0.5 + rng.uniform(0.5, 2) * field / field.std(), 0.02, 1)
    centres = _scatter(n, count, rng.uniform(0.6, 1.1) * visible, density, rng)
    rows, columns = centres[:, 1].astype(int), centres[:, 0].astype(int)
    hidden = covered[rows, columns]
    if carbon is not None:
        hidden |= carbon[0][rows, columns] > 0.5
    centres = centres[~hidden]
    jitter = np.exp(rng.normal(0, 0.03, len(centres)))
    _stamp(potential, views, centres, jitter * visible / DIAMETER, rng)
    unclear = []
    if rng.random() < 0.12:  # clumps
        for _ in range(rng.integers(1, 4)):
            middle = np.array(scene.point())
            spread = rng.uniform(0.4, 1.0) * visible
            members = middle + rng.normal(0, spread, (int(rng.integers(4, 12)), 2))
            members = members.clip(0, n - 1)
            _stamp(potential, views, members, np.full(len(members), visible / DIAMETER), rng)
            unclear.append([*middle, 2.2 * spread + visible / 2])
    return centres, np.array(unclear).reshape(-1, 3)


def _strength(
    signal: Image, particles: FloatArray, ratio: float, kind: Views, passed: Image
) -> float:
    """Return the RMS of the signal inside the particles; without any, that of a single one."""
    radius = max(3, int(ratio * PARTICLE_PX / 2))
    n = len(signal)
    if len(particles) == 0:
        signal = np.zeros_like(signal)
        signal[:BOX, :BOX] = kind[0]
        signal = _filtered(signal, passed)
        particles = np.array([[BOX // 2, BOX // 2]], float)
    values = [
        signal[max(y - radius, 0) : y + radius, max(x - radius, 0) : x + radius].ravel()
        for x, y in particles.clip(0, n - 1).astype(int)
    ]
    return float(np.sqrt(np.mean(np.concatenate(values) ** 2))) + 1e-6


def _contaminate(
    field: Image, kinds: Sequence[Views], kind: Views, ratio: float, scene: _Scene, *, heavy: bool
) -> None:
    """Add non-particles: ice, dirt, gold, filaments, vesicles, broken and other proteins."""
    rng, n = scene.rng, scene.n
    rate = 2.5 if heavy else 0.5

    def some(mean: float) -> range:
        return range(int(rng.poisson(mean * rate)))

    for _ in some(0.25):  # ice and dirt, round or irregular, smooth or flat
        x, y = scene.point()
        radius = math.exp(rng.uniform(math.log(4), math.log(70)))
        height = rng.uniform(0.7, 6) * rng.choice([1, 1, 1, -0.3])
        shape = np.zeros((n, n))
        for _ in range(1 if rng.random() < 0.6 else rng.integers(2, 6)):
            dx, dy = rng.normal(0, 0.7 * radius, 2)
            r = radius * rng.uniform(0.5, 1.1)
            dome = np.clip(1 - (scene.distance(x + dx, y + dy) / r) ** 2, 0, 1)
            shape = np.maximum(shape, dome ** rng.uniform(0.1, 0.8))
        if rng.random() < 0.4:
            texture = gaussian_filter(scene.white(), rng.uniform(0.8, 4))
            shape = shape * (1 + rng.uniform(0.2, 0.8) * texture / texture.std())
        field += (height * shape).astype(np.float32)
    for _ in some(0.12):  # groups of equal dots smaller than a particle, up to heavy gold
        radius, height = rng.uniform(1, 4.5), rng.uniform(0.8, 6) * rng.choice([1, 1, 3])
        for _ in range(rng.integers(1, 25)):
            x, y = scene.point()
            dome = np.clip(1 - (scene.distance(x, y) / radius) ** 2, 0, 1)
            field += (height * np.sqrt(dome)).astype(np.float32)
    for _ in some(0.12):  # filaments and cracks
        x, y = scene.point()
        angle, bend = rng.uniform(0, np.pi), rng.normal(0, 0.004)
        along = (scene.x - x) * math.cos(angle) + (scene.y - y) * math.sin(angle)
        across = (scene.y - y) * math.cos(angle) - (scene.x - x) * math.sin(angle)
        across = across + bend * along**2 + rng.uniform(0, 4) * np.sin(along / rng.uniform(6, 40))
        width = rng.uniform(0.8, 5)
        line = np.exp(-((across / width) ** 2)) * (np.abs(along) < rng.uniform(15, n))
        field += (rng.uniform(0.3, 2.5) * line).astype(np.float32)
    for _ in some(0.1):  # vesicles
        x, y = scene.point()
        ring = scene.distance(x, y) - rng.uniform(14, 60)
        wall = np.exp(-((ring / rng.uniform(1, 3)) ** 2))
        field += (rng.uniform(0.3, 2.5) * wall).astype(np.float32)
    for _ in some(0.2):  # broken particles, smaller and larger other ones
        small = rng.random() < 0.75
        other = kind if rng.random() < 0.4 else kinds[int(rng.integers(len(kinds)))]
        size = ratio * (rng.uniform(0.22, 0.5) if small else rng.uniform(1.45, 2.0))
        if size * PARTICLE_PX > _PATCH - 4:
            continue
        count = int(rng.integers(1, 40 if small else 6))
        places = rng.uniform(0, n, (count, 2))
        _stamp(field, other, places, np.full(count, size * PARTICLE_PX / DIAMETER), rng)


def _carbon(scene: _Scene) -> tuple[Image, Image]:
    """Draw a carbon film next to a hole: its fraction of each pixel, and its potential."""
    rng = scene.rng
    x, y = scene.point()
    angle = rng.uniform(0, 2 * np.pi)
    hole = rng.uniform(200, 2000)
    edge = scene.distance(x - hole * math.cos(angle), y - hole * math.sin(angle)) - hole
    share = (1 / (1 + np.exp(-edge / rng.uniform(0.7, 3)))).astype(np.float32)
    rough = gaussian_filter(scene.white(), rng.uniform(0.5, 2.5))
    rim = np.exp(-((edge / rng.uniform(1, 3)) ** 2)) * rng.uniform(0, 3)
    height = rng.uniform(0.2, 3) + rng.uniform(0.1, 1.2) * rough / rough.std()
    return share, (share * height + rim).astype(np.float32)


def _noise(passed: Image, carbon: tuple[Image, Image] | None, empty: bool, scene: _Scene) -> Image:
    """Draw noise: from the detector, from the imaged ice, and of other spectra."""
    rng, k = scene.rng, scene.frequency
    noise = scene.white()
    ice = _filtered(scene.white(), passed * np.exp(-((k / rng.uniform(0.05, 0.5)) ** 2)))
    noise = noise + rng.choice([0, rng.uniform(0, 0.6), rng.uniform(0.6, 2)]) * ice / ice.std()
    if rng.random() < 0.4:
        colour = _filtered(scene.white(), (k + 0.004) ** -rng.uniform(0.3, 1.6))
        noise = noise + rng.uniform(0.1, 1.0) * colour / colour.std()
    # Textures of a single length scale: crystalline ice, clouds and the grain of thick ice.
    for _ in range(rng.poisson(1.0 if empty else 0.1)):
        noise = noise + rng.uniform(0.3, 2.0) * _texture(scene)
    noise = noise / noise.std()
    if carbon is not None:
        noise = noise * (1 + rng.uniform(0, 1) * carbon[0])
    return np.asarray(noise, np.float32)


def _texture(scene: _Scene) -> Image:
    """Draw a texture of one length scale, everywhere or in patches, possibly clipped."""
    rng, k = scene.rng, scene.frequency
    centre = math.exp(rng.uniform(math.log(0.008), math.log(0.4)))
    band = np.exp(-(((k - centre) / (centre * rng.uniform(0.1, 0.9))) ** 2))
    if rng.random() < 0.25:  # planes of a crystal
        band = band * np.maximum(np.cos(rng.integers(1, 4) * scene.angle), 0) ** 4
    texture = _filtered(scene.white(), band)
    texture = texture / texture.std()
    if rng.random() < 0.3:  # dark or bright patches on even ground
        texture = np.clip(texture, *((-9, 0.3) if rng.random() < 0.7 else (-0.3, 9)))
    if rng.random() < 0.3:
        place = gaussian_filter(scene.white(), rng.uniform(5, 30))
        texture = texture * np.clip(0.5 + place / place.std(), 0, 3)
    return np.asarray(texture / texture.std(), np.float32)


def _finish(image: Image, rng: np.random.Generator) -> Image:
    """Apply the processing that real files undergo before a picker reads them, then normalise."""
    n = len(image)
    if rng.random() < 0.3:
        image = gaussian_filter(image, rng.uniform(0.4, 1.6))
    if rng.random() < 0.06:  # drift
        smeared = [
            map_coordinates(image, np.mgrid[:n, :n] + shift, order=1, mode="nearest")
            for shift in np.linspace(-1, 1, 5)[:, None, None, None]
            * rng.normal(0, 2, 2)[:, None, None]
        ]
        image = np.mean(smeared, axis=0)
    if rng.random() < 0.3:
        image = image - gaussian_filter(image, rng.uniform(12, 50))
    image = image / (image.std() + 1e-6)
    ramp = np.linspace(-1, 1, n)
    if rng.random() < 0.5:  # thickness of the ice, illumination
        slope = rng.normal(0, 0.7, 4)
        image = image + slope[0] * ramp + slope[1] * ramp[:, None]
        image = image + slope[2] * ramp * ramp[:, None] + slope[3] * (ramp**2 - 0.3)
    if rng.random() < 0.2:
        image = image * np.exp(rng.normal(0, 0.3) * ramp + rng.normal(0, 0.3) * ramp[:, None])
    if rng.random() < 0.2:
        image = np.clip(image, -rng.uniform(1.5, 5), rng.uniform(1.5, 5))
    if rng.random() < 0.3:
        step = rng.uniform(0.1, 0.8)
        image = np.asarray(np.round(image / step) * step, np.float32)
    sample = image[::2, ::2]
    median = np.median(sample)
    spread = SIGMA_PER_MAD * np.median(np.abs(sample - median)) + 0.05
    image = (image - median) / spread * math.exp(rng.normal(0, 0.12)) + rng.normal(0, 0.12)
    return np.asarray(np.clip(image, -6, 6), np.float32)
