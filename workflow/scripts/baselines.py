"""Score the trivial pickers on the test micrographs of one seed."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.data import shards
from fewpick.data.shards import by_dataset
from fewpick.evaluation.baselines import score_baselines
from fewpick.evaluation.truth import TruthFiles, validation_truths

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    files = snakemake.input
    stacks, masks = shards.paths(files.shards)
    datasets = {name: TruthFiles(**source) for name, source in settings["datasets"].items()}
    split = Path(files.split)
    ratio = Path(files.ratio) if files.ratio else None
    score_baselines(
        datasets,
        split=split,
        validation=validation_truths(
            datasets, split, settings["validation"], ratio, by_dataset(stacks)
        ),
        stacks=by_dataset(stacks),
        masks=by_dataset(masks),
        seed=int(snakemake.wildcards.seed),
        radii=settings["radii"],
    ).write(*map(Path, snakemake.output))


with stage(snakemake.log[0]):
    main()
