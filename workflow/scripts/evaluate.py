"""Score one trained model on the test micrographs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.evaluation.scores import Key, score_run
from fewpick.evaluation.truth import TruthFiles

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    files, wildcards = snakemake.input, snakemake.wildcards
    score_run(
        Key(wildcards.arm, float(wildcards.ratio), int(wildcards.seed)),
        {name: TruthFiles(**source) for name, source in settings["datasets"].items()},
        split=Path(files.split),
        ratio=Path(files.ratio),
        candidates=Path(files.candidates),
        pixels=Path(files.pixels) if files.pixels else None,
        threshold=Path(files.threshold),
        history=Path(files.history),
        radii=settings["radii"],
        flipped_row=settings["flipped_row"],
    ).write(*map(Path, snakemake.output))


with stage(snakemake.log[0]):
    main()
