"""Apply a trained network to every micrograph, and decide which peaks are picks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from fewpick.dataset import Micrograph
from fewpick.matching import choose_threshold
from fewpick.picking import find_peaks
from fewpick.validation import MATCH_RADIUS, in_windows, probability_of

# Bins of the histogram of probabilities.
BINS = 100
# Without labelled areas, the threshold keeps this share of the clicked particles.
CLICKED_RECALL = 0.9


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
    for micrograph in micrographs:
        probability = probability_of(network, micrograph, device, views)
        xy, score = find_peaks(
            probability, micrograph.radius, micrograph.area, nms_radius=nms_radius
        )
        yield Found(micrograph, xy, score, _histogram(micrograph, probability))


def candidates(found: Sequence[Found]) -> pd.DataFrame:
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


def from_candidates(table: pd.DataFrame, micrographs: Iterable[Micrograph]) -> list[Found]:
    """Peaks of another program from a table like that of `candidates`; it has no pixels."""
    rows = dict(iter(table.groupby(["dataset", "micrograph"])))
    found = []
    for m in micrographs:
        held = rows.get((m.dataset, m.name), table[:0])
        xy = m.frame.to_target(held[["x", "y"]].to_numpy(np.float64))
        found.append(Found(m, xy, held["score"].to_numpy(np.float64), pd.DataFrame()))
    return found


def threshold(found: Sequence[Found]) -> dict[str, object]:
    """Score threshold from labels that the final scores never see.

    From the validation labels, the score of the best F1 at 0.3 diameters (`source: validation`).
    Without any, the score that makes the picks on training micrographs as dense as their labels
    (`source: prevalence`); with clicked particles only, the score that 90 % of them reach
    (`source: labelled`).

    Returns
    -------
    threshold, source, and for validation the F1 reached there and the number of labels
    """
    validation = [f for f in found if f.micrograph.split == "val" and f.micrograph.windows]
    if validation:
        cases = []
        for f in validation:
            m, diameter = f.micrograph, 2 * f.micrograph.radius
            inside = in_windows(f.xy, m.windows)
            truth = m.points[in_windows(m.points, m.windows)]
            cases.append((f.xy[inside] / diameter, f.score[inside], truth / diameter))
        value, f1 = choose_threshold(cases, MATCH_RADIUS)
        labels = sum(len(truth) for *_, truth in cases)
        reached = {"pick_f1": float(f1), "n_labeled_particles": labels}
        return {"threshold": float(value), "source": "validation", "validation": reached}
    training = [f for f in found if f.micrograph.split == "train"]
    windows = [f for f in training if f.micrograph.windows]
    if windows:
        labelled = sum(
            (y1 - y0) * (x1 - x0) for f in windows for y0, x0, y1, x1 in f.micrograph.windows
        )
        density = sum(len(f.micrograph.points) for f in windows) / labelled
        area = sum(
            (y1 - y0) * (x1 - x0) for y0, x0, y1, x1 in (f.micrograph.area for f in training)
        )
        scores = np.sort(np.concatenate([f.score for f in training]))[::-1]
        rank = min(max(1, round(density * area)), len(scores)) - 1
        value = float(scores[rank]) if len(scores) else 1.0
        return {"threshold": value, "source": "prevalence"}
    nearest = [_score_at(f, xy) for f in training for xy in f.micrograph.points]
    return {"threshold": float(np.quantile(nearest, 1 - CLICKED_RECALL)), "source": "labelled"}


def _score_at(found: Found, xy: NDArray[np.float64]) -> float:
    """Score of the best peak within the match radius of a clicked particle, or 0."""
    near = np.hypot(*(found.xy - xy).T) <= MATCH_RADIUS * 2 * found.micrograph.radius
    return float(found.score[near].max(initial=0.0))


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
