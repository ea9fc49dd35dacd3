"""`fewpick check`: find what would stop or spoil a run before it starts."""

from __future__ import annotations

import argparse
import logging
import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from fewpick.annotation.annotate import FULL, Annotation
from fewpick.commands.shared import run
from fewpick.config.snakefile import snakemake_command
from fewpick.geometry import GRAIN, Frame

EPILOG = """\
Reads the configuration, the headers of all micrographs, all coordinates and a few images. Does not
train or write anything. Exits with status 0 if a run can start (read the warnings anyway), with 2
if it cannot. Run it in the folder where you run snakemake: paths are relative to it.
"""

# Bytes per pixel of the preprocessed micrograph (float16) and its mask (int8).
BYTES_PER_PIXEL = 3
# Bytes of a model with its picks and tables; a generous estimate.
BYTES_PER_TRAINING = 20e6
# Data sets whose particle sizes differ by this factor need scaling by particle size.
SCALES_APART = 1.5
# Number of files per training, per warm start, per shard and for everything else, with their logs
# and Snakemake's records; per training for the target picks; and how many are worth a warning.
FILES_PER_TRAINING, FILES_PER_START, FILES_PER_SHARD, OTHER_FILES = 38, 10, 12, 60
FILES_PER_PART, MANY_FILES = 30, 50_000
# Warn if there are fewer test or validation micrographs than these.
FEW_TEST, FEW_VALIDATION = 3, 2
# Number of micrographs whose masks are drawn to estimate the fraction of particle pixels.
DRAWN = 8
# Seconds to read and preprocess a megapixel, and to start a job; rough estimates.
SECONDS_PER_MEGAPIXEL, SECONDS_PER_JOB = 0.06, 4.0
# Jobs per training (settings, training, picks, scores, figure), per data set, and others.
JOBS = (5, 6, 10)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return run(_parser(), argv, _check)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fewpick check",
        description="Check a configuration and its data before a run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "configs",
        metavar="CONFIG",
        nargs="+",
        help="configuration file (yaml); several are merged, as with `snakemake --configfile`",
    )
    parser.add_argument("--cores", type=int, default=None, help="number of cores (default: all)")
    parser.add_argument(
        "--no-timing", action="store_true", help=("skip the estimate of the run time")
    )
    return parser


class Findings(logging.Handler):
    """Print and collect findings, including the library's warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning as a finding."""
        self.warn(record.getMessage())

    def warn(self, line: str) -> None:
        """Add a finding."""
        self.warnings.append(line)
        print(f"  warning: {line}")


@contextmanager
def listening() -> Iterator[Findings]:
    """Collect the library's warnings as findings."""
    findings, log = Findings(), logging.getLogger("fewpick")
    propagate, log.propagate = log.propagate, False
    log.addHandler(findings)
    try:
        yield findings
    finally:
        log.removeHandler(findings)
        log.propagate = propagate


def _check(arguments: argparse.Namespace) -> int:
    from fewpick.config.complete import complete
    from fewpick.config.file import read_configs
    from fewpick.config.plan import make_plan
    from fewpick.config.schema import load_schema
    from fewpick.data.study import refuse_other_study
    from fewpick.network.device import select_device

    source = ", ".join(arguments.configs)
    config = complete(read_configs(arguments.configs), load_schema(), source)
    plan = make_plan(config)
    refuse_other_study(
        Path("results"), {name: files.micrographs for name, files in plan.datasets.items()}
    )
    device = select_device(config["resources"]["device"])
    with listening() as findings:
        manifests, points, widths = {}, {}, {}
        annotations: dict[str, Annotation] = {}
        for name, spec in config["datasets"].items():
            print(f"data set {name}")
            if "simulate" in spec:
                print(f"  {spec['simulate']['n_micrographs']} micrographs, to be simulated")
                continue
            annotations[name], points[name] = _check_dataset(spec, plan.datasets[name].micrographs)
            manifests[name] = annotations[name].manifest
            widths[name] = _check_masks(config, spec, manifests[name], points[name], findings)
        _check_scales(config, widths, findings)
        _check_external(config, manifests)
        # If not every particle is marked, a comparison is impossible; only picks can be made.
        partly = any(spec["annotation"] != FULL for spec in config["datasets"].values())
        if len(manifests) == len(config["datasets"]):
            if partly:
                _check_final_labels(config, annotations, points, findings)
            else:
                _check_labels(config, manifests, points, findings)
        edge = _edge(config, manifests)
        _check_disk(plan, edge, partly, findings)
        print(f"device: {device.type}" + _gpu_name(device))
        trainings = _final_trainings(plan) if partly else _trainings(plan)
        _print_time(config, trainings, device, manifests, edge, arguments)
    many = len(findings.warnings)
    ready = f"\n{source} {'are' if len(arguments.configs) > 1 else 'is'} ready to run"
    print(ready + (f", with {many} warning{'s' * (many > 1)}" if many else ""))
    print(f"  {snakemake_command(*arguments.configs, target='picks' if partly else '')}")
    if partly or plan.trainings:
        arm = "fixmatch" if "fixmatch" in plan.arms else plan.arms[-1]
        model = f"results/models/{arm}/ratio-{plan.ratios[-1]}/seed-{plan.seeds[0]}"
        model = "results/final" if partly else model
        print(f"then, for further micrographs:\n  fewpick pick {model} MICROGRAPHS -o picks.star")
    return 0


