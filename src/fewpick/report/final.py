"""Write the page about the final picks: a verdict, numbers and images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fewpick.atomic import atomic_path
from fewpick.evaluation.threshold_policy import MATCH_RADIUS
from fewpick.figures.grey import grey
from fewpick.figures.palette import FALSE, FOUND, MISSED
from fewpick.final.quality import ENOUGH
from fewpick.report.gallery import data_uri
from fewpick.sampling.training_set import Micrograph

HERE = Path(__file__).parent
# How many micrographs with and without labels are shown.
LABELLED, OTHERS = 4, 3
# What a threshold is based on, in words.
SOURCES = {
    "areas": "best F1 on labelled areas left out of training",
    "expected": "expected number of particles per micrograph",
    "counted": "count by the initial network, checked against marks left out of training",
    "marks": "marked particles left out of training",
    "none": "the other data sets, as this one has no labels",
}


def build_final(
    outcome: Mapping[str, Mapping[str, Any]],
    micrographs: Sequence[Micrograph],
    candidates: pd.DataFrame,
    path: Path,
) -> None:
    """Write the page.

    Parameters
    ----------
    outcome : from `final.outcome.conclude`
    micrographs : all micrographs, with their labels
    candidates : table with dataset, micrograph, x, y (px of the original) and score
    path : output file
    """
    picks = {
        (str(dataset), str(name)): rows.loc[
            rows["score"] >= outcome[str(dataset)]["threshold"], ["x", "y"]
        ].to_numpy(np.float64)
        for (dataset, name), rows in candidates.groupby(["dataset", "micrograph"])
    }
    none = np.empty((0, 2))
    chosen = [m for dataset in outcome for m in choose_shown(micrographs, picks, dataset)]
    verdict = [
        (f"{dataset}: " if len(outcome) > 1 else "") + line
        for dataset, held in outcome.items()
        for line in held["verdict"]
    ]
    values = {
        "title": escape("fewpick picks: " + ", ".join(outcome)),
        "style": (HERE / "page.css").read_text(encoding="utf-8"),
        "found": FOUND,
        "false": FALSE,
        "marked": MISSED,
        "radius": f"{MATCH_RADIUS:g}",
        "verdict": _list(verdict),
        "next": _list(advice(outcome)),
        "numbers": _numbers(outcome),
        "pictures": "\n".join(_figure(m, picks.get((m.dataset, m.name), none)) for m in chosen),
    }
    page = Template((HERE / "final.html").read_text(encoding="utf-8")).substitute(values)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def choose_shown(
    micrographs: Sequence[Micrograph],
    picks: Mapping[tuple[str, str], NDArray[np.float64]],
    dataset: str,
) -> list[Micrograph]:
    """Choose micrographs with labels, then those with the fewest, the median and the most picks."""
    mine = [m for m in micrographs if m.dataset == dataset]
    labelled = [m for m in mine if m.split == "train"]
    labelled.sort(key=lambda m: (-len(m.points), m.name))
    others = [m for m in mine if m.split != "train"]
    others.sort(key=lambda m: (len(picks.get((m.dataset, m.name), ())), m.name))
    places = np.unique(np.linspace(0, len(others) - 1, OTHERS).round().astype(int))
    return labelled[:LABELLED] + [others[i] for i in places if others]


def advice(outcome: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what to do next to check and improve the picks."""
    lines = [
        "Inspect the images below: are there circles on carbon, ice or gold, or particles "
        "without a circle?"
    ]
    if any(held["quality"]["areas"]["true"] < ENOUGH for held in outcome.values()):
        lines.append(
            "Open the picks in fewpick label, correct every mark in one doubtful area and mark "
            f"the area as finished. {ENOUGH} particles in finished areas are enough to set the "
            "threshold and to estimate how many picks are false."
        )
    else:
        lines.append(
            "Open the picks in fewpick label and correct the area suggested first; rerunning "
            "the same command then trains on all labels."
        )
    lines.append("Picks are in picks.star, and in one file per micrograph in micrographs/.")
    return lines


def _numbers(outcome: Mapping[str, Mapping[str, Any]]) -> str:
    rows: dict[str, list[str]] = {
        "data set": [],
        "micrographs": [],
        "labelled micrographs": [],
        "marked particles": [],
        "picks": [],
        "picks per micrograph": [],
        "score threshold": [],
        "threshold from": [],
        "left-out marks found": [],
        "precision on left-out areas": [],
        "recall on left-out areas": [],
        "F1 on left-out areas": [],
    }
    for dataset, held in outcome.items():
        marks, areas = held["quality"]["marks"], held["quality"]["areas"]
        cells = [
            dataset,
            str(held["micrographs"]),
            str(held["labels"]["micrographs"]),
            str(held["labels"]["particles"]),
            f"{held['picks']:,}",
            f"{held['picks'] / max(held['micrographs'], 1):.0f}",
            f"{held['threshold']:.3f}",
            SOURCES[held["source"]],
            f"{marks['found']} of {marks['marks']}: {_share(marks['recall'])}",
            *(_share(areas[key]) for key in ("precision", "recall", "f1")),
        ]
        for row, cell in zip(rows.values(), cells, strict=True):
            row.append(cell)
    body = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for name, cells in rows.items()
    )
    return f"<table><tbody>{body}</tbody></table>"


def _share(share: Sequence[float] | None) -> str:
    if share is None:
        return "unknown"
    value, low, high = share
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _figure(micrograph: Micrograph, picks: NDArray[np.float64]) -> str:
    frame, radius = micrograph.frame, micrograph.radius
    image = frame.without_padding(micrograph.image)
    shapes = [_circle("pick", xy, radius) for xy in frame.to_target(picks)]
    shapes += [_circle("mark", xy, 0.6 * radius) for xy in micrograph.points]
    shapes += [_cross(xy, radius / 2) for xy in micrograph.negatives]
    shapes += [
        f'<rect class="area" x="{x0}" y="{y0}" width="{x1 - x0}" height="{y1 - y0}"/>'
        for y0, x0, y1, x1 in micrograph.windows
    ]
    labels = f", {len(micrograph.points)} marked" if len(micrograph.points) else ""
    caption = f"{micrograph.dataset}: {micrograph.name}, {len(picks)} picks{labels}"
    return (
        f'<figure><svg viewBox="0 0 {frame.width} {frame.height}" role="img" '
        f'aria-label="{escape(caption)}"><image href="{data_uri(grey(image, radius))}" '
        f'width="{frame.width}" height="{frame.height}"/>{"".join(shapes)}</svg>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _circle(kind: str, xy: NDArray[np.float64], radius: float) -> str:
    return f'<circle class="{kind}" cx="{xy[0]:.1f}" cy="{xy[1]:.1f}" r="{radius:.1f}"/>'


def _cross(xy: NDArray[np.float64], reach: float) -> str:
    x, y = xy
    return (
        f'<path class="negative" d="M{x - reach:.1f} {y - reach:.1f}L{x + reach:.1f} '
        f'{y + reach:.1f}M{x - reach:.1f} {y + reach:.1f}L{x + reach:.1f} {y - reach:.1f}"/>'
    )


def _list(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
