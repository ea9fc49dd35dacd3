"""Write the page from the tables and stacks of a finished comparison."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from fewpick.atomic import atomic_path
from fewpick.comparison.result_table import NOTES
from fewpick.evaluation.scores import at_radius
from fewpick.evaluation.truth import TruthFiles, read_truths
from fewpick.figures.grey import choose_micrographs
from fewpick.figures.palette import FALSE, FOUND, MISSED
from fewpick.report import charts, summary, tables
from fewpick.report.datasets import describe
from fewpick.report.gallery import Run, build_gallery
from fewpick.stacks import read_table
from fewpick.training.history import join_phases

HERE = Path(__file__).parent
# Micrographs in the gallery, over all data sets; fewer if there are many runs, to keep the page
# small enough to mail.
PICTURES, PICTURES_TIMES_RUNS = 6, 90


@dataclass(frozen=True)
class Training:
    """One training: its name, and the histories of its phases in order."""

    arm: str
    ratio: float
    seed: int
    histories: Sequence[Path]


@dataclass(frozen=True)
class Comparison:
    """The files of a finished comparison.

    Attributes
    ----------
    table : `comparison.tsv`
    reference : baseline arm for differences
    micrographs, curves : tables of every run, control and other picker
    trainings : sequence of Training
    datasets : name -> TruthFiles
    masks : name -> tables of its mask shards
    stacks : name -> its preprocessed shards
    split : `split.tsv` of the seed shown in the gallery
    seed : that seed
    runs : candidates of that seed
    chosen_by : `micrographs.tsv` of the first run, whose scores decide which micrographs are shown
    radii : match radii in particle diameters; the first is the headline
    config : complete configuration
    versions : program -> version
    """

    table: Path
    reference: str
    micrographs: Sequence[Path]
    curves: Sequence[Path]
    trainings: Sequence[Training]
    datasets: Mapping[str, TruthFiles]
    masks: Mapping[str, Sequence[Path]]
    stacks: Mapping[str, Sequence[Path]]
    split: Path
    seed: int
    runs: Sequence[Run]
    chosen_by: Path
    radii: Sequence[float]
    config: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def build(comparison: Comparison, path: Path) -> None:
    """Write the page."""
    table, radii = read_table(comparison.table), comparison.radii
    headline = at_radius("pick_f1", radii[0])
    datasets = [
        describe(name, dataset, comparison.masks[name], comparison.split)
        for name, dataset in comparison.datasets.items()
    ]
    joined = [(run, join_phases(run.histories)) for run in comparison.trainings]
    health = [
        summary.health({"arm": run.arm, "ratio": run.ratio, "seed": run.seed}, history)
        for run, history in joined
    ]
    data = {
        "arms": charts.arms(table),
        "colours": {"found": FOUND, "false": FALSE, "missed": MISSED},
        "radius": radii[0],
        "scores": charts.scores(table, comparison.micrographs, radii[0]),
        "curves": charts.curves(table, comparison.curves, radii[0]),
        "panels": charts.panels(),
        "trainings": [
            {"ratio": run.ratio, "seed": str(run.seed), **charts.training(run.arm, history)}
            for run, history in joined
        ],
        "opens": summary.best_run(table, headline),
        "gallery": {"seed": comparison.seed, **_gallery(comparison)},
    }
    values = {
        "title": escape("fewpick: " + ", ".join(comparison.datasets)),
        "answers": _list(summary.answers(table, comparison.reference, headline)),
        "cautions": _list(summary.cautions(table, comparison.reference, datasets, health, headline))
        or "<p>None found.</p>",
        "steps": _steps(summary.best_run(table, headline), comparison.seed),
        "datasets": tables.datasets(datasets),
        "comparison": tables.comparison(table, comparison.reference, radii),
        "interval": summary.interval_of(table),
        "notes": "\n".join(
            f"<dt>{escape(shown)}</dt><dd>{escape(note)}.</dd>"
            for names, note in NOTES.items()
            for shown in [tables.shown_as(names, table, comparison.reference, radii)]
        ),
        "health": tables.health_table(health),
        "config": escape(json.dumps(comparison.config, indent=2)),
        "versions": "\n".join(
            f"<li>{escape(name)} {escape(version)}</li>"
            for name, version in comparison.versions.items()
        ),
        "style": _asset("page.css"),
        "library": _asset("chart.umd.min.js").partition("//# sourceMappingURL")[0],
        "script": _asset("page.js"),
        "data": embedded(data),
    }
    page = Template(_asset("page.html")).substitute(values)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def embedded(data: object) -> str:
    """Return JSON with `<` escaped, so that no name can close the script element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _gallery(comparison: Comparison) -> dict[str, Any]:
    pictures = min(PICTURES, PICTURES_TIMES_RUNS // max(len(comparison.runs), 1))
    n = max(1, pictures // len(comparison.datasets))
    return build_gallery(
        read_truths(comparison.datasets, comparison.split, "test"),
        choose_micrographs(comparison.chosen_by, n),
        comparison.runs,
        comparison.stacks,
        comparison.radii[0],
    )


def _steps(best: Mapping[str, Any] | None, seed: int) -> str:
    """List the commands and files for the next steps."""
    if best is None:
        return "<p>No arm has been scored yet.</p>"
    run = f"{best['arm']}/ratio-{float(best['ratio'])!r}/seed-{seed}"
    lines = [
        "The picks of all micrographs by the best arm are in "
        f"<code>results/picks/{escape(run)}/picks.star</code>, a table that RELION (Extract, as "
        "coordinates) and cryoSPARC (Import Particles, as a RELION STAR file) can open. "
        "For one STAR file per micrograph, run the Snakemake target "
        f"<code>results/picks/{escape(run)}/micrographs</code>.",
        f"To pick more micrographs of this kind: <code>fewpick pick results/models/{escape(run)} "
        "MICROGRAPHS -o picks.star</code>.",
        "To train on all labels, with no micrograph held out for this comparison, run the "
        "Snakemake target <code>picks</code>, which writes <code>results/final/</code>.",
        "To see which micrographs to label next: <code>fewpick suggest MICROGRAPHS "
        f"results/models/{escape(best['arm'])}/ratio-{float(best['ratio'])!r}/seed-*</code>.",
    ]
    return "<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""
