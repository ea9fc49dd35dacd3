"""Colours and markers of arms and picks in all figures.

The first seven colours are from Okabe and Ito (2008), the others from Tol (2021). They can be
distinguished with any colour vision, and each is paired with a marker or a line style.
"""

from __future__ import annotations

from itertools import cycle
from typing import NamedTuple

import pandas as pd

from fewpick.evaluation.scores import FLIPPED_ARM

COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
    *("#882255", "#999933", "#44BB99"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")

# A correct pick, a pick without a label, and a particle without a pick.
FOUND, FALSE, MISSED = "#56B4E9", "#D55E00", "#F0E442"


class Style(NamedTuple):
    """How an arm is drawn in all figures."""

    colour: str
    marker: str


def arm_styles(table: pd.DataFrame) -> dict[str, Style]:
    """Return the style of each trained arm of a comparison table, by order of appearance."""
    trained = table[(table["labeled_ratio"] > 0) & (table["arm"] != FLIPPED_ARM)]
    styles = zip(cycle(COLOURS), cycle(MARKERS), strict=False)
    names = dict.fromkeys(trained["arm"])
    return {arm: Style(*style) for arm, style in zip(names, styles, strict=False)}
