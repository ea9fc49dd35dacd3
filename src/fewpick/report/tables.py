"""Build the page's tables as HTML that can be read without scripts and sorted with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from fewpick.comparison.markdown import gain_title, seeds_above
from fewpick.evaluation.scores import FLIPPED_ARM, at_radius
from fewpick.report.datasets import PARTS
from fewpick.report.summary import share

Row = Mapping[str, Any]

# Properties of a data set: one row each, because columns would not fit on a phone.
FACTS: dict[str, Callable[[Row], str]] = {
    "micrographs": lambda d: f"{d['micrographs']} ({d['annotated']} annotated)",
    "labelled particles": lambda d: f"{d['particles']:,}",
    "image size": lambda d: d["size"],
    "pixel size": lambda d: d["pixel_size"],
    "particle diameter": lambda d: d["diameter"],
    "border (not annotated)": lambda d: d["border"],
    "fraction of particle pixels": lambda d: (
        "unknown" if d["prevalence"] is None else f"{d['prevalence']:.1%}"
    ),
    "frame of the coordinates": lambda d: (
        "confirmed from the images" if d["orientation"] == "ok" else d["orientation"]
    ),
    "training, validation, test, unlabelled": lambda d: ", ".join(
        str(d["parts"][part]) for part in PARTS
    ),
}

HEALTH = {
    "val_start": "F1 after warm start",
    "val_best": "best F1",
    "val_last": "last F1",
    "agreement": "agreement with pseudo-labels",
    "pseudo_precision": "pseudo-label precision",
    "pseudo_recall": "pseudo-label recall",
    "pseudo_share": "pseudo-particles / labelled fraction",
}


def datasets(rows: Sequence[Row]) -> str:
    """Return a table with one column per data set."""
    lines = [
        "".join([_cell(title, head=True), *(_cell(fact(row)) for row in rows)])
        for title, fact in FACTS.items()
    ]
    return _table(["data set", *(row["dataset"] for row in rows)], [("", line) for line in lines])


def health_table(rows: Iterable[Row]) -> str:
    """Return a table with one row per training."""
    lines = []
    for row in rows:
        cells = [
            _cell(row["arm"], head=True),
            _cell(share(row["ratio"])),
            _cell(str(row["seed"])),
        ]
        cells.append(f'<td class="{row["state"]}">{row["state"]}</td>')
        cells += [_cell("" if row[c] is None else f"{row[c]:.2f}") for c in HEALTH]
        lines.append(("", "".join(cells)))
    return _table(["arm", "labelled", "seed", "verdict", *HEALTH.values()], lines)


def _titles(table: pd.DataFrame, reference: str, radii: Sequence[float]) -> dict[str, str]:
    """Return the page's title for each column of the results that it shows."""
    radius, headline = radii[0], at_radius("pick_f1", radii[0])
    columns = {
        headline: f"F1 at {radius:g} D",
        f"delta_{headline}": gain_title(table, reference),
        "n_seeds_above": "seeds above",
        at_radius("pick_precision", radius): "precision",
        at_radius("pick_recall", radius): "recall",
        **{at_radius("pick_f1", lenient): f"F1 at {lenient:g} D" for lenient in radii[1:2]},
        "average_precision": "average precision",
        "localisation_error_diameters": "distance from centre, D",
        "count_error": "count error",
        "pixel_f1": "pixel F1",
        "tuned_pixel_f1": "tuned pixel F1",
        "train_seconds": "training, min",
    }
    return {c: title for c, title in columns.items() if c in table}


def shown_as(names: str, table: pd.DataFrame, reference: str, radii: Sequence[float]) -> str:
    """Replace columns of the results file by their titles on the page, if shown.

    Parameters
    ----------
    names : str
        Comma-separated columns as in `NOTES`, without the match radius.
    table : pandas.DataFrame
        The results.
    reference : str
        Baseline arm for gains.
    radii : sequence of float
        `evaluation.match_radii`.
    """
    bases = names.split(", ")
    columns = {*bases, *(at_radius(base, radius) for base in bases for radius in radii)}
    titles = [title for name, title in _titles(table, reference, radii).items() if name in columns]
    return f"{', '.join(titles)} ({names})" if titles else names


