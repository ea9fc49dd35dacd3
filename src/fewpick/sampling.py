"""Draw training crops: labelled ones around labels, unlabelled ones anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from fewpick.dataset import CPU, Micrograph, cut
from fewpick.errors import InputError
from fewpick.masks import PARTICLE, UNKNOWN
from fewpick.views import View, random_view

# A crop around a small labelled window is this much wider, so that a turned window still fits.
MARGIN = 32
# Network sizes are multiples of this (stem stride 4, four levels).
GRAIN = 32


class LabelledCrops:
    """Random views of the labelled windows, each window drawn by its area."""

    def __init__(self, micrographs: Sequence[Micrograph], crop_size: int) -> None:
        labelled = [m for m in micrographs if m.split == "train" and m.label_windows()]
        if not labelled:
            raise InputError(
                "splits: no labelled training micrograph. "
                "Annotate one, or raise splits.labeled_ratios."
            )
        self.micrographs = labelled
        self.items = [(i, window) for i, m in enumerate(labelled) for window in m.label_windows()]
        areas = np.array([(y1 - y0) * (x1 - x0) for _, (y0, x0, y1, x1) in self.items], float)
        self.probability = areas / areas.sum()
        widest = max(max(y1 - y0, x1 - x0) for _, (y0, x0, y1, x1) in self.items)
        self.size = min(crop_size, math.ceil((widest + MARGIN) / GRAIN) * GRAIN)
        known = positive = 0
        for micrograph in labelled:
            labels = micrograph.labels()
            known += int(np.count_nonzero(labels != UNKNOWN))
            positive += int(np.count_nonzero(labels == PARTICLE))
        # Share of particle pixels in the labelled area.
        self.prevalence = positive / known
        self.n_particles = sum(len(m.points) for m in labelled)
        # Some are kept for the next draw, and not all, so that memory does not grow with them.
        self._labels = lru_cache(maxsize=16)(lambda i: self.micrographs[i].labels())

    def draw(
        self, n: int, rng: np.random.Generator, device: torch.device = CPU
    ) -> tuple[Tensor, Tensor]:
        """n views: images (n, 1, s, s) float32 and labels (n, 1, s, s) of 1, 0, -1."""
        chosen = [self.items[i] for i in rng.choice(len(self.items), n, p=self.probability)]
        views = []
        for _, (y0, x0, y1, x1) in chosen:
            y = (y0 + y1 - 1) / 2 + rng.uniform(-1, 1) * _freedom(y1 - y0, self.size)
            x = (x0 + x1 - 1) / 2 + rng.uniform(-1, 1) * _freedom(x1 - x0, self.size)
            views.append(random_view(y, x, rng))
        sheets = [self.micrographs[i].image for i, _ in chosen]
        images = cut(sheets, views, self.size, fill="reflect", device=device)
        labels = [self._labels(i) for i, _ in chosen]
        return images, cut(labels, views, self.size, fill=UNKNOWN, device=device)


def _freedom(extent: int, size: int) -> float:
    """How far a crop's centre may stray from the centre of its window."""
    return max((extent - size) / 2, 0) + size / 10


def unlabelled_views(
    micrographs: Sequence[Micrograph], n: int, size: int, rng: np.random.Generator
) -> tuple[list[int], list[View]]:
    """Indices of n micrographs, and a random view within the area of each."""
    indices = [int(i) for i in rng.integers(len(micrographs), size=n)]
    views = []
    for index in indices:
        y0, x0, y1, x1 = micrographs[index].area
        y = rng.uniform(*_span(y0, y1, size))
        x = rng.uniform(*_span(x0, x1, size))
        views.append(random_view(y, x, rng))
    return indices, views


def _span(start: int, stop: int, size: int) -> tuple[float, float]:
    """Range of centres for which a crop stays within start .. stop, or the middle."""
    low, high = start + (size - 1) / 2, stop - 1 - (size - 1) / 2
    return (low, high) if low <= high else ((start + stop - 1) / 2,) * 2
