"""Build protein-like densities from a seed, and project them.

A particle is a cloud of residues. Each domain of its asymmetric unit is a compact random chain with
the residue spacing and packing of a real protein, and the point group makes the copies. This gives
protein-like texture down to the resolution of a micrograph without downloading any files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation
from torch_fourier_slice import project_3d_to_2d

RESIDUE_SPACING = 3.8  # angstrom between C-alpha atoms
RESIDUE_VOLUME = 136.0  # cubic angstrom: 110 Da at 0.81 Da per cubic angstrom
RESIDUE_WIDTH = 2.5  # angstrom, standard deviation of the Gaussian that represents one residue
_ORIENTATIONS_AT_ONCE = 64  # limits memory, since projections are padded generously

FloatArray = NDArray[np.float64]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Domain:
    """An ellipsoid of the asymmetric unit: centre and semi-axes x, y, z in angstrom.

    `packing` is the density relative to protein; a detergent micelle has far less contrast.
    """

    centre: Triple
    semi_axes: Triple
    packing: float = 1.0


@dataclass(frozen=True)
class Species:
    """A kind of particle.

    Attributes
    ----------
    point_group : in SciPy's notation: `C1`, `C4`, `D2`, `O`
    diameter : diameter of the smallest enclosing sphere around the centre of mass, angstrom
    domains : the asymmetric unit
    """

    point_group: str
    diameter: float
    domains: Sequence[Domain]


SPECIES = {
    # An elongated tetramer, after beta-galactosidase.
    "d2_tetramer": Species(
        "D2",
        180.0,
        (
            Domain((24, 16, 14), (29, 23, 21)),
            Domain((56, 20, 18), (31, 24, 22)),
            Domain((28, 44, 12), (26, 25, 21)),
        ),
    ),
    # A hollow shell of 24 subunits, after ferritin and the larger encapsulins.
    "o_cage": Species("O", 160.0, (Domain((27, 10, 58), (21, 21, 15)),)),
    # A membrane channel with a wide cytosolic skirt in its detergent micelle, after TRPV1.
    "c4_channel": Species(
        "C4",
        150.0,
        (
            Domain((15, 4, 36), (16, 16, 28)),
            Domain((28, 14, -10), (25, 23, 24)),
            Domain((44, 6, -32), (26, 21, 20)),
            Domain((32, 20, 36), (26, 26, 20), packing=0.3),
        ),
    ),
    # A large complex without symmetry, with lobes like a ribosome.
    "c1_blob": Species(
        "C1",
        200.0,
        (
            Domain((0, 0, 0), (52, 44, 46)),
            Domain((48, 30, 10), (34, 28, 24)),
            Domain((-30, 52, -14), (28, 26, 30)),
            Domain((-20, -48, 30), (30, 24, 26)),
            Domain((30, -40, -40), (20, 18, 30)),
        ),
    ),
}


def residues(species: Species, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Build a particle.

    Returns
    -------
    xyz : (n, 3) array, angstrom from the centre of mass, at most half the diameter away
    weight : (n,) array, 1 for a residue of protein
    """
    chains = [_chain(domain, rng) for domain in species.domains]
    unit = np.concatenate(chains)
    weight = np.repeat([d.packing for d in species.domains], [len(c) for c in chains])
    copies = Rotation.create_group(species.point_group)
    xyz = np.concatenate([copy.apply(unit) for copy in copies])
    weight = np.tile(weight, len(copies))
    xyz -= np.average(xyz, axis=0, weights=weight)
    xyz *= species.diameter / 2 / np.linalg.norm(xyz, axis=1).max()
    return xyz, weight


def broken(
    xyz: FloatArray, weight: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Cut a particle by a plane near its centre and keep one side, recentred."""
    height = xyz @ _unit_vector(rng)
    kept = height > np.quantile(height, rng.uniform(0.4, 0.65))
    xyz, weight = xyz[kept], weight[kept]
    return xyz - np.average(xyz, axis=0, weights=weight), weight


def box_size(diameter: float, pixel_size: float) -> int:
    """Return the even edge length, px, of a box with room for a blurred particle and a margin."""
    return 2 * int(np.ceil((diameter / 2 + 5 * RESIDUE_WIDTH) / pixel_size + 4))


def density_map(
    xyz: FloatArray, weight: FloatArray, box: int, pixel_size: float
) -> NDArray[np.float32]:
    """Sample residues on a grid.

    Parameters
    ----------
    xyz : (n, 3) array, angstrom from the centre of the box, which is voxel `box // 2`
    weight : (n,) array
    box : voxels along each side; all residues must be inside
    pixel_size : angstrom per voxel

    Returns
    -------
    (box, box, box) float32 array, axes z, y, x, with the same sum as the weights
    """
    voxel = np.rint(xyz[:, ::-1] / pixel_size).astype(np.int64) + box // 2
    flat = np.ravel_multi_index(tuple(voxel.T), (box,) * 3)
    grid = np.bincount(flat, weight, minlength=box**3).reshape((box,) * 3)
    return gaussian_filter(grid.astype(np.float32), RESIDUE_WIDTH / pixel_size, mode="constant")


def projections(
    density: NDArray[np.float32], n: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Project a density along `n` uniformly random directions, by central slices.

    Returns
    -------
    (n, box, box) float32 array, axes y, x; the centre of mass of a centred density is at pixel
    `box // 2` of each projection
    """
    matrices = Rotation.random(n, rng=rng).as_matrix().astype(np.float32)
    volume = torch.from_numpy(density)
    return np.concatenate(
        [
            project_3d_to_2d(volume, torch.from_numpy(matrices[i : i + _ORIENTATIONS_AT_ONCE]))
            for i in range(0, n, _ORIENTATIONS_AT_ONCE)
        ]
    )


def _chain(domain: Domain, rng: np.random.Generator) -> FloatArray:
    """Draw a stiff random walk that fills an ellipsoid, (n, 3) angstrom."""
    centre, semi_axes = np.array(domain.centre), np.array(domain.semi_axes)
    n = int(4 / 3 * np.pi * semi_axes.prod() / RESIDUE_VOLUME)
    walk = np.empty((n, 3))
    position, direction = np.zeros(3), _unit_vector(rng)
    for i in range(n):
        walk[i] = position
        direction = direction + 0.7 * rng.standard_normal(3)
        step = position
        while True:
            direction = direction / np.sqrt(direction @ direction)
            step = position + RESIDUE_SPACING * direction
            if np.sum((step / semi_axes) ** 2) <= 1:
                break
            direction = rng.standard_normal(3)
        position = step
    return walk + centre


def _unit_vector(rng: np.random.Generator) -> FloatArray:
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)
