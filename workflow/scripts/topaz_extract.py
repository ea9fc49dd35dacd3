"""Pick all micrographs with one trained Topaz network."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.external.topaz import Topaz, extract
from fewpick.stacks import write_table

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    files, resources = snakemake.input, snakemake.resources
    candidates = extract(
        Topaz(resources.executable, snakemake.threads, bool(resources.gpu)),
        [Path(folder) for folder in files.images],
        Path(files.ratio),
        Path(files.model),
        **json.loads(snakemake.params.settings),
    )
    write_table(candidates, snakemake.output[0])


with stage(snakemake.log[0]):
    main()
