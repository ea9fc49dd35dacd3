"""Train the network that comes with the package, from the recipe config/general.yaml.

To pick proteins that it has never seen, it is trained on many: real data sets with equal weight,
and simulated crops of all kinds of micrographs (`simulation.variety`). Every micrograph is rescaled
so that particles are 20 px wide, and one network serves all sizes. Training starts with simulation
alone, then uses both.

    python -m fewpick.general.recipe config/general.yaml --data DATA
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from skimage.filters import threshold_otsu
from torch import Tensor
from torch.nn import functional

from fewpick.annotation.frame import read_in_frame
from fewpick.data.preprocess import preprocess_micrograph
from fewpick.errors import InputError
from fewpick.evaluation.matching import adds_a_match
from fewpick.general.calibration import (
    Calibration,
    KnownMicrograph,
    features,
    fit,
    noise_alike,
)
from fewpick.geometry import GRAIN, Frame
from fewpick.image_evidence import templates
from fewpick.image_evidence.templates import RING
from fewpick.micrographs import list_micrographs, read_micrograph
from fewpick.network import model_file
from fewpick.network.inference import find_peaks, predict
from fewpick.network.unet import UNet
from fewpick.network.weights import general_path
from fewpick.sampling.crops import crop
from fewpick.sampling.views import random_view, strong
from fewpick.simulation.shapes import library
from fewpick.simulation.variety import PARTICLE_PX, Crop, draw_crop
from fewpick.training.ema import Ema
from fewpick.training.schedule import learning_rate

# Edge of a crop, px.
SIZE = 128
# Particle diameters that real micrographs are rescaled to, px; views zoom by `ZOOM` on top.
SCALES = (16.5, 20.0, 24.0)
ZOOM = 0.1
CASE = 256  # px, edge of the simulated micrographs for calibration
# Weight of a simulated micrograph in the calibration, relative to others: the first number plus the
# second times its particles per place. Crowded ones count more, because real data are more crowded
# than simulation.
SPARSE_WEIGHT, CROWDED_WEIGHT = 0.3, 4.0
# Weights of all simulated micrographs together, of a real data set, and of a micrograph without
# particles.
SIMULATED_WEIGHT = 290.0
REAL_WEIGHT = 40.0
EMPTY_WEIGHT = 1.5
MATCH = 0.3  # match radius, particle diameters
DISC = 5.0  # px, radius of a particle in the labels
# Radius, px, of the unlabelled disc around an uncertain particle.
UNCLEAR = 9.0
STRONG = 0.4  # fraction of the crops with a strong view
EMA_DECAY = 0.995
GRADIENT_NORM = 1.0

Labels = NDArray[np.int8]
FloatArray = NDArray[np.float64]
NOTHING = np.empty((0, 0), np.int8)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledSheet:
    """A micrograph at one scale, with its labels.

    Attributes
    ----------
    image : (h, w) float16 array, normalised
    labels : (h, w) int8 array, 1 particle, 0 background, -1 unknown
    particles : (n, 2) array of x (column), y (row), px of `image`
    border : width of the unlabelled margin, px
    """

    image: NDArray[np.float16]
    labels: Labels
    particles: FloatArray = field(default_factory=lambda: np.empty((0, 2)))
    border: int = 0


def draw_labels(
    shape: tuple[int, int],
    particles: NDArray[np.float64],
    unclear: NDArray[np.float64],
    border: int = 0,
) -> Labels:
    """Draw particles as discs on background.

    Parameters
    ----------
    shape : height, width, px
    particles : (n, 2) array of x, y, px
    unclear : (m, 3) array of x, y, radius of discs with unknown label, px; a particle near the edge
        of such a disc is still drawn
    border : width of the unlabelled margin, px

    Returns
    -------
    (h, w) int8 array, 1 particle, 0 background, -1 unknown
    """
    labels = np.zeros(shape, np.int8)
    for discs, value in (
        (unclear, -1),
        (np.column_stack([particles, np.full(len(particles), DISC)]), 1),
        (unclear * [1, 1, 0.7], -1),
    ):
        for x, y, radius in discs:
            top, left = max(int(y - radius) - 1, 0), max(int(x - radius) - 1, 0)
            bottom, right = max(int(y + radius) + 2, 0), max(int(x + radius) + 2, 0)
            window = labels[top:bottom, left:right]
            rows, columns = np.ogrid[: window.shape[0], : window.shape[1]]
            window[np.hypot(columns + left - x, rows + top - y) <= radius] = value
    if border:
        labels[:border] = labels[-border:] = -1
        labels[:, :border] = labels[:, -border:] = -1
    return labels


class Feed:
    """Batches of simulated and real crops.

    Parameters
    ----------
    simulated : crops of SIZE x SIZE px
    real : data sets, drawn with equal weight
    empty : micrographs without particles
    empty_share : fraction of the real crops that are drawn from `empty`
    """

    def __init__(
        self,
        simulated: Sequence[Crop],
        real: Sequence[Sequence[LabelledSheet]],
        empty: Sequence[LabelledSheet],
        empty_share: float,
    ) -> None:
        self.images = np.empty((len(simulated), SIZE, SIZE), np.float16)
        self.labels = np.empty((len(simulated), SIZE, SIZE), np.int8)
        for i, drawn in enumerate(simulated):
            self.images[i] = drawn.image
            self.labels[i] = draw_labels((SIZE, SIZE), drawn.particles, drawn.unclear)
        self.real, self.empty, self.empty_share = real, empty, empty_share

    def draw(self, simulated: int, real: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Draw a batch of images and labels, (n, 1, SIZE, SIZE) float32 each."""
        images, labels = [], []
        if simulated:
            drawn = [self._turned(rng) for _ in range(simulated)]
            images.append(torch.from_numpy(np.stack([image for image, _ in drawn]))[:, None])
            labels.append(torch.from_numpy(np.stack([label for _, label in drawn]))[:, None])
        if real:
            sheets = [self._sheet(rng) for _ in range(real)]
            views = []
            for sheet in sheets:
                y, x = (_centre(n, rng) for n in sheet.image.shape)
                views.append(random_view(y, x, rng, zoom=ZOOM))
            images.append(crop([s.image for s in sheets], views, SIZE, fill="reflect"))
            labels.append(crop([s.labels for s in sheets], views, SIZE, fill=-1))
        return torch.cat(images), torch.cat(labels)

    def _turned(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        which, turns = int(rng.integers(len(self.images))), int(rng.integers(4))
        mirrored = rng.random() < 0.5
        image = np.rot90(self.images[which].astype(np.float32), turns)
        label = np.rot90(self.labels[which].astype(np.float32), turns)
        return (image[:, ::-1], label[:, ::-1]) if mirrored else (image, label)

    def _sheet(self, rng: np.random.Generator) -> LabelledSheet:
        if self.empty and rng.random() < self.empty_share:
            return self.empty[int(rng.integers(len(self.empty)))]
        held = self.real[int(rng.integers(len(self.real)))]
        return held[int(rng.integers(len(held)))]


def _centre(n: int, rng: np.random.Generator) -> float:
    """Draw a crop's centre along an axis of `n` px; the crop may extend slightly past the edge."""
    reach = min(0.4 * SIZE, n / 2)
    return float(rng.uniform(reach, n - reach))


def learn(
    network: UNet,
    feed: Feed,
    *,
    steps: int,
    rate: float,
    simulated: int,
    real: int,
    seed: int,
) -> UNet:
    """Train a copy of a network, and return the exponential moving average of its weights.

    The loss is cross-entropy without a Dice term, so that scores are probabilities.

    Parameters
    ----------
    network : initial network; not modified
    feed : crops
    steps, rate : number of optimiser steps, and highest learning rate
    simulated, real : crops of each kind per step
    seed : random seed
    """
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    student = copy.deepcopy(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    student.requires_grad_(True)  # a moving average from an earlier phase has gradients turned off
    average = Ema(student, EMA_DECAY)
    optimiser = torch.optim.AdamW(student.parameters(), lr=rate, weight_decay=1e-4, fused=True)
    losses: list[float] = []
    student.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, rate)
        images, labels = feed.draw(simulated, real, rng)
        chosen = np.flatnonzero(rng.random(len(images)) < STRONG)
        if len(chosen):
            images[chosen] = strong(images[chosen], rng, generator)
        logits = student(images.contiguous(memory_format=torch.channels_last))
        known = (labels >= 0).float()
        entropy = functional.binary_cross_entropy_with_logits(
            logits, (labels > 0).float(), reduction="none"
        )
        loss = (entropy * known).sum() / known.sum().clamp(min=1)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), GRADIENT_NORM)
        optimiser.step()
        average.update(student)
        losses.append(float(loss.detach()))
        if (step + 1) % 100 == 0:
            logger.info("step %d of %d: loss %.4f", step + 1, steps, np.mean(losses[-100:]))
    return average.network


