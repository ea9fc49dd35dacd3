"""Choose the labels of one labelled ratio."""

import json
from typing import TYPE_CHECKING

import pandas as pd
from _stage import stage

from fewpick.data.shards import by_dataset
from fewpick.data.splits import Source, label_counts, label_subset
from fewpick.geometry import particle_radii
from fewpick.stacks import read_table
from fewpick.stage_tables.definitions import LabelTable, ManifestTable, SplitTable

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    files = snakemake.input
    split, geometry = SplitTable.read(files.split), by_dataset(files.geometry)
    names, labels = sorted(settings["specs"]), settings["labels"]
    sources = {
        name: Source(
            pd.concat(map(read_table, geometry[name])),
            read_table(coordinates),
            settings["specs"][name]["border"],
        )
        for name, coordinates in zip(names, files.coordinates, strict=True)
    }
    draw = {
        "ratio": float(snakemake.wildcards.ratio),
        "seed": int(snakemake.wildcards.seed),
        "unit": settings["unit"],
        "tile_size": settings["tile_size"],
    }
    parts = []
    for name, count in label_counts(sources, labels, split, settings["draw"], **draw).items():
        manifest = ManifestTable.read(files.manifests[names.index(name)])
        parts.append(
            label_subset(
                name,
                split,
                *sources[name][:2],
                particle_radius=particle_radii(settings["specs"][name], manifest),
                border=sources[name].border,
                validation="none" if labels[name] == "none" else settings["validation"],
                expected_particles=settings["expected_particles"][name],
                count=count,
                **draw,
            )
        )
    LabelTable.write(pd.concat(parts, ignore_index=True), snakemake.output[0])


with stage(snakemake.log[0]):
    main()
