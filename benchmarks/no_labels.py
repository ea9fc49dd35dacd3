"""Score pickers that need no labels on real micrographs, write a table, print it.

python -m benchmarks.no_labels [--data DIR] [--only SET ...] [--network MODEL] [-o FILE]

F1 at 0.3 particle diameters, pooled over at most twelve micrographs of each set, border left out:

- difference_of_gaussians: given the true number of particles; the best of eight filters (polarity,
  width) by its F1 on these micrographs;
- relion_log: RELION's Laplacian of Gaussian for .8 to 1 particle diameters, at its own threshold;
- relion_log_best: the best of three thresholds by its F1 on these micrographs;
- every folder of `peer_picks/`: all picks of another program, on the micrographs that it was run
  on;
- general: what `fewpick pick general` picks; `chosen` says whether the network or a template;
- general_count: the same, given the true mean number of particles.

With --network, only the last two, by a network that has not seen some sets, for example that of
config/general_simulated.yaml, which has seen no real micrograph.

The column `told` says what a picker was given, and whether its setting was chosen by the score,
which is optimistic. RELION is left out where relion_autopick is not on the PATH.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.data import ROOT
from fewpick.annotation.frame import read_in_frame
from fewpick.atomic import atomic_path
from fewpick.data.preprocess import preprocess_micrograph
from fewpick.evaluation.baselines import POLARITIES, WIDTHS, difference_of_gaussians
from fewpick.evaluation.scores import score_picks
from fewpick.evaluation.truth import Candidates, Truth
from fewpick.external.relion_log import pick_log
from fewpick.geometry import Frame, inside
from fewpick.micrographs import list_micrographs, read_header, read_micrograph, stem
from fewpick.picking.picker import Picker
from fewpick.picking.without_labels import pick_micrographs
from fewpick.stacks import table_path, write_stack, write_table

RADIUS = 0.3
TARGET = 768  # px, the default target size
MOST = 12
# Particle diameter and border, px of the micrographs.
SETS = {
    "empiar10017": (108.0, 131.0),
    "empiar10059": (36.0, 36.0),
    "empiar10146": (72.0, 0.0),
    "empiar10947": (60.0, 0.0),
    "proteasome20s": (20.0, 0.0),
    "apoferritin_aarhus": (36.0, 42.0),
    "apoferritin_24dec03a": (19.0, 0.0),
}
DIAMETERS = (0.8, 1.0)  # particle diameters; fewpick's default
THRESHOLDS = (0.0, 0.5, 1.0)  # RELION's --LoG_adjust_threshold, 0 by default
ALL_COUNT, BY_SCORE = "the true count", "chosen by this score"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.no_labels", description=__doc__)
    data = os.environ.get("FEWPICK_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(data), help="folder of the sets")
    parser.add_argument("--only", nargs="*", default=list(SETS), help="sets, all by default")
    parser.add_argument("--network", metavar="MODEL", help="instead of the one in the package")
    default = ROOT / "docs/results/no_labels.tsv"
    parser.add_argument("-o", "--output", type=Path, default=default, help="table to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts = []
    for name in options.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows = score_set(options.data / name, *SETS[name], network=options.network)
        parts += [{"set": name, **row} for row in rows]
    table = pd.DataFrame(parts)
    with atomic_path(options.output) as path:
        table.to_csv(path, sep="\t", index=False, float_format="%.4f", lineterminator="\n")
    print(table.to_string(index=False))


def score_set(
    folder: Path, diameter: float, border: float, network: str | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of one set, one per picker."""
    paths = list_micrographs(folder / "micrographs")
    shapes = {p.name: (h.ny, h.nx) for p in paths for h in [read_header(p)]}
    picks = read_in_frame(folder / "coordinates", shapes)
    paths = [path for path in paths if path.name in picks][:MOST]
    truths = []
    for path in paths:
        ny, nx = shapes[path.name]
        xy = picks[path.name].xy
        xy = xy[inside(xy, ny, nx, border)]
        truths.append(Truth(folder.name, path.name, ny, nx, border, diameter, xy))
    about = {"n_micrographs": len(truths), "n_particles": sum(len(t.xy) for t in truths)}

    def row(picker: str, f1: float, told: str = "", **verdict: Any) -> dict[str, Any]:
        return {"picker": picker, "told": told, **about, "f1": f1, **verdict}

    if network is None:
        yield from (row(*found) for found in reference(paths, truths, diameter))
        for peer in sorted((folder / "peer_picks").glob("*")):
            there = [t for t in truths if (peer / f"{stem(t.micrograph)}.box").is_file()]
            theirs = read_in_frame(peer, shapes)
            f1 = f1_of(there, [everything(theirs[t.micrograph].xy) for t in there])
            counts = {"n_micrographs": len(there), "n_particles": sum(len(t.xy) for t in there)}
            yield row(peer.name, f1) | counts
    for told in (False, True):
        picker = Picker(
            network or "general", torch.device("cpu"), radius=diameter / 2, border=border
        )
        mean = about["n_particles"] / len(truths) if told else None
        verdict, found = pick_micrographs(paths, picker, expected=mean)
        f1 = f1_of(truths, [everything(p.xy) for _, _, p in found])
        chosen = {"chosen": verdict.template or "network"}
        if told:
            yield row("general_count", f1, ALL_COUNT, **chosen)
        else:
            yield row("general", f1, expected_f1=verdict.expected_f1, **chosen)


