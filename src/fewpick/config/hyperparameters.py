"""Extract the values that each training uses from the configuration.

Values that a training does not use are left out, so that changing them does not rerun it.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

from fewpick.canonical import canonical
from fewpick.config.complete import TOPAZ, Config
from fewpick.config.labelling_rules import labelling_rule, readers
from fewpick.errors import InputError
from fewpick.network.weights import SCRATCH, start_path

# Sections of the configuration that an arm may override.
SECTIONS = ("model", "training", "fixmatch")
# Steps grow with the square root of the number of data sets, up to this factor.
MOST_GROWTH = 3.0


def ratio_name(ratio: float) -> str:
    """Return a labelled ratio as written in paths and tables: "0.05", "1.0"."""
    return repr(float(ratio))


def resolve_arm(config: Config, arm: str, ratio: float, seed: int) -> Config:
    """Return the hyperparameters of one training, and nothing that it does not use.

    Parameters
    ----------
    config : complete configuration
    arm : key of `arms`
    ratio, seed : labelled ratio and seed of the training

    Returns
    -------
    dictionary with method, ratio, seed, model, training and, for FixMatch, fixmatch. Equivalent
    arms give the same dictionary, whatever their names.
    """
    spec = config["arms"][arm]
    sections = _sections(config, arm)
    resolved = {
        "method": spec["method"],
        "ratio": float(ratio),
        "seed": int(seed),
        "model": sections["model"],
        "training": sections["training"],
    }
    if spec["method"] == "fixmatch":
        labelling = spec.get("labelling", sections["fixmatch"]["labelling"])
        rule = labelling_rule(labelling)
        used = {
            key: value
            for key, value in sections["fixmatch"].items()
            if key in rule.settings or not readers(key)
        }
        del used["rival"]  # its effect is recorded below
        resolved["fixmatch"] = used | {"labelling": labelling}
        if rival_of(config, arm) is not None:
            resolved["fixmatch"]["rival"] = True
    return resolved


def resolve_final(config: Config) -> Config:
    """Return the hyperparameters of the final training on all labels, and of its folds."""
    final = config["final"]
    alone = config | {"arms": {"final": {"method": final["method"]}}}
    return resolve_arm(alone, "final", 1.0, final["seed"])


def rival_of(config: Config, arm: str) -> str | None:
    """Return the supervised arm whose network a FixMatch arm has to beat on validation.

    It has the same `model` and `training`. None for a supervised arm, if `fixmatch.rival` turns
    this off, or if there is no such arm.
    """
    sections = _sections(config, arm)
    asked = {"never": False, "always": True, "several": len(config["datasets"]) > 1}
    if config["arms"][arm]["method"] != "fixmatch" or not asked[sections["fixmatch"]["rival"]]:
        return None
    for name, spec in sorted(config["arms"].items()):
        other = _sections(config, name)
        alike = all(other[key] == sections[key] for key in ("model", "training"))
        if spec["method"] == "supervised" and alike:
            return name
    return None


def _sections(config: Config, arm: str) -> dict[str, Config]:
    """Return the shared sections with an arm's overrides, and steps scaled by the data sets."""
    spec = config["arms"][arm]
    sections = {name: config[name] | spec.get(name, {}) for name in SECTIONS}
    training = dict(sections["training"])
    growth = min(math.sqrt(len(config["datasets"])), MOST_GROWTH)
    if training.pop("grow"):
        for key in ("steps", "warm_start_steps"):
            training[key] = round(growth * training[key])
    if training["start"] == SCRATCH:
        del training["start"]
    else:
        training["start_digest"] = weights_digest(start_path(training["start"]))
    return sections | {"training": training}


def weights_digest(path: Path) -> str:
    """Return a fingerprint of a weights file, so that other weights make another training."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise InputError(
            f"training.start: {path} cannot be read ({error.strerror}). Set it to scratch, to "
            "general, or to the path of a model file."
        ) from None


def resolve_topaz(config: Config, ratio: float, seed: int) -> Config:
    """Return the hyperparameters of one training of Topaz, without the program's path."""
    given = config["baselines"][TOPAZ]
    values = {key: given[key] for key in ("network", "epochs", "epoch_updates", "pretrained")}
    return {"method": TOPAZ, "ratio": float(ratio), "seed": int(seed), **values}


def warm_start(hyperparameters: Config) -> Config:
    """Return the hyperparameters of the supervised warm start of an arm.

    They do not include the method, so that all arms with the same network and training share it.
    `keep` is always `best`: arms continue from the best checkpoint.
    """
    shared = {key: hyperparameters[key] for key in ("ratio", "seed", "model")}
    return shared | {"training": hyperparameters["training"] | {"keep": "best"}}


def warm_start_key(hyperparameters: Config) -> str:
    """Return the warm start's folder name: a 12-digit hash of `model` and `training`."""
    start = warm_start(hyperparameters)
    shared = canonical({key: start[key] for key in ("model", "training")})
    return hashlib.sha256(shared.encode()).hexdigest()[:12]
