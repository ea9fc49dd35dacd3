"""How arms and verdicts look in every picture of this package.

Colours are those of Okabe and Ito (2008), which readers with any colour vision can tell apart, and
each is paired with a marker or a line style.
"""

from __future__ import annotations

from itertools import cycle
from typing import NamedTuple

import pandas as pd

from fewpick.evaluation.scores import FLIPPED_ARM

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# A pick that is right, one where no label is, and a particle without a pick.
FOUND, FALSE, MISSED = "#56B4E9", "#D55E00", "#F0E442"


class Style(NamedTuple):
    """How an arm is drawn, the same in each picture."""

    colour: str
    marker: str


def arm_styles(table: pd.DataFrame) -> dict[str, Style]:
    """Style of each trained arm of a comparison table, by order of appearance."""
    trained = table[(table["labeled_ratio"] > 0) & (table["arm"] != FLIPPED_ARM)]
    styles = zip(cycle(COLOURS), cycle(MARKERS), strict=False)
    names = dict.fromkeys(trained["arm"])
    return {arm: Style(*style) for arm, style in zip(names, styles, strict=False)}
