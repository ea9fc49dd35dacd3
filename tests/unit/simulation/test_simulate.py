"""The simulated data set: reproducible bytes, correct optics, centres where the particles are."""

from __future__ import annotations

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fewpick.coordinates import read_picks
from fewpick.errors import InputError
from fewpick.simulation.density import SPECIES, box_size, broken, density_map, projections, residues
from fewpick.simulation.imaging import (
    Bank,
    Optics,
    SimulatedMicrograph,
    contrast_transfer,
    make_bank,
    simulate_micrograph,
)
from fewpick.simulation.simulate import micrograph_names, micrograph_shape, simulate_dataset

PIXEL_SIZE = 4.0
SHAPE = (320, 320)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    simulate_dataset(folder, n_micrographs=4, seed=5, shape=SHAPE, pixel_size=PIXEL_SIZE)
    return folder


@pytest.fixture(scope="module")
def bank() -> Bank:
    return make_bank(SPECIES["d2_tetramer"], PIXEL_SIZE, np.random.default_rng(1))


@pytest.fixture(scope="module")
def micrographs(bank: Bank) -> list[SimulatedMicrograph]:
    return [
        simulate_micrograph(
            bank,
            (600, 520),
            np.random.default_rng(seed),
            pixel_size=PIXEL_SIZE,
            snr=(0.05, 0.1),
            density=(60.0, 120.0),
        )
        for seed in range(4)
    ]


def test_same_seed_gives_same_bytes_on_two_threads(dataset: Path, tmp_path: Path) -> None:
    simulate_dataset(
        tmp_path, n_micrographs=4, seed=5, shape=SHAPE, pixel_size=PIXEL_SIZE, threads=2
    )
    assert contents(tmp_path) == contents(dataset)


def test_other_seed_gives_other_micrographs_and_particle(dataset: Path, tmp_path: Path) -> None:
    simulate_dataset(tmp_path, n_micrographs=1, seed=6, shape=SHAPE, pixel_size=PIXEL_SIZE)
    name = "micrographs/sim_0001.mrc"
    assert contents(tmp_path)[name] != contents(dataset)[name]


