"""Normalise the preprocessed micrographs of one shard with Topaz's own command."""

from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.external.topaz import Topaz, write_images

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    program = Topaz(snakemake.resources.executable, snakemake.threads)
    write_images(program, Path(snakemake.input.stack), Path(snakemake.output[0]))


with stage(snakemake.log[0]):
    main()
