"""Stands in for the program topaz: writes plausible files, and down what it was asked.

It takes the options of Topaz 0.3.20 and no other, in their types, and fails as that does on a table
of labels without rows; a label of an image that is missing is none. Each call becomes a line of
`calls.jsonl` beside the program: its arguments, what came by stdin, the names in the folders and
the text of the tables it was given. A file `fail` beside the program makes it stop.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
from pathlib import Path

HERE = Path(sys.argv[0]).parent
# Those that fewpick uses.
EVERYWHERE: dict[str, type] = {"--device": int, "--num-threads": int}
OPTIONS: dict[str, dict[str, type]] = {
    "normalize": {"--destdir": str},
    "train": {
        "--train-images": str,
        "--train-targets": str,
        "--test-images": str,
        "--test-targets": str,
        "--pi": float,
        "--radius": int,
        "--model": str,
        "--num-epochs": int,
        "--epoch-size": int,
        "--save-prefix": str,
        "--output": str,
    },
    "extract": {"--model": str, "--radius": int, "--threshold": float, "--output": str},
}


def main() -> None:
    check()
    command, arguments = sys.argv[1], sys.argv[2:]
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
            labels = [[name, float(x), float(y)] for name, x, y in rows if name in record[part]]
            record[f"{part}_labels"] = labels
    with (HERE / "calls.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    if (HERE / "fail").exists():
        print("# Loading\nRuntimeError: no memory left", file=sys.stderr)
        sys.exit(3)
    if [] in (record.get("train_labels"), record.get("val_labels")):
        print("TypeError: can't convert np.ndarray of type numpy.object_", file=sys.stderr)
        sys.exit(1)
    if command == "normalize":
        for name in arguments:
            if name.endswith(".mrc"):
                shutil.copy(name, Path(options["--destdir"]) / name)
    elif command == "train":
        train(options)
    else:
        extract(options, stdin)


def check() -> None:
    """End as the real program does when it is called wrongly."""
    parser = argparse.ArgumentParser("topaz")
    parser.add_argument("--version", action="version", version="0.3.20")
    commands = parser.add_subparsers(required=True)
    for name, options in OPTIONS.items():
        command = commands.add_parser(name)
        for option, kind in (EVERYWHERE | options).items():
            command.add_argument(option, type=kind)
        if name == "train":
            command.add_argument("--pretrained", action=argparse.BooleanOptionalAction)
        else:
            command.add_argument("files", nargs="+" if name == "normalize" else "*")
    parser.parse_args()


def train(options: dict[str, str]) -> None:
    """The second epoch is the best one, by validation."""
    lines = ["epoch\titer\tsplit\tloss\tge_penalty\tprecision\tadjusted_precision\ttpr\tfpr\tauprc"]
    epochs = int(options["--num-epochs"])
    digits = math.ceil(math.log10(epochs))
    for epoch in range(1, epochs + 1):
        lines.append(f"{epoch}\t{epoch}\ttrain\t{1 / epoch}\t0.1\t0.5\t0.5\t0.5\t0.5\t-")
        if "--test-images" in options:
            score = 0.9 if epoch == 2 else 0.5
            lines.append(f"{epoch}\t{epoch}\ttest\t0.3\t-\t0.5\t0.5\t0.5\t0.5\t{score}")
        saved = f"{options['--save-prefix']}_epoch{epoch:0{digits}}.sav"
        Path(saved).write_text(f"epoch {epoch}")
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
