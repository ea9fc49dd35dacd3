"""Describe each data set in one row."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fewpick.evaluation.truth import TruthFiles
from fewpick.geometry import particle_radii
from fewpick.stacks import read_table
from fewpick.stage_tables.definitions import ManifestTable, SplitTable

PARTS = ("train", "val", "test", "unannotated")


def describe(name: str, dataset: TruthFiles, masks: Iterable[Path], split: Path) -> dict[str, Any]:
    """Describe one data set: sizes, particles, prevalence and orientation.

    Parameters
    ----------
    name : name of the data set
    dataset : its manifest and particle size
    masks : tables of its mask shards
    split : `split.tsv` of one seed

    Returns
    -------
    JSON-ready dictionary; lengths are text, since they may vary between micrographs. `prevalence`
    is the mean fraction of particle pixels in the annotated area (None without annotation),
    `parts` the number of micrographs per part of the split.
    """
    manifest = ManifestTable.read(dataset.manifest)
    radii = np.array([*particle_radii(dataset.spec, manifest).values()])
    sizes = (manifest["nx"].astype(str) + " x " + manifest["ny"].astype(str)).unique()
    drawn = pd.concat(map(read_table, masks))
    prevalence = drawn["prevalence"].mean()
    rows = SplitTable.read(split)
    parts = rows.loc[rows["dataset"] == name, "split"].value_counts()
    diameter = _range(2 * radii, "px")
    pixel_sizes = manifest["pixel_size"].to_numpy(float)
    if np.isfinite(pixel_sizes).all():
        diameter += f", {_range(2 * radii * pixel_sizes, 'Å')}"
    return {
        "dataset": name,
        "micrographs": len(manifest),
        "annotated": int(manifest["annotated"].sum()),
        "particles": int(manifest["n_particles"].sum()),
        "size": ", ".join(f"{size} px" for size in sizes[:3]) + (", …" if len(sizes) > 3 else ""),
        "pixel_size": _range(pixel_sizes, "Å") if np.isfinite(pixel_sizes).any() else "unknown",
        "diameter": diameter,
        "border": f"{dataset.spec.get('border') or 0:g} px",
        "prevalence": None if pd.isna(prevalence) else float(prevalence),
        "orientation": str(manifest["orientation"].iloc[0]),
        "left_out": int(manifest["left_out"].iloc[0]),
        "parts": {part: int(parts.get(part, 0)) for part in PARTS},
    }


def _range(values: np.ndarray[Any, np.dtype[np.float64]], unit: str) -> str:
    """Return "70 px", or "68 to 72 px"."""
    low, high = (f"{value:.3g}" for value in (np.nanmin(values), np.nanmax(values)))
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"
