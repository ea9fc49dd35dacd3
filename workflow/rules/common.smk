# What all rules share: the configuration, the lists of what there is to do, and small helpers.
# Parts of the project are found relative to the Snakefile; data and results relative to the
# working directory (`--directory`).
import os
import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

PROJECT = Path(workflow.basedir)
SOURCE = PROJECT / "src"

# The package is taken from this checkout, here and in scripts: also in conda environments and on
# cluster nodes, where it is not installed, and always in step with the hashes of `code`.
sys.path.insert(0, str(SOURCE))
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
)

from fewpick import codehash
from fewpick.config import canonical, complete, ratio_name, resolve_arm, warm_start, warm_start_key
from fewpick.errors import InputError
from fewpick.micrographs import list_micrographs
from fewpick.stacks import shard_names

if not workflow.overwrite_configfiles:

    # A file given with --configfile stands for itself instead of being merged into this one.
    configfile: PROJECT / "config/config.yaml"


def checked_config():
    """The configuration with the schema's defaults, or a message that says what is wrong."""
    schema = yaml.safe_load((PROJECT / "workflow/schemas/config.schema.yaml").read_text())
    files = workflow.overwrite_configfiles or ["config/config.yaml"]
    try:
        return complete(config, schema, ", ".join(map(str, files)))
    except InputError as error:
        raise WorkflowError(str(error)) from None


config = checked_config()

# Sorted, so that the order of keys in the configuration changes nothing.
DATASETS = sorted(config["datasets"])
ARMS = sorted(config["arms"])
RATIOS = [ratio_name(ratio) for ratio in sorted(config["splits"]["labeled_ratios"])]
SEEDS = sorted(config["splits"]["seeds"])


wildcard_constraints:
    dataset="[^/]+",
    shard=r"shard-\d+of\d+",
    # A model is that of an arm, or the warm start that arms share.
    model="(warm_start/)?[^/]+",
    arm="[^/]+",
    ratio=r"[0-9.e-]+",
    seed=r"\d+",


def code(script):
    """Hash of the package's modules that a script imports, for the params of its rule."""
    return codehash.of(PROJECT / "workflow/scripts" / script, SOURCE)


def specs(*keys):
    """The named keys of each data set's configuration, those that are set."""
    return {
        name: {key: spec[key] for key in keys if key in spec}
        for name, spec in config["datasets"].items()
    }


def checked(function, *arguments):
    """Call a function of the package; what is wrong with the input ends the run with one line."""
    try:
        return function(*arguments)
    except InputError as error:
        raise WorkflowError(str(error)) from None
