"""Download a public data set, and write a configuration that uses it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage

from fewpick.fetching.public import Wanted, fetch

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    settings["folder"] = Path(settings["folder"])
    wildcards = snakemake.wildcards
    fetch(Wanted(wildcards.source, wildcards.entry, **settings))


with stage(snakemake.log[0]):
    main()
