"""Simulate the micrographs of a data set."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.simulation.simulate import simulate_dataset

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    simulate_dataset(
        Path(snakemake.output.star).parent,
        **json.loads(snakemake.params.settings),
        threads=snakemake.threads,
    )


with stage(snakemake.log[0]):
    main()
