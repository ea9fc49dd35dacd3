"""Join the micrographs of a data set with their particle centres."""

import json
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.annotation.annotate import annotate
from fewpick.data.inventory import micrographs_of
from fewpick.data.manifest import build_manifest, left_out_table
from fewpick.stacks import read_table, write_table
from fewpick.stage_tables.definitions import ManifestTable

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    spec = json.loads(snakemake.params.spec)
    headers, left_out = micrographs_of(read_table(snakemake.input[0]))
    manifest, coordinates = build_manifest(spec, headers, left_out)
    annotation = annotate(spec, manifest, coordinates, [path.name for path in left_out])
    ManifestTable.write(annotation.manifest, snakemake.output.manifest)
    write_table(coordinates, snakemake.output.coordinates)
    write_table(annotation.areas, snakemake.output.areas)
    write_table(annotation.negatives, snakemake.output.negatives)
    write_table(left_out_table(left_out), snakemake.output.left_out)


with stage(snakemake.log[0]):
    main()
