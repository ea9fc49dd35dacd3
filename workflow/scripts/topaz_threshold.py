"""Choose Topaz's score threshold with the same labels as the arms."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.atomic import atomic_path
from fewpick.data import shards
from fewpick.picking.candidates import found_in_table
from fewpick.sampling.training_set import load_training_set
from fewpick.stacks import read_table
from fewpick.tuning import thresholds

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    files = snakemake.input
    candidates = read_table(files.candidates)
    micrographs = load_training_set(*shards.paths(files.shards), Path(files.ratio))
    threshold = thresholds.final_threshold(found_in_table(candidates, micrographs))
    if threshold["source"] == "validation":
        threshold["validation_used_for"] = ["checkpoint", "score threshold"]
    with atomic_path(snakemake.output[0]) as path:
        path.write_text(json.dumps(threshold, indent=2) + "\n")


with stage(snakemake.log[0]):
    main()
