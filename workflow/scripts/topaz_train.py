"""Train Topaz on the labels of one ratio and seed."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.external.topaz import Topaz, train_topaz
from fewpick.stacks import write_table

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    files, resources = snakemake.input, snakemake.resources
    history = train_topaz(
        Topaz(resources.executable, snakemake.threads, bool(resources.gpu)),
        [Path(folder) for folder in files.images],
        Path(files.ratio),
        json.loads(Path(files.hyperparameters).read_text()),
        Path(snakemake.output.model),
    )
    write_table(history, snakemake.output.history)


with stage(snakemake.log[0]):
    main()
