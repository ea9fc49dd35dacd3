"""Score the choice between pickers without labels on simulated micrographs, which nobody tuned.

python -m benchmarks.no_labels_simulated [--data DIR] [--network MODEL] [--number N] [-o FILE]

Each micrograph is of another kind, and judged by itself. One row per picker chosen, and whether the
verdict trusts it: how many micrographs, the mean F1 at 0.3 diameters of what was chosen, the mean
F1 of the network on the same ones, the mean F1 expected, and the share whose F1 is below 0.5.
Micrographs without particles have rows of their own, with picks per place in place of F1.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.data import ROOT
from fewpick.atomic import atomic_path
from fewpick.coordinates import Picks
from fewpick.evaluation.matching import adds_a_match
from fewpick.geometry import frame_for
from fewpick.picking.picker import Picker, PreparedMicrograph, kept
from fewpick.picking.without_labels import finder_of, give_verdict, inverted, network_verdict
from fewpick.simulation.shapes import library
from fewpick.simulation.variety import PARTICLE_PX, Crop, draw_crop

SIZE, KINDS, VIEWS = 256, 120, 24
REACH = 0.3 * PARTICLE_PX
SEED = 100  # not that of a recipe
FEWEST = 5  # particles below which F1 says little


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.no_labels_simulated")
    data = os.environ.get("FEWPICK_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(data), help="folder with emdb_maps/")
    parser.add_argument("--network", default="general", metavar="MODEL")
    parser.add_argument("--number", type=int, default=300, help="of micrographs")
    default = ROOT / "docs/results/no_labels_simulated.tsv"
    parser.add_argument("-o", "--output", type=Path, default=default, help="table to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(SEED)
    maps = sorted((options.data / "emdb_maps").glob("*.map"))
    kinds = library(maps, KINDS, VIEWS, rng)
    picker = Picker(options.network, torch.device("cpu"), radius=PARTICLE_PX / 2)
    rows = []
    for i in range(options.number):
        if i % 50 == 0:
            print(f"{i} of {options.number}", file=sys.stderr, flush=True)
        crop = draw_crop(kinds, SIZE, rng)
        found = judged(picker, crop)
        if found:
            rows.append(found)
    table = (
        pd.DataFrame(rows)
        .assign(below_half=lambda t: (t["f1"] < 0.5).where(t["f1"].notna()))
        .groupby(["particles", "chosen", "trusted"])
        .agg(
            n=("chosen", "size"),
            f1=("f1", "mean"),
            network_f1=("network_f1", "mean"),
            expected_f1=("expected_f1", "mean"),
            below_half=("below_half", "mean"),
            picks_per_place=("picks_per_place", "mean"),
        )
        .reset_index()
    )
    with atomic_path(options.output) as path:
        table.to_csv(path, sep="\t", index=False, float_format="%.3f", lineterminator="\n")
    print(table.to_string(index=False))


def judged(picker: Picker, crop: Crop) -> dict[str, object] | None:
    """One micrograph: what picks it, and how well; None with a handful of particles."""
    inside = np.all((crop.particles >= 0) & (crop.particles < SIZE), axis=1)
    particles = crop.particles[inside & clear(crop.particles, crop.unclear)]
    if 0 < len(particles) < FEWEST:
        return None
    area, frame = (0, 0, SIZE, SIZE), frame_for(SIZE, SIZE, SIZE)
    seen = PreparedMicrograph(crop.image.astype(np.float16), frame, PARTICLE_PX / 2, area, None)
    verdict = give_verdict(picker, [seen])
    image = inverted([seen])[0] if verdict.bright else seen
    picks = kept(finder_of(picker, verdict).find(image), verdict.threshold)
    alone = [picks] if verdict.template is None else network_verdict(picker, [seen])[1]
    return {
        "particles": "some" if len(particles) else "none",
        "chosen": (verdict.template or "network").split()[-1],
        "trusted": verdict.trusted,
        "f1": f1(picks, particles, crop.unclear),
        "network_f1": f1(alone[0], particles, crop.unclear),
        "expected_f1": verdict.expected_f1,
        "picks_per_place": len(picks) * (PARTICLE_PX / SIZE) ** 2,
    }


def f1(picks: Picks, particles: np.ndarray, unclear: np.ndarray) -> float:
    """NaN without particles."""
    xy = picks.xy[clear(picks.xy, unclear)]
    if len(particles) == 0:
        return float("nan")
    if len(xy) == 0:
        return 0.0
    hits = adds_a_match(xy, np.arange(len(xy), 0.0, -1.0), particles, REACH)
    return float(2 * hits.sum() / (len(xy) + len(particles)))


def clear(xy: np.ndarray, unclear: np.ndarray) -> np.ndarray:
    """Which points lie outside the discs that one could call either way."""
    away = np.hypot(*(xy[:, None, :] - unclear[None, :, :2]).transpose(2, 0, 1))
    return np.asarray((away > 0.8 * unclear[:, 2]).all(axis=1))


if __name__ == "__main__":
    main()
