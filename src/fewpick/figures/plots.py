"""Draw the figures of a comparison: scores, precision-recall curves, training, picks.

Each function draws one PNG from tables written by other stages, in the colours of `palette`. The
same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from fewpick.atomic import atomic_path
from fewpick.evaluation.matching import match
from fewpick.evaluation.scores import FLIPPED_ARM, at_radius
from fewpick.evaluation.truth import Candidates, Truth, images_of
from fewpick.figures.grey import smooth_levels
from fewpick.figures.palette import COLOURS, FALSE, FOUND, MISSED, Style, arm_styles
from fewpick.geometry import Frame
from fewpick.stacks import read_table
from fewpick.training.history import DIAGNOSTICS, FRACTIONS, join_phases, phase_changes

FloatArray = NDArray[np.float64]

# Maximum width of a legend entry, inches.
LEGEND_WIDTH = 2.7
DASHES = ("--", ":", "-.", (0, (1, 3)), (0, (6, 2, 1, 2, 1, 2)))
GREY = "0.45"
DPI = 150


def draw_scores(table: pd.DataFrame, radius: float, path: Path) -> None:
    """Plot the headline F1 against the labelled ratio: a panel per data set, a line per arm.

    Shows mean and standard deviation over seeds, and each seed as a faint marker. Pickers that
    used none of these labels (controls, other programs) are horizontal lines.

    Parameters
    ----------
    table : DataFrame
        From `comparison.result_table.build_table`.
    radius : float
        Headline match radius, in particle diameters.
    path : Path
    """
    headline = at_radius("pick_f1", radius)
    styles = arm_styles(table)
    names = list(dict.fromkeys(table["dataset"]))
    figure, axes = _grid(len(names), min(len(names), 3), (5.6, 4.4))
    for axis, name in zip(axes, names, strict=True):
        rows = table[table["dataset"] == name]
        _score_lines(axis, rows, headline, styles)
        _level_lines(axis, rows, headline)
        axis.set(title=_title(name), xlabel="labelled ratio (labelled particles)", ylim=(0, 1))
        axis.set_ylabel(f"F1 of picks within {radius:g} diameters")
    _legend(figure, axes)
    _save(figure, path)


def draw_precision_recall(
    table: pd.DataFrame, radius: float, curves: Iterable[Path], path: Path
) -> None:
    """Plot precision against recall: a row of panels per data set, a panel per labelled ratio.

    Shows a thin line per seed, with a marker at the chosen threshold. Pickers that used none of
    these labels are grey in each panel.

    Parameters
    ----------
    table : DataFrame
        From `comparison.result_table.build_table`.
    radius : float
        Headline match radius, in particle diameters.
    curves : paths of `curve.tsv` of all runs and baselines
    path : Path
    """
    read = [t for t in map(read_table, curves) if len(t)]
    points = pd.concat([t[t["radius"] == radius] for t in read])
    points = points[points["arm"] != FLIPPED_ARM]
    styles = arm_styles(table)
    trained = table[table["arm"].isin(styles)]
    names = list(dict.fromkeys(table["dataset"]))
    ratios = sorted(set(trained["labeled_ratio"]))
    figure, axes = _grid(len(names) * len(ratios), len(ratios), (4.4, 4.2))
    for i, axis in enumerate(axes):
        name, ratio = names[i // len(ratios)], ratios[i % len(ratios)]
        here = points[points["dataset"] == name]
        others = dict.fromkeys(here.loc[~(here["labeled_ratio"] > 0), "arm"])
        for arm, dash in zip(others, cycle(DASHES), strict=False):
            for _, curve in here[here["arm"] == arm].groupby("seed"):
                axis.plot(curve["recall"], curve["precision"], color=GREY, ls=dash, lw=1)
            axis.plot([], [], color=GREY, ls=dash, lw=1, label=arm)
        for arm, style in styles.items():
            chosen = here[(here["arm"] == arm) & (here["labeled_ratio"] == ratio)]
            for _, curve in chosen.groupby("seed"):
                axis.plot(curve["recall"], curve["precision"], color=style.colour, lw=1, alpha=0.8)
            scored = trained[
                (trained["dataset"] == name)
                & (trained["arm"] == arm)
                & (trained["labeled_ratio"] == ratio)
                & ~trained["seed"].isin(["mean", "sd"])
            ]
            axis.plot(
                scored[at_radius("pick_recall", radius)],
                scored[at_radius("pick_precision", radius)],
                **_mark(style),
                markersize=8,
                label=f"{arm} (at its threshold)",
            )
        axis.set(title=f"{_title(name)}, labelled ratio {ratio:g}", xlim=(0, 1), ylim=(0, 1.02))
        axis.set(xlabel=f"recall within {radius:g} diameters", ylabel="precision")
        axis.grid(color="0.92")
    _legend(figure, axes)
    _save(figure, path)


def draw_training(runs: Mapping[str, Sequence[Path]], title: str, path: Path) -> None:
    """Plot training histories, one colour per run.

    Parameters
    ----------
    runs : mapping of label to the run's `history.tsv` files
        The files of one run in order (warm start, then the arm); steps continue from one to the
        next. Columns that no run has are skipped.
    title : str
    path : Path
    """
    histories = {label: join_phases(paths) for label, paths in runs.items()}
    last = max((float(h["step"].max()) for h in histories.values() if len(h)), default=1.0)
    present = {c for h in histories.values() for c in h.columns if h[c].notna().any()}
    panels = {
        heading: [c for c in columns if c in present]
        for heading, columns in DIAGNOSTICS.items()
        if present.intersection(columns)
    }
    figure, axes = _grid(len(panels), min(len(panels), 3), (4.4, 3.0))
    for axis, (heading, columns) in zip(axes, panels.items(), strict=True):
        for (label, history), colour in zip(histories.items(), cycle(COLOURS), strict=False):
            for column, dash in zip(columns, ("-", "--"), strict=False):
                if column in history:
                    known = history[history[column].notna()]
                    axis.plot(known["step"], known[column], color=colour, ls=dash, lw=1.4)
            axis.plot([], [], color=colour, label=label)
            for change in phase_changes(history):
                axis.axvline(change, color="0.7", lw=1.5, zorder=0, label="end of the warm start")
        if len(columns) > 1:
            keys = [
                Line2D([], [], color="0.2", ls=dash, label=column)
                for column, dash in zip(columns, ("-", "--"), strict=False)
            ]
            axis.legend(handles=keys, fontsize="small", framealpha=0.8)
        axis.set(title=heading, xlabel="step", xlim=(0, last), ylim=(0, None))
        if heading in FRACTIONS:
            axis.set_ylim(0, 1)
        axis.grid(color="0.92")
    figure.suptitle(title)
    _legend(figure, axes)
    _save(figure, path)


def draw_micrographs(
    truths: Sequence[Truth],
    picks: Mapping[tuple[str, str], Candidates],
    stacks: Mapping[str, Sequence[Path]],
    radius: float,
    title: str,
    path: Path,
) -> None:
    """Draw test micrographs with circles around found, false and missed particles.

    Parameters
    ----------
    truths : sequence of Truth
        The micrographs to draw, see `grey.choose_micrographs`.
    picks : mapping of (dataset, micrograph) to Candidates
        From `truth.read_candidates`.
    stacks : mapping of data set name to paths of its preprocessed shards
        Images are read one at a time.
    radius : float
        Match radius in particle diameters.
    title : str
    path : Path
    """
    figure, axes = _grid(len(truths), min(len(truths), 3), (6.0, 6.3))
    place = {t.key: axis for t, axis in zip(truths, axes, strict=True)}
    for name in dict.fromkeys(t.dataset for t in truths):
        for truth, image, row in images_of(
            [t for t in truths if t.dataset == name], stacks.get(name, [])
        ):
            found = picks.get(truth.key, Candidates.none()).within(truth)
            _draw_micrograph(
                place[truth.key], truth, found.xy[found.kept], image, Frame.from_row(row), radius
            )
    figure.suptitle(title)
    keys = [
        Line2D([], [], color=colour, ls=dash, lw=2, label=label)
        for colour, dash, label in (
            (FOUND, "-", "found"),
            (FALSE, "--", "false pick (no label there)"),
            (MISSED, (0, (1, 1)), "missed"),
            ("white", "-", "boundary of the annotated area"),
        )
    ]
    figure.legend(
        handles=keys, loc="outside lower center", ncols=4, facecolor="0.35", labelcolor="white"
    )
    _save(figure, path)


def _score_lines(
    axis: Axes, rows: pd.DataFrame, headline: str, styles: Mapping[str, Style]
) -> None:
    trained = rows[rows["arm"].isin(styles)]
    for i, (arm, style) in enumerate(styles.items()):
        mine = trained[trained["arm"] == arm]
        mean = mine[mine["seed"] == "mean"]
        if mean.empty:
            continue
        # Shift arms slightly apart, so that error bars do not hide each other.
        apart = 1.03 ** (i - (len(styles) - 1) / 2)
        single = mine[~mine["seed"].isin(["mean", "sd"])]
        axis.plot(single["labeled_ratio"] * apart, single[headline], **_mark(style), alpha=0.3)
        axis.errorbar(
            mean["labeled_ratio"] * apart,
            mean[headline],
            yerr=mine.loc[mine["seed"] == "sd", headline].fillna(0).to_numpy(),
            color=style.colour,
            marker=style.marker,
            markersize=7,
            capsize=3,
            label=arm,
        )
    means = trained[trained["seed"] == "mean"]
    budgets = means.groupby("labeled_ratio")["n_labeled_particles"].first()
    axis.set_xscale("log")
    axis.xaxis.set_minor_locator(NullLocator())
    ticks = budgets.index.to_numpy(dtype=float)
    axis.set_xticks(ticks, [f"{r:g}\n({n:,.0f})" for r, n in budgets.items()])
    if len(ticks):
        axis.set_xlim(ticks[0] / 1.4, ticks[-1] * 1.4)
    axis.grid(color="0.92")


def _level_lines(axis: Axes, rows: pd.DataFrame, headline: str) -> None:
    mean = rows[(rows["seed"] == "mean") & ~(rows["labeled_ratio"] > 0) & rows[headline].notna()]
    for (_, row), dash in zip(mean.iterrows(), cycle(DASHES), strict=False):
        axis.axhline(row[headline], color=GREY, ls=dash, lw=1.2, label=row["arm"])


def _draw_micrograph(
    axis: Axes,
    truth: Truth,
    xy: FloatArray,
    image: NDArray[np.generic],
    frame: Frame,
    radius: float,
) -> None:
    disc = truth.diameter / 2 * frame.scale
    smooth, black, white = smooth_levels(frame.without_padding(image), disc)
    axis.imshow(smooth, cmap="gray", vmin=black, vmax=white, interpolation="bilinear")
    hit, explained, _ = match(xy, truth.xy, radius * truth.diameter)
    false, missed = np.delete(xy, hit, axis=0), np.delete(truth.xy, explained, axis=0)
    for points, colour, dash in (
        (truth.xy[explained], FOUND, "-"),
        (missed, MISSED, (0, (1, 1))),
        (false, FALSE, "--"),
    ):
        circles = [Circle((x, y), disc) for x, y in frame.to_target(points)]
        axis.add_collection(
            PatchCollection(circles, facecolor="none", edgecolor=colour, linestyle=dash, lw=1.7)
        )
    if truth.border:
        inset = np.array(
            [[truth.border] * 2, [truth.nx - 1 - truth.border, truth.ny - 1 - truth.border]]
        )
        corner, far = frame.to_target(inset)
        axis.add_patch(Rectangle(tuple(corner), *(far - corner), fill=False, ec="white", lw=0.8))
    total = len(xy) + len(truth.xy)
    name = truth.micrograph if len(truth.micrograph) <= 40 else f"…{truth.micrograph[-39:]}"
    axis.set_title(
        f"{name}\n{len(hit)} found, {len(false)} false, {len(missed)} missed"
        f" (F1 {2 * len(hit) / total if total else 1.0:.2f})",
        fontsize="medium",
    )
    # Otherwise circles at the edge would widen the axes and shrink the image.
    axis.set(xticks=[], yticks=[], xlim=(-0.5, frame.width - 0.5), ylim=(frame.height - 0.5, -0.5))


def _mark(style: Style) -> dict[str, Any]:
    return {
        "color": style.colour,
        "marker": style.marker,
        "linestyle": "none",
        "markeredgecolor": "white",
    }


def _title(dataset: str) -> str:
    return "all data sets" if dataset == "all" else dataset


def _grid(n: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Make a figure with n panels of the given size in inches."""
    columns = max(columns, 1)
    rows = max(-(-n // columns), 1)
    figure = Figure(
        figsize=(size[0] * columns, size[1] * rows + 0.8), dpi=DPI, layout="constrained"
    )
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in axes[n:]:
        spare.set_visible(False)
    return figure, axes[:n]


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """Add one legend below all panels, with each label once."""
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(str(label), handle)
    if handles:
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower center",
            ncols=min(len(handles), max(1, int(figure.get_figwidth() / LEGEND_WIDTH))),
            frameon=False,
        )


def _save(figure: Figure, path: Path) -> None:
    # Leave out the matplotlib version, which would make equal figures differ.
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
