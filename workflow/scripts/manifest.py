"""List the micrographs of a data set and their particle centres."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.manifest import build_manifest, left_out_table
from fewpick.micrographs import sort_out
from fewpick.stacks import write_table

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    spec = json.loads(snakemake.params.spec)
    paths = [Path(path) for path in snakemake.input.micrographs]
    good, left_out = sort_out(paths, spec["on_bad_micrograph"])
    manifest, coordinates = build_manifest(spec, good, left_out)
    write_table(manifest, snakemake.output.manifest)
    write_table(coordinates, snakemake.output.coordinates)
    write_table(left_out_table(left_out), snakemake.output.left_out)


with stage(snakemake.log[0]):
    main()
