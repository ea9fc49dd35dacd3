"""Collect the scores of all runs in one table."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.comparison.markdown import write_markdown
from fewpick.comparison.result_table import build_table
from fewpick.stacks import write_table

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    radii, reference = json.loads(snakemake.params.radii), snakemake.params.reference
    files = snakemake.input
    table = build_table(map(Path, files.scores), map(Path, files.micrographs), radii[0], reference)
    write_table(table, snakemake.output.table)
    write_markdown(table, Path(snakemake.output.text), radii, reference)


with stage(snakemake.log[0]):
    main()
