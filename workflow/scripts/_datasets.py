"""From the lists of files that a rule has to mappings by data set and by micrograph."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fewpick.geometry import particle_radius
from fewpick.truth import Dataset


def datasets(
    specs: Mapping[str, Mapping[str, Any]], manifests: Iterable[str], coordinates: Iterable[str]
) -> dict[str, Dataset]:
    """Name -> Dataset; the rules list files in the sorted order of names."""
    return {
        name: Dataset(specs[name], Path(manifest), Path(points))
        for name, manifest, points in zip(sorted(specs), manifests, coordinates, strict=True)
    }


def by_dataset(paths: Iterable[str]) -> dict[str, list[Path]]:
    """Data set -> its shards, from paths `.../{dataset}/{shard}.mrcs`."""
    grouped: dict[str, list[Path]] = {}
    for path in map(Path, paths):
        grouped.setdefault(path.parent.name, []).append(path)
    return grouped


def particle_radii(spec: Mapping[str, Any], manifest: pd.DataFrame) -> dict[str, float]:
    """Micrograph -> particle radius in original pixels."""
    return {
        name: particle_radius(spec, pixel_size)
        for name, pixel_size in zip(manifest["micrograph"], manifest["pixel_size"], strict=True)
    }
