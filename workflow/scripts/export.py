"""Write picks for other programs: as one table, or as one file per micrograph."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.inputs import original
from fewpick.picking.export import export_each, export_picks, kept_candidates
from fewpick.stacks import read_table
from fewpick.stage_tables.definitions import ManifestTable

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    files, output = snakemake.input, snakemake.output
    chosen = kept_candidates(
        read_table(files.candidates), json.loads(Path(files.threshold).read_text())
    )
    manifests = dict(
        zip(settings["datasets"], map(ManifestTable.read, files.manifests), strict=True)
    )
    relion = original(files.relion) if files.relion else None
    if "star" in output.keys():  # noqa: SIM118
        export_picks(chosen, manifests, star=Path(output.star), csv=Path(output.csv), relion=relion)
    else:
        export_each(chosen, manifests, Path(output[0]), relion)


with stage(snakemake.log[0]):
    main()
