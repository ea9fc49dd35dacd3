"""Write the hyperparameters of one training."""

import json
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.atomic import atomic_path

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    values = json.loads(snakemake.params.values)
    with atomic_path(snakemake.output[0]) as path:
        path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")


with stage(snakemake.log[0]):
    main()