def comparison(table: pd.DataFrame, reference: str, radii: Sequence[float]) -> str:
    """Return a table of means over seeds; rows of single seeds are included but hidden."""
    columns = _titles(table, reference, radii)
    several = table["dataset"].nunique() > 1
    titles = ["data set"] * several + ["arm", "labelled particles (fraction)", *columns.values()]
    lines: list[tuple[str, str]] = []
    # Trained arms, then other programs, then controls.
    order = table["labeled_ratio"].map(lambda r: 0 if r > 0 else 1 if pd.isna(r) else 2)
    order = order.mask(table["arm"] == FLIPPED_ARM, 2)
    table = table.iloc[order.argsort(kind="stable")]
    for _, group in table.groupby(["dataset", "labeled_ratio", "arm"], sort=False, dropna=False):
        by_seed = {str(row["seed"]): row for row in group.to_dict("records")}
        spread, mean = by_seed.pop("sd"), by_seed.pop("mean")
        lines.append(_run(mean, str(mean["arm"]), columns, spread, several))
        lines += [
            _run(row, f"{row['arm']}, seed {seed}", columns, None, several, "seed")
            for seed, row in by_seed.items()
        ]
    return _table(titles, lines, sortable=True)


def _run(
    row: Mapping[Any, Any],
    name: str,
    columns: Iterable[str],
    spread: Mapping[Any, Any] | None,
    several: bool,
    kind: str = "",
) -> tuple[str, str]:
    """Return the attributes and the cells of one row of the comparison."""
    ratio, n = row["labeled_ratio"], row["n_labeled_particles"]
    cells = [_cell(str(row["dataset"]))] if several else []
    cells.append(_cell(name, head=True))
    cells.append(_cell(f"{n:,.0f} ({share(ratio)})", n) if ratio > 0 else _cell(""))
    cells += [_score(column, row, spread) for column in columns]
    if not ratio > 0 or row["arm"] == FLIPPED_ARM:
        kind += " control"
    hidden = " hidden" if "seed" in kind else ""
    return f' class="{kind.strip()}"{hidden}', "".join(cells)


def _score(column: str, row: Mapping[Any, Any], spread: Mapping[Any, Any] | None) -> str:
    value = row[column]
    if pd.isna(value):
        return _cell("")
    if column == "n_seeds_above":
        return _cell(seeds_above(row), value)
    if column == "train_seconds":
        return _cell(f"{value / 60:.1f}", value)
    if column.startswith("delta_"):
        low, high = row["delta_low"], row["delta_high"]
        interval = f"[{low:+.3f}, {high:+.3f}]" if pd.notna(low) else ""
        return _cell(f"{value:+.3f}", value, below=interval)
    deviation = math.nan if spread is None else spread[column]
    return _cell(f"{value:.3f}", value, below=f"± {deviation:.3f}" if pd.notna(deviation) else "")


def _table(
    titles: Iterable[str], rows: Iterable[tuple[str, str]], *, sortable: bool = False
) -> str:
    """Return head and body of a table; a row is a pair of its attributes and its cells."""
    button = '<button type="button">{}</button>' if sortable else "{}"
    heads = "".join(f'<th scope="col">{button.format(escape(title))}</th>' for title in titles)
    body = "\n".join(f"<tr{attributes}>{cells}</tr>" for attributes, cells in rows)
    return f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>"


def _cell(text: str, value: float | None = None, *, head: bool = False, below: str = "") -> str:
    """Return a cell; `value` is the sort key, `below` smaller text under the main text."""
    tag, scope = ("th", ' scope="row"') if head else ("td", "")
    sort = "" if value is None or pd.isna(value) else f' data-value="{float(value)!r}"'
    more = f" <small>{escape(below)}</small>" if below else ""
    return f"<{tag}{scope}{sort}>{escape(text)}{more}</{tag}>"
