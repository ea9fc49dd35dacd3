"""Simulate a data set: micrographs, particle centres and the parameters behind them."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mrcfile
import numpy as np
from numpy.typing import NDArray

from fewpick.atomic import atomic_path
from fewpick.coordinates.star_blocks import star_text
from fewpick.errors import InputError

if TYPE_CHECKING:
    from fewpick.simulation.imaging import SimulatedMicrograph

# First word of the seeds, for the particle and for the micrographs.
_PARTICLE, _MICROGRAPH = 0, 1


def micrograph_names(n_micrographs: int) -> list[str]:
    """Return the file names of a simulated data set, in order."""
    return [f"sim_{i + 1:04d}.mrc" for i in range(n_micrographs)]


def micrograph_shape(index: int, shape: tuple[int, int]) -> tuple[int, int]:
    """Return (ny, nx) of micrograph `index`; every fourth is longer, alternately in x and y."""
    ny, nx = shape
    match index % 8:
        case 3:
            return ny, nx + nx // 8
        case 7:
            return ny + ny // 8, nx
        case _:
            return ny, nx


def simulate_dataset(
    output: str | Path,
    *,
    n_micrographs: int = 48,
    seed: int = 0,
    species: str = "d2_tetramer",
    shape: tuple[int, int] = (1024, 1024),
    pixel_size: float = 2.5,
    snr: tuple[float, float] = (0.05, 0.1),
    density: tuple[float, float] = (40.0, 120.0),
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a simulated data set.

    The same arguments give the same bytes, whatever `threads` is, and a longer data set starts with
    the micrographs of a shorter one.

    Parameters
    ----------
    output : folder for `micrographs/sim_0001.mrc` and so on (float32, electrons per pixel),
        `particles.star` (RELION 3.1; pixels from the centre of the first pixel, rows in the order
        of the file) and `truth.json`
    n_micrographs : number of micrographs
    seed : random seed
    species : kind of particle, a key of `fewpick.simulation.density.SPECIES`
    shape : ny, nx of a micrograph; a quarter of them is an eighth longer along one axis
    pixel_size : angstrom per pixel
    snr : range of the signal-to-noise ratio, variance over variance inside the particle
    density : range of the number of particles per 1024 x 1024 pixels
    threads : number of micrographs simulated in parallel; memory use grows with it, not with
        `n_micrographs`
    progress : called with the numbers of micrographs done and in total after each is written

    Raises
    ------
    InputError
        If an argument is out of range.
    """
    # These import torch, which takes seconds that callers of the other functions should not wait.
    import torch

    from fewpick.simulation import imaging
    from fewpick.simulation.density import SPECIES

    _check(n_micrographs, pixel_size, snr, density)
    if species not in SPECIES:
        raise InputError(
            f"simulate.species: unknown species {species!r} (choose from {', '.join(SPECIES)})."
        )
    diameter = SPECIES[species].diameter
    if min(shape) * pixel_size < 1.5 * diameter:
        raise InputError(
            f"simulate.shape: {shape[0]} x {shape[1]} pixels of {pixel_size:g} angstrom are too "
            f"small for particles of {diameter:g} angstrom. Make the micrographs larger."
        )
    output, names = Path(output), micrograph_names(n_micrographs)

    def make(index: int) -> SimulatedMicrograph:
        micrograph = imaging.simulate_micrograph(
            bank,
            micrograph_shape(index, shape),
            np.random.default_rng([_MICROGRAPH, seed, index]),
            pixel_size=pixel_size,
            snr=snr,
            density=density,
        )
        _write_mrc(output / "micrographs" / names[index], micrograph.image, pixel_size)
        return micrograph.without_pixels()

    # Sums split over threads round differently, and micrographs already use all cores.
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        bank = imaging.make_bank(
            SPECIES[species], pixel_size, np.random.default_rng([_PARTICLE, seed])
        )
        done: dict[str, SimulatedMicrograph] = {}
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for name, micrograph in zip(names, pool.map(make, range(n_micrographs)), strict=True):
                done[name] = micrograph
                if progress is not None:
                    progress(len(done), n_micrographs)
    finally:
        torch.set_num_threads(threads_before)

    microscope = {
        "voltage_kv": imaging.VOLTAGE,
        "spherical_aberration_mm": imaging.SPHERICAL_ABERRATION,
        "amplitude_contrast": imaging.AMPLITUDE_CONTRAST,
    }
    _write_star(output / "particles.star", done, pixel_size, microscope)
    with atomic_path(output / "truth.json") as temporary:
        truth = {
            "species": species,
            "particle_diameter_angstrom": diameter,
            "pixel_size": pixel_size,
            "seed": seed,
            **microscope,
            "micrographs": {name: _facts(micrograph) for name, micrograph in done.items()},
        }
        temporary.write_text(json.dumps(truth, indent=1) + "\n")


