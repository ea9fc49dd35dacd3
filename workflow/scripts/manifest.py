"""Join the micrographs of a data set with their particle centres."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.annotation.annotate import annotate
from fewpick.data.inventory import micrographs_of
from fewpick.data.manifest import build_manifest, left_out_table
from fewpick.inputs import original
from fewpick.stacks import read_table, write_table
from fewpick.stage_tables.definitions import ManifestTable

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    spec = json.loads(snakemake.params.spec)
    sources = (key for key in ("coordinates", "areas", "negatives") if spec.get(key))
    spec |= {key: original(spec[key]) for key in sources}
    inventory = read_table(snakemake.input[0])
    headers, left_out = micrographs_of(inventory)
    manifest, coordinates = build_manifest(spec, headers, left_out)
    annotation = annotate(spec, manifest, coordinates, [path.name for path in left_out])
    # The path that the rules use for a micrograph stays the same when the file is moved.
    inputs = {Path(path).name: path for path in inventory["path"]}
    paths = annotation.manifest["micrograph"].map(inputs)
    ManifestTable.write(annotation.manifest.assign(path=paths), snakemake.output.manifest)
    write_table(coordinates, snakemake.output.coordinates)
    write_table(annotation.areas, snakemake.output.areas)
    write_table(annotation.negatives, snakemake.output.negatives)
    write_table(left_out_table(left_out), snakemake.output.left_out)


with stage(snakemake.log[0]):
    main()
