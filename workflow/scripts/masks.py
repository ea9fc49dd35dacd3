"""Draw the training masks of one shard."""

import json
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.data.masks import mask_shard
from fewpick.geometry import particle_radii
from fewpick.stacks import read_table
from fewpick.stage_tables.definitions import ManifestTable

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    manifest = ManifestTable.read(snakemake.input.manifest)
    mask_shard(
        read_table(snakemake.input.geometry),
        manifest,
        read_table(snakemake.input.coordinates),
        snakemake.output.stack,
        particle_radii(settings["spec"], manifest),
        settings["radius_scale"],
        settings["spec"]["border"],
        areas=read_table(snakemake.input.areas),
        negatives=read_table(snakemake.input.negatives),
    )


with stage(snakemake.log[0]):
    main()
