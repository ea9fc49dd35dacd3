"""Stands in for the program topaz: writes plausible files, and down what it was asked.

Each call becomes a line of `calls.jsonl` beside the program: its arguments, what came by stdin,
the names in the folders and the text of the tables it was given. A file `fail` beside the program
makes it stop.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

HERE = Path(sys.argv[0]).parent


def main() -> None:
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "--version":
        print("0.3.20")
        return
    flags = [a for a in arguments if a.startswith("--")]
    options = {f: arguments[arguments.index(f) + 1] for f in flags if "pretrained" not in f}
    stdin = sys.stdin.read().split("\n")[:-1] if command == "extract" else []
    record = {"command": command, "flags": flags, "options": options, "stdin": stdin}
    record["path"] = os.environ.get("PYTHONPATH")
    for part in ("train", "val"):
        if command == "train" and Path(part).is_dir():
            record[part] = sorted(path.stem for path in Path(part).glob("*.mrc"))
            lines = Path(f"{part}.txt").read_text().splitlines()[1:]
            rows = [line.split("\t") for line in lines]
            record[f"{part}_labels"] = [[name, float(x), float(y)] for name, x, y in rows]
    with (HERE / "calls.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    if (HERE / "fail").exists():
        print("# Loading\nRuntimeError: no memory left", file=sys.stderr)
        sys.exit(3)
    if command == "normalize":
        for name in arguments:
            if name.endswith(".mrc"):
                shutil.copy(name, Path(options["--destdir"]) / name)
    elif command == "train":
        train(options)
    else:
        extract(options, stdin)


def train(options: dict[str, str]) -> None:
    """The second epoch is the best one, by validation."""
    lines = ["epoch\titer\tsplit\tloss\tge_penalty\tprecision\tadjusted_precision\ttpr\tfpr\tauprc"]
    for epoch in range(1, int(options["--num-epochs"]) + 1):
        lines.append(f"{epoch}\t{epoch}\ttrain\t{1 / epoch}\t0.1\t0.5\t0.5\t0.5\t0.5\t-")
        if "--test-images" in options:
            score = 0.9 if epoch == 2 else 0.5
            lines.append(f"{epoch}\t{epoch}\ttest\t0.3\t-\t0.5\t0.5\t0.5\t0.5\t{score}")
        Path(f"{options['--save-prefix']}_epoch{epoch}.sav").write_text(f"epoch {epoch}")
    Path(options["--output"]).write_text("\n".join(lines) + "\n")


def extract(options: dict[str, str], paths: list[str]) -> None:
    """Dark discs, by a Gaussian."""
    import mrcfile  # here, so that the other commands start fast
    import numpy as np
    from scipy.ndimage import gaussian_filter, maximum_filter

    lines = ["image_name\tx_coord\ty_coord\tscore"]
    for path in map(Path, paths):
        smooth = -gaussian_filter(mrcfile.read(path), 3)
        peaks = (smooth == maximum_filter(smooth, 2 * int(options["--radius"]) + 1)) & (smooth > 0)
        lines += [f"{path.stem}\t{x}\t{y}\t{smooth[y, x]}" for y, x in np.argwhere(peaks)]
    Path(options["--output"]).write_text("\n".join(lines) + "\n")


main()
