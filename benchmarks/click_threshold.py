"""Which number of picks fourteen clicks call for: rules against each other, without training.

    python -m benchmarks.click_threshold DATA --start FILE

For many draws of clicks (`benchmarks.clicks.click`), a network that has not learned from them picks
as many candidates of each set as a rule says, and the picks are scored against all labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmarks.clicks import SETS, click, pooled_f1, truth_of
from benchmarks.data import ROOT
from fewpick.coordinates import Picks
from fewpick.final.quality import KEPT_MARKS, RatedCandidates, held_to_marks, rates_at
from fewpick.network.model_file import start_path
from fewpick.picking.picker import Picker
from fewpick.picking.without_labels import network_verdict, sample_of
from fewpick.stacks import read_table, write_table

TABLE = ROOT / "docs/results/click_threshold.tsv"
DRAWS = 60
Rates = NDArray[np.float64]


def share_of_marks(counted: float, rates: Rates) -> float:
    return float(np.quantile(rates, KEPT_MARKS))


# A rule takes the network's own count and the rates at which the clicks are found.
RULES: dict[str, Callable[[float, Rates], float]] = {
    "nine in ten clicks": share_of_marks,
    "count": lambda counted, rates: counted,
    "geometric mean": lambda counted, rates: (counted * share_of_marks(counted, rates)) ** 0.5,
    "count, held to the clicks": held_to_marks,
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

    drawn = [rates(click(truth, draw)) for draw in range(DRAWS)]
    rows: list[dict[str, object]] = []
    for rule, choose in RULES.items():
        reached = np.array([f1(candidates.score_at(choose(counted, held))) for held in drawn])
        rows.append(
            {
                "rule": rule,
                "f1_mean": round(float(reached.mean()), 4),
                "f1_tenth_percentile": round(float(np.quantile(reached, 0.1)), 4),
                "f1_best_threshold": round(best, 4),
                "counted": round(counted, 1),
                "labelled": round(float(np.mean([len(c.xy) for c in truth.values()])), 1),
                "draws": DRAWS,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.click_threshold")
    parser.add_argument("data", type=Path, help="folder with the data sets")
    parser.add_argument("--start", default="general", help="general, or a model file")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
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
