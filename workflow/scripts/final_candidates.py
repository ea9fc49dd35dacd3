"""Find candidates with one of the networks trained for the final picks."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.data import shards
from fewpick.final.sample import looked_at
from fewpick.network.device import select_device
from fewpick.network.model_file import load_model
from fewpick.picking.candidates import candidate_table, find
from fewpick.progress import Progress
from fewpick.sampling.training_set import load_training_set
from fewpick.stacks import write_table
from fewpick.stage_tables.definitions import LabelTable

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    files = snakemake.input
    device = select_device(snakemake.resources.device)
    wanted = looked_at(LabelTable.read(files.labels))
    micrographs = [
        micrograph
        for micrograph in load_training_set(*shards.paths(files.shards), Path(files.labels))
        if (micrograph.dataset, micrograph.name) in wanted
    ]
    network = load_model(files.model, device).network
    found = []
    with Progress(len(micrographs), snakemake.rule) as progress:
        for one in find(network, micrographs, device, **settings):
            found.append(one)
            progress.update()
    write_table(candidate_table(found), snakemake.output[0])


with stage(snakemake.log[0]):
    main()
