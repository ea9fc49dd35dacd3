"""Simulate one micrograph: the specimen in the ice, and how the microscope images it.

The specimen is a thin phase object. Its projected potential, filtered by the contrast transfer
function, modulates the beam transmitted by ice, carbon and contamination, and the detector counts
electrons. Particles, debris and carbon therefore show the same Thon rings, fringes and
low-frequency loss as in a real micrograph; hot pixels, an artefact of the detector, do not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import distance_transform_edt, fourier_shift
from torch_ctf import calculate_ctf_2d

from fewpick.errors import InputError
from fewpick.simulation.density import Species, box_size, broken, density_map, projections, residues

VOLTAGE = 300.0  # kV
SPHERICAL_ABERRATION = 2.7  # mm
AMPLITUDE_CONTRAST = 0.1
DOSE = 40.0  # electrons per square angstrom
MEAN_FREE_PATH = 3200.0  # angstrom of ice at 300 kV, for electrons lost from the image
HOLE_RADIUS = 6000.0  # angstrom, the 1.2 micrometre holes of a common carbon film

# Variance of the structural noise relative to the shot noise, and the fraction of it that is debris
# (denatured protein at the air-water interface) rather than amorphous ice.
STRUCTURAL_NOISE = 0.3
DEBRIS_SHARE = 0.3
DEBRIS_WIDTH = 12.0  # angstrom, standard deviation of a piece of debris

N_VIEWS = 320  # projections of the particle
N_FRAGMENTS = 4  # ways in which it breaks, each with a tenth as many projections

Image = NDArray[np.float32]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Bank:
    """Projections to draw from.

    Attributes
    ----------
    particles, fragments : (n, box, box) arrays, centred at pixel `box // 2`, with a maximum of
        about 1
    diameter : particle diameter, px
    """

    particles: Image
    fragments: Image
    diameter: float


@dataclass(frozen=True)
class Optics:
    """Imaging parameters of one micrograph.

    Attributes
    ----------
    defocus_u, defocus_v : micrometres
    defocus_angle : degrees from x to y
    b_factor : square angstrom
    """

    defocus_u: float
    defocus_v: float
    defocus_angle: float
    b_factor: float


@dataclass(frozen=True)
class SimulatedMicrograph:
    """A simulated micrograph and its ground truth.

    Attributes
    ----------
    image : (ny, nx) float32 array, electrons per pixel
    signal : (ny, nx) float32 array, the noise-free contribution of the particles to `image`;
        negative inside particles
    particles : (n, 2) array, x and y of the labelled centres, px
    views : (n,) array, index in the bank of each particle's projection
    snr : variance of the signal over that of the noise, each inside the particles' discs
    contents : number of each kind of distractor placed; some are beyond the edge
    """

    image: Image
    signal: Image
    particles: FloatArray
    views: NDArray[np.int64]
    optics: Optics
    snr: float
    contents: dict[str, int]

    def without_pixels(self) -> SimulatedMicrograph:
        """Return a copy without image and signal, which takes only a few kilobytes."""
        nothing = np.empty((0, 0), np.float32)
        return replace(self, image=nothing, signal=nothing)


def make_bank(species: Species, pixel_size: float, rng: np.random.Generator) -> Bank:
    """Build a particle and broken ones, and project them in all directions."""
    xyz, weight = residues(species, rng)
    box = box_size(species.diameter, pixel_size)
    particles = projections(density_map(xyz, weight, box, pixel_size), N_VIEWS, rng)
    pieces = [broken(xyz, weight, rng) for _ in range(N_FRAGMENTS)]
    # A piece is recentred and may extend further from its centre than the particle does.
    box = box_size(max(2 * np.linalg.norm(xyz, axis=1).max() for xyz, _ in pieces), pixel_size)
    fragments = [
        projections(density_map(xyz, weight, box, pixel_size), N_VIEWS // 10, rng)
        for xyz, weight in pieces
    ]
    peak = np.median(particles.max(axis=(1, 2)))
    return Bank(particles / peak, np.concatenate(fragments) / peak, species.diameter / pixel_size)


def contrast_transfer(optics: Optics, shape: tuple[int, int], pixel_size: float) -> Image:
    """Return the contrast transfer function times envelope, on the grid of a real FFT.

    `sin(pi w (df + da cos 2(t - t0)) k^2 - pi/2 Cs w^3 k^4 + asin A) exp(-B k^2 / 4)` with
    wavelength w, spatial frequency k and its angle t, mean defocus df and half the astigmatism
    da (Rohou and Grigorieff 2015, CTFFIND4). Positive at low frequency in underfocus.

    Returns
    -------
    (ny, nx // 2 + 1) float32 array
    """
    ctf = calculate_ctf_2d(
        defocus=(optics.defocus_u + optics.defocus_v) / 2,
        astigmatism=(optics.defocus_u - optics.defocus_v) / 2,
        astigmatism_angle=optics.defocus_angle,
        voltage=VOLTAGE,
        spherical_aberration=SPHERICAL_ABERRATION,
        amplitude_contrast=AMPLITUDE_CONTRAST,
        phase_shift=0.0,
        pixel_size=pixel_size,
        image_shape=shape,
        rfft=True,
        fftshift=False,
    ).numpy()
    ky, kx = np.fft.fftfreq(shape[0], pixel_size), np.fft.rfftfreq(shape[1], pixel_size)
    envelope = np.exp(-optics.b_factor / 4 * (ky[:, None] ** 2 + kx**2))
    return (ctf * envelope).astype(np.float32)


def simulate_micrograph(
    bank: Bank,
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    pixel_size: float,
    snr: tuple[float, float],
    density: tuple[float, float],
) -> SimulatedMicrograph:
    """Draw a specimen and simulate its image.

    Parameters
    ----------
    bank : projections, sampled at `pixel_size`
    shape : ny, nx of the micrograph
    rng : random generator; the order of draws is fixed
    pixel_size : angstrom per pixel
    snr : range of this micrograph's signal-to-noise ratio
    density : range of the number of particles per 1024 x 1024 pixels; there are fewer if carbon or
        contamination leaves no room

    Raises
    ------
    InputError
        If there is no room for a single particle.
    """
    # Simulate a larger field than the micrograph, so that particles cross its edge and the periodic
    # Fourier filters do not wrap fringes from one side to the other.
    margin = bank.particles.shape[-1]
    field = (fft.next_fast_len(shape[0] + 2 * margin), fft.next_fast_len(shape[1] + 2 * margin))
    window = (slice(margin, margin + shape[0]), slice(margin, margin + shape[1]))
    y, x = (np.arange(n, dtype=np.float32) for n in field)
    y = y[:, None]

    optics = _draw_optics(rng)
    snr_drawn = float(rng.uniform(*snr))
    thickness = _ice_thickness(x, y, rng)
    carbon = _carbon(x, y, pixel_size, rng)
    transmission = np.exp(-thickness / MEAN_FREE_PATH) * (1 - 0.15 * carbon)

    foreign = np.zeros(field, np.float32)
    n_contamination = _add_contamination(foreign, transmission, pixel_size, rng)
    n_gold = _add_gold(foreign, transmission, pixel_size, rng)
    clear = (carbon < 0.02) & (foreign == 0)
    foreign += 2 * carbon
    # A particle may touch carbon or contamination, but nobody could label one covered by it.
    free = clear if clear.all() else distance_transform_edt(clear) > bank.diameter / 3

    n_particles = max(1, round(rng.uniform(*density) * _megapixels(foreign)))
    n_decoys = round(rng.uniform(0.1, 0.4) * n_particles)
    centres = _place(n_particles, free, bank.diameter, rng)
    if len(centres) == 0:
        raise InputError(
            f"simulate.shape: in {shape[0]} x {shape[1]} pixels, carbon and contamination leave no "
            "room for a particle. Make the micrographs larger."
        )
    fragments = _place(n_decoys, free, bank.diameter, rng, taken=centres)
    views = rng.integers(len(bank.particles), size=len(centres))
    particles = _stamp(bank.particles, views, centres, field)
    decoys = _stamp_decoys(bank, fragments, field, rng)

    transfer = contrast_transfer(optics, field, pixel_size)
    signal = _filter(particles, transfer)
    texture = _filter(_noise_potential(field, pixel_size, rng), transfer)
    texture *= np.sqrt(thickness / thickness.mean()) * (1 + 1.5 * carbon)
    electrons = (DOSE * pixel_size**2) * transmission
    # In relative units, the shot noise has variance 1 / electrons. The texture is scaled to it, and
    # the particles to both, because absolute scattering strengths are not known here.
    shot = float(np.mean(1 / electrons[clear]))
    texture *= np.sqrt(STRUCTURAL_NOISE * shot / np.mean(texture[clear] ** 2))
    noise = shot * (1 + STRUCTURAL_NOISE)
    amplitude = np.sqrt(snr_drawn * noise / _variance_in_discs(signal, centres, bank.diameter))
    contrast = amplitude * (signal + _filter(decoys + foreign, transfer)) + texture

    expected = electrons * np.maximum(1 - contrast, 0.02)
    image = rng.poisson(expected[window]).astype(np.float32)
    n_hot = _add_hot_pixels(image, rng)

    inside = centres - margin
    labelled = np.all((inside >= 0) & (inside <= np.array(shape[::-1]) - 1), axis=1)
    return SimulatedMicrograph(
        image=image,
        signal=-(amplitude * electrons * signal)[window].astype(np.float32),
        particles=inside[labelled],
        views=views[labelled],
        optics=optics,
        snr=snr_drawn,
        contents={
            "decoys": len(fragments),
            "carbon": int(carbon[window].max() > 0.5),
            "contamination": n_contamination,
            "gold": n_gold,
            "hot_pixels": n_hot,
        },
    )


def _draw_optics(rng: np.random.Generator) -> Optics:
    defocus = rng.uniform(0.8, 2.6)
    astigmatism = rng.uniform(0.0, 0.08)
    return Optics(
        defocus_u=float(defocus + astigmatism / 2),
        defocus_v=float(defocus - astigmatism / 2),
        defocus_angle=float(rng.uniform(0, 180)),
        b_factor=float(rng.uniform(80, 200)),
    )


def _ice_thickness(x: Image, y: Image, rng: np.random.Generator) -> Image:
    """Draw an ice thickness, angstrom: a gradient across the field and a meniscus in the hole."""
    u, v = 2 * x / x.size - 1, 2 * y / y.size - 1
    angle = rng.uniform(0, 2 * np.pi)
    slope, bend = rng.uniform(0.0, 0.5), rng.uniform(0.0, 0.3)
    centre_u, centre_v = rng.uniform(-0.5, 0.5, 2)
    relative = 1 + slope * (u * np.cos(angle) + v * np.sin(angle))
    relative = relative + bend * ((u - centre_u) ** 2 + (v - centre_v) ** 2) / 2
    return (rng.uniform(250, 600) * np.maximum(relative, 0.2)).astype(np.float32)


def _carbon(x: Image, y: Image, pixel_size: float, rng: np.random.Generator) -> Image:
    """Draw the carbon fraction of each pixel, 0 to 1; a third of the fields show a hole's rim."""
    angle, depth, present = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.85), rng.random() < 0.33
    if not present:
        return np.zeros((y.size, x.size), np.float32)
    radius = HOLE_RADIUS / pixel_size
    # The rim is `depth` half-widths of the field away from its centre.
    offset = depth * min(x.size, y.size) / 2 - radius
    distance = np.hypot(
        x - (x.size / 2 + offset * np.cos(angle)), y - (y.size / 2 + offset * np.sin(angle))
    )
    return (1 / (1 + np.exp(np.clip((radius - distance) / 3, -30, 30)))).astype(np.float32)