def _check_dataset(
    spec: Mapping[str, Any], micrographs: Mapping[str, str]
) -> tuple[Annotation, pd.DataFrame]:
    """Check headers, names, coordinates and frame by running the first steps of the workflow."""
    from fewpick.annotation.annotate import annotate
    from fewpick.data.manifest import build_manifest
    from fewpick.micrographs import read_headers, sort_out

    paths = list(map(Path, micrographs.values()))
    good, left_out = sort_out(paths, spec["on_bad_micrograph"])
    manifest, points = build_manifest(spec, read_headers(good), left_out)
    annotation = annotate(spec, manifest, points, [path.name for path in left_out])
    manifest = annotation.manifest
    annotated = int(manifest["annotated"].sum())
    sizes = (manifest["nx"].astype(str) + " x " + manifest["ny"].astype(str)).unique()
    print(f"  {len(manifest)} micrographs of {', '.join(sizes[:3])} px; all headers read")
    said = f"  {annotated} annotated, with {len(points):,} particles"
    if spec["annotation"] != FULL:
        said += f", {len(annotation.areas)} fully marked areas and {len(annotation.negatives)} "
        said += f"non-particles (annotation: {spec['annotation']})"
    print(said)
    own = manifest["own_orientation"].value_counts()
    each = ", ".join(f"{count} {verdict}" for verdict, count in own.items())
    print(f"  frame of the coordinates: {manifest['orientation'].iloc[0]} (micrographs: {each})")
    return annotation, points


