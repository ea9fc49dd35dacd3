"""Draw the training masks of one shard."""

import json
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.geometry import particle_radius
from fewpick.masks import mask_shard
from fewpick.truth import read_table

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    spec = settings["spec"]
    manifest = read_table(snakemake.input.manifest)
    mask_shard(
        read_table(snakemake.input.geometry),
        manifest,
        read_table(snakemake.input.coordinates),
        snakemake.output.stack,
        settings["target_size"],
        {row.micrograph: particle_radius(spec, row.pixel_size) for row in manifest.itertuples()},
        settings["radius_scale"],
        spec.get("border", 0.0),
    )


with stage(snakemake.log[0]):
    main()
