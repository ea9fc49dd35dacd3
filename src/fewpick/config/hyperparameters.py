"""What each training takes from the configuration, and nothing that it does not use."""

from __future__ import annotations

import hashlib

from fewpick.canonical import canonical
from fewpick.config.complete import TOPAZ, Config
from fewpick.config.labelling_rules import labelling_rule, readers

# Sections of the configuration that an arm may override.
SECTIONS = ("model", "training", "fixmatch")


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
    sections = {name: config[name] | spec.get(name, {}) for name in SECTIONS}
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
        resolved["fixmatch"] = used | {"labelling": labelling}
    return resolved


def resolve_final(config: Config) -> Config:
    """Hyperparameters of the last training, on all labels; its folds share them."""
    final = config["final"]
    alone = config | {"arms": {"final": {"method": final["method"]}}}
    return resolve_arm(alone, "final", 1.0, final["seed"])


def resolve_topaz(config: Config, ratio: float, seed: int) -> Config:
    """Hyperparameters of one training of Topaz; where the program lies is none of them."""
    given = config["baselines"][TOPAZ]
    values = {key: given[key] for key in ("epochs", "pretrained")}
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
