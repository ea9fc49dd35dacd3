"""Read the picks of another program for a data set."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from fewpick.coordinates import match_names, read_picks
from fewpick.coordinates.picks import NoParticles

COLUMNS = ["micrograph", "x", "y", "score"]
logger = logging.getLogger(__name__)


def read_external(
    source: str | Path,
    manifest: pd.DataFrame,
    *,
    fmt: str | None = None,
    y_axis: str = "down",
    scale: float = 1.0,
    may_be_empty: bool = False,
) -> pd.DataFrame:
    """Return picks as a table of micrograph, x, y, score in pixels of the original micrographs.

    Parameters
    ----------
    source : folder or file of picks
    manifest : manifest of the data set
    fmt : name of the format; None detects it from the files
    y_axis : `down` or `up`, see `fewpick.data.manifest`
    scale : original pixels per unit of the picks
    may_be_empty : whether a list without picks is a result instead of an error

    Returns
    -------
    table; the score is NaN if the program provides none

    Raises
    ------
    InputError : files that cannot be read, or that match no micrograph
    """
    sizes = {row["micrograph"]: (row["ny"], row["nx"]) for row in manifest.to_dict("records")}
    micrographs = dict(zip(manifest["micrograph"], manifest["path"], strict=True))
    try:
        picks = read_picks(source, fmt=fmt, shapes=sizes, micrographs=micrographs, scale=scale)
    except NoParticles:
        if not may_be_empty:
            raise
        return pd.DataFrame(columns=COLUMNS)
    match = match_names(micrographs, picks, source)
    if match.unmatched_keys:
        logger.warning("%s: %s", source, match.summary())
    parts = [pd.DataFrame(columns=COLUMNS)]
    for key, name in match.matched.items():
        held = picks[key]
        x, y = held.xy.T
        y = sizes[name][0] - y if y_axis == "up" else y
        score = np.nan if held.score is None else held.score
        parts.append(pd.DataFrame({"micrograph": name, "x": x, "y": y, "score": score}))
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