def _check_masks(
    config: Mapping[str, Any],
    spec: Mapping[str, Any],
    manifest: pd.DataFrame,
    points: pd.DataFrame,
    findings: Findings,
) -> float:
    """Draw a few masks to estimate the fraction of particle pixels.

    Returns
    -------
    particle diameter after scaling, px
    """
    import numpy as np

    from fewpick.data.masks import HIGH_PREVALENCE, draw_mask
    from fewpick.geometry import particle_radii

    scale = config["masks"]["radius_scale"]
    radii, frames = particle_radii(spec, manifest), _frames(config, spec, manifest)
    annotated = manifest[manifest["annotation"] == FULL]
    shares = []
    for row in annotated.iloc[:: max(1, len(annotated) // DRAWN)].to_dict("records"):
        name, frame = row["micrograph"], frames[row["micrograph"]]
        xy = points.loc[points["micrograph"] == name, ["x", "y"]].to_numpy()
        mask = draw_mask(frame, frame.size, xy, radii[name], scale, spec["border"])
        shares.append(float((mask == 1).sum() / max((mask >= 0).sum(), 1)))
    seen = float(np.median([radii[name] * frame.scale for name, frame in frames.items()]))
    sizes = sorted({frame.size for frame in frames.values()})
    print(
        f"  particle radius {np.median(list(radii.values())):.3g} px, {seen:.3g} px "
        f"after scaling to {' to '.join(map(str, sizes[:: max(1, len(sizes) - 1)]))}"
    )
    if shares:
        print(f"  particle discs cover {np.mean(shares):.1%} of the annotated area")
        if max(shares) > HIGH_PREVALENCE:
            findings.warn(
                f"discs cover up to {max(shares):.0%} of a micrograph. Check that the particle "
                "size is in px of the original micrograph, or lower masks.radius_scale."
            )
    if seen < 5:
        key = "particle_px" if config["preprocess"]["particle_px"] else "target_size"
        findings.warn(
            f"particles are only {2 * seen:.0f} px wide after scaling, too small to show detail. "
            f"Raise preprocess.{key}."
        )
    return 2 * seen


def _frames(
    config: Mapping[str, Any], spec: Mapping[str, Any], manifest: pd.DataFrame
) -> dict[str, Frame]:
    """Return micrograph -> the frame that preprocessing will use."""
    from fewpick.data.preprocess import input_sizes
    from fewpick.geometry import frame_for

    scale = config["preprocess"]
    sizes = input_sizes(manifest, scale["target_size"], scale["particle_px"], spec)
    return {
        row["micrograph"]: frame_for(row["ny"], row["nx"], size)
        for row, size in zip(manifest.to_dict("records"), sizes, strict=True)
    }


def _edge(config: Mapping[str, Any], manifests: Mapping[str, pd.DataFrame]) -> int:
    """Return the edge of a typical micrograph after scaling, px, ignoring simulated ones."""
    sizes = [
        frame.size
        for name, manifest in manifests.items()
        for frame in _frames(config, config["datasets"][name], manifest).values()
    ]
    square = sum(size**2 for size in sizes) / len(sizes) if sizes else 0
    return GRAIN * math.ceil(math.sqrt(square) / GRAIN) or config["preprocess"]["target_size"]


def _check_scales(
    config: Mapping[str, Any], widths: Mapping[str, float], findings: Findings
) -> None:
    """Check that particles of several data sets have similar sizes after scaling."""
    if config["preprocess"]["particle_px"] is not None or len(widths) < 2:
        return
    small, large = (extreme(widths, key=lambda name: widths[name]) for extreme in (min, max))
    if widths[large] > SCALES_APART * widths[small]:
        findings.warn(
            f"particles are {widths[small]:.0f} px wide in {small} and {widths[large]:.0f} px in "
            f"{large} after scaling, but one network has to find both. Set "
            "preprocess.particle_px: 20 to scale all of them to one size."
        )


def _check_external(config: Mapping[str, Any], manifests: Mapping[str, pd.DataFrame]) -> None:
    """Check that picks of other programs can be read and match."""
    from fewpick.external.external_picks import read_external

    for name, spec in config["external_picks"].items():
        if spec["dataset"] in manifests:
            table = read_external(
                spec["path"],
                manifests[spec["dataset"]],
                fmt=spec["format"],
                y_axis=spec["y_axis"],
                scale=spec["scale"],
            )
            n = table["micrograph"].nunique()
            print(f"picks of {name}: {len(table):,} on {n} micrographs")


def _check_distances(config: Mapping[str, Any], findings: Findings) -> None:
    """Compare the minimum distance of picks with that used for checkpoints and pseudo-labels."""
    picked, trained = config["picking"]["nms_radius"], config["training"]["nms_radius"]
    if picked != trained:
        findings.warn(
            f"picking.nms_radius is {picked:g}, but checkpoints and pseudo-labels are chosen "
            f"with training.nms_radius {trained:g}. Set both to the same value unless this is "
            "intended."
        )


def _check_labels(
    config: Mapping[str, Any],
    manifests: Mapping[str, pd.DataFrame],
    points: Mapping[str, pd.DataFrame],
    findings: Findings,
) -> None:
    """Draw the splits and labels as the workflow will, and report their numbers of particles."""
    from itertools import product

    from fewpick.data.splits import Source, label_counts, label_subset, split_micrographs
    from fewpick.evaluation.threshold_policy import ENOUGH_PARTICLES
    from fewpick.geometry import particle_radii

    keys = config["splits"]
    print("labels (first seed)")
    splits: dict[int, pd.DataFrame] = {}
    validating: dict[str, list[int]] = {}  # number of validation particles, each draw
    sources, labels = {}, {name: config["datasets"][name]["labels"] for name in manifests}
    for name, manifest in manifests.items():
        spec = config["datasets"][name]
        frames = _frames(config, spec, manifest)
        geometry = pd.DataFrame(
            [{"micrograph": held} | frame.to_row() for held, frame in frames.items()]
        )
        sources[name] = Source(geometry, points[name], spec["border"])
    for seed, ratio in product(keys["seeds"], keys["labeled_ratios"]):
        split = pd.concat(
            split_micrographs(
                name,
                manifest["micrograph"].tolist(),
                manifest["annotated"].tolist(),
                seed=seed,
                val_fraction=keys["val_fraction"],
                test_fraction=keys["test_fraction"],
                split_file=config["datasets"][name]["split_file"],
                labels=labels[name],
            )
            for name, manifest in manifests.items()
        )
        splits[seed] = split
        draw = {key: keys[key] for key in ("unit", "tile_size")} | {"ratio": ratio, "seed": seed}
        for name, count in label_counts(sources, labels, split, keys["draw"], **draw).items():
            table = label_subset(
                name,
                split,
                *sources[name][:2],
                particle_radius=particle_radii(config["datasets"][name], manifests[name]),
                border=sources[name].border,
                validation="none" if labels[name] == "none" else keys["validation"],
                count=count,
                **draw,
            )
            held = table.groupby("split")["n_labeled_particles"].sum()
            validating.setdefault(name, []).append(int(held.get("val", 0)))
            if seed == keys["seeds"][0]:
                print(
                    f"  {name}, ratio {ratio:g}: {held.get('train', 0):,} particles to train, "
                    f"{held.get('val', 0):,} to validate"
                )
    for name in manifests:
        counts = [
            split.loc[split["dataset"] == name, "split"].value_counts() for split in splits.values()
        ]
        first = counts[0]
        print(
            f"  {name}: {first.get('train', 0)} micrographs to train, {first.get('val', 0)} to "
            f"validate, {first.get('test', 0)} to test, {first.get('unannotated', 0)} unlabelled"
        )
        test, val = (min(int(parts.get(part, 0)) for parts in counts) for part in ("test", "val"))
        if 0 < test < FEW_TEST:
            findings.warn(
                f"{name}: one seed has only {test} test micrograph{'s' * (test > 1)}, which "
                "gives wide or misleading intervals. Annotate more, or raise "
                "splits.test_fraction."
            )
        if 0 < (least := min(validating[name])) < ENOUGH_PARTICLES:
            findings.warn(
                f"{name}: one seed has only {least} validation particles, too few "
                "to choose thresholds. Annotate more, or raise splits.val_fraction."
            )
        elif 0 < val < FEW_VALIDATION:
            findings.warn(
                f"{name}: one seed has only {val} validation micrograph. Annotate more, or raise "
                "splits.val_fraction."
            )
    if len(keys["seeds"]) < 3:
        findings.warn("fewer than three seeds; a difference between arms may be chance.")
    _check_distances(config, findings)


def _check_final_labels(
    config: Mapping[str, Any],
    annotations: Mapping[str, Annotation],
    points: Mapping[str, pd.DataFrame],
    findings: Findings,
) -> None:
    """Combine the labels as the target picks will, and report what they can be used for."""
    from fewpick.final.labels import collect, join, label_table
    from fewpick.final.quality import ENOUGH

    parts = []
    for name, annotation in annotations.items():
        spec = config["datasets"][name]
        frames = _frames(config, spec, annotation.manifest)
        geometry = pd.DataFrame(
            [{"micrograph": held} | frame.to_row() for held, frame in frames.items()]
        )
        parts.append(
            collect(
                *(name, spec, annotation.manifest, geometry, points[name]),
                *(annotation.areas, annotation.negatives),
                spec["expected_particles"],
            )
        )
    labels = join(parts, config["final"]["folds"])
    print("labels (all used for training)")
    table = label_table(labels)
    for name in annotations:
        rows = table[table["dataset"] == name]
        inside = sum(len(p.points) for p in labels.pieces if p.window and p.dataset == name)
        n_labelled = int((rows["split"] == "train").sum())
        print(
            f"  {name}: {rows['n_labeled_particles'].sum():,} particles on {n_labelled} "
            f"micrographs, {inside:,} of them in fully marked areas; {len(rows) - n_labelled} "
            "micrographs unlabelled"
        )
        if inside < ENOUGH:
            findings.warn(
                f"only {inside} particle{'' if inside == 1 else 's'} of {name} "
                f"{'is' if inside == 1 else 'are'} in fully marked areas; from {ENOUGH}, the "
                "score threshold follows from them, and false picks can be estimated."
            )


def _check_disk(plan: Any, edge: int, partly: bool, findings: Findings) -> None:
    """Compare the expected size of the results with the free disk space."""
    from fewpick.errors import InputError

    n = sum(len(files.micrographs) for files in plan.datasets.values())
    needed = float(n * edge**2 * BYTES_PER_PIXEL)
    needed += (len(plan.trainings) + len(plan.warm_starts)) * BYTES_PER_TRAINING
    free = shutil.disk_usage(Path()).free
    files = _count_files(plan, n, partly)
    print(
        f"disk: results need about {needed / 1e9:.1f} GB in {files:,} files, {free / 1e9:.1f} GB "
        "are free"
    )
    if files > MANY_FILES:
        findings.warn(
            f"{files:,} files may exceed a quota. Raise preprocess.shard_size, or train fewer "
            "arms, ratios or seeds."
        )
    if needed > free:
        raise InputError(
            f"{Path().absolute()}: results need about {needed / 1e9:.1f} GB, only "
            f"{free / 1e9:.1f} GB are free. Run elsewhere with snakemake --directory."
        )
    if needed > free / 2:
        findings.warn("results will take more than half of the free disk space.")


def _count_files(plan: Any, n_micrographs: int, partly: bool) -> int:
    """Estimate the number of files of a comparison, or (`partly`) of the target picks."""
    shards = sum(len(files.shards) for files in plan.datasets.values())
    shared = len(plan.links) + shards * FILES_PER_SHARD + OTHER_FILES
    if partly:
        return shared + (1 + len(plan.final_folds)) * FILES_PER_PART + n_micrographs
    return (
        shared + len(plan.trainings) * FILES_PER_TRAINING + len(plan.warm_starts) * FILES_PER_START
    )


def _gpu_name(device: Any) -> str:
    import torch

    return f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""


def _trainings(plan: Any) -> list[dict[str, Any]]:
    """Print the number of trainings of the comparison, and return their hyperparameters."""
    print(
        f"to do: {len(plan.arms)} arms ({', '.join(plan.arms)}) x {len(plan.ratios)} labelled "
        f"ratios x {len(plan.seeds)} seeds = {len(plan.trainings)} trainings, after "
        f"{len(plan.warm_starts)} shared warm starts"
    )
    return [*plan.trainings.values(), *plan.warm_starts.values()]


def _final_trainings(plan: Any) -> list[dict[str, Any]]:
    """Print the number of trainings of the target picks, and return their hyperparameters."""
    folds = len(plan.final_folds)
    print(
        "to do: the target picks, with one training on all labels"
        + (f" and {folds} that leave some out, to evaluate it" if folds else "")
    )
    return [values for values in plan.final.values() for _ in range(1 + folds)]


def _print_time(
    config: Mapping[str, Any],
    trainings: Sequence[Mapping[str, Any]],
    device: Any,
    manifests: Mapping[str, pd.DataFrame],
    edge: int,
    arguments: argparse.Namespace,
) -> None:
    """Estimate and print how long the run takes on this machine."""
    import os

    from fewpick.inspection import estimate

    if arguments.no_timing:
        return
    n_images = sum(map(len, manifests.values())) + sum(
        spec["simulate"]["n_micrographs"]
        for spec in config["datasets"].values()
        if "simulate" in spec
    )
    cores = arguments.cores or os.cpu_count() or 1
    side_by_side = 1 if device.type == "cuda" else cores // config["resources"]["train_threads"]
    n_validation = max(1, round(config["splits"]["val_fraction"] * n_images))
    rates: dict[str, estimate.Rates] = {}
    seconds = 0.0
    for values in trainings:
        key = str((values["model"], values["training"]))
        if key not in rates:
            rates[key] = estimate.measure(values, edge, device)
        if "method" in values:
            seconds += estimate.training_seconds(values, rates[key], n_validation)
            seconds += n_images * config["picking"]["views"] * rates[key].look
        else:
            seconds += estimate.warm_start_seconds(values, rates[key], n_validation)
    megapixels = sum((m["ny"] * m["nx"]).sum() for m in manifests.values()) / 1e6
    n_models = sum("method" in values for values in trainings)
    jobs = JOBS[0] * n_models + JOBS[1] * len(config["datasets"]) + JOBS[2]
    rest = megapixels * SECONDS_PER_MEGAPIXEL + jobs * SECONDS_PER_JOB
    total = seconds / max(side_by_side, 1) + rest / cores
    print(
        f"time: about {_words(total)} on {cores} cores, estimated from a few timed steps"
        + ("" if device.type == "cuda" else "; a GPU is many times faster")
    )


def _words(seconds: float) -> str:
    """Return a time with a suitable unit."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    sys.exit(main())
