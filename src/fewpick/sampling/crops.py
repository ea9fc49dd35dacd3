"""Draw training crops: labelled ones around labels, unlabelled ones anywhere."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewpick.data.masks import PARTICLE, UNKNOWN
from fewpick.errors import InputError
from fewpick.geometry import GRAIN
from fewpick.sampling.training_set import CPU, Micrograph
from fewpick.sampling.views import View, random_view, sample

# A crop around a small labelled window is this much wider, px, so that a rotated window still fits.
MARGIN = 32


class LabelledCrops:
    """Random views of the labelled windows, drawn with probability proportional to their area.

    Data sets are drawn equally often, whatever the number and size of their micrographs.

    Attributes
    ----------
    size : edge of a view, px
    prevalence : fraction of particle pixels in the labelled area, a mean over data sets
    prevalence_of : the same for each data set
    n_particles_of : number of labelled particles in each data set
    """

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
        names = np.array([labelled[i].dataset for i, _ in self.items])
        totals = {name: areas[names == name].sum() for name in np.unique(names)}
        self.probability = areas / [totals[name] for name in names] / len(totals)
        widest = max(max(y1 - y0, x1 - x0) for _, (y0, x0, y1, x1) in self.items)
        self.size = min(crop_size, math.ceil((widest + MARGIN) / GRAIN) * GRAIN)
        counts: dict[str, NDArray[np.int64]] = {}
        for micrograph in labelled:
            labels = micrograph.labels()
            pixels = [np.count_nonzero(labels == PARTICLE), np.count_nonzero(labels != UNKNOWN)]
            held = np.array([*pixels, len(micrograph.points)])
            counts[micrograph.dataset] = counts.get(micrograph.dataset, 0) + held
        self.prevalence_of = {name: float(n[0] / n[1]) for name, n in counts.items()}
        self.n_particles_of = {name: int(n[2]) for name, n in counts.items()}
        self.prevalence = float(np.mean(list(self.prevalence_of.values())))
        self.n_particles = sum(self.n_particles_of.values())
        # Cached for the next draw, but only some, so that memory use stays bounded.
        self._labels = lru_cache(maxsize=16)(lambda i: self.micrographs[i].labels())

    def median_particles(self, datasets: Iterable[str]) -> float:
        """Return the median number of labelled particles per data set, unlabelled ones included."""
        return float(np.median([self.n_particles_of.get(name, 0) for name in datasets]))

    def draw(
        self, n: int, rng: np.random.Generator, device: torch.device = CPU
    ) -> tuple[Tensor, Tensor]:
        """Draw `n` views: images (n, 1, s, s) float32 and labels (n, 1, s, s) of 1, 0, -1."""
        chosen = [self.items[i] for i in rng.choice(len(self.items), n, p=self.probability)]
        views = []
        for _, (y0, x0, y1, x1) in chosen:
            y = (y0 + y1 - 1) / 2 + rng.uniform(-1, 1) * _freedom(y1 - y0, self.size)
            x = (x0 + x1 - 1) / 2 + rng.uniform(-1, 1) * _freedom(x1 - x0, self.size)
            views.append(random_view(y, x, rng))
        sheets = [self.micrographs[i].image for i, _ in chosen]
        images = crop(sheets, views, self.size, fill="reflect", device=device)
        labels = [self._labels(i) for i, _ in chosen]
        return images, crop(labels, views, self.size, fill=UNKNOWN, device=device)


def _freedom(extent: int, size: int) -> float:
    """Return how far a crop's centre may be from the centre of its window."""
    return max((extent - size) / 2, 0) + size / 10


