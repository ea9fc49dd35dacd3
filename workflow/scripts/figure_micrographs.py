"""Draw found, missed and false picks of one model on a few test micrographs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.data import shards
from fewpick.data.shards import by_dataset
from fewpick.evaluation.threshold_policy import dataset_threshold
from fewpick.evaluation.truth import TruthFiles, read_candidates, read_truths
from fewpick.figures.grey import choose_micrographs
from fewpick.figures.plots import draw_micrographs

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    files, wildcards = snakemake.input, snakemake.wildcards
    threshold = json.loads(Path(files.threshold).read_text())
    chosen = choose_micrographs(Path(files.micrographs))
    sources = {name: TruthFiles(**source) for name, source in settings["datasets"].items()}
    truths = {truth.key: truth for truth in read_truths(sources, Path(files.split), "test")}
    draw_micrographs(
        [truths[key] for key in chosen],
        read_candidates(
            Path(files.candidates), {name: dataset_threshold(threshold, name) for name in sources}
        ),
        by_dataset(shards.paths(files.shards)[0]),
        settings["radius"],
        f"{wildcards.arm}, labelled ratio {wildcards.ratio}, seed {wildcards.seed}",
        Path(snakemake.output[0]),
    )


with stage(snakemake.log[0]):
    main()
