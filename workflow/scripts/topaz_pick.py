"""Choose the score threshold of Topaz by the labels that the arms use, and export the picks."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.atomic import atomic_path
from fewpick.data import shards
from fewpick.picking.candidates import found_in_table, kept_candidates
from fewpick.picking.export import export_picks
from fewpick.sampling.training_set import load_training_set
from fewpick.stacks import read_table
from fewpick.stage_tables.definitions import ManifestTable
from fewpick.tuning import thresholds

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    files, output = snakemake.input, snakemake.output
    candidates = read_table(files.candidates)
    micrographs = load_training_set(*shards.paths(files.shards), Path(files.ratio))
    threshold = thresholds.final_threshold(found_in_table(candidates, micrographs))
    if threshold["source"] == "validation":
        threshold["validation_used_for"] = ["checkpoint", "score threshold"]
    with atomic_path(output.threshold) as path:
        path.write_text(json.dumps(threshold, indent=2) + "\n")
    export_picks(
        kept_candidates(candidates, threshold),
        dict(zip(settings["datasets"], map(ManifestTable.read, files.manifests), strict=True)),
        star=Path(output.star),
        csv=Path(output.csv),
        folder=Path(output.micrographs),
        relion=settings["relion"],
    )


with stage(snakemake.log[0]):
    main()
