"""Is the tile that `suggest` leads to worth more than another one? Judged by training again.

    python -m benchmarks.suggest DATA empiar10059 --start FILE [--seeds 0 1 2 3 4]
    python -m benchmarks.suggest --plot

Half of the micrographs are a pool, the others a test. Tiles of the pool are labelled one after the
other, by what the network of the moment disagrees about (as the page of `fewpick label` leads), at
random, or where the most particles are. Whenever the labels reach the next budget, the network that
training begins with learns from all of them, and picks the test micrographs. F1 is that of the best
threshold, so that it compares networks and not thresholds. Rows that the table has are left out.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt

from benchmarks.clicks import SETS, truth_of
from benchmarks.data import ROOT
from fewpick.atomic import atomic_path
from fewpick.config.complete import complete
from fewpick.config.hyperparameters import resolve_final, warm_start
from fewpick.config.schema import load_schema
from fewpick.data.masks import PARTICLE, draw_discs
from fewpick.figures.palette import COLOURS
from fewpick.label_page.guide import TILE_DIAMETERS
from fewpick.network.unet import UNet
from fewpick.network.weights import general_path
from fewpick.picking import disagreement
from fewpick.picking.picker import Picker
from fewpick.picking.without_labels import network_verdict
from fewpick.sampling.training_set import Micrograph, Window, in_windows
from fewpick.stacks import read_table, write_table
from fewpick.training.train import train
from fewpick.tuning.validation import validate

TABLE = ROOT / "docs/results/suggest.tsv"
PICTURE = ROOT / "docs/images/suggest.png"
KEY = ["dataset", "network", "strategy", "seed", "budget"]
STRATEGIES = {
    "suggest": "most uncertain tiles",
    "random": "random tiles",
    "crowded": "tiles with the most particles",
}
BUDGETS = (0, 20, 40, 80)  # labels
STEPS, RATE = 80, 5e-4
CPU = torch.device("cpu")
PARTICLE_PX = 20
matplotlib.use("agg")


def sheets_of(data: Path, name: str, picker: Picker) -> tuple[dict[str, Path], list[Micrograph]]:
    """Paths, and all micrographs with all of their centres."""
    source = data / name
    truth = truth_of(source)
    paths = {path.name: path for path in sorted((source / "micrographs").iterdir())}
    sheets = []
    for name_, path in paths.items():
        seen = picker.see(path)
        points = seen.frame.to_target(truth[name_].xy)
        mask = np.zeros(seen.image.shape, np.int8)
        sheet = Micrograph(
            *(name, name_, "train", seen.image, mask, seen.radius, seen.radius / 2),
            *(seen.area, seen.frame, (), points),
        )
        sheets.append(sheet)
    return paths, sheets


def learn(start: str, sheets: Sequence[Micrograph], seed: int) -> UNet:
    """A network that learned from finished tiles, for a minute at most."""
    dataset = {"micrographs": "unused", "coordinates": "unused", "particle_radius": PARTICLE_PX / 2}
    training = {"start": start, "steps": STEPS, "warm_start_steps": STEPS, "learning_rate": RATE}
    given: dict[str, Any] = {
        "datasets": {"d": dataset},
        "training": training | {"checks": 1},
        "preprocess": {"particle_px": PARTICLE_PX},
        "final": {"method": "supervised", "seed": seed},
    }
    return train(warm_start(resolve_final(complete(given, load_schema()))), sheets, device="cpu")[0]


Tile = tuple[str, Window]  # micrograph, and y0, x0, y1, x1 of the network's input


class Pool:
    """Micrographs to label tiles of, and what is labelled."""

    def __init__(self, paths: Mapping[str, Path], sheets: Sequence[Micrograph], picker: Picker):
        self.paths, self.picker = paths, picker
        self.sheets = {sheet.name: sheet for sheet in sheets}
        first = sheets[0]
        edge = round(TILE_DIAMETERS * 2 * first.radius)
        prepared = {path: picker.see(path) for path in paths.values()}
        # The ranking asks for the same few micrographs again and again.
        picker.see = prepared.__getitem__  # type: ignore[assignment, method-assign]
        self.edge = edge
        self.left: list[Tile] = [
            (area.path.name, area.window)
            for path in paths.values()
            for area in disagreement.areas([picker], path, edge)
        ]
        self.labelled: list[Tile] = []

    def inside(self, tile: Tile) -> int:
        """Number of particles in a tile."""
        name, window = tile
        return int(in_windows(self.sheets[name].points, [window]).sum())

    @property
    def n_labels(self) -> int:
        return sum(map(self.inside, self.labelled))

    def label(self, strategy: str, voter: Picker, rng: np.random.Generator) -> None:
        """Finish one more tile."""
        if strategy == "random":
            tile = self.left[int(rng.integers(len(self.left)))]
        elif strategy == "crowded":
            # Equals in random order.
            order = rng.permutation(len(self.left))
            tile = max((self.left[i] for i in order), key=self.inside)
        else:
            tile = self._suggested(voter)
        self.left.remove(tile)
        self.labelled.append(tile)

    def _suggested(self, voter: Picker) -> Tile:
        """The tile that the page leads to next."""
        areas = [
            area
            for path in self.paths.values()
            for area in disagreement.areas([voter], path, self.edge)
        ]
        order = disagreement.choose_areas(areas, len(self.labelled) + 1)
        return next(
            (area.path.name, area.window)
            for area in order
            if (area.path.name, area.window) in self.left
        )

    def training_set(self) -> list[Micrograph]:
        """Micrographs with what is labelled, and nothing else."""
        made = []
        for name, sheet in self.sheets.items():
            windows = tuple(window for of, window in self.labelled if of == name)
            points = sheet.points[in_windows(sheet.points, windows)]
            mask = np.zeros_like(sheet.mask)
            draw_discs(mask, sheet.points, sheet.disc, PARTICLE)
            split = "train" if windows else "unannotated"
            made.append(replace(sheet, windows=windows, points=points, mask=mask, split=split))
        return made


def run(data: Path, name: str, start: str, strategy: str, seed: int) -> list[dict[str, Any]]:
    """Label tiles up to each budget, and score what was learned from them."""
    path = general_path() if start == "general" else Path(start)
    picker = Picker(path, CPU, radius=SETS[name].diameter / 2, border=SETS[name].border)
    paths, sheets = sheets_of(data, name, picker)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(sheets))
    pool_of = {sheets[i].name for i in order[: len(order) // 2]}
    test = [replace(s, split="val", windows=(s.area,)) for s in sheets if s.name not in pool_of]
    voter = copy.copy(picker)
    sample = [picker.see(paths[name]) for name in sorted(pool_of)]
    voter.threshold = network_verdict(picker, sample)[0].threshold
    pool = Pool(
        {name: path for name, path in paths.items() if name in pool_of},
        [s for s in sheets if s.name in pool_of],
        voter,
    )
    rows = []
    for budget in BUDGETS:
        while pool.n_labels < budget:
            pool.label(strategy, voter, rng)
        if budget:
            labelled = pool.training_set()
            voter.network = learn(start, labelled, seed)
            known = [replace(m, split="val") for m in labelled if m.windows]
            voter.threshold = validate(voter.network, known, CPU, 1).threshold
        seen = validate(voter.network, test, CPU, 1)
        rows.append(
            {
                "budget": budget,
                "n_labels": pool.n_labels,
                "n_tiles": len(pool.labelled),
                "f1_best": round(seen.f1, 4),
                "average_precision": round(seen.average_precision, 4),
                "n_test": len(test),
            }
        )
    return rows


def plot(table: pd.DataFrame, path: Path) -> None:
    """F1 by the number of labels, a panel for each data set: means, and standard errors."""
    datasets = list(dict.fromkeys(table["dataset"]))
    figure, axes = plt.subplots(
        *(1, len(datasets)),
        figsize=(4 * len(datasets), 3.2),
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    for axis, dataset in zip(axes[0], datasets, strict=True):
        for (strategy, label), colour in zip(STRATEGIES.items(), COLOURS, strict=False):
            rows = table[(table["dataset"] == dataset) & (table["strategy"] == strategy)]
            if rows.empty:
                continue
            held = rows.groupby("budget")
            error = held["f1_best"].std() / np.sqrt(held["f1_best"].count())
            axis.errorbar(
                held["n_labels"].mean(),
                held["f1_best"].mean(),
                error,
                label=label,
                marker="o",
                markersize=4,
                capsize=3,
                color=colour,
            )
        seeds = table.loc[table["dataset"] == dataset, "seed"].nunique()
        axis.set(title=f"{dataset}, {seeds} seeds", xlabel="labelled particles")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("F1 on other micrographs, best threshold")
    axes[0, 0].legend(frameon=False, loc="upper left")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suggest", description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", help="folder with the data sets")
    parser.add_argument("dataset", choices=SETS, nargs="?")
    parser.add_argument("--start", default="general", help="general, or a model file")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--plot", action="store_true", help="draw the table, and measure nothing")
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    if options.plot:
        plot(read_table(options.output), PICTURE)
        return
    torch.set_num_threads(1)
    network = Path(options.start).stem
    for seed in options.seeds:
        for strategy in options.strategies:
            table = read_table(options.output) if options.output.exists() else pd.DataFrame()
            key = [options.dataset, network, strategy, seed]
            if len(table) and (table[KEY[:-1]] == key).all(axis=1).any():
                continue
            begin = time.process_time()
            found = run(options.data, options.dataset, options.start, strategy, seed)
            rows = pd.DataFrame([dict(zip(KEY, key, strict=False)) | row for row in found])
            print(rows.to_string(), f"\n{time.process_time() - begin:.0f} s", flush=True)
            write_table(pd.concat([table, rows]).sort_values(KEY), options.output)


if __name__ == "__main__":
    main()