def peaks(
    network: UNet, image: NDArray[np.floating], border: int = 0
) -> tuple[FloatArray, FloatArray]:
    """Find candidates on an image with 20 px particles: (n, 2) x, y in px, and (n,) scores."""
    height, width = image.shape
    padding = [(0, -n % GRAIN) for n in image.shape]
    given = torch.from_numpy(np.pad(image.astype(np.float32), padding, mode="symmetric"))
    probability = predict(network, given[None, None], 1)[0, 0, :height, :width].numpy()
    area = (border, border, height - border, width - border)
    return find_peaks(probability, PARTICLE_PX / 2, area)


def calibrate(
    network: UNet,
    kinds: Sequence[NDArray[np.float32]],
    n: int,
    real: Sequence[Sequence[LabelledSheet]],
    empty: Sequence[LabelledSheet],
    seed: int,
) -> Calibration:
    """Fit the mapping from a network's scores to a threshold and the expected F1.

    Parameters
    ----------
    network : trained network
    kinds : particles for simulated micrographs, preferably ones that it has not seen
    n : number of simulated micrographs
    real, empty : data sets, and micrographs without particles, with 20 px particles
    seed : random seed
    """
    rng = np.random.default_rng(seed)
    cases = []
    for _ in range(n):
        drawn = draw_crop(kinds, CASE, rng)
        inside = np.all((drawn.particles >= 0) & (drawn.particles < CASE), axis=1)
        sheet = LabelledSheet(drawn.image.astype(np.float16), NOTHING, drawn.particles[inside])
        weight = SPARSE_WEIGHT + CROWDED_WEIGHT * len(sheet.particles) * (PARTICLE_PX / CASE) ** 2
        cases.append(_case(network, sheet, weight, rng, drawn.unclear))
    share = SIMULATED_WEIGHT / sum(case.weight for case in cases)
    cases = [replace(case, weight=share * case.weight) for case in cases]
    for held in real:
        cases.extend(_case(network, sheet, REAL_WEIGHT / len(held), rng) for sheet in held)
    cases.extend(_case(network, sheet, EMPTY_WEIGHT, rng) for sheet in empty)
    return fit(cases, seed)