def test_more_micrographs_leave_the_former_as_they_are(dataset: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    simulate_dataset(
        tmp_path,
        n_micrographs=2,
        seed=5,
        shape=SHAPE,
        pixel_size=PIXEL_SIZE,
        progress=lambda n, of: done.append((n, of)),
    )
    assert done == [(1, 2), (2, 2)]
    few, many = contents(tmp_path), contents(dataset)
    for name in micrograph_names(2):
        assert few[f"micrographs/{name}"] == many[f"micrographs/{name}"]
    star_few, star_many = (s["particles.star"].decode().splitlines() for s in (few, many))
    rows = [line for line in star_few if line.startswith("micrographs/")]
    assert rows == [line for line in star_many if line.startswith("micrographs/")][: len(rows)]


def test_files_are_complete(dataset: Path) -> None:
    names = micrograph_names(4)
    assert names == ["sim_0001.mrc", "sim_0002.mrc", "sim_0003.mrc", "sim_0004.mrc"]
    expected = {f"micrographs/{name}" for name in names} | {"particles.star", "truth.json"}
    assert set(contents(dataset)) == expected
    for index, name in enumerate(names):
        assert mrcfile.validate(dataset / "micrographs" / name)
        with mrcfile.open(dataset / "micrographs" / name) as mrc:
            assert mrc.data.dtype == np.float32
            assert mrc.data.shape == micrograph_shape(index, SHAPE)
            assert float(mrc.voxel_size.x) == pytest.approx(PIXEL_SIZE)
            assert float(mrc.voxel_size.y) == pytest.approx(PIXEL_SIZE)


def test_a_quarter_is_longer_along_either_axis() -> None:
    shapes = [micrograph_shape(i, (1024, 1024)) for i in range(16)]
    assert shapes.count((1024, 1152)) == 2
    assert shapes.count((1152, 1024)) == 2
    assert shapes.count((1024, 1024)) == 12


def test_star_is_read_by_starfile_and_by_the_project(dataset: Path) -> None:
    truth = json.loads((dataset / "truth.json").read_text())
    blocks = starfile.read(dataset / "particles.star", always_dict=True)
    assert set(blocks) == {"optics", "particles"}
    optics, particles = blocks["optics"], blocks["particles"]
    assert optics["rlnMicrographPixelSize"].item() == pytest.approx(PIXEL_SIZE)
    assert optics["rlnVoltage"].item() == pytest.approx(300)
    picks = read_picks(dataset / "particles.star")
    for index, (name, facts) in enumerate(truth["micrographs"].items()):
        rows = particles[particles["rlnMicrographName"] == f"micrographs/{name}"]
        xy = rows[["rlnCoordinateX", "rlnCoordinateY"]].to_numpy(float)
        assert len(xy) == facts["n_particles"]
        assert np.allclose(rows["rlnDefocusU"], 1e4 * facts["defocus_u"], atol=1e-2)
        ny, nx = micrograph_shape(index, SHAPE)
        assert xy.min() >= 0
        assert (xy <= [nx - 1, ny - 1]).all()
        (read,) = (p for key, p in picks.items() if Path(key).name == name)
        assert np.allclose(read.xy, xy)
    assert len(particles) == sum(f["n_particles"] for f in truth["micrographs"].values()) > 10
    assert truth["particle_diameter_angstrom"] == SPECIES[truth["species"]].diameter


@pytest.mark.parametrize("shape", [(96, 128), (75, 90)])
def test_transfer_function_is_the_textbook_formula(shape: tuple[int, int]) -> None:
    optics = Optics(defocus_u=1.9, defocus_v=1.5, defocus_angle=30.0, b_factor=120.0)
    # Electron wavelength from its closed form (Kirkland 2010), in angstrom: 0.0197 at 300 kV.
    volts = 300e3
    wavelength = 12.2643 / np.sqrt(volts + 0.978476e-6 * volts**2)
    ky, kx = np.fft.fftfreq(shape[0], 2.5)[:, None], np.fft.rfftfreq(shape[1], 2.5)
    k2 = kx**2 + ky**2
    angle = np.arctan2(ky, kx) - np.deg2rad(30.0)
    defocus = 1e4 * (1.7 + 0.2 * np.cos(2 * angle))
    phase = np.pi * wavelength * defocus * k2 - np.pi / 2 * 2.7e7 * wavelength**3 * k2**2
    expected = np.sin(phase + np.arcsin(0.1)) * np.exp(-120.0 * k2 / 4)
    # Not at zero frequency, where the angle, and with it the astigmatism, has no meaning or effect.
    transfer = contrast_transfer(optics, shape, 2.5)
    assert transfer.dtype == np.float32
    assert transfer == pytest.approx(expected, abs=2e-3)


def test_centres_lie_where_the_particles_are(
    bank: Bank, micrographs: list[SimulatedMicrograph]
) -> None:
    """Each noise-free particle, correlated with its own projection put at a known pixel."""
    box = bank.particles.shape[-1]
    n_tested = 0
    for micrograph in micrographs:
        ny, nx = micrograph.signal.shape
        for (x, y), view in zip(micrograph.particles, micrograph.views, strict=True):
            column, row = round(x), round(y)
            apart = np.linalg.norm(micrograph.particles - (x, y), axis=1)
            if not (box <= column < nx - box and box <= row < ny - box) or (
                np.sort(apart)[1] < 1.2 * bank.diameter
            ):
                continue
            canvas = np.zeros((2 * box, 2 * box))
            canvas[box - box // 2 :, box - box // 2 :][:box, :box] = bank.particles[view]
            transfer = contrast_transfer(micrograph.optics, canvas.shape, PIXEL_SIZE)
            reference = np.fft.rfft2(canvas) * transfer
            patch = micrograph.signal[row - box : row + box, column - box : column + box]
            window = np.hypot(*(np.indices(patch.shape) - box)) < 0.7 * bank.diameter
            correlation = np.fft.irfft2(np.fft.rfft2(-patch * window) * reference.conj())
            shift = peak(np.fft.fftshift(correlation)) - box
            assert np.hypot(column + shift[1] - x, row + shift[0] - y) < 0.25
            n_tested += 1
    assert n_tested >= 20


def peak(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Row and column of the maximum, between pixels by a parabola."""
    row, column = np.unravel_index(image.argmax(), image.shape)
    found = []
    for at, profile in ((row, image[:, column]), (column, image[row])):
        before, here, after = profile[at - 1 : at + 2]
        found.append(at + (before - after) / (before - 2 * here + after) / 2)
    return np.array(found)


def test_particles_are_dark_in_the_image_and_not_in_its_mirror(
    micrographs: list[SimulatedMicrograph],
) -> None:
    for micrograph in micrographs:
        upright = score(micrograph.image, micrograph)
        assert upright > 3 * abs(score(micrograph.image[::-1], micrograph))


def score(image: NDArray[np.float32], micrograph: SimulatedMicrograph) -> float:
    image = image - np.median(image)
    return float(np.vdot(np.clip(image, -60, 60), micrograph.signal))


def test_signal_to_noise_is_as_stated(bank: Bank, micrographs: list[SimulatedMicrograph]) -> None:
    radius = int(bank.diameter / 2)
    disc = np.hypot(*(np.indices((2 * radius + 1, 2 * radius + 1)) - radius)) <= radius
    for micrograph in micrographs:
        signals, noises = [], []
        for column, row in np.rint(micrograph.particles).astype(int):
            at = slice(row - radius, row + radius + 1), slice(column - radius, column + radius + 1)
            if min(row, column) < radius or micrograph.signal[at].shape != disc.shape:
                continue
            signals.append(micrograph.signal[at][disc].var())
            noises.append((micrograph.image - micrograph.signal)[at][disc].var())
        # The median passes over discs that a hot pixel or contamination disturbs.
        measured = np.mean(signals) / np.median(noises)
        assert 0.05 <= micrograph.snr <= 0.1
        assert measured == pytest.approx(micrograph.snr, rel=0.12)


def test_particles_keep_their_distance(bank: Bank, micrographs: list[SimulatedMicrograph]) -> None:
    for micrograph in micrographs:
        points = micrograph.particles
        assert len(points) > 5
        apart = np.linalg.norm(points[:, None] - points, axis=2)
        assert apart[~np.eye(len(points), dtype=bool)].min() >= 0.9 * bank.diameter


@pytest.mark.parametrize("name", SPECIES)
def test_species_has_its_diameter_symmetry_and_centre(name: str) -> None:
    species, rng = SPECIES[name], np.random.default_rng(2)
    xyz, weight = residues(species, rng)
    assert 2 * np.linalg.norm(xyz, axis=1).max() == pytest.approx(species.diameter)
    copies = Rotation.create_group(species.point_group)
    assert len(xyz) % len(copies) == 0
    for copy in copies:
        turned = np.round(copy.apply(xyz), 3) + 0.0
        assert np.allclose(ordered(turned), ordered(np.round(xyz, 3) + 0.0), atol=2e-3)
    box = box_size(species.diameter, PIXEL_SIZE)
    density = density_map(xyz, weight, box, PIXEL_SIZE)
    assert density.sum() == pytest.approx(weight.sum(), rel=1e-4)
    images = projections(density, 6, rng)
    inside = np.hypot(*(np.indices((box, box)) - box // 2)) <= species.diameter / 2 / PIXEL_SIZE + 3
    rows, columns = np.indices((box, box))
    for image in images * inside:
        assert np.average(rows, weights=image) == pytest.approx(box // 2, abs=0.2)
        assert np.average(columns, weights=image) == pytest.approx(box // 2, abs=0.2)
    assert np.abs(images[:, ~inside]).max() < 0.05 * images.max()


def ordered(xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    # By a direction of no symmetry, so that rounding cannot swap neighbours of equal height.
    return xyz[np.argsort(xyz @ [1.0, np.sqrt(2) * 1.3, np.pi])]


def test_broken_particle_is_smaller_and_centred() -> None:
    rng = np.random.default_rng(3)
    whole, weight = residues(SPECIES["c4_channel"], rng)
    piece, piece_weight = broken(whole, weight, rng)
    assert 0.3 * len(whole) < len(piece) < 0.7 * len(whole)
    assert np.average(piece, axis=0, weights=piece_weight) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"species": "unicorn"}, "unicorn"),
        ({"n_micrographs": 0}, "n_micrographs: 0"),
        ({"pixel_size": 0.0}, "pixel_size: 0"),
        ({"snr": (0.1, 0.05)}, "snr: 0.1 to 0.05"),
        ({"density": (0.0, 5.0)}, "density: 0"),
        ({"shape": (64, 1024)}, "64 x 1024"),
    ],
)
def test_bad_arguments_are_named(
    arguments: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        simulate_dataset(tmp_path, **arguments)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
