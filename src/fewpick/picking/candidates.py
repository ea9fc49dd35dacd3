"""Apply a trained network to every micrograph."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from fewpick.network.device import inference_dtype, report_gpu_errors
from fewpick.network.device_peaks import find_peaks_batch
from fewpick.network.inference import find_peaks, predict
from fewpick.prefetch import in_order
from fewpick.sampling.training_set import Micrograph

# Bins of the histogram of probabilities.
BINS = 100
# Micrographs per batch on a GPU.
BATCH = 8
# Freed memory is returned every this many micrographs; it takes some hundredths of a second.
RETURNED = 16


@dataclass(frozen=True)
class Found:
    """Candidates of one micrograph.

    Attributes
    ----------
    micrograph : Micrograph
    xy : (n, 2) float64 array of x, y in px of the preprocessed image (target frame), best first
    score : (n,) float64 array
    pixels : histogram of the probabilities of its annotated pixels, see `_histogram`
    """

    micrograph: Micrograph
    xy: NDArray[np.float64]
    score: NDArray[np.float64]
    pixels: pd.DataFrame


def find(
    network: nn.Module,
    micrographs: Iterable[Micrograph],
    device: torch.device,
    *,
    views: int,
    nms_radius: float,
    precision: str = "auto",
    batch_size: int | None = None,
) -> Iterator[Found]:
    """Find candidates in one micrograph after another.

    Parameters
    ----------
    network : network on `device`
    micrographs : preprocessed micrographs of any sizes
    device : where the network runs
    views : as in `inference.predict`
    nms_radius : non-maximum suppression radius, in particle radii
    precision : `auto` or `float32`, as in `device.inference_dtype`
    batch_size : micrographs of equal size that go through the network together, with peaks found
        on `device`, while the next ones are loaded. With 1, the default on a CPU, peaks come from
        the reference implementation, `inference.find_peaks`

    Yields
    ------
    Found
        Candidates and the histogram of annotated pixels, in the order of `micrographs`.
    """
    if batch_size is None:
        batch_size = 1 if device.type == "cpu" else BATCH
    dtype = inference_dtype(precision, device)
    number = 0
    for batch, images in in_order(_loaded, _batches(micrographs, batch_size), threads=2):
        with report_gpu_errors():
            probability = predict(network, images.to(device), views, dtype)
        if batch_size == 1:
            found = [
                find_peaks(plane[0].cpu().numpy(), m.radius, m.area, nms_radius=nms_radius)
                for m, plane in zip(batch, probability, strict=True)
            ]
        else:
            radii, areas = [m.radius for m in batch], [m.area for m in batch]
            found = find_peaks_batch(probability[:, 0], radii, areas, nms_radius=nms_radius)
        for micrograph, plane, (xy, score) in zip(batch, probability, found, strict=True):
            yield Found(micrograph, xy, score, _histogram(micrograph, plane[0]))
            number += 1
            if number % RETURNED == 0:
                give_back()


def _batches(micrographs: Iterable[Micrograph], size: int) -> Iterator[list[Micrograph]]:
    """Yield batches of up to `size` consecutive micrographs of equal shape."""
    batch: list[Micrograph] = []
    for micrograph in micrographs:
        if batch and (len(batch) == size or micrograph.image.shape != batch[0].image.shape):
            yield batch
            batch = []
        batch.append(micrograph)
    if batch:
        yield batch


def _loaded(batch: list[Micrograph]) -> tuple[list[Micrograph], torch.Tensor]:
    """Return the micrographs and their images, (n, 1, h, w) float32 on the host."""
    images = np.stack([np.asarray(m.image, np.float32) for m in batch])
    return batch, torch.from_numpy(images)[:, None]


def candidate_table(found: Sequence[Found]) -> pd.DataFrame:
    """Return all candidates as a table: dataset, micrograph, split, x, y, score.

    x and y are in px of the original micrographs; each micrograph's candidates are best first.
    """
    parts = []
    for f in found:
        xy = f.micrograph.frame.to_original(f.xy)
        part = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "score": f.score})
        for position, column in enumerate(("dataset", "name", "split")):
            label = "micrograph" if column == "name" else column
            part.insert(position, label, getattr(f.micrograph, column))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def found_in_table(table: pd.DataFrame, micrographs: Iterable[Micrograph]) -> list[Found]:
    """Read candidates from a table in the format of `candidate_table`; `pixels` are empty."""
    rows = dict(iter(table.groupby(["dataset", "micrograph"])))
    found = []
    for m in micrographs:
        held = rows.get((m.dataset, m.name), table[:0])
        xy = m.frame.to_target(held[["x", "y"]].to_numpy(np.float64))
        found.append(Found(m, xy, held["score"].to_numpy(np.float64), pd.DataFrame()))
    return found


def _histogram(micrograph: Micrograph, plane: torch.Tensor) -> pd.DataFrame:
    """Return a histogram, in bins of 0.01, of annotated val or test pixels' probabilities by class.

    Validation pixels count only inside the labelled windows.
    """
    if micrograph.split == "test":
        mask = np.asarray(micrograph.mask)
    elif micrograph.split == "val":
        mask = micrograph.labels()
    else:
        return pd.DataFrame()
    probability = plane.cpu().numpy()
    bins = np.clip((probability * BINS).astype(np.int64), 0, BINS - 1)
    table = pd.DataFrame(
        {
            "bin": np.arange(BINS),
            "n_particle": np.bincount(bins[mask == 1], minlength=BINS),
            "n_background": np.bincount(bins[mask == 0], minlength=BINS),
        }
    )
    table.insert(0, "dataset", micrograph.dataset)
    table.insert(1, "micrograph", micrograph.name)
    table.insert(2, "split", micrograph.split)
    return table


def give_back() -> None:
    """Return freed memory to the system, if the C library can (glibc).

    By itself, glibc returns only the top of its heap. A loop that keeps a little of each image
    would grow by megabytes per image, because what it keeps sits above what it freed.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
