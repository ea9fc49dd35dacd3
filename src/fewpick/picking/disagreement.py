"""Where labels would help most: places that models disagree about, and that differ in kind.

Query by committee (Seung et al. 1992): trained models, or the rotations and flips of one, vote on
each pixel, and their disagreement is the mutual information between the label and the choice of
the voter, `H(mean p) - mean H(p)` (Houlsby et al. 2011). It is high where voters are sure of
different things, and low where all are unsure alike, as in noise. Summed over an area and divided
by what one disputed particle brings, it counts particles in dispute. From the areas with the most
of them, those are taken in turn that look least like the ones taken before (features of the
network's lowest level; greedy k-centre, Sener and Savarese 2018, weighted by dispute).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewpick.network.inference import find_peaks, turned, turned_back
from fewpick.picking.picker import Picker, PreparedMicrograph

FloatArray = NDArray[np.float64]

VIEWS = 8  # that a single model votes with
FEWER_VIEWS = 2  # that each of several models averages over
# Votes are held this far from certainty, so that no single voter outvotes all.
FLOOR = 1e-3
# Thresholds are only held apart from 0 and 1: those of networks with a few labels may be far lower
# than `FLOOR`.
EPSILON = 1e-12


@dataclass(frozen=True)
class Area:
    """A tile, or a whole micrograph, that might be labelled.

    Attributes
    ----------
    path : the micrograph
    window : y0, x0, y1, x1, half open, px of the network's input
    doubt : number of particles in dispute
    particles : number of particles that most votes see
    features : (d,) float64 array
    """

    path: Path
    window: tuple[int, int, int, int]
    doubt: float
    particles: int
    features: FloatArray


@torch.no_grad()
def vote(
    pickers: Sequence[Picker], seen: PreparedMicrograph
) -> tuple[NDArray[np.float64], FloatArray]:
    """Probabilities of each voter, and features of the places.

    Probabilities are shifted so that 0.5 is each model's own threshold: models that were stopped
    at different times differ in scale and not in opinion.

    Parameters
    ----------
    pickers : models; a single one votes with its views
    seen : the preprocessed micrograph

    Returns
    -------
    votes : (k, T, T) float64 array
    features : (d, h, w) float64 array, T a multiple of h and w
    """
    votes, features = [], []
    for picker in pickers:
        image = torch.from_numpy(np.asarray(seen.image, np.float32)).to(picker.device)[None, None]
        views = VIEWS if len(pickers) == 1 else FEWER_VIEWS
        threshold = min(max(picker.threshold, EPSILON), 1 - EPSILON)
        level = math.log(threshold / (1 - threshold))
        answers = []
        for k in range(views):
            logits, deep = _look(picker, turned(image, k))
            answers.append(torch.sigmoid(turned_back(logits, k) - level)[0, 0])
            if k == 0:
                features.append(deep[0])
        held = torch.stack(answers)
        votes.append(held if len(pickers) == 1 else held.mean(0, keepdim=True))
    return (
        torch.cat(votes).double().cpu().numpy(),
        torch.cat(features).double().cpu().numpy(),
    )


def disagreement(votes: FloatArray) -> FloatArray:
    """Mutual information of label and voter, bit: (k, h, w) probabilities to (h, w)."""
    p = votes.clip(FLOOR, 1 - FLOOR)
    return np.maximum(_entropy(p.mean(0)) - _entropy(p).mean(0), 0.0)


def areas(pickers: Sequence[Picker], path: Path, tile_size: int | None) -> list[Area]:
    """All areas of one micrograph with what speaks for each.

    Parameters
    ----------
    pickers : models
    path : of the micrograph
    tile_size : edge of a tile, px of the network's input; None takes the micrograph as one
    """
    seen = pickers[0].see(path)
    votes, features = vote(pickers, seen)
    dispute, mean = disagreement(votes), votes.mean(0)
    xy, _ = find_peaks(mean, seen.radius, seen.area)
    rows, columns = np.rint(xy[:, 1]).astype(int), np.rint(xy[:, 0]).astype(int)
    sure = mean[rows, columns] >= 0.5
    disc = math.pi * (pickers[0].radius_scale * seen.radius) ** 2
    step = seen.image.shape[0] / features.shape[1]
    found = []
    for window in _windows(seen.area, tile_size):
        y0, x0, y1, x1 = window
        inside = (rows >= y0) & (rows < y1) & (columns >= x0) & (columns < x1)
        part = features[
            :, int(y0 / step) : math.ceil(y1 / step), int(x0 / step) : math.ceil(x1 / step)
        ]
        found.append(
            Area(
                path,
                window,
                float(dispute[y0:y1, x0:x1].sum() / disc),
                int((inside & sure).sum()),
                np.concatenate([part.mean((1, 2)), part.std((1, 2))]),
            )
        )
    return found


def choose_areas(candidates: Sequence[Area], n: int) -> list[Area]:
    """Choose the most disputed area, then in turn one that is disputed and unlike the others.

    An area's worth is its doubt times its distance to the nearest one taken, which counts no more
    than the median distance of areas does.
    """
    if not candidates:
        return []
    features = np.stack([area.features for area in candidates])
    spread = features.std(0)
    features = (features - features.mean(0)) / np.where(spread > 0, spread, 1.0)
    doubt = np.array([area.doubt for area in candidates])
    usual = float(np.median(np.linalg.norm(features - np.median(features, 0), axis=1))) or 1.0
    nearest = np.full(len(candidates), np.inf)
    taken: list[int] = []
    while len(taken) < min(n, len(candidates)):
        worth = doubt * np.minimum(nearest / usual, 1.0)
        worth[taken] = -1.0
        taken.append(int(np.argmax(worth)))
        nearest = np.minimum(nearest, np.linalg.norm(features - features[taken[-1]], axis=1))
    return [candidates[i] for i in taken]


def _look(picker: Picker, image: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the output of the network's lowest level."""
    held: list[Tensor] = []
    hook = picker.network.encoder[-1].register_forward_hook(
        lambda module, given, output: held.append(output)
    )
    try:
        picker.network.eval()
        logits = picker.network(image)
    finally:
        hook.remove()
    return logits, held[0]


def _entropy(p: FloatArray) -> FloatArray:
    return np.asarray(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)))


def _windows(
    area: tuple[int, int, int, int], tile_size: int | None
) -> Iterator[tuple[int, int, int, int]]:
    """Return the annotated area, or the whole tiles that fit into it, centred."""
    y0, x0, y1, x1 = area
    if tile_size is None:
        yield area
        return
    rows, columns = (y1 - y0) // tile_size, (x1 - x0) // tile_size
    top = y0 + (y1 - y0 - rows * tile_size) // 2
    left = x0 + (x1 - x0 - columns * tile_size) // 2
    for i in range(rows):
        for j in range(columns):
            y, x = top + i * tile_size, left + j * tile_size
            yield y, x, y + tile_size, x + tile_size