def _check(
    n_micrographs: int, pixel_size: float, snr: tuple[float, float], density: tuple[float, float]
) -> None:
    if n_micrographs < 1:
        raise InputError(f"simulate.n_micrographs: {n_micrographs} is too few. Set at least 1.")
    if not pixel_size > 0:
        raise InputError(
            f"simulate.pixel_size: {pixel_size} is not positive. Set it in angstrom per pixel."
        )
    for key, (low, high) in {"snr": snr, "density": density}.items():
        if not 0 < low <= high:
            raise InputError(
                f"simulate.{key}: {low} to {high} is not a valid range. Set two positive "
                "numbers, the lower one first."
            )


def _facts(micrograph: SimulatedMicrograph) -> dict[str, Any]:
    """Return the entry of one micrograph in `truth.json`."""
    return {
        "n_particles": len(micrograph.particles),
        "snr": micrograph.snr,
        **asdict(micrograph.optics),
        **micrograph.contents,
    }


def _write_mrc(path: Path, image: NDArray[np.float32], pixel_size: float) -> None:
    with atomic_path(path) as temporary, mrcfile.new(temporary, image, overwrite=True) as mrc:
        mrc.voxel_size = pixel_size
        # mrcfile's label contains the time; remove it to make files reproducible.
        mrc.header.nlabl = 0
        mrc.header.label = b""


def _write_star(
    path: Path,
    micrographs: dict[str, SimulatedMicrograph],
    pixel_size: float,
    microscope: dict[str, float],
) -> None:
    """Write all particles as a RELION 3.1 STAR file, with defocus in angstrom."""
    optics = {
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnOpticsGroup": ["1"],
        "rlnMicrographPixelSize": [f"{pixel_size:.6f}"],
        "rlnVoltage": [f"{microscope['voltage_kv']:.6f}"],
        "rlnSphericalAberration": [f"{microscope['spherical_aberration_mm']:.6f}"],
        "rlnAmplitudeContrast": [f"{microscope['amplitude_contrast']:.6f}"],
    }
    rows = [
        (
            f"micrographs/{name}",
            f"{x:.6f}",
            f"{y:.6f}",
            f"{1e4 * micrograph.optics.defocus_u:.6f}",
            f"{1e4 * micrograph.optics.defocus_v:.6f}",
            f"{micrograph.optics.defocus_angle:.6f}",
            "1",
        )
        for name, micrograph in micrographs.items()
        for x, y in micrograph.particles
    ]
    columns = (
        "rlnMicrographName",
        "rlnCoordinateX",
        "rlnCoordinateY",
        "rlnDefocusU",
        "rlnDefocusV",
        "rlnDefocusAngle",
        "rlnOpticsGroup",
    )
    particles = {column: [row[i] for row in rows] for i, column in enumerate(columns)}
    with atomic_path(path) as temporary:
        temporary.write_text(star_text({"optics": optics, "particles": particles}))
