"""How far a case runs, in a process of its own, so that it sees what a user would see."""

from __future__ import annotations

import multiprocessing
import os
import re
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "workflow/scripts"
# The labels are the last that is made before training.
LABELS = "results/splits/seed-0/ratio-0.5.tsv"

IMPOSSIBLE = 77  # status of a process that cannot bring about what a case needs
SECONDS = 120

Host = Callable[[], None]

# New processes are forked from a server that has imported what they need, which saves seconds each.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        *(f"fewpick.data.{name}" for name in ("manifest", "preprocess", "masks", "splits")),
        *("fewpick.config.plan", "fewpick.network.device"),
    ]
)


class Impossible(Exception):
    """This machine cannot be brought into the state that a case needs."""


@dataclass(frozen=True)
class Run:
    """What is run in the project's folder, and how its messages are told from the rest.

    Attributes
    ----------
    work : the run itself; its exit status is that of the process
    error, warning : patterns whose group is the message
    counts : whether it leaves tables to count in
    """

    work: Callable[[], None]
    error: str
    warning: str
    counts: bool

    def messages(self, output: str) -> tuple[list[str], list[str]]:
        """Errors and warnings."""
        errors, warnings = (
            [" ".join(held.split()) for held in re.findall(pattern, output, re.MULTILINE)]
            for pattern in (self.error, self.warning)
        )
        return errors, warnings


def in_process(run: Run, folder: Path, host: Host | None = None) -> tuple[int, str]:
    """Run in `folder`; exit status, and what was printed.

    Raises
    ------
    Impossible : `host` failed
    """
    process = _context.Process(target=_enter, args=(run.work, folder, host))
    process.start()
    process.join(SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
    if process.exitcode == IMPOSSIBLE:
        raise Impossible((folder / "output.txt").read_text())
    assert process.exitcode is not None
    return process.exitcode, (folder / "output.txt").read_text(errors="replace")


def _enter(work: Callable[[], None], folder: Path, host: Host | None) -> None:
    os.chdir(folder)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    if host is not None:
        try:
            host()
        except Exception as error:
            print(error, flush=True)
            os._exit(IMPOSSIBLE)
    work()


# ------------------------------------------------------------------------------ before training


def run_stages(between: Callable[[], object] = list) -> None:
    """All stages before training, as the rules run them; `between` comes after the manifest."""
    sys.path.insert(0, str(SCRIPTS))
    from _stage import stage

    with stage("log.txt"):
        _stages(between)


def _stages(between: Callable[[], object]) -> None:
    import pandas as pd

    from fewpick.annotation.annotate import annotate
    from fewpick.config.complete import complete
    from fewpick.config.file import read_config
    from fewpick.config.plan import make_plan
    from fewpick.config.schema import load_schema
    from fewpick.data.inventory import inventory_table, micrographs_of
    from fewpick.data.links import keep_links
    from fewpick.data.manifest import build_manifest
    from fewpick.data.masks import mask_shard
    from fewpick.data.preprocess import input_sizes, preprocess_shard
    from fewpick.data.splits import label_subset, split_micrographs
    from fewpick.final.labels import collect, join, label_table
    from fewpick.geometry import particle_radii
    from fewpick.inputs import original
    from fewpick.micrographs import read_header, sort_out
    from fewpick.stacks import read_table, write_table
    from fewpick.stage_tables.definitions import LabelTable

    config = complete(read_config(Path("config.yaml")), load_schema())
    plan = make_plan(config)
    keep_links(plan.links, {})
    spec, files = config["datasets"]["mine"], plan.datasets["mine"]
    paths = list(map(Path, files.micrographs.values()))
    on_bad = spec["on_bad_micrograph"]
    inventory = inventory_table(paths, map(Path, files.coordinates), on_bad)
    write_table(inventory, "results/data/mine/inventory.tsv")
    headers, left_out = micrographs_of(read_table("results/data/mine/inventory.tsv"))
    manifest, points = build_manifest(spec, headers, left_out)
    annotation = annotate(spec, manifest, points, [path.name for path in left_out])
    manifest = annotation.manifest
    write_table(manifest, "results/data/mine/manifest.tsv")
    write_table(points, "results/data/mine/coordinates.tsv")
    between()
    geometry = []
    for shard in files.shards:
        links = plan.shard_micrographs("mine", shard)
        paths, _ = sort_out([Path(original(link)) for link in links], on_bad)
        table = pd.DataFrame(
            {
                "micrograph": [path.name for path in paths],
                "path": list(map(str, paths)),
                "pixel_size": [
                    spec["pixel_size"] or read_header(path).pixel_size for path in paths
                ],
            }
        )
        stack = f"results/preprocessed/mine/{shard}.mrcs"
        scale = config["preprocess"]["target_size"], config["preprocess"]["particle_px"]
        geometry.append(preprocess_shard(table, stack, input_sizes(table, *scale, spec)))
        mask_shard(
            geometry[-1],
            manifest,
            points,
            f"results/masks/mine/{shard}.mrcs",
            particle_radii(spec, manifest),
            config["masks"]["radius_scale"],
            spec["border"],
            areas=annotation.areas,
            negatives=annotation.negatives,
        )
    if spec["annotation"] != "full":
        pieces = collect(
            *("mine", spec, manifest, pd.concat(geometry), points),
            *(annotation.areas, annotation.negatives),
        )
        LabelTable.write(label_table(join([pieces], config["final"]["folds"])), LABELS)
        return
    keys = config["splits"]
    split = split_micrographs(
        "mine",
        manifest["micrograph"].tolist(),
        manifest["annotated"].tolist(),
        seed=0,
        val_fraction=keys["val_fraction"],
        test_fraction=keys["test_fraction"],
        split_file=spec["split_file"],
    )
    labels = label_subset(
        "mine",
        split,
        pd.concat(geometry),
        points,
        ratio=keys["labeled_ratios"][0],
        seed=0,
        particle_radius=particle_radii(spec, manifest),
        border=spec["border"],
        unit=keys["unit"],
        tile_size=keys["tile_size"],
        validation=keys["validation"],
    )
    LabelTable.write(labels, LABELS)


before_training = Run(
    run_stages, r"^[\d-]+ [\d:,]+ ERROR (.*)$", r"^[\d-]+ [\d:,]+ WARNING (.*)$", counts=True
)


# ------------------------------------------------------------------------------- fewpick check


def _check() -> None:
    from fewpick.cli import main

    sys.exit(main(["check", "config.yaml", "--no-timing"]))


check = Run(_check, r"^fewpick check: (.*)$", r"^  warning: (.*)$", counts=False)


# --------------------------------------------------------------------------- the real workflow


def _workflow() -> None:
    sys.argv = ["snakemake", "--cores", "1", "--snakefile", str(ROOT / "Snakefile")]
    sys.argv += [LABELS, "--configfile", "config.yaml"]
    runpy.run_module("snakemake", run_name="__main__")


workflow = Run(
    _workflow,
    r"(?:^WorkflowError in .*:\n|ERROR )(.*)$",
    r" WARNING (.*)$",
    counts=True,
)
