"""Split the micrographs of all data sets into train, val and test."""

import json
from typing import TYPE_CHECKING

import pandas as pd
from _stage import stage

from fewpick.annotation.annotate import require_full
from fewpick.data.splits import split_micrographs
from fewpick.inputs import original
from fewpick.stage_tables.definitions import ManifestTable, SplitTable

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    split_files = {name: original(path) for name, path in settings["split_files"].items()}
    parts = []
    for dataset, path in zip(settings["datasets"], snakemake.input.manifests, strict=True):
        manifest = ManifestTable.read(path)
        require_full(dataset, manifest)
        parts.append(
            split_micrographs(
                dataset,
                manifest["micrograph"].tolist(),
                manifest["annotated"].tolist(),
                seed=int(snakemake.wildcards.seed),
                val_fraction=settings["val_fraction"],
                test_fraction=settings["test_fraction"],
                split_file=split_files.get(dataset),
                labels=settings["labels"][dataset],
            )
        )
    SplitTable.write(pd.concat(parts, ignore_index=True), snakemake.output[0])


with stage(snakemake.log[0]):
    main()
