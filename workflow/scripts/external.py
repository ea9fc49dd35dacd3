"""Score the picks of another program on the test micrographs."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.atomic import atomic_path
from fewpick.data import shards
from fewpick.evaluation.scores import Key, score_external
from fewpick.evaluation.truth import TruthFiles, validation_truths
from fewpick.external.external_picks import read_external
from fewpick.inputs import original
from fewpick.stacks import write_table
from fewpick.stage_tables.definitions import ManifestTable

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    files, output, wildcards = snakemake.input, snakemake.output, snakemake.wildcards
    picks = settings["picks"] | {"path": original(settings["picks"]["path"])}
    manifest = ManifestTable.read(files.manifest)
    candidates = read_external(
        picks["path"],
        manifest,
        fmt=picks["format"],
        y_axis=picks["y_axis"],
        scale=picks["scale"],
        may_be_empty=picks.get("made_here", False),
    )
    # One file per micrograph shows which ones were picked. A single list does not show those
    # without picks, so all of them count.
    covered = set(candidates["micrograph"]) if Path(picks["path"]).is_dir() else None
    if picks.get("made_here"):
        covered = set(manifest["micrograph"])
    truth = TruthFiles(settings["spec"], Path(files.manifest), Path(files.coordinates))
    split = Path(files.split)
    ratio = Path(files.ratio) if files.ratio else None
    stacks, _ = shards.paths([files.shards] if files.shards else [])
    scored = score_external(
        Key(wildcards.picker, math.nan, int(wildcards.seed)),
        picks["dataset"],
        truth,
        split=split,
        validation=validation_truths(
            {picks["dataset"]: truth},
            split,
            settings["validation"],
            ratio,
            {picks["dataset"]: stacks},
        ),
        candidates=candidates,
        source=picks["path"],
        radii=settings["radii"],
        covered=covered,
    )
    scored.scores.write(Path(output.scores), Path(output.micrographs), Path(output.curve))
    write_table(scored.candidates, output.candidates)
    use = {
        # null means that all candidates are picks.
        "threshold": scored.threshold if math.isfinite(scored.threshold) else None,
        "dataset": picks["dataset"],
        "covered": None if covered is None else sorted(covered),
    }
    with atomic_path(output.threshold) as path:
        path.write_text(json.dumps(use, indent=2) + "\n")


with stage(snakemake.log[0]):
    main()
