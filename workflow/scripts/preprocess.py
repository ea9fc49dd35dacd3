"""Preprocess the micrographs of one shard."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from _stage import stage

from fewpick.data.preprocess import input_sizes, preprocess_shard
from fewpick.inputs import original
from fewpick.micrographs import read_header, read_micrograph, sort_out

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    settings = json.loads(snakemake.params.settings)
    paths, _ = sort_out(
        [Path(original(path)) for path in snakemake.input], settings["on_bad_micrograph"]
    )
    micrographs = pd.DataFrame(
        {
            "micrograph": [path.name for path in paths],
            "path": [str(path) for path in paths],
            "pixel_size": [
                settings["pixel_size"] or read_header(path).pixel_size for path in paths
            ],
        }
    )
    preprocess_shard(
        micrographs,
        snakemake.output.stack,
        input_sizes(
            micrographs, settings["target_size"], settings["particle_px"], settings["spec"]
        ),
        read_micrograph,
        threads=snakemake.threads,
        normalise=settings["normalise"],
        lowpass_angstrom=settings["lowpass_angstrom"],
    )


with stage(snakemake.log[0]):
    main()