def _case(
    network: UNet,
    sheet: LabelledSheet,
    weight: float,
    rng: np.random.Generator,
    unclear: FloatArray | None = None,
) -> KnownMicrograph:
    xy, score = peaks(network, sheet.image, sheet.border)
    _, noise = peaks(network, noise_alike(sheet.image, rng), sheet.border)
    height, width = (n - 2 * sheet.border for n in sheet.image.shape)
    places = height * width / PARTICLE_PX**2
    described = features(score, noise, places)
    particles = sheet.particles
    if unclear is not None and len(unclear):
        clear = _clear(xy, unclear)
        xy, score, particles = xy[clear], score[clear], particles[_clear(particles, unclear)]
    true = np.zeros(len(score), bool)
    if len(particles) and len(score):
        true = adds_a_match(xy, score, particles, MATCH * PARTICLE_PX)
    return KnownMicrograph(described, score, true, len(particles), places, weight)


def _clear(xy: FloatArray, unclear: FloatArray) -> NDArray[np.bool_]:
    """Return a mask of the points outside the unclear discs."""
    away = np.hypot(*(xy[:, None, :] - unclear[None, :, :2]).transpose(2, 0, 1))
    return np.asarray((away > 0.8 * unclear[:, 2]).all(axis=1))


def sheets(
    spec: Mapping[str, Any], data: Path, scales: Sequence[float] = SCALES
) -> list[LabelledSheet]:
    """Read the micrographs of one block of the recipe, at several scales.

    Parameters
    ----------
    spec : micrographs (folder or glob), diameter (px of the original), and optionally coordinates
        and border (px of the original). Without coordinates there are no particles, unless
        `labels` is `rings`: then a template finds dark rings as wide as the particle
    data : folder that these paths are relative to
    scales : particle diameters to rescale to, px
    """
    rings = spec.get("labels") == "rings"
    paths = list_micrographs(data / spec["micrographs"])
    images = {path.name: read_micrograph(path)[0] for path in paths}
    truth: dict[str, FloatArray] = {}
    open_: dict[str, FloatArray] = {}
    if spec.get("coordinates"):
        shapes = {name: (image.shape[0], image.shape[1]) for name, image in images.items()}
        truth = {n: p.xy for n, p in read_in_frame(data / spec["coordinates"], shapes).items()}
    elif rings:
        found = {}
        for name, image in images.items():
            sheet, frame = _scaled(image, PARTICLE_PX / spec["diameter"], name)
            ring = templates.correlations(sheet, PARTICLE_PX / 2, [RING])[RING]
            xy, score = templates.template_peaks(ring, PARTICLE_PX / 2, (0, 0, *sheet.shape))
            found[name] = (frame.to_original(xy), score)
        least = float(threshold_otsu(np.concatenate([score for _, score in found.values()])))
        for name, (xy, score) in found.items():
            truth[name] = xy[score >= least]
            open_[name] = xy[(score < least) & (score > templates.DOUBT * least)]
    made = []
    none = np.empty((0, 2))
    for name, image in images.items():
        for scale in scales:
            sheet, frame = _scaled(image, scale / spec["diameter"], name)
            border = round(spec.get("border", 0) * frame.scale)
            unclear = frame.to_target(open_.get(name, none))
            unclear = np.column_stack([unclear, np.full(len(unclear), UNCLEAR)])
            xy = frame.to_target(truth.get(name, none))
            labels = draw_labels(sheet.shape, xy, unclear, border)
            made.append(LabelledSheet(sheet, labels, xy, border))
    return made


