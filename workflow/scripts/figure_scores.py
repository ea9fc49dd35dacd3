"""Draw scores against labelled ratios, and precision against recall."""

from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.figures.plots import draw_precision_recall, draw_scores
from fewpick.stacks import read_table

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    table, radius = read_table(snakemake.input.table), snakemake.params.radius
    draw_scores(table, radius, Path(snakemake.output.scores))
    curves = map(Path, snakemake.input.curves)
    draw_precision_recall(table, radius, curves, Path(snakemake.output.curves))


with stage(snakemake.log[0]):
    main()
