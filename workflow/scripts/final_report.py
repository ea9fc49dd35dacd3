"""Write the report page of the final picks."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.data import shards
from fewpick.report.final import build_final
from fewpick.sampling.training_set import load_training_set
from fewpick.stacks import read_table

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    files = snakemake.input
    build_final(
        json.loads(Path(files.quality).read_text()),
        load_training_set(*shards.paths(files.shards), Path(files.labels)),
        read_table(files.candidates),
        Path(snakemake.output[0]),
    )


with stage(snakemake.log[0]):
    main()
