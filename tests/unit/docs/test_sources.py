"""Each figure of the pages is listed in docs/sources.tsv and is what its source says.

A row names a page and a text on it. With a file, `row` and `columns` say where each figure of the
text stands: `row` is `key=value` pairs joined by `;`, and each of the columns may replace some,
`pick_f1_0.3@seed=sd`; a column that ends in `%` is a share, and `-` stands for a figure that is a
setting. Without a file, `command` says how the figures were measured, or that they are settings.
A text that ends in `...` goes on to the end of its line.
"""

from __future__ import annotations

import csv
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "docs/sources.tsv"
# Written by a program from the files that it shows; a log of what was tried at the time; and an
# argument without a measurement.
NOT_LISTED = {"casebook.md", "results.md", "experiments.md", "two_thresholds.md"}
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/results/*.md"))
    if path.name not in NOT_LISTED
)
UNITS = r"s|ms|min|minutes?|hours?|h|x(?! \d)|MiB|GiB|kB|MB|GB|TB|images/s|points"
# Versions and identifiers.
NAMES = r"(Python|RELION|PyTorch|CBOX|Topaz|CC BY|GPL-|Apache-) ?\d[\d.]*|doi \S+"
# Decimals, percentages, and numbers with a unit.
FIGURE = re.compile(
    r"(?<![\w.])[-+]?\d*\.\d+(?![\d.]*\w)"
    rf"|(?<![\w.,-])[-+]?\d[\d,]*(?= ?%| (?:{UNITS})\b)"
)


@cache
def rows() -> list[dict[str, str]]:
    with SOURCES.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@cache
def prose(page: str) -> str:
    """A page with blanks in place of code, links and versions, line ends as they are."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for pattern in (r"```.*?```", r"`[^`\n]*`", r"(?<=\])\([^)]*\)", NAMES):
        text = re.sub(pattern, lambda found: re.sub(r"\S", " ", found[0]), text, flags=re.DOTALL)
    return text


@cache
def table(file: str) -> pd.DataFrame:
    path = ROOT / file
    if path.suffix == ".json":
        return pd.DataFrame(json.loads(path.read_text())["figures"]).astype({"name": str})
    return pd.read_csv(path, sep="\t", dtype={"seed": str})


def looked_up(file: str, row: str, column: str) -> float:
    column, _, other = column.removesuffix("%").partition("@")
    wanted = dict(pair.split("=", 1) for pair in [*row.split(";"), *filter(None, [other])])
    found = table(file)
    for key, value in wanted.items():
        held = found[key]
        same = held == float(value) if pd.api.types.is_numeric_dtype(held) else held == value
        found = found[same]
    assert len(found) == 1, f"{len(found)} rows for {wanted}"
    return float(found[column].iloc[0])


def spans(page: str) -> list[tuple[int, int]]:
    """Where the listed texts of a page are."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for row in rows():
        if row["page"] == page:
            begin = row["text"].removesuffix("...")
            places = [match.start() for match in re.finditer(re.escape(begin), text)]
            assert places, f"{page} has no {begin!r}"
            for place in places:
                end = place + len(begin)
                if begin != row["text"]:
                    end = text.find("\n", end)
                found.append((place, end))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_figure_is_listed(page: str) -> None:
    covered = spans(page)
    missing = [
        (prose(page)[: figure.start()].count("\n") + 1, figure[0])
        for figure in FIGURE.finditer(prose(page))
        if not any(begin <= figure.start() < end for begin, end in covered)
    ]
    assert not missing, f"{page}: (line, figure) without a row in docs/sources.tsv"


@pytest.mark.parametrize(
    "row", [row for row in rows() if row["file"]], ids=lambda row: f"{row['page']}-{row['text']}"
)
def test_figures_are_those_of_their_files(row: dict[str, Any]) -> None:
    figures = FIGURE.findall(row["text"])
    columns = row["columns"].split()
    assert len(figures) == len(columns), figures
    for figure, column in zip(figures, columns, strict=True):
        if column == "-":
            continue
        value = looked_up(row["file"], row["row"], column) * (100 if column.endswith("%") else 1)
        unit = 10.0 ** -len(figure.partition(".")[2])
        # Half a unit of the last printed digit, and of the four digits that tables keep.
        assert abs(float(figure.replace(",", "")) - value) <= unit / 2 + 6e-5, (figure, value)


def test_every_row_has_a_command() -> None:
    for row in rows():
        assert row["command"], row
        assert row["page"] in PAGES, row
