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

from fewpick.network.inference import find_peaks
from fewpick.training.training_set import Micrograph
from fewpick.training.validation import probability_of

# Bins of the histogram of probabilities.
BINS = 100
# Micrographs after which freed memory is returned, which takes some hundredths of a second.
RETURNED = 16


@dataclass(frozen=True)
class Found:
    """Peaks of one micrograph, target frame, and the histogram of its annotated pixels."""

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
) -> Iterator[Found]:
    """Peaks and pixel histogram, one micrograph at a time."""
    for number, micrograph in enumerate(micrographs, 1):
        probability = probability_of(network, micrograph, device, views)
        xy, score = find_peaks(
            probability, micrograph.radius, micrograph.area, nms_radius=nms_radius
        )
        yield Found(micrograph, xy, score, _histogram(micrograph, probability))
        if number % RETURNED == 0:
            give_back()


def candidate_table(found: Sequence[Found]) -> pd.DataFrame:
    """Table of all peaks: dataset micrograph split x y score, original frame, best first."""
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
    """Peaks of another program from a table like that of `candidate_table`; it has no pixels."""
    rows = dict(iter(table.groupby(["dataset", "micrograph"])))
    found = []
    for m in micrographs:
        held = rows.get((m.dataset, m.name), table[:0])
        xy = m.frame.to_target(held[["x", "y"]].to_numpy(np.float64))
        found.append(Found(m, xy, held["score"].to_numpy(np.float64), pd.DataFrame()))
    return found


def _histogram(micrograph: Micrograph, probability: NDArray[np.float32]) -> pd.DataFrame:
    """Probabilities of the annotated val and test pixels, in bins of 0.01, by class.

    Validation pixels count inside the labelled windows only.
    """
    if micrograph.split == "test":
        mask = np.asarray(micrograph.mask)
    elif micrograph.split == "val":
        mask = micrograph.labels()
    else:
        return pd.DataFrame()
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
    """Return freed memory to the system, where the C library can (glibc).

    By itself it returns the end of its memory only. The little that is kept of each image lies
    behind the much that was freed of it, so that a loop over images which keeps something of each
    would grow by megabytes with each of them.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
