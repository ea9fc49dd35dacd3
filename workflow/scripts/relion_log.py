"""Pick the micrographs of one data set with RELION's Laplacian of Gaussian."""

import json
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.atomic import atomic_path
from fewpick.data import shards
from fewpick.external.relion_log import pick_log
from fewpick.geometry import particle_radii
from fewpick.stage_tables.definitions import ManifestTable

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    stacks, _ = shards.paths([snakemake.input.shards])
    radii = particle_radii(settings["spec"], ManifestTable.read(snakemake.input.manifest))
    found = pick_log(snakemake.resources.executable, stacks, radii, settings)
    with atomic_path(snakemake.output[0]) as path:
        found.to_csv(path, index=False)


with stage(snakemake.log[0]):
    main()
