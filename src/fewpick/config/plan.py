"""Plan a run: list its files, shards and trainings.

This runs at every start of the workflow, even for a dry run, so it lists files without opening
them.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewpick.canonical import canonical
from fewpick.config.complete import RELION_LOG, TOPAZ, label_free_rows
from fewpick.config.hyperparameters import (
    ratio_name,
    resolve_arm,
    resolve_final,
    resolve_topaz,
    rival_of,
    warm_start,
    warm_start_key,
)
from fewpick.errors import InputError
from fewpick.inputs import FOLDER
from fewpick.micrographs import list_micrographs
from fewpick.simulation.simulate import micrograph_names
from fewpick.stacks import shard_names

Run = tuple[str, str, str]  # model, ratio and seed, as written in paths

SIMULATED = "results/simulated/{}"
LABEL_FREE_PICKS = "results/{}/{}/picks.{}"


@dataclass(frozen=True)
class DatasetFiles:
    """The files of one data set.

    Attributes
    ----------
    micrographs : name -> path, as written in the configuration or simulation
    inputs : name -> path that the rules use for the micrograph (`fewpick.inputs`)
    coordinates : inputs with particle centres and, if any, areas and negatives
    sources : coordinates, areas and negatives -> input for the file or folder as a whole
    shards : name -> micrograph names
    """

    micrographs: dict[str, str]
    inputs: dict[str, str]
    coordinates: list[str]
    sources: dict[str, str]
    shards: dict[str, list[str]]


@dataclass(frozen=True)
class Plan:
    """Everything to do in a run. Lists are sorted, so that the order of keys does not matter.

    Attributes
    ----------
    datasets : name -> its files
    split_files : data set -> input that replaces the random split
    external : name -> picks with the keys of `external_picks`: those of other programs, and those
        of label-free baselines that the run itself makes
    external_picks : name -> files of those picks
    relion : micrograph list of a RELION project: zero or one input
    links : input -> path of the file or folder named in the configuration
    arms, ratios, seeds : as written in paths
    trainings : (arm, ratio, seed) -> hyperparameters
    warm_starts : ("warm_start/{key}", ratio, seed) -> hyperparameters
    topaz : ("topaz", ratio, seed) -> hyperparameters
    final_folds : names of the trainings that leave labels out, for the target picks
    final : phase of the final training (warm_start, train) -> hyperparameters
    rivals : FixMatch arm -> supervised arm that it has to beat on validation, if any
    """

    datasets: dict[str, DatasetFiles]
    split_files: dict[str, str]
    external: dict[str, dict[str, Any]]
    external_picks: dict[str, list[str]]
    relion: list[str]
    links: dict[str, str]
    arms: list[str]
    ratios: list[str]
    seeds: list[str]
    trainings: dict[Run, dict[str, Any]]
    warm_starts: dict[Run, dict[str, Any]]
    topaz: dict[Run, dict[str, Any]]
    final_folds: list[str]
    final: dict[str, dict[str, Any]]
    rivals: dict[str, str]

    def shard_files(self, pattern: str, *names: str) -> list[str]:
        """Fill `{dataset}` and `{shard}` in a pattern for all shards of the named data sets.

        Without names, use all data sets.
        """
        return [
            pattern.format(dataset=name, shard=shard)
            for name in names or self.datasets
            for shard in self.datasets[name].shards
        ]

    def dataset_files(self, pattern: str) -> list[str]:
        """Fill `{dataset}` in a pattern for every data set."""
        return [pattern.format(dataset=name) for name in self.datasets]

    def shard_micrographs(self, dataset: str, shard: str) -> list[str]:
        """Return the inputs for the micrographs of one shard."""
        files = self.datasets[dataset]
        return [files.inputs[name] for name in files.shards[shard]]

    def paths_digest(self) -> str:
        """Return a hash of all micrograph paths, which appear in tables of picks."""
        paths = {name: files.micrographs for name, files in self.datasets.items()}
        return hashlib.sha256(canonical(paths).encode()).hexdigest()

    def warm_start_folder(self, arm: str, ratio: str, seed: str) -> str:
        """Return the folder of the network that an arm starts from.

        Raises
        ------
        InputError
            If the configuration has no such ratio or seed.
        """
        for value, known, where in (
            (ratio, self.ratios, "splits.labeled_ratios"),
            (seed, self.seeds, "splits.seeds"),
        ):
            if value not in known:
                raise InputError(
                    f"{where}: {value} is not configured (only {', '.join(known)}). Add it to "
                    "the configuration, or request one of these."
                )
        key = warm_start_key(self.trainings[arm, ratio, seed])
        return f"results/models/warm_start/{key}/ratio-{ratio}/seed-{seed}"


def make_plan(config: dict[str, Any]) -> Plan:
    """Plan the run of a complete configuration.

    Raises
    ------
    InputError
        If a file is missing or has braces in its name, or a folder contains no micrographs.
    """
    links: dict[str, str] = {}
    datasets = {name: _dataset(name, config, links) for name in sorted(config["datasets"])}
    _check_apart(datasets)
    relion = config["export"]["relion"]
    relion_inputs = [_link(links, relion, "export", "relion")[0]] if relion else []
    split_files = {
        name: _link(links, spec["split_file"], "datasets", name, "split_file")[0]
        for name, spec in config["datasets"].items()
        if spec["split_file"]
    }
    picks = {
        name: _link(links, spec["path"], "external_picks", name, "path")
        for name, spec in config["external_picks"].items()
    }
    label_free = {
        name: {
            "dataset": dataset,
            "path": LABEL_FREE_PICKS.format(baseline, dataset, suffix),
            "format": suffix,
            "y_axis": "down",
            "scale": 1.0,
            "made_here": True,
        }
        for name, (baseline, dataset) in label_free_rows(config).items()
        for suffix in ["csv" if baseline == RELION_LOG else "json"]
    }
    external = {
        name: spec | {"path": picks[name][0]} for name, spec in config["external_picks"].items()
    } | label_free
    ratios = sorted(config["splits"]["labeled_ratios"])
    seeds = sorted(config["splits"]["seeds"])
    trainings = {
        (arm, ratio_name(ratio), str(seed)): resolve_arm(config, arm, ratio, seed)
        for arm in sorted(config["arms"])
        for ratio in ratios
        for seed in seeds
    }
    warm_starts = {
        (f"warm_start/{warm_start_key(values)}", ratio, seed): warm_start(values)
        for (_, ratio, seed), values in trainings.items()
    }
    topaz = config["baselines"].get(TOPAZ)
    return Plan(
        datasets,
        split_files,
        external,
        {name: found[1] for name, found in picks.items()}
        | {name: [str(spec["path"])] for name, spec in label_free.items()},
        relion_inputs,
        links,
        sorted(config["arms"]),
        list(map(ratio_name, ratios)),
        list(map(str, seeds)),
        trainings,
        warm_starts,
        {
            (TOPAZ, ratio_name(ratio), str(seed)): resolve_topaz(config, ratio, seed)
            for ratio in sorted(topaz["ratios"] or ratios)
            for seed in seeds
        }
        if topaz
        else {},
        [f"fold-{number}" for number in range(config["final"]["folds"])],
        {"warm_start": warm_start(resolve_final(config)), "train": resolve_final(config)},
        {arm: rival for arm in config["arms"] if (rival := rival_of(config, arm)) is not None},
    )


def _check_apart(datasets: dict[str, DatasetFiles]) -> None:
    """Reject a micrograph in two data sets: it could be used for both training and testing."""
    owner: dict[Path, str] = {}
    for name, files in datasets.items() if len(datasets) > 1 else ():
        for path in map(Path, files.micrographs.values()):
            other = owner.setdefault(path.resolve(), name)
            if other != name:
                raise InputError(
                    f"datasets.{other} and datasets.{name} both contain {path}, which could then "
                    "be used for training in one and for testing in the other. Remove one of "
                    "them, or give each its own files."
                )


def has_program(executable: str) -> bool:
    """Return whether a program can be run on this machine, by its path or name on the PATH."""
    return shutil.which(executable) is not None


def _dataset(name: str, config: dict[str, Any], links: dict[str, str]) -> DatasetFiles:
    spec = config["datasets"][name]
    sources: dict[str, str] = {}
    coordinates: list[str] = []
    if "simulate" in spec:
        folder = SIMULATED.format(name)
        names = micrograph_names(spec["simulate"]["n_micrographs"])
        micrographs = inputs = {name: f"{folder}/micrographs/{name}" for name in names}
        sources["coordinates"] = f"{folder}/particles.star"
        coordinates.append(sources["coordinates"])
    else:
        listed = list_micrographs(spec["micrographs"])
        micrographs = {path.name: _literal(str(path)) for path in listed}
        folder = f"{FOLDER}/datasets/{name}/micrographs"
        inputs = {micrograph: f"{folder}/{micrograph}" for micrograph in micrographs}
        links |= {inputs[micrograph]: path for micrograph, path in micrographs.items()}
        for key in ("coordinates", "areas", "negatives"):
            if spec[key]:
                sources[key], files = _link(links, spec[key], "datasets", name, key)
                coordinates += files
    shards = shard_names(micrographs, config["preprocess"]["shard_size"])
    return DatasetFiles(micrographs, inputs, coordinates, sources, shards)


def _link(links: dict[str, str], path: str, *keys: str) -> tuple[str, list[str]]:
    """Choose the links for a file, or for a folder and each file in it, and add them to `links`.

    Links are per file, because Snakemake checks the time of a file and of a link to it, but not of
    the folders above.
    """
    files, folder = _files(path, ".".join(keys)), Path(path)
    whole = "/".join((FOLDER, *keys))
    if not folder.is_dir():
        whole += folder.suffix  # formats are detected by suffix
        links[whole] = path
        return whole, [whole]
    each = {f"{whole}.files/{Path(file).relative_to(folder)}": file for file in files}
    links |= {whole: path} | each
    return whole, list(each)


def _files(path: str, key: str) -> list[str]:
    """Return the file at `path`, or the files in that folder; `key` is for messages."""
    where = Path(path)
    if where.is_dir():
        files = sorted(
            _literal(str(p)) for p in where.rglob("*") if p.is_file() and not p.name.startswith(".")
        )
        if files:
            return files
        raise InputError(f"{key}: the folder {path!r} is empty. Correct the path.")
    if where.exists():
        return [_literal(path)]
    folder = "" if where.is_absolute() else f" in {Path.cwd()}"
    raise InputError(f"{key}: {path!r} does not exist{folder}. Correct the path.")


def _literal(path: str) -> str:
    """Reject a path that Snakemake would not take literally."""
    if set(path) & set("{}"):
        raise InputError(
            f"{path}: the path contains braces, which Snakemake reads as wildcards. Rename it, "
            "or link it under another name (ln -s)."
        )
    return path
