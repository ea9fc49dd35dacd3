"""Put all labels into one table, and leave parts of them out in turn."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from _stage import stage

from fewpick.data.shards import by_dataset
from fewpick.final.labels import collect, folds_of, join, label_table
from fewpick.stacks import read_table
from fewpick.stage_tables.definitions import LabelTable, ManifestTable

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    files = snakemake.input
    geometry = by_dataset(files.geometry)
    tables = zip(
        sorted(settings["specs"]),
        files.manifests,
        files.coordinates,
        files.areas,
        files.negatives,
        strict=True,
    )
    labels = join(
        (
            collect(
                dataset,
                settings["specs"][dataset],
                ManifestTable.read(manifest),
                pd.concat(map(read_table, geometry[dataset])),
                read_table(coordinates),
                read_table(areas),
                read_table(negatives),
                settings["expected_particles"][dataset],
                use=settings["labels"][dataset] == "use",
            )
            for dataset, manifest, coordinates, areas, negatives in tables
        ),
        settings["folds"],
    )
    everything, *folds = map(Path, snakemake.output)
    LabelTable.write(label_table(labels), everything)
    for path, (kept, held) in zip(folds, folds_of(labels, settings["folds"]), strict=True):
        LabelTable.write(label_table(kept, held), path)


with stage(snakemake.log[0]):
    main()
