"""Write picks in the format of another program."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.picking.export import export_as
from fewpick.stage_tables.definitions import ManifestTable

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    specs = json.loads(snakemake.params.specs)
    files = snakemake.input
    export_as(
        snakemake.wildcards.format,
        Path(files.star),
        dict(zip(sorted(specs), map(ManifestTable.read, files.manifests), strict=True)),
        specs,
        Path(snakemake.output[0]),
    )


with stage(snakemake.log[0]):
    main()
