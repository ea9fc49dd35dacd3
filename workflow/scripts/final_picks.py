"""Choose the score threshold, judge the picks, and write them with the network."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from _stage import stage

from fewpick.atomic import atomic_path
from fewpick.data import shards
from fewpick.final.outcome import conclude, threshold_of
from fewpick.inputs import original
from fewpick.network.model_file import load_model, save_model
from fewpick.picking.export import export_each, export_picks
from fewpick.picking.picker import describe_use
from fewpick.sampling.training_set import load_training_set
from fewpick.stacks import read_table
from fewpick.stage_tables.definitions import LabelTable, ManifestTable
from fewpick.versions import versions

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    files, output = snakemake.input, snakemake.output
    labels, candidates = map(LabelTable.read, files.labels), map(read_table, files.candidates)
    everything, *folds = zip(labels, candidates, strict=True)
    outcome = conclude(everything, folds, settings["expected_particles"])
    with atomic_path(output.quality) as path:
        path.write_text(json.dumps(outcome, indent=2, allow_nan=False) + "\n")
    manifests = dict(
        zip(settings["datasets"], map(ManifestTable.read, files.manifests), strict=True)
    )
    use = describe_use(
        load_training_set(*shards.paths(files.shards), Path(files.labels[0])),
        manifests,
        settings["specs"],
        threshold=threshold_of(outcome),
        picking=settings["picking"],
        **settings["preprocess"],
    )
    use["versions"] = versions(("torch", "numpy", "scipy"))
    trained = load_model(files.model)
    save_model(output.picker, trained.network, trained.hyperparameters, use)
    table = everything[1]
    least = table["dataset"].map({name: held["threshold"] for name, held in outcome.items()})
    chosen = pd.DataFrame(table[table["score"] >= least])
    relion = original(files.relion) if files.relion else None
    export_picks(chosen, manifests, star=Path(output.star), csv=Path(output.csv), relion=relion)
    export_each(chosen, manifests, Path(output.micrographs), relion)


with stage(snakemake.log[0]):
    main()