def _add_contamination(
    foreign: Image, transmission: Image, pixel_size: float, rng: np.random.Generator
) -> int:
    """Add ragged crystals of ice, 150 to 700 angstrom wide, to half of the fields."""
    n = int(rng.poisson(2 * _megapixels(foreign))) if rng.random() < 0.5 else 0
    for _ in range(n):
        outline = rng.normal(size=6) * 0.3 / np.arange(1, 7)
        thickness = rng.uniform(1, 3)
        radius = rng.uniform(75, 350) / pixel_size
        _add_blot(foreign, transmission, radius, outline, thickness, 0.1 * thickness, rng)
    return n


def _add_gold(
    foreign: Image, transmission: Image, pixel_size: float, rng: np.random.Generator
) -> int:
    """Add gold beads, 5 to 10 nm wide, to a sixth of the fields."""
    n = int(rng.poisson(4 * _megapixels(foreign))) if rng.random() < 1 / 6 else 0
    radius = rng.uniform(25, 50) / pixel_size
    for _ in range(n):
        _add_blot(foreign, transmission, radius, np.zeros(1), 6.0, 0.5, rng)
    return n


def _add_blot(
    foreign: Image,
    transmission: Image,
    radius: float,
    outline: FloatArray,
    potential: float,
    absorption: float,
    rng: np.random.Generator,
) -> None:
    """Add an opaque body of `radius` px at a random position; `outline` holds Fourier terms."""
    ny, nx = foreign.shape
    centre_x, centre_y = rng.uniform(0, (nx, ny))
    reach = int(radius * (1 + np.abs(outline).sum())) + 2
    rows = slice(max(0, int(centre_y) - reach), int(centre_y) + reach + 1)
    columns = slice(max(0, int(centre_x) - reach), int(centre_x) + reach + 1)
    y, x = np.ogrid[:ny, :nx]
    dy, dx = y[rows] - centre_y, x[:, columns] - centre_x
    phases = rng.uniform(0, 2 * np.pi, len(outline))
    angle = np.arctan2(dy, dx)
    edge = np.full(angle.shape, radius)
    for order, (height, phase) in enumerate(zip(outline, phases, strict=True), start=1):
        edge += radius * height * np.cos(order * angle + phase)
    # A rounded body: full height from a third of the radius inwards.
    inside = np.sqrt(np.clip(3 * (1 - np.hypot(dy, dx) / edge), 0, 1))
    foreign[rows, columns] += (potential * inside).astype(np.float32)
    transmission[rows, columns] *= (1 - absorption * inside).astype(np.float32)