def reference(
    paths: Sequence[Path], truths: Sequence[Truth], diameter: float
) -> Iterator[tuple[str, float, str]]:
    """Pickers to compare with: name, F1, and what they were given."""
    with tempfile.TemporaryDirectory() as temporary:
        images, frames = preprocess(paths)
        filters = [
            f1_of(
                truths,
                [
                    difference_of_gaussians(image, frame, truth, polarity, width)
                    for image, frame, truth in zip(images, frames, truths, strict=True)
                ],
            )
            for polarity, width in product(POLARITIES, WIDTHS)
        ]
        yield "difference_of_gaussians", max(filters), f"{ALL_COUNT}, {BY_SCORE}"
        if shutil.which("relion_autopick"):
            stack = keep(images, frames, truths, Path(temporary, "stack.mrcs"))
            log = [log_f1(stack, truths, diameter, threshold) for threshold in THRESHOLDS]
            yield "relion_log", log[0], ""
            yield "relion_log_best", max(log), BY_SCORE


def preprocess(paths: Sequence[Path]) -> tuple[list[np.ndarray], list[Frame]]:
    """Bring micrographs to the size at which the workflow sees them by default."""
    made = [preprocess_micrograph(read_micrograph(path)[0], TARGET, path.name) for path in paths]
    return [m.image for m in made], [m.frame for m in made]


def keep(
    images: Sequence[np.ndarray], frames: Sequence[Frame], truths: Sequence[Truth], path: Path
) -> Path:
    """Write a stack as the workflow does."""
    shape = (len(images), *images[0].shape)
    write_stack(path, iter(images), shape=shape, dtype=np.float16)
    rows = [
        {"micrograph": truth.micrograph, **frame.to_row()}
        for truth, frame in zip(truths, frames, strict=True)
    ]
    write_table(pd.DataFrame(rows), table_path(path))
    return path


def log_f1(stack: Path, truths: Sequence[Truth], diameter: float, threshold: float) -> float:
    settings: Mapping[str, Any] = {"diameters": DIAMETERS, "adjust_threshold": threshold}
    radii = {truth.micrograph: diameter / 2 for truth in truths}
    found = pick_log("relion_autopick", [stack], radii, settings)
    by_name = dict(list(found.groupby("micrograph")[["x", "y"]]))
    none = found[["x", "y"]].iloc[:0]
    return f1_of(
        truths,
        [everything(by_name.get(t.micrograph, none).to_numpy(np.float64)) for t in truths],
    )


def everything(xy: np.ndarray) -> Candidates:
    """All points are picks."""
    return Candidates(xy, np.ones(len(xy)), np.ones(len(xy), dtype=bool))


def f1_of(truths: Sequence[Truth], found: Sequence[Candidates]) -> float:
    picks = {truth.key: candidates for truth, candidates in zip(truths, found, strict=True)}
    return float(score_picks(truths, picks, [RADIUS]).scores[f"pick_f1_{RADIUS}"].iloc[0])


if __name__ == "__main__":
    main()
