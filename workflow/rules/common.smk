# Shared by all rules: the configuration and the plan of the run.
# Project files are found relative to the Snakefile, data and results relative to the working
# directory (`--directory`).
import json
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod

# Not `workflow.basedir`, which belongs to the importing workflow if this is used as a module.
if not workflow.current_basedir.is_local:
    raise WorkflowError(
        "fewpick cannot be imported from a URL, because its rules need the package next to them. "
        "Clone the repository and use the path of its Snakefile."
    )
PROJECT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).resolve().parents[1]
SOURCE = PROJECT / "src"
IS_MODULE = not workflow.modifier.is_main_snakefile()

# Import the package from this checkout, so that it always matches the hashes of `code`; scripts do
# the same (workflow/scripts/_stage.py).
sys.path.insert(0, str(SOURCE))

from fewpick import codehash
from fewpick.canonical import canonical
from fewpick.config.complete import complete
from fewpick.config.file import read_config
from fewpick.errors import InputError
from fewpick.config.plan import has_program, make_plan
from fewpick.config.schema import load_schema
from fewpick.data.links import keep_links
from fewpick.data.study import refuse_other_study
from fewpick.network.gpu import has_gpu

# A file given with --configfile replaces the default one instead of being merged into it. An
# importing workflow passes its section with `config:`; its own files do not matter here.
GIVEN = [] if IS_MODULE else list(map(str, workflow.overwrite_configfiles))

if not GIVEN:

    configfile: PROJECT / "config/config.yaml"


codehash.load()  # saved at the end of the Snakefile


def code(script):
    """Return a hash of a script and the modules that it imports, for the params of its rule."""
    return codehash.of(PROJECT / "workflow/scripts" / script, SOURCE)


# A cluster job reads this file again when it starts, perhaps hours after submission. It gets the
# values from submission in its environment, so that editing the configuration in the meantime does
# not affect it and its records stay correct.
FROZEN = "FEWPICK_CONFIG" + (f"_{workflow.modifier.namespace}" if IS_MODULE else "")
# With conda, Topaz comes from its environment.
WITH_CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method

try:
    if FROZEN in os.environ and not workflow.is_main_process:
        config = json.loads(os.environ[FROZEN])
    else:
        for path in GIVEN:
            read_config(path)  # stricter than Snakemake's own reading
        config = complete(
            config,
            load_schema(),
            (
                f"config of the module {workflow.modifier.namespace}"
                if IS_MODULE
                else ", ".join(GIVEN or ["config/config.yaml"])
            ),
        )
        for key, program in (("topaz", "Topaz"), ("relion_log", "RELION")):
            asked = config["baselines"].get(key)
            in_conda = WITH_CONDA and key == "topaz"
            if asked and not (in_conda or has_program(asked["executable"])):
                logger.warning(
                    f"{program} is left out of the comparison: baselines.{key}.executable "
                    f"{asked['executable']!r} was not found on this machine. Install {program} "
                    "(docs/formats.md), or set the path of the program."
                )
                del config["baselines"][key]
        os.environ[FROZEN] = canonical(config)
    PLAN = make_plan(config)
    if workflow.is_main_process:
        keep_links(
            PLAN.links,
            {name: f"results/data/{name}/inventory.tsv" for name in PLAN.datasets},
            busy=any(Path(".snakemake/locks").glob("*")),
        )
except InputError as error:
    raise WorkflowError(str(error)) from None

# Particle size and border of each data set, for masks, picking and scoring.
SPECS = {
    name: {
        key: spec[key]
        for key in ("particle_radius", "particle_diameter_angstrom", "border")
        if key in spec
    }
    for name, spec in config["datasets"].items()
}
# What the labels of each data set may be used for.
LABELS = {name: spec["labels"] for name, spec in config["datasets"].items()}
MANIFESTS = PLAN.dataset_files("results/data/{dataset}/manifest.tsv")
COORDINATES = PLAN.dataset_files("results/data/{dataset}/coordinates.tsv")
# The same specifications, with the files of the true centres, for scoring.
TRUTH = {
    name: {"spec": SPECS[name], "manifest": manifest, "coordinates": coordinates}
    for name, manifest, coordinates in zip(PLAN.datasets, MANIFESTS, COORDINATES, strict=True)
}
# The inputs of training: one table per data set that lists its shards. If hundreds of jobs named
# hundreds of files each, Snakemake would be slow to plan large data sets.
SHARDS = PLAN.dataset_files("results/data/{dataset}/shards.tsv")

DEVICE = config["resources"]["device"]
# `auto` does not request a GPU on a machine without one, so that trainings can run in parallel.
GPU = int(DEVICE == "cuda" or (DEVICE == "auto" and has_gpu()))


wildcard_constraints:
    dataset="[^/]+",
    shard=r"shard-\d+of\d+",
    # A model belongs to an arm, or is the warm start that arms share.
    model="(warm_start/)?[^/]+",
    # Excludes the folders of other programs next to those of the arms.
    arm="|".join(map(re.escape, PLAN.arms)),
    picker="[^/]+",
    ratio=r"[0-9.e-]+",
    seed=r"\d+",


onstart:
    if DEVICE == "cuda" and workflow.local_exec and not has_gpu():
        raise WorkflowError(
            "resources.device is 'cuda', but this machine has no NVIDIA GPU, or the installed "
            "PyTorch is built without CUDA; "
            "set it to auto or cpu, or run on a machine with a GPU"
        )
    outputs = (str(path) for job in workflow.dag.needrun_jobs() for path in job.output)
    if any(path.startswith("results/") for path in outputs):
        try:
            refuse_other_study(
                Path("results"),
                {name: files.micrographs for name, files in PLAN.datasets.items()},
            )
        except InputError as error:
            raise WorkflowError(str(error)) from None
