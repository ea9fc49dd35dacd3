"""Pick all micrographs with one trained network."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from _stage import stage

from fewpick.atomic import atomic_path
from fewpick.data import shards
from fewpick.network.device import select_device
from fewpick.network.model_file import load_model, save_model
from fewpick.picking.candidates import candidate_table, find
from fewpick.picking.picker import describe_use
from fewpick.progress import Progress
from fewpick.sampling.training_set import load_training_set
from fewpick.stacks import write_table
from fewpick.stage_tables.definitions import ManifestTable
from fewpick.tuning import thresholds
from fewpick.versions import versions

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    files, output = snakemake.input, snakemake.output
    device = select_device(snakemake.resources.device)
    trained = load_model(files.model, device)
    micrographs = load_training_set(*shards.paths(files.shards), Path(files.ratio))
    found = []
    with Progress(len(micrographs), "pick") as progress:
        for one in find(trained.network, micrographs, device, **settings["picking"]):
            found.append(one)
            progress.update()
    candidates, threshold = candidate_table(found), thresholds.final_threshold(found)
    threshold["validation_used_for"] = thresholds.validation_uses(
        threshold["source"], micrographs, trained.hyperparameters
    )
    write_table(candidates, output.candidates)
    write_table(pd.concat([one.pixels for one in found]), output.pixels)
    with atomic_path(output.threshold) as path:
        path.write_text(json.dumps(threshold, indent=2) + "\n")
    manifests = dict(
        zip(settings["datasets"], map(ManifestTable.read, files.manifests), strict=True)
    )
    use = describe_use(
        micrographs,
        manifests,
        settings["specs"],
        threshold=threshold,
        picking=settings["picking"],
        **settings["preprocess"],
    )
    use["arm"] = snakemake.wildcards.arm
    use["versions"] = versions(("torch", "numpy", "scipy"))
    save_model(output.picker, trained.network, trained.hyperparameters, use)


with stage(snakemake.log[0]):
    main()
