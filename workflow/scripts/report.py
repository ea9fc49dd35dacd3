"""Write the page that shows the comparison."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.data import shards
from fewpick.data.shards import by_dataset
from fewpick.evaluation.truth import TruthFiles
from fewpick.report.gallery import Run
from fewpick.report.page import Comparison, Training, build
from fewpick.stacks import table_path
from fewpick.versions import versions

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

PACKAGES = ("torch", "numpy", "scipy", "pandas", "scikit-image", "mrcfile", "starfile", "pillow")


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    files = snakemake.input
    histories = zip(files.warm_starts, files.histories, strict=True)
    stacks, masks = shards.paths(files.shards)
    runs = zip(files.candidates, files.thresholds, strict=True)
    build(
        Comparison(
            table=Path(files.table),
            reference=settings["reference"],
            micrographs=list(map(Path, files.micrographs)),
            curves=list(map(Path, files.curves)),
            trainings=[
                Training(arm, float(ratio), int(seed), list(map(Path, phases)))
                for (arm, ratio, seed), phases in zip(settings["trainings"], histories, strict=True)
            ],
            datasets={name: TruthFiles(**source) for name, source in settings["datasets"].items()},
            masks={name: list(map(table_path, held)) for name, held in by_dataset(masks).items()},
            stacks=by_dataset(stacks),
            split=Path(files.split),
            seed=settings["seed"],
            runs=[
                Run.read(arm, None if ratio is None else float(ratio), *paths)
                for (arm, ratio), paths in zip(settings["runs"], runs, strict=True)
            ],
            chosen_by=Path(files.chosen_by),
            radii=settings["radii"],
            config=settings["config"],
            versions=versions(PACKAGES),
        ),
        Path(snakemake.output[0]),
    )


with stage(snakemake.log[0]):
    main()
