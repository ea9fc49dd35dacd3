"""Pick the micrographs of one data set with the general network, without labels."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.coordinates import json_points
from fewpick.data import shards
from fewpick.geometry import particle_radii
from fewpick.picking.general_row import pick_stacks
from fewpick.stage_tables.definitions import ManifestTable

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    spec = json.loads(snakemake.params.settings)["spec"]
    stacks, _ = shards.paths([snakemake.input.shards])
    radii = particle_radii(spec, ManifestTable.read(snakemake.input.manifest))
    json_points.write(Path(snakemake.output[0]), pick_stacks(stacks, radii))


with stage(snakemake.log[0]):
    main()
