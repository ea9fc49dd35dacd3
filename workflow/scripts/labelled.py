"""Choose what is labelled at one ratio."""

import json
from typing import TYPE_CHECKING

import pandas as pd
from _stage import stage

from fewpick.data.shards import by_dataset
from fewpick.data.splits import label_subset
from fewpick.geometry import particle_radii
from fewpick.stacks import read_table, write_table

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    files = snakemake.input
    split, geometry = read_table(files.split), by_dataset(files.geometry)
    parts = []
    for dataset, manifest, coordinates in zip(
        sorted(settings["specs"]), files.manifests, files.coordinates, strict=True
    ):
        spec = settings["specs"][dataset]
        parts.append(
            label_subset(
                dataset,
                split,
                pd.concat(map(read_table, geometry[dataset])),
                read_table(coordinates),
                ratio=float(snakemake.wildcards.ratio),
                seed=int(snakemake.wildcards.seed),
                particle_radius=particle_radii(spec, read_table(manifest)),
                border=spec["border"],
                unit=settings["unit"],
                tile_size=settings["tile_size"],
                validation=settings["validation"],
                expected_particles=settings["expected_particles"][dataset],
            )
        )
    write_table(pd.concat(parts), snakemake.output[0])


with stage(snakemake.log[0]):
    main()
