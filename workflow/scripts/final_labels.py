"""Write the label tables of the final training and its folds."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from _stage import stage

from fewpick.data import shards
from fewpick.data.shards import by_dataset
from fewpick.final.count import expected_picks, is_uncounted
from fewpick.final.labels import collect, folds_of, join, label_table
from fewpick.final.sample import rate_sample
from fewpick.network.device import select_device
from fewpick.network.weights import start_path
from fewpick.picking.picker import Picker
from fewpick.sampling.training_set import grouped_by_dataset, load_training_set
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
    parts = [label_table(labels)]
    for kept, held in folds_of(labels, settings["folds"]):
        parts.append(label_table(kept, held))
    paths = [Path(path) for path in snakemake.output]
    LabelTable.write(parts[0], paths[0])
    for dataset, count in counts(paths[0]).items():
        logging.info("%s: about %.0f picks per micrograph", dataset, count)
        for table in parts:
            table.loc[table["dataset"] == dataset, "expected"] = count
    for table, path in zip(parts, paths, strict=True):
        LabelTable.write(table, path)


def counts(path: Path) -> dict[str, float]:
    """Estimate the number of picks of data sets with clicks only, using the initial network."""
    files = snakemake.input
    if not files.stacks:
        return {}
    device = select_device(snakemake.resources.device)
    # The radius is a placeholder: micrographs come with their own particle size.
    picker = Picker(start_path(json.loads(snakemake.params.settings)["start"]), device, radius=1)
    if not picker.calibrated:
        return {}
    table = LabelTable.read(path)
    sheets = grouped_by_dataset(load_training_set(*shards.paths(files.stacks), path))
    sample = rate_sample(table)
    return {
        dataset: expected_picks(picker, held, [name for of, name in sample if of == dataset])
        for dataset, held in sheets.items()
        if is_uncounted(held)
    }


with stage(snakemake.log[0]):
    main()
