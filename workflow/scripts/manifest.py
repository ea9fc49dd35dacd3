"""List the micrographs of a data set and their particle centres."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.manifest import build_manifest
from fewpick.stacks import write_table

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    manifest, coordinates = build_manifest(
        json.loads(snakemake.params.spec), [Path(path) for path in snakemake.input.micrographs]
    )
    write_table(manifest, snakemake.output.manifest)
    write_table(coordinates, snakemake.output.coordinates)


with stage(snakemake.log[0]):
    main()
