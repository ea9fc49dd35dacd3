"""Topaz text: `image_name x_coord y_coord score`, tab separated, one table for many micrographs.

Names have no suffix; coordinates are in the frame that Topaz saw, so images downsampled by s need
scale s. Source: https://topaz-em.readthedocs.io
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fewpick.atomic import atomic_path
from fewpick.coordinates.delimited import read_columns
from fewpick.coordinates.picks import Picks
from fewpick.errors import InputError
from fewpick.micrographs import stem

NAME, X, Y, SCORE = "image_name", "x_coord", "y_coord", "score"


def sniff(head: str) -> bool:
    """Return whether a file with this beginning is a Topaz table."""
    first = next((line for line in head.splitlines() if line.strip()), "").lower()
    return all(column in first for column in (X, Y))


def read(path: Path) -> dict[str, Picks]:
    """Read one table; the score is optional, as in Topaz's training tables."""
    return read_columns(path, x=(X,), y=(Y,), name=(NAME,), score=SCORE)


def write(path: Path, picks: Mapping[str, Picks]) -> None:
    """Write one table; scores only if every micrograph has them, blank for points without one."""
    scored = all(held.score is not None for held in picks.values() if len(held))
    names = {key: stem(key) for key in picks}
    # Topaz identifies images by file name, without folders.
    bare = {key: name.replace("\\", "/").split("/")[-1] for key, name in names.items()}
    names = bare if len(set(bare.values())) == len(bare) else names
    lines = ["\t".join([NAME, X, Y] + [SCORE] * scored) + "\n"]
    for key, held in picks.items():
        if "\t" in key or '"' in key:
            raise InputError(f"{path}: {key!r} contains a tab or quote. Rename the micrograph.")
        for row, (x, y) in enumerate(held.xy):
            words = [names[key], f"{x:.4f}", f"{y:.4f}"]
            if scored and held.score is not None:
                value = held.score[row]
                words.append("" if np.isnan(value) else f"{value:.6f}")
            lines.append("\t".join(words) + "\n")
    with atomic_path(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
