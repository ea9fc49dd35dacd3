"""List the files of a data set, after reading the headers of its micrographs."""

import json
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.data.inventory import inventory_table
from fewpick.stacks import write_table

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    files = snakemake.input
    table = inventory_table(files.micrographs, files.coordinates, settings["on_bad_micrograph"])
    write_table(table, snakemake.output[0])


with stage(snakemake.log[0]):
    main()