def _add_hot_pixels(image: Image, rng: np.random.Generator) -> int:
    n = int(rng.poisson(15 * _megapixels(image)))
    y, x = (rng.integers(size, size=n) for size in image.shape)
    image[y, x] = np.rint(image.mean() * rng.uniform(2, 20, n))
    return n


def _place(
    n: int,
    free: NDArray[np.bool_],
    diameter: float,
    rng: np.random.Generator,
    taken: FloatArray | None = None,
) -> FloatArray:
    """Place points (x, y) in the free area one by one, at least 0.9 diameters apart.

    A quarter of them are placed next to an earlier one, nearly touching it. Returns fewer than `n`
    if there is no room.
    """
    ny, nx = free.shape
    gap = 0.9 * diameter
    points = [] if taken is None else list(taken)
    n_taken = len(points)
    for _ in range(30 * n):
        if len(points) == n_taken + n:
            break
        if len(points) > n_taken and rng.random() < 0.25:
            angle, distance = rng.uniform(0, 2 * np.pi), gap * rng.uniform(1, 1.15)
            neighbour = points[rng.integers(n_taken, len(points))]
            point = neighbour + distance * np.array([np.cos(angle), np.sin(angle)])
        else:
            point = rng.uniform(0, (nx - 1, ny - 1))
        column, row = np.rint(point).astype(int)
        if not (0 <= row < ny and 0 <= column < nx and free[row, column]):
            continue
        if points and np.min(np.sum((np.array(points) - point) ** 2, axis=1)) < gap**2:
            continue
        points.append(point)
    return np.array(points[n_taken:]).reshape(-1, 2)


