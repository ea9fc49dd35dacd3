"""Make many kinds of particles of equal size, from EMDB maps and at random.

A general picker must find particles it has never seen, so for its training variety matters more
than resolution. Each kind is stored as projections in which the particle is `DIAMETER` px wide,
whatever its size in angstrom.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.spatial.transform import Rotation

from fewpick.errors import InputError
from fewpick.simulation.density import projections

DIAMETER = 24  # px, of a particle in its projections
BOX = 40  # px, side of a projection
EDGE = 0.985  # fraction of the mass within a particle's radius
# Contour of a map, in standard deviations above its mean: everything below is noise or solvent.
CONTOUR = 1.0
# Point groups to draw from, repeated by frequency: most complexes are small or asymmetric.
GROUPS = ("C1", "C1", "C1", "C2", "C2", "C3", "C4", "C5", "C6", "C7", "D2", "D3", "D4", "D7")
LARGE_GROUPS = ("T", "O", "I")
HOLLOW = 0.4  # fraction of shells, such as ferritin and capsids, among the random kinds

FloatArray = NDArray[np.float64]
Views = NDArray[np.float32]


def map_views(path: str | Path, n: int, rng: np.random.Generator) -> Views:
    """Project a density map in `n` random directions.

    Returns
    -------
    (n, BOX, BOX) float32 array, the particle `DIAMETER` px wide, with a maximum of about 1

    Raises
    ------
    InputError
        If the file is not a map, or the map is constant.
    """
    try:
        with mrcfile.open(path, permissive=True) as file:
            density = np.asarray(file.data, np.float64)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a density map ({error}). Download it again.") from error
    if density.ndim != 3 or density.std() == 0:
        raise InputError(f"{path}: not a density map of a particle. Download it again.")
    density = np.clip((density - density.mean()) / density.std() - CONTOUR, 0, 8)
    return _views(density, n, rng)


def random_views(n: int, rng: np.random.Generator) -> Views:
    """Draw a random kind of particle, and project it in `n` random directions.

    The asymmetric unit consists of ellipsoidal domains of different density with a random texture,
    copied by a point group. The result may be compact, long, flat, hollow or a ring.

    Returns
    -------
    like `map_views`
    """
    axis = np.linspace(-1.6, 1.6, 36)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")).reshape(3, -1)
    grid = grid.astype(np.float32)
    if rng.random() < 0.2:
        group, n_domains = str(rng.choice(LARGE_GROUPS)), 1
    else:
        group, n_domains = str(rng.choice(GROUPS)), int(rng.integers(1, 5))
    copies = Rotation.create_group(group)
    reach = rng.uniform(0.15, 0.75)
    flat = np.exp(rng.normal(0, 0.35, 3))
    density = np.zeros(grid.shape[1], np.float32)
    for _ in range(n_domains):
        direction = rng.standard_normal(3)
        centre = reach * direction / np.linalg.norm(direction) * rng.uniform(0.6, 1.2)
        axes = np.exp(rng.uniform(np.log(0.22), np.log(0.65), 3))
        turn = Rotation.random(rng=rng).as_matrix()
        weight = rng.uniform(0.5, 1.5)
        for copy in copies.as_matrix():
            offset = grid - ((copy @ centre) * flat)[:, None].astype(np.float32)
            local = ((copy @ turn).T / axes[:, None]).astype(np.float32) @ offset
            away = np.sqrt(np.einsum("ij,ij->j", local, local))
            density += np.float32(weight) / (1 + np.exp(8 * np.minimum(away, 8) - 8))
    density = np.minimum(density, rng.uniform(1.0, 2.5))
    if rng.random() < HOLLOW:
        distance = np.sqrt(np.sum((grid / flat[:, None]) ** 2, axis=0))
        shell = np.exp(-(((distance - 0.8) / rng.uniform(0.06, 0.25)) ** 2))
        density = shell * (1 + rng.uniform(0, 1) * density)
    density = density.reshape((len(axis),) * 3)
    texture = gaussian_filter(rng.standard_normal(density.shape), rng.uniform(0.8, 2.0))
    density = density * np.clip(1 + rng.uniform(0, 0.9) * texture / texture.std(), 0, None)
    return _views(density, n, rng)


def library(
    maps: Sequence[str | Path], n_random: int, n_views: int, rng: np.random.Generator
) -> list[Views]:
    """Return the kinds of particles: one per map, then `n_random` random ones."""
    kinds = [map_views(path, n_views, rng) for path in maps]
    return kinds + [random_views(n_views, rng) for _ in range(n_random)]


def _views(density: FloatArray, n: int, rng: np.random.Generator) -> Views:
    """Centre a density, rescale it to `DIAMETER`, and project it."""
    index = np.stack(np.meshgrid(*map(np.arange, density.shape), indexing="ij")).reshape(3, -1)
    mass = density.ravel()
    centre = index @ mass / mass.sum()
    distance = np.sqrt(((index - centre[:, None]) ** 2).sum(0))
    order = np.argsort(distance)
    within = np.cumsum(mass[order]) / mass.sum()
    radius = float(distance[order][np.searchsorted(within, EDGE)])
    step = radius / (DIAMETER / 2)  # voxels of the density per voxel of the box
    smooth = gaussian_filter(density, 0.45 * step) if step > 1 else density
    box = affine_transform(
        smooth, np.full(3, step), centre - step * (BOX // 2), (BOX,) * 3, order=1
    )
    views = projections(box.astype(np.float32), n, rng)
    return np.asarray(views / np.median(views.max(axis=(1, 2))), np.float32)
