"""List the shards of one data set."""

from typing import TYPE_CHECKING

from _stage import stage

from fewpick.data.shards import shard_table
from fewpick.stacks import write_table

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    files = snakemake.input
    write_table(shard_table(files.stacks, files.masks), snakemake.output[0])


with stage(snakemake.log[0]):
    main()
