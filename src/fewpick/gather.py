"""Small mappings that stages build from tables and from lists of files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fewpick.geometry import particle_radius


def by_dataset(paths: Iterable[str | Path]) -> dict[str, list[Path]]:
    """Data set -> its shards, from paths `.../{dataset}/{shard}.mrcs`."""
    grouped: dict[str, list[Path]] = {}
    for path in map(Path, paths):
        grouped.setdefault(path.parent.name, []).append(path)
    return grouped


def particle_radii(spec: Mapping[str, Any], manifest: pd.DataFrame) -> dict[str, float]:
    """Micrograph -> particle radius in original pixels.

    Parameters
    ----------
    spec : the data set's block of the configuration
    manifest : with the columns micrograph and pixel_size (NaN when unknown)
    """
    return {
        name: particle_radius(spec, pixel_size)
        for name, pixel_size in zip(manifest["micrograph"], manifest["pixel_size"], strict=True)
    }
