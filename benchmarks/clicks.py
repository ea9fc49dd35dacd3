"""Fourteen clicks on three micrographs, and the target `picks`: how good are the picks of all?

    python -m benchmarks.clicks DATA empiar10017 [--start FILE] [--network NAME] [--ways default]

DATA is the folder with the data sets. Each draw of clicks goes the way of a user: `fewpick init`
with the clicks and the particle diameter, then `snakemake picks`, and the picks at the threshold
that this chose are scored against all labels, border left out. A way changes keys of the
configuration. Draws that docs/results/clicks.tsv has already are left out, so that the same command
goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks.data import ROOT
from fewpick.coordinates import Picks, read_picks, write_picks
from fewpick.evaluation.matching import adds_a_match, choose_threshold
from fewpick.evaluation.threshold_policy import MATCH_RADIUS
from fewpick.geometry import inside
from fewpick.micrographs import list_micrographs, read_micrograph
from fewpick.micrographs.names import match_names
from fewpick.stacks import read_table, write_table

TABLE = ROOT / "docs/results/clicks.tsv"
KEY = ["dataset", "network", "way", "draw"]
# Clicks, and the micrographs that they are on.
CLICKS, CLICKED = 14, 3
# What differs from the configuration that `fewpick init` writes.
WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "long": {"training": {"steps": 400, "warm_start_steps": 200, "learning_rate": 2e-3}},
    "clicks_alone": {"final": {"method": "supervised"}},
}


@dataclass(frozen=True)
class Set:
    """A data set: particle diameter, and the margin in which nobody labelled, px."""

    diameter: float
    border: float


SETS = {
    "empiar10017": Set(108, 131),
    "empiar10059": Set(36, 36),
    "empiar10146": Set(72, 0),
    "empiar10947": Set(60, 0),
}


def truth_of(folder: Path) -> dict[str, Picks]:
    """Micrograph -> all labelled centres."""
    names = [path.name for path in list_micrographs(str(folder / "micrographs"))]
    marks = read_picks(folder / "coordinates")
    matched = match_names(names, marks, folder / "coordinates").matched
    return {matched[name]: held for name, held in marks.items() if name in matched}


def click(truth: Mapping[str, Picks], draw: int, clicks: int = CLICKS) -> dict[str, Picks]:
    """Some particles on three micrographs, any as likely as any other."""
    rng = np.random.default_rng(draw)
    names = sorted(truth)
    found = {}
    for k, i in enumerate(rng.choice(len(names), CLICKED, replace=False)):
        xy = truth[names[i]].xy
        n = clicks // CLICKED + (k < clicks % CLICKED)
        found[names[i]] = Picks(xy[rng.choice(len(xy), n, replace=False)])
    return found


def merge(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with some keys changed."""
    merged = dict(config)
    for key, value in changes.items():
        merged[key] = merge(merged.get(key, {}), value) if isinstance(value, Mapping) else value
    return merged


