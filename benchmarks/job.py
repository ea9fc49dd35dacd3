"""One job on so many micrographs, and the most private memory that it held.

python -m benchmarks.job preprocess|train|pick NUMBER FOLDER RESULT
"""

from __future__ import annotations

import re
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.data import hyperparameters, micrographs, write_micrograph
from fewpick.data.preprocess import preprocess_shard
from fewpick.network.unet import UNet
from fewpick.picking.candidates import candidate_table, find
from fewpick.training.train import train

# Small and short: memory by the number of micrographs is what counts.
MODEL: dict[str, Any] = {"stem_stride": 4, "widths": [8, 8], "norm": "group", "dropout": 0.0}


def private_memory() -> float:
    """MiB of this process that are no copy of a file."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"^RssAnon:\s+(\d+) kB", status, flags=re.MULTILINE)[0]) / 1024


class Watch:
    """Keeps the largest value of `private_memory` while it is entered."""

    def __enter__(self) -> Watch:
        self.peak = private_memory()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()
        return self

    def _look(self) -> None:
        while not self.done.wait(0.005):
            self.peak = max(self.peak, private_memory())

    def __exit__(self, *error: object) -> None:
        self.done.set()
        self.thread.join()


def main(job: str, number: int, folder: Path, result: Path) -> None:
    torch.set_num_threads(1)
    if job == "preprocess":
        write_micrograph(folder / "m.mrc", 1024)
        rows = {"micrograph": [f"{i}" for i in range(number)]}
        table = pd.DataFrame(rows | {"path": str(folder / "m.mrc"), "pixel_size": 1.0})
        with Watch() as watch:
            preprocess_shard(table, folder / "out.mrcs", 256, threads=2)
    else:
        sheets = micrographs(folder, number)
        if job == "pick":  # of test micrographs most is kept
            sheets = [replace(sheet, split="test") for sheet in sheets]
        network = UNet(**MODEL)
        values = hyperparameters(method="fixmatch") | {"model": MODEL}
        values["training"] |= {"steps": 12, "warm_start_steps": 2, "checks": 1, "crop_size": 64}
        device = torch.device("cpu")
        with Watch() as watch:
            if job == "train":
                train(values, sheets, warm_start=network, device="cpu")
            else:
                found = find(network, sheets, device, views=1, nms_radius=1.2)
                candidate_table(list(found))
    result.write_text(str(watch.peak))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
