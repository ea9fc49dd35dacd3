"""What each training takes from the configuration, and nothing that it does not use."""

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
    """Labelled ratio as it is spelled in paths and tables: "0.05", "1.0"."""
    return repr(float(ratio))


def resolve_arm(config: Config, arm: str, ratio: float, seed: int) -> Config:
    """Hyperparameters of one training, and nothing that it does not use.

    Parameters
    ----------
    config : complete configuration
    arm : key of `arms`
    ratio, seed : labelled ratio and seed of the training

    Returns
    -------
    method, ratio, seed, model, training, and for FixMatch fixmatch. Two arms that mean the same
    give the same dictionary, whatever they are called.
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
        del used["rival"]  # what follows from it is recorded
        resolved["fixmatch"] = used | {"labelling": labelling}
        if rival_of(config, arm) is not None:
            resolved["fixmatch"]["rival"] = True
    return resolved


def resolve_final(config: Config) -> Config:
    """Hyperparameters of the last training, on all labels; its folds share them."""
    final = config["final"]
    alone = config | {"arms": {"final": {"method": final["method"]}}}
    return resolve_arm(alone, "final", 1.0, final["seed"])


def rival_of(config: Config, arm: str) -> str | None:
    """Name the supervised arm whose network a FixMatch arm has to beat on validation.

    It has the same network and training. None for a supervised arm, where `fixmatch.rival` does
    not ask for it, and where there is no such arm.
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
    """Shared sections with what an arm overrides; steps grow with the number of data sets."""
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
    """Content of a file in 12 hexadecimal digits, so that other weights are another training."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise InputError(
            f"training.start: {path} cannot be read ({error.strerror}). Set it to scratch, to "
            "general, or to the path of a model file."
        ) from None


def resolve_topaz(config: Config, ratio: float, seed: int) -> Config:
    """Hyperparameters of one training of Topaz; where the program lies is none of them."""
    given = config["baselines"][TOPAZ]
    values = {key: given[key] for key in ("network", "epochs", "epoch_updates", "pretrained")}
    return {"method": TOPAZ, "ratio": float(ratio), "seed": int(seed), **values}


def warm_start(hyperparameters: Config) -> Config:
    """Hyperparameters of the supervised training that an arm begins with.

    They leave out the method and what becomes of its states, so that all arms with the same network
    and training share it. It is always at its best where the arms take over.
    """
    shared = {key: hyperparameters[key] for key in ("ratio", "seed", "model")}
    return shared | {"training": hyperparameters["training"] | {"keep": "best"}}


def warm_start_key(hyperparameters: Config) -> str:
    """Folder name of the warm start: 12 hexadecimal digits that stand for model and training."""
    start = warm_start(hyperparameters)
    shared = canonical({key: start[key] for key in ("model", "training")})
    return hashlib.sha256(shared.encode()).hexdigest()[:12]
