"""Which number of picks a few clicks call for: rules against each other, without training.

    python -m benchmarks.click_threshold DATA --start FILE
    python -m benchmarks.click_threshold --plot NETWORK

For many draws of clicks (`benchmarks.clicks.click`), a network that has not learned from them picks
as many candidates of each set as a rule says, and the picks are scored against all labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from benchmarks.clicks import SETS, click, pooled_f1, truth_of
from benchmarks.data import ROOT
from fewpick.atomic import atomic_path
from fewpick.coordinates import Picks
from fewpick.figures.palette import COLOURS
from fewpick.final.quality import KEPT_MARKS, RatedCandidates, held_to_marks, rates_at
from fewpick.network.weights import start_path
from fewpick.picking.picker import Picker
from fewpick.picking.without_labels import network_verdict, sample_of
from fewpick.stacks import read_table, write_table

TABLE = ROOT / "docs/results/click_threshold.tsv"
PICTURE = ROOT / "docs/images/clicks.png"
DRAWS = 60
CLICKS = (5, 10, 14, 20, 40)
matplotlib.use("agg")
Rates = NDArray[np.float64]


def share_of_marks(counted: float, rates: Rates) -> float:
    return float(np.quantile(rates, KEPT_MARKS))


SHARE, COUNT, HELD = "nine in ten clicks", "count", "count, held to the clicks"
# A rule takes the network's own count and the rates at which the clicks are found.
RULES: dict[str, Callable[[float, Rates], float]] = {
    SHARE: share_of_marks,
    COUNT: lambda counted, rates: counted,
    "geometric mean": lambda counted, rates: (counted * share_of_marks(counted, rates)) ** 0.5,
    HELD: held_to_marks,
}


def measure(data: Path, name: str, start: str) -> list[dict[str, object]]:
    """F1 of each rule over the draws, and what a threshold could reach at best."""
    source, spec = data / name, SETS[name]
    truth = truth_of(source)
    picker = Picker(start_path(start), torch.device("cpu"), radius=spec.diameter / 2)
    paths = sorted((source / "micrographs").iterdir())
    seen = {path.name: picker.see(path) for path in paths}
    verdict, _ = network_verdict(picker, [seen[path.name] for path in sample_of(paths)])
    counted = verdict.per_micrograph
    found = {key: picker.find(prepared) for key, prepared in seen.items()}
    shapes = {key: (prepared.frame.ny, prepared.frame.nx) for key, prepared in seen.items()}
    f1, best = pooled_f1(found, truth, shapes, spec)
    candidates = RatedCandidates(
        {key: held.xy for key, held in found.items()},
        {key: np.asarray(held.score) for key, held in found.items()},
        list(found),
    )

    def rates(clicks: Mapping[str, Picks]) -> Rates:
        reached = [rates_at(candidates, key, c.xy, spec.diameter) for key, c in clicks.items()]
        return np.minimum(np.concatenate(reached), candidates.rate_of_all())

    rows: list[dict[str, object]] = []
    drawn = {n: [rates(click(truth, draw, n)) for draw in range(DRAWS)] for n in CLICKS}
    for rule, n in product(RULES, CLICKS):
        numbers = [RULES[rule](counted, held) for held in drawn[n]]
        reached = np.array([f1(candidates.score_at(number)) for number in numbers])
        rows.append(
            {
                "rule": rule,
                "clicks": n,
                "f1_mean": round(float(reached.mean()), 4),
                "f1_tenth_percentile": round(float(np.quantile(reached, 0.1)), 4),
                "f1_best_threshold": round(best, 4),
                "counted": round(counted, 1),
                "labelled": round(float(np.mean([len(c.xy) for c in truth.values()])), 1),
                "draws": DRAWS,
            }
        )
    return rows


def plot(table: pd.DataFrame, path: Path) -> None:
    """F1 by the number of clicks, a panel for each data set."""
    sets = list(dict.fromkeys(table["dataset"]))
    figure, axes = plt.subplots(
        1, len(sets), figsize=(2.6 * len(sets), 2.8), sharey=True, layout="constrained"
    )
    for axis, name in zip(axes, sets, strict=True):
        mine = table[table["dataset"] == name]
        nothing = float(mine.loc[mine["rule"] == COUNT, "f1_mean"].iloc[0])
        for rule, colour, marker in ((SHARE, COLOURS[1], "s"), (HELD, COLOURS[0], "o")):
            rows = mine[mine["rule"] == rule]
            x, mean = rows["clicks"].to_numpy(), rows["f1_mean"].to_numpy()
            low = rows["f1_tenth_percentile"].to_numpy()
            if rule == HELD:  # without clicks it is the count
                x, mean, low = np.r_[0, x], np.r_[nothing, mean], np.r_[nothing, low]
            axis.plot(x, mean, color=colour, marker=marker, markersize=4, label=rule)
            axis.fill_between(x, np.minimum(low, mean), mean, color=colour, alpha=0.2, linewidth=0)
        axis.axhline(mine["f1_best_threshold"].iloc[0], color="0.4", ls=":", label="best threshold")
        axis.set(title=name, xlabel="clicks", ylim=(0, 1))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("F1 within 0.3 diameters")
    axes[-1].legend(frameon=False, fontsize="small", loc="lower right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.click_threshold")
    parser.add_argument("data", type=Path, nargs="?", help="folder with the data sets")
    parser.add_argument("--plot", metavar="NETWORK", help="draw its rows, and measure nothing")
    parser.add_argument("--start", default="general", help="general, or a model file")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    if options.plot:
        table = read_table(options.output)
        plot(table[table["network"] == options.plot], PICTURE)
        return
    torch.set_num_threads(1)
    key = {"network": Path(options.start).stem}
    table = read_table(options.output) if options.output.exists() else pd.DataFrame()
    for name in options.sets:
        own = key | {"dataset": name}
        if len(table):
            table = table[(table[list(own)] != list(own.values())).any(axis=1)]
        rows = pd.DataFrame([own | row for row in measure(options.data, name, options.start)])
        print(rows.to_string(), flush=True)
        table = pd.concat([table, rows]).sort_values(["network", "dataset"], kind="stable")
        write_table(table, options.output)


if __name__ == "__main__":
    main()
