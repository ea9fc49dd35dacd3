"""Score the picks of another program on the test micrographs."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.evaluate import Key, score_external
from fewpick.external import read_external
from fewpick.stacks import read_table
from fewpick.truth import Dataset

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    files, wildcards, picks = snakemake.input, snakemake.wildcards, settings["picks"]
    candidates = read_external(
        picks["path"],
        read_table(files.manifest),
        fmt=picks["format"],
        y_axis=picks["y_axis"],
        scale=picks["scale"],
    )
    # One file per micrograph says which ones were picked; a single list cannot say so of those
    # without picks, and then all of them count.
    covered = set(candidates["micrograph"]) if Path(picks["path"]).is_dir() else None
    score_external(
        Key(wildcards.picker, math.nan, int(wildcards.seed)),
        picks["dataset"],
        Dataset(settings["spec"], Path(files.manifest), Path(files.coordinates)),
        split=Path(files.split),
        candidates=candidates,
        source=picks["path"],
        radii=settings["radii"],
        covered=covered,
    ).write(*map(Path, snakemake.output))


with stage(snakemake.log[0]):
    main()