def unlabelled_views(
    micrographs: Sequence[Micrograph],
    n: int,
    size: int,
    rng: np.random.Generator,
    weights: Mapping[str, float] | None = None,
) -> tuple[list[int], list[View]]:
    """Draw the indices of `n` micrographs, and a random view within the area of each.

    Data sets are drawn equally often, or in proportion to their `weights`.
    """
    names = [m.dataset for m in micrographs]
    counts = Counter(names)
    if len(counts) == 1:
        indices = [int(i) for i in rng.integers(len(micrographs), size=n)]
    else:
        share = np.array([(1.0 if weights is None else weights[k]) / counts[k] for k in names])
        indices = [int(i) for i in rng.choice(len(names), n, p=share / share.sum())]
    views = []
    for index in indices:
        y0, x0, y1, x1 = micrographs[index].area
        y = rng.uniform(*_span(y0, y1, size))
        x = rng.uniform(*_span(x0, x1, size))
        views.append(random_view(y, x, rng))
    return indices, views


def _span(start: int, stop: int, size: int) -> tuple[float, float]:
    """Return the range of centres that keep a crop within start .. stop, or else the middle."""
    low, high = start + (size - 1) / 2, stop - 1 - (size - 1) / 2
    return (low, high) if low <= high else ((start + stop - 1) / 2,) * 2


def crop(
    images: Sequence[NDArray[np.generic]],
    views: Sequence[View],
    size: int,
    *,
    fill: str | int,
    device: torch.device = CPU,
) -> Tensor:
    """Crop one view out of each image.

    On a CPU, crops are made one by one, since half of the views (`random_view`) need no
    interpolation; a GPU is faster when it interpolates all of them together.

    Parameters
    ----------
    images : (T, T) arrays; only the neighbourhood of each view is read
    views : one per image
    size : edge of the crop, px
    fill : "reflect" mirrors an image beyond its edges and interpolates bilinearly; a number fills
        the outside instead and samples the nearest pixel, as labels need
    device : where the crops are made

    Returns
    -------
    (n, 1, size, size) float32 tensor on the device
    """
    if device.type != CPU.type:
        return _crop_together(images, views, size, fill, device)
    crops = torch.empty(len(views), 1, size, size)
    for out, image, view in zip(crops, images, views, strict=True):
        turns = view.quarter_turns(size)
        extent = size if turns is not None else 2 * view.reach(size)
        top = math.ceil(view.y - (extent - 1) / 2)
        left = math.ceil(view.x - (extent - 1) / 2)
        window = _window(image, top, left, extent, fill)
        if turns is not None:
            turned = np.rot90(window, turns)
            out[0] = torch.from_numpy((turned[:, ::-1] if view.mirrored else turned).copy())
        else:
            out[:] = sample(
                torch.from_numpy(window)[None, None],
                [view.moved(-top, -left)],
                size,
                nearest=isinstance(fill, int),
            )[0]
    return crops


def _crop_together(
    images: Sequence[NDArray[np.generic]],
    views: Sequence[View],
    size: int,
    fill: str | int,
    device: torch.device,
) -> Tensor:
    reach = max(view.reach(size) for view in views)
    corners = [(math.floor(view.y) - reach + 1, math.floor(view.x) - reach + 1) for view in views]
    windows = [
        _window(image, top, left, 2 * reach, fill)
        for image, (top, left) in zip(images, corners, strict=True)
    ]
    return sample(
        torch.from_numpy(np.stack(windows)[:, None]).to(device),
        [view.moved(-top, -left) for view, (top, left) in zip(views, corners, strict=True)],
        size,
        nearest=isinstance(fill, int),
    )


def _window(
    image: NDArray[np.generic], top: int, left: int, extent: int, fill: str | int
) -> NDArray[np.float32]:
    """Return a square of an image, extended beyond the edges as described in `crop`."""
    height, width = image.shape
    if top >= 0 and left >= 0 and top + extent <= height and left + extent <= width:
        return image[top : top + extent, left : left + extent].astype(np.float32)
    rows, columns = np.arange(top, top + extent), np.arange(left, left + extent)
    window = image[np.ix_(_mirrored(rows, height), _mirrored(columns, width))].astype(np.float32)
    if isinstance(fill, int):
        window[(rows < 0) | (rows >= height)] = fill
        window[:, (columns < 0) | (columns >= width)] = fill
    return window


def _mirrored(index: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Reflect indices outside 0 .. n-1 back into this range without repeating the edge."""
    if n == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * n - 2)
    return np.where(index < n, index, 2 * n - 2 - index)