def run(data: Path, name: str, start: str, way: str, draw: int, folder: Path) -> dict[str, Any]:
    """Click, pick, and score one draw; `folder` holds what the workflow writes."""
    source, spec = (data / name).resolve(), SETS[name]
    truth = truth_of(source)
    folder.mkdir(parents=True, exist_ok=True)
    write_picks(folder / "labels.star", click(truth, draw))
    command = [sys.executable, "-m", "fewpick.cli", "init", str(source / "micrographs")]
    command += ["labels.star", "--annotation", "clicks", "--diameter", f"{spec.diameter:g}"]
    subprocess.run([*command, "--name", name, "-o", "mine.yaml", "--force"], cwd=folder, check=True)
    config = yaml.safe_load((folder / "mine.yaml").read_text())
    changes = merge({"training": {"start": start}}, WAYS[way])
    (folder / "mine.yaml").write_text(yaml.safe_dump(merge(config, changes)))
    command = [sys.executable, "-m", "snakemake", "picks", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--cores", "1", "--quiet", "all"]
    begin, used = time.monotonic(), _processor_time()
    subprocess.run([*command, "--configfile", str(folder / "mine.yaml")], cwd=folder, check=True)
    seconds, processor = time.monotonic() - begin, _processor_time() - used
    return score(folder, truth, source, spec) | {
        "seconds": round(seconds),
        "processor_seconds": round(processor),
    }


def score(folder: Path, truth: Mapping[str, Picks], source: Path, spec: Set) -> dict[str, Any]:
    """F1 at the threshold that was chosen, and beside it what the ranking would allow."""
    candidates = read_table(folder / "results/final/training/all/candidates.tsv")
    (chosen,) = json.loads((folder / "results/final/quality.json").read_text()).values()
    found, shapes = {}, {}
    for path in list_micrographs(str(source / "micrographs")):
        rows = candidates[candidates["micrograph"] == path.name]
        xy, scores = rows[["x", "y"]].to_numpy(np.float64), rows["score"].to_numpy(np.float64)
        found[path.name] = Picks(xy, scores)
        shapes[path.name] = read_micrograph(path)[0].shape
    f1, best = pooled_f1(found, truth, shapes, spec)
    return {
        "f1": f1(chosen["threshold"]),
        "f1_best": best,
        "picks_per_micrograph": chosen["picks"] / len(shapes),
        "source": chosen["source"],
        "n_micrographs": len(shapes),
    }


def pooled_f1(
    found: Mapping[str, Picks],
    truth: Mapping[str, Picks],
    shapes: Mapping[str, tuple[int, ...]],
    spec: Set,
) -> tuple[Callable[[float], float], float]:
    """F1 of all micrographs together as a function of the threshold, and the best there is.

    Parameters
    ----------
    found : micrograph -> candidates with scores
    truth : micrograph -> labelled centres
    shapes : micrograph -> rows and columns, px
    """
    cases = []
    for name, (ny, nx) in shapes.items():
        score = found[name].score
        assert score is not None
        picks, centres = found[name].xy, truth[name].xy
        kept = inside(picks, ny, nx, spec.border)
        centres = centres[inside(centres, ny, nx, spec.border)]
        cases.append((picks[kept] / spec.diameter, score[kept], centres / spec.diameter))
    scores = np.concatenate([case[1] for case in cases])
    adds = np.concatenate([adds_a_match(*case, MATCH_RADIUS) for case in cases])
    n = sum(len(case[2]) for case in cases)

    def f1(threshold: float) -> float:
        picked = scores >= threshold
        return float(2 * adds[picked].sum() / (picked.sum() + n))

    return f1, choose_threshold(cases, MATCH_RADIUS)[1]


def _processor_time() -> float:
    """Of all child processes that have ended, s."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clicks", description=__doc__)
    parser.add_argument("data", type=Path, help="folder with the data sets")
    parser.add_argument("dataset", choices=SETS)
    parser.add_argument("--start", default="general", help="general, or a model file")
    parser.add_argument("--network", help="its name in the table (default: that of the file)")
    parser.add_argument("--ways", nargs="+", default=["default"], choices=WAYS)
    parser.add_argument("--draws", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    start = options.start
    if start != "general":
        start = str(Path(start).resolve())
    network = options.network or Path(start).stem
    os.environ["OMP_NUM_THREADS"] = "1"
    for way in options.ways:
        for draw in options.draws:
            key = dict(zip(KEY, (options.dataset, network, way, draw), strict=True))
            table = (
                read_table(options.output) if options.output.exists() else pd.DataFrame(columns=KEY)
            )
            if (table[KEY] == list(key.values())).all(axis=1).any():
                continue
            folder = ROOT / "results/clicks" / "-".join(map(str, key.values()))
            row = key | run(options.data, options.dataset, start, way, draw, folder)
            rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
            print(rounded, flush=True)
            write_table(
                pd.concat([table, pd.DataFrame([rounded])]).sort_values(KEY), options.output
            )


if __name__ == "__main__":
    main()
