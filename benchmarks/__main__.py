"""Measure, write one json, print one table.

python -m benchmarks [--topaz PATH] [--only training picking ...] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch

from benchmarks import picking, preprocessing, scale, training
from benchmarks.data import ROOT
from benchmarks.measure import Figure, machine_name, save, table
from fewpick.network.device import select_device

GPU = "gpu"
PARTS: dict[str, Callable[[argparse.Namespace, torch.device], list[Figure]]] = {
    "training": lambda options, device: training.figures(device, options.rounds),
    "preprocessing": lambda options, _: preprocessing.figures(options.rounds),
    "picking": lambda options, device: picking.figures(device, options.rounds),
    "files": lambda options, _: picking.from_files(options.topaz),
    "planning": lambda *_: scale.planning(),
    "memory": lambda *_: scale.memory(),
    GPU: lambda _, device: training.gpu_figures(device),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--topaz", type=Path, help="executable of topaz, to compare with")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--rounds", type=int, default=15, help="of each comparison")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--output", type=Path, help="json to write, by default a file named after the machine"
    )
    options = parser.parse_args()
    # Some parts do not replace the file of them all.
    title = "-".join([machine_name(), *(options.only or ())])
    output = options.output or ROOT / "benchmarks/results" / f"{title}.json"
    device = select_device(options.device)
    # One thread, so that processor time is time; a GPU needs none.
    torch.set_num_threads(1)

    if not options.topaz:
        print("Topaz is not compared with: give its executable as --topaz PATH.", file=sys.stderr)
    names = options.only or list(PARTS)
    if device.type != "cuda":
        if options.only and GPU in names:
            parser.error("--only gpu: no GPU is in use. Leave it out, or set --device cuda.")
        print("No GPU: images/s and memory by batch size are not measured.", file=sys.stderr)
        names = [name for name in names if name != GPU]

    found: list[Figure] = []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found += PARTS[name](options, device)
    about = {
        "date": date.today().isoformat(),
        "commit": _commit(),
        "device": str(device),
        "clock": "processor time on one thread" if device.type == "cpu" else "wall clock",
    }
    save(found, about, output)
    print(table(json.loads(output.read_text())))


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


main()
