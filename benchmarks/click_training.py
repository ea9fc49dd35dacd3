"""What training is worth where fourteen particles are clicked: ways to train from one network.

    python -m benchmarks.click_training DATA empiar10017 --start FILE [--ways ...] [--draws 0 1 2]

As the target `picks` trains, with all clicks and without folds, in one process. The number of picks
is that of `final.count`, so that ways differ by their networks alone. Rows that
docs/results/click_training.tsv has are left out.
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.clicks import SETS, click, pooled_f1, truth_of
from benchmarks.data import ROOT
from fewpick.config.complete import complete
from fewpick.config.hyperparameters import resolve_final, warm_start
from fewpick.config.schema import load_schema
from fewpick.coordinates import Picks
from fewpick.final.count import expected_picks
from fewpick.network.unet import UNet
from fewpick.network.weights import start_path
from fewpick.picking.picker import Picker
from fewpick.sampling.training_set import Micrograph
from fewpick.stacks import read_table, write_table
from fewpick.training.train import train
from fewpick.tuning.validation import peaks_of

TABLE = ROOT / "docs/results/click_training.tsv"
KEY = ["dataset", "network", "draw", "way"]
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Way:
    """Steps in all and of them on clicks alone, the learning rate, and the share of the result.

    Where that is below 1, the weights are blended with those before.
    """

    steps: int
    clicks_alone: int
    rate: float
    share: float = 1.0


WAYS = {
    "none": Way(0, 0, 0.0),
    "clicks, 40 small steps": Way(40, 40, 5e-4),
    "clicks, 120 small steps": Way(120, 120, 5e-4),
    "clicks, 140 steps": Way(140, 140, 2e-3),
    "fixmatch, 160 small steps": Way(160, 40, 5e-4),
    "fixmatch, 160 small steps, blended": Way(160, 40, 5e-4, 0.5),
    "fixmatch, 400 steps": Way(400, 200, 2e-3),
}


def learn(way: Way, start: str, sheets: list[Micrograph]) -> UNet:
    """Train as the configuration that `fewpick init` writes, with other steps."""
    dataset = {"micrographs": "unused", "coordinates": "unused", "particle_radius": 10}
    training = {
        "start": start,
        "steps": way.steps,
        "warm_start_steps": way.clicks_alone,
        "learning_rate": way.rate,
    }
    given: dict[str, Any] = {"datasets": {"d": dataset}, "training": training | {"checks": 1}}
    values = resolve_final(complete(given, load_schema()))
    network, _ = train(warm_start(values), sheets, device="cpu")
    if way.steps > way.clicks_alone:
        network, _ = train(values, sheets, warm_start=network, device="cpu")
    return network


def blended(before: UNet, after: UNet, share: float) -> UNet:
    """A network with the weights of one by `share`, and else of the other."""
    network = copy.deepcopy(after)
    old = before.state_dict()
    weights = {k: share * v + (1 - share) * old[k] for k, v in after.state_dict().items()}
    network.load_state_dict(weights)
    return network


def measure(data: Path, name: str, start: str, draw: int, way: Way) -> dict[str, Any]:
    """F1 at the counted number of picks, at the best threshold, and seconds of the processor."""
    source, spec = data / name, SETS[name]
    truth = truth_of(source)
    picker = Picker(start_path(start), CPU, radius=spec.diameter / 2)
    clicks = click(truth, draw)
    sheets = []
    for path in sorted((source / "micrographs").iterdir()):
        seen, xy = picker.see(path), np.empty((0, 2))
        if path.name in clicks:
            xy = seen.frame.to_target(clicks[path.name].xy)
        split, mask = "train" if len(xy) else "unannotated", np.zeros(seen.image.shape, np.int8)
        sheet = Micrograph(
            *(name, path.name, split, seen.image, mask, seen.radius, seen.radius / 2),
            *(seen.area, seen.frame, (), xy),
            clicked=len(xy) > 0,
        )
        sheets.append(sheet)
    names = [sheet.name for sheet in sheets if not len(sheet.points)]
    counted = expected_picks(picker, sheets, names)
    told = [Micrograph(**{**vars(sheet), "expected": counted}) for sheet in sheets]
    begin, network = time.process_time(), picker.network
    if way.steps:
        network = blended(picker.network, learn(way, start, told), way.share)
    seconds = time.process_time() - begin
    found = {}
    for sheet in sheets:
        xy, score = peaks_of(network, sheet, CPU, 1)
        found[sheet.name] = Picks(sheet.frame.to_original(xy), score)
    f1, best = pooled_f1(found, truth, {s.name: (s.frame.ny, s.frame.nx) for s in sheets}, spec)
    scores = np.sort(np.concatenate([np.asarray(found[n].score) for n in names]))[::-1]
    threshold = scores[min(max(round(counted * len(names)), 1), len(scores)) - 1]
    return {
        "f1": round(f1(float(threshold)), 4),
        "f1_best": round(best, 4),
        "counted": round(counted, 1),
        "processor_seconds": round(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.click_training")
    parser.add_argument("data", type=Path, help="folder with the data sets")
    parser.add_argument("dataset", choices=SETS)
    parser.add_argument("--start", default="general", help="general, or a model file")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--draws", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for draw in options.draws:
        for way in options.ways:
            key = dict(
                zip(KEY, (options.dataset, Path(options.start).stem, draw, way), strict=True)
            )
            table = read_table(options.output) if options.output.exists() else pd.DataFrame()
            if len(table) and (table[KEY] == list(key.values())).all(axis=1).any():
                continue
            row = key | measure(options.data, options.dataset, options.start, draw, WAYS[way])
            print(row, flush=True)
            rows = pd.concat([table, pd.DataFrame([row])])
            write_table(rows.sort_values(KEY[:3], kind="stable"), options.output)


if __name__ == "__main__":
    main()