def _stamp(
    images: Image, views: NDArray[np.int64], centres: FloatArray, shape: tuple[int, int]
) -> Image:
    """Add `images[views]` to an empty field, pixel `box // 2` of each exactly at its centre.

    Sub-pixel shifts are phase ramps, which do not blur. Boxes are clipped at the edge.
    """
    field = np.zeros(shape, np.float32)
    box = images.shape[-1]
    for view, centre in zip(views, centres, strict=True):
        nearest = np.rint(centre).astype(int)
        shift = (centre - nearest)[::-1]
        transform = fourier_shift(fft.rfft2(images[view]), shift, n=box)
        stamp = fft.irfft2(transform, s=(box, box))
        left, top = nearest - box // 2
        rows = slice(max(0, top), min(shape[0], top + box))
        columns = slice(max(0, left), min(shape[1], left + box))
        field[rows, columns] += stamp[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
    return field


def _stamp_decoys(
    bank: Bank, centres: FloatArray, shape: tuple[int, int], rng: np.random.Generator
) -> Image:
    """Add a broken particle at each centre, or an aggregate of several at one in five."""
    size = np.where(rng.random(len(centres)) < 0.2, rng.integers(3, 7, len(centres)), 1)
    scatter = rng.normal(0, 0.25 * bank.diameter, (size.sum(), 2))
    scatter[np.repeat(size == 1, size)] = 0
    views = rng.integers(len(bank.fragments), size=size.sum())
    return _stamp(bank.fragments, views, np.repeat(centres, size, axis=0) + scatter, shape)


def _noise_potential(shape: tuple[int, int], pixel_size: float, rng: np.random.Generator) -> Image:
    """Draw the potential of amorphous ice (white) plus debris (low-frequency), with variance 1."""
    white = rng.standard_normal(shape, dtype=np.float32)
    blobs = rng.standard_normal(shape, dtype=np.float32)
    ky, kx = np.fft.fftfreq(shape[0], pixel_size), np.fft.rfftfreq(shape[1], pixel_size)
    blur = np.exp(-2 * (np.pi * DEBRIS_WIDTH) ** 2 * (ky[:, None] ** 2 + kx**2))
    debris = _filter(blobs, blur.astype(np.float32))
    debris /= debris.std()
    return np.sqrt(1 - DEBRIS_SHARE) * white + np.sqrt(DEBRIS_SHARE) * debris


def _filter(image: Image, transfer: Image) -> Image:
    return fft.irfft2(fft.rfft2(image) * transfer, s=image.shape)


def _variance_in_discs(image: Image, centres: FloatArray, diameter: float) -> float:
    """Return the mean variance inside the discs around `centres`, clipped at the edge."""
    radius = diameter / 2
    variances = []
    for x, y in centres:
        rows = np.arange(max(0, np.ceil(y - radius)), min(image.shape[0], y + radius), dtype=int)
        columns = np.arange(max(0, np.ceil(x - radius)), min(image.shape[1], x + radius), dtype=int)
        disc = (rows[:, None] - y) ** 2 + (columns - x) ** 2 <= radius**2
        variances.append(image[rows[:, None], columns][disc].var())
    return float(np.mean(variances))


def _megapixels(image: Image) -> float:
    return image.size / 1024**2
