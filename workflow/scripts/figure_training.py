"""Plot the training histories of one labelled ratio and seed."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.figures.plots import draw_training

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    files, wildcards = snakemake.input, snakemake.wildcards
    runs = {
        arm: [Path(warm_start), Path(training)]
        for arm, warm_start, training in zip(
            json.loads(snakemake.params.arms), files.warm_starts, files.arms, strict=True
        )
    }
    title = f"labelled ratio {wildcards.ratio}, seed {wildcards.seed}"
    draw_training(runs, title, Path(snakemake.output[0]))


with stage(snakemake.log[0]):
    main()