def _scaled(
    image: NDArray[np.float32], scale: float, name: str
) -> tuple[NDArray[np.float16], Frame]:
    prepared = preprocess_micrograph(image, round(max(image.shape) * scale), name)
    frame = prepared.frame
    return frame.without_padding(prepared.image), frame


def blended(networks: Sequence[UNet], shares: Sequence[float]) -> UNet:
    """Return the weighted mean of networks from consecutive training phases.

    A network fine-tuned on a few data sets forgets some of what holds for others; the average
    keeps both (Wortsman et al. 2022, Robust fine-tuning of zero-shot models).
    """
    mean = copy.deepcopy(networks[0])
    states = [network.state_dict() for network in networks]
    mean.load_state_dict(
        {
            name: torch.stack(
                [share * state[name] for share, state in zip(shares, states, strict=True)]
            ).sum(0)
            for name in states[0]
        }
    )
    return mean


def make(
    recipe: Mapping[str, Any], data: Path, network: UNet | None = None
) -> tuple[UNet, Calibration]:
    """Train and calibrate the general network from a recipe.

    Parameters
    ----------
    recipe : contents of config/general.yaml
    data : folder that its paths are relative to
    network : trained network, to only redo the calibration
    """
    seed, simulated = int(recipe["seed"]), recipe["simulated"]
    maps = sorted(data.glob(simulated["maps"]))
    if not maps:
        raise InputError(
            f"simulated.maps: {simulated['maps']} does not match any files. Download the maps."
        )
    empty = [
        sheet
        for spec in recipe.get("empty", [])
        for diameter in spec["diameters"]
        for sheet in sheets({**spec, "diameter": diameter}, data, (PARTICLE_PX,))
    ]
    if network is None:
        network = _trained(recipe, data, maps, empty)
    middle = [sheets(spec, data, (PARTICLE_PX,)) for spec in recipe["sets"].values()]
    # Calibrate on kinds of particles that the network has hardly seen.
    rng = np.random.default_rng([seed, 1])
    fresh = library(maps, simulated["fresh_kinds"], simulated["views"], rng)
    return network, calibrate(network, fresh, simulated["cases"], middle, empty, seed)


