"""Find where labels would help most: diverse places that models disagree about.

Query by committee (Seung et al. 1992): trained models, or the rotations and flips of one, vote on
each pixel. Their disagreement is the mutual information between the label and the choice of voter,
`H(mean p) - mean H(p)` (Houlsby et al. 2011): high where confident voters contradict each other,
low where all are equally unsure, as in noise. Summed over an area and divided by what one disputed
particle contributes, it estimates the number of disputed particles. Areas are then chosen one by
one for having many of them and looking unlike those already chosen (features of the network's
lowest level; greedy k-centre, Sener and Savarese 2018, weighted by dispute).
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

VIEWS = 8  # views of a single model, each a vote
FEWER_VIEWS = 2  # views averaged by each of several models
# Votes are clipped this far from 0 and 1, so that no single voter outvotes all others.
FLOOR = 1e-3
# Keeps thresholds away from 0 and 1. Much smaller than `FLOOR`, because networks trained on few
# labels may have very low thresholds.
EPSILON = 1e-12


@dataclass(frozen=True)
class Area:
    """A tile, or a whole micrograph, that might be labelled.

    Attributes
    ----------
    path : the micrograph
    window : y0, x0, y1, x1, half open, px of the network's input
    doubt : number of disputed particles
    particles : number of particles by majority vote
    features : (d,) float64 array that describes its appearance
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
    """Return the probabilities of each voter, and a feature map.

    Probabilities are shifted so that 0.5 is each model's own threshold; otherwise models that
    differ only in the scale of their scores, as after different training lengths, would seem to
    disagree.

    Parameters
    ----------
    pickers : models; a single one votes with its views
    seen : the preprocessed micrograph, T x T px

    Returns
    -------
    votes : (k, T, T) float64 array of probabilities
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
    """Return the mutual information of label and voter in bits: (k, h, w) votes to (h, w)."""
    p = votes.clip(FLOOR, 1 - FLOOR)
    return np.maximum(_entropy(p.mean(0)) - _entropy(p).mean(0), 0.0)


def areas(pickers: Sequence[Picker], path: Path, tile_size: int | None) -> list[Area]:
    """Return the candidate areas of one micrograph.

    Parameters
    ----------
    pickers : models
    path : the micrograph
    tile_size : edge of a tile, px of the network's input; None makes the whole micrograph one area
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
    """Choose the most disputed area first, then areas that are disputed and unlike those chosen.

    An area's worth is its doubt times its feature distance to the nearest chosen area, capped at
    the median distance of the areas from their median.
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
    """Return the logits, and the output of the network's lowest level."""
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
    """Yield the area itself, or the whole tiles that fit into it, centred."""
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
