"""List the shards of one data set."""

from typing import TYPE_CHECKING

from _stage import stage

from fewpick.data.shards import table_of
from fewpick.stacks import write_table

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    files = snakemake.input
    write_table(table_of(files.stacks, files.masks), snakemake.output[0])


with stage(snakemake.log[0]):
    main()
