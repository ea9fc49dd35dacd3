"""Estimate threshold and F1 on new micrographs from the network's scores alone.

A network's score is a probability only on micrographs like those it was trained on. How the scores
of a micrograph fall off with rank shows how crowded and how clear it is, especially compared with
the scores on noise of the same spectrum. The mapping from this to a threshold, and to the F1
reached there, is learned from micrographs with known particles, mostly simulated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft
from torch import nn

# Ranks at which scores are read, per area of one particle's bounding square.
RANKS = (0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8)
FLOOR = 0.002  # scores below this are never candidates, see `inference`
HIDDEN = 16
MEMBERS = 3  # size of the ensemble
STEPS = 400
START = 0.23  # initial threshold of the fit
SOFTNESS = 0.25  # width of the soft step at the threshold, log-odds
PICK_COST = 8.0  # loss per pick and place on micrographs without particles

FloatArray = NDArray[np.float64]


def logit(p: FloatArray | float) -> FloatArray:
    """Return the log-odds of probabilities clipped to [FLOOR, 1 - FLOOR]."""
    held = np.clip(p, FLOOR, 1 - FLOOR)
    return np.asarray(np.log(held / (1 - held)))


def sigmoid(x: FloatArray | float) -> FloatArray:
    """Return the probability of log-odds."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(x))))


def noise_alike(image: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return noise with the power spectrum of an image, but without particles."""
    spectrum = np.abs(fft.rfft2(image.astype(np.float32)))
    phases = fft.rfft2(rng.standard_normal(image.shape, dtype=np.float32))
    phases /= np.maximum(np.abs(phases), 1e-12)
    return np.asarray(fft.irfft2(spectrum * phases, s=image.shape), np.float32)


def features(
    scores: FloatArray, noise: FloatArray, places: float, noise_share: float = 1.0
) -> FloatArray:
    """Describe the scores of similar micrographs.

    Parameters
    ----------
    scores, noise : scores of all candidates, and of those on `noise_alike` images
    places : area of the micrographs in units of a particle's bounding square
    noise_share : fraction of that area that `noise` comes from

    Returns
    -------
    (2 * len(RANKS),) float64 array of log-odds
    """
    read = []
    for values, area in ((scores, places), (noise, places * noise_share)):
        ordered = np.sort(values)[::-1]
        ranks = np.floor(np.array(RANKS) * area).astype(np.int64)
        found = np.full(len(RANKS), FLOOR)
        inside = ranks < len(ordered)
        found[inside] = ordered[ranks[inside]]
        read.append(logit(found))
    return np.concatenate(read)


@dataclass(frozen=True)
class Calibration:
    """An ensemble of small networks that map features to a threshold and the expected F1.

    Attributes
    ----------
    mean, scale : (d,) arrays that normalise the features
    layers : for each member, weights and biases of its two layers as nested lists
    """

    mean: FloatArray
    scale: FloatArray
    layers: list[list[Any]]

    def __call__(self, described: FloatArray) -> tuple[float, float]:
        """Return the threshold and the expected F1, each between 0 and 1."""
        x = (described - self.mean) / self.scale
        answers = []
        for w1, b1, w2, b2 in self.layers:
            hidden = np.maximum(np.asarray(w1) @ x + np.asarray(b1), 0)
            answers.append(np.asarray(w2) @ hidden + np.asarray(b2))
        threshold, quality = sigmoid(np.mean(answers, axis=0))
        return float(threshold), float(quality)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary for `from_json`."""
        return {
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "layers": self.layers,
        }

    @classmethod
    def from_json(cls, held: dict[str, Any]) -> Calibration:
        """Restore a calibration from the output of `to_json`."""
        return cls(np.array(held["mean"]), np.array(held["scale"]), held["layers"])


@dataclass(frozen=True)
class KnownMicrograph:
    """A micrograph with known particles, to fit a calibration.

    Attributes
    ----------
    described : output of `features`
    scores, true : (n,) arrays: scores of the candidates, and whether each finds a further particle
    particles : number of particles
    places : as for `features`
    weight : weight in the loss
    """

    described: FloatArray
    scores: FloatArray
    true: NDArray[np.bool_]
    particles: int
    places: float
    weight: float


def fit(cases: Sequence[KnownMicrograph], seed: int) -> Calibration:
    """Fit the thresholds that give the best F1, and the F1 reached with them.

    Picks are weighted by a soft step at the threshold in log-odds, which makes F1 a differentiable
    function of the threshold; on micrographs without particles, every pick costs. Thresholds are
    therefore only fitted as precisely as F1 requires.

    Parameters
    ----------
    cases : micrographs of as many kinds as possible
    seed : seed of the initial weights
    """
    described = np.stack([case.described for case in cases])
    mean, scale = described.mean(0), described.std(0) + 0.3
    x = torch.from_numpy((described - mean) / scale).float()
    longest = max(len(case.scores) for case in cases)
    scores, true = np.full((len(cases), longest), -np.inf), np.zeros((len(cases), longest))
    for row, case in enumerate(cases):
        scores[row, : len(case.scores)] = logit(case.scores)
        true[row, : len(case.scores)] = case.true
    odds, hits = torch.from_numpy(scores).float(), torch.from_numpy(true).float()
    n = torch.tensor([case.particles for case in cases]).float()
    places = torch.tensor([case.places for case in cases]).float()
    weight = torch.tensor([case.weight for case in cases]).float()
    layers = []
    for member in range(MEMBERS):
        torch.manual_seed(seed + member)
        last = nn.Linear(HIDDEN, 2)
        network = nn.Sequential(nn.Linear(x.shape[1], HIDDEN), nn.ReLU(), last)
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.copy_(torch.tensor([logit(START).item(), 0.0]))
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.1)
        schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, STEPS)
        for _ in range(STEPS):
            answer = network(x + 0.15 * torch.randn_like(x))
            kept = torch.sigmoid((odds - answer[:, :1]) / SOFTNESS)
            f1 = 2 * (kept * hits).sum(1) / (kept.sum(1) + n + 1e-6)
            cost = (kept.sum(1) / places * PICK_COST).clamp(max=1)
            promised = torch.sigmoid(answer[:, 1])
            error = (promised - f1.detach()) ** 2
            loss = ((torch.where(n > 0, 1 - f1, cost) + error) * weight).sum() / weight.sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        layers.append([p.detach().double().numpy().round(5).tolist() for p in network.parameters()])
    return Calibration(mean.round(5), scale.round(5), layers)
