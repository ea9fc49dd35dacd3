"""Train one network: the warm start, or an arm that continues from it."""

import hashlib
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from _stage import stage, stop_request

from fewpick.data import shards
from fewpick.network.model_file import load_model, save_model
from fewpick.progress import Progress
from fewpick.sampling.training_set import load_training_set
from fewpick.stacks import write_table
from fewpick.training.train import Stopped, train

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main() -> None:
    files = snakemake.input
    hyperparameters = json.loads(Path(files.hyperparameters).read_text())
    settings = hyperparameters["training"]
    steps, begin, rival = settings["warm_start_steps"], None, None
    if "warm_start" in files.keys():  # noqa: SIM118
        steps, begin = settings["steps"] - steps, load_model(files.warm_start).network
        rival = load_model(files.rival).network if files.rival else None
    with Progress(steps, snakemake.rule) as progress:
        network, history = train(
            hyperparameters,
            load_training_set(*shards.paths(files.shards), Path(files.ratio)),
            warm_start=begin,
            rival=rival,
            device=snakemake.resources.device,
            checkpoint=checkpoint(),
            on_step=progress.update,
            stop=stop_request(),
        )
    save_model(snakemake.output.model, network, hyperparameters)
    write_table(history, snakemake.output.history)


def checkpoint() -> Path:
    """Return the path of the checkpoint, which is not an output, as jobs start by deleting those.

    The name is a hash of the code and of the content of all inputs.
    """
    digest = hashlib.sha256(snakemake.params.code.encode())
    for path in snakemake.input:
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return Path("results/checkpoints", digest.hexdigest()[:16] + ".pt")


with stage(snakemake.log[0]):
    try:
        main()
    except Stopped as reason:
        logging.warning("%s; rerun the same command to resume", reason)
        sys.exit(1)