def _trained(
    recipe: Mapping[str, Any], data: Path, maps: Sequence[Path], empty: Sequence[LabelledSheet]
) -> UNet:
    """Train the network in the phases of the recipe."""
    seed, simulated = int(recipe["seed"]), recipe["simulated"]
    rng = np.random.default_rng(seed)
    drawn = library(maps, simulated["drawn_kinds"], simulated["views"], rng)
    # Balance kinds from maps and random ones.
    repeats = max(1, simulated["drawn_kinds"] // len(maps))
    kinds = drawn[: len(maps)] * repeats + drawn[len(maps) :]
    crops = [draw_crop(kinds, SIZE, rng) for _ in range(simulated["crops"])]
    logger.info("%d crops of %d kinds of particle", len(crops), len(drawn))
    torch.manual_seed(seed)
    network = UNet(**recipe.get("model", {}))
    real = [sheets(spec, data) for spec in recipe["sets"].values()]
    feed = Feed(crops, real, empty, recipe["empty_share"])
    ends = []
    for number, phase in enumerate(recipe["phases"], 1):
        logger.info("phase %d: %s", number, phase)
        network = learn(
            network,
            feed,
            steps=phase["steps"],
            rate=phase["rate"],
            simulated=phase["simulated"],
            real=phase["real"],
            seed=seed + number,
        )
        ends.append(network)
    return blended(ends, recipe["blend"])


def main(argv: Sequence[str] | None = None) -> int:
    """Train the general network and write its file."""
    parser = argparse.ArgumentParser(
        description=("Train the general network shipped with the package.")
    )
    parser.add_argument("recipe", type=Path, help="config/general.yaml")
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help=("folder that its paths are relative to")
    )
    parser.add_argument("-o", "--output", type=Path, default=general_path())
    about = "recalibrate this model instead of training one"
    parser.add_argument("--network", type=Path, metavar="MODEL", help=about)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = yaml.safe_load(arguments.recipe.read_text(encoding="utf-8"))
    trained = arguments.network and model_file.load_model(arguments.network).network
    network, calibration = make(recipe, arguments.data, trained)
    use = {
        "particle_px": PARTICLE_PX,
        "target_size": None,
        "normalise": "robust",
        "lowpass_angstrom": None,
        "picking": recipe["picking"],
        "threshold": {"threshold": recipe["threshold"]},
        "particles": {},
        "calibration": calibration.to_json(),
        "labels": {"micrographs": 0, "particles": 0},
    }
    hyperparameters = {"model": recipe.get("model", {}), "seed": recipe["seed"]}
    model_file.save_model(arguments.output, network, hyperparameters, use, dtype=torch.float16)
    print(json.dumps({"file": str(arguments.output), "bytes": arguments.output.stat().st_size}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
