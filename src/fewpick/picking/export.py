"""Export picks for RELION, cryoSPARC and other programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fewpick.coordinates import Picks, match_names, read_picks, write_picks
from fewpick.coordinates.star import RelionOptics
from fewpick.evaluation.threshold_policy import dataset_threshold
from fewpick.external.relion_list import read_relion_list, relion_names
from fewpick.geometry import one_pixel_size, particle_radii


def kept_candidates(table: pd.DataFrame, chosen: Mapping[str, Any]) -> pd.DataFrame:
    """Return the candidates at or above their data set's threshold (`chosen`: `threshold.json`)."""
    least = {name: dataset_threshold(chosen, name) for name in table["dataset"].unique()}
    return table[table["score"] >= table["dataset"].map(least)]


class Named(NamedTuple):
    """Picks of one data set; all three mappings are keyed by the micrographs' file names.

    Attributes
    ----------
    picks : name -> picks, empty ones included
    paths : name -> path
    words : name -> its name in STAR files
    """

    picks: dict[str, Picks]
    paths: dict[str, str]
    words: dict[str, str]


def export_picks(
    chosen: pd.DataFrame,
    manifests: Mapping[str, pd.DataFrame],
    *,
    star: Path,
    csv: Path,
    relion: str | None = None,
) -> None:
    """Write picks, in px of the original micrographs, to one STAR and one csv file.

    Parameters
    ----------
    chosen : table with dataset, micrograph, x, y, score
    manifests : data set -> its manifest
    star : RELION particle table to write; micrographs are named by their path
    csv : csv file to write
    relion : micrograph list of a RELION project, whose names and optics are used in `star`
    """
    optics = None if relion is None else read_relion_list(Path(relion))
    sizes = [size for manifest in manifests.values() for size in manifest["pixel_size"]]
    by_path: dict[str, Picks] = {}
    written: dict[str, Picks] = {}
    for named in _named(chosen, manifests, optics).values():
        by_path |= {named.paths[name]: held for name, held in named.picks.items()}
        written |= {named.words[name]: held for name, held in named.picks.items()}
    write_picks(star, written, fmt="star", pixel_size=one_pixel_size(sizes), optics=optics)
    write_picks(csv, by_path, fmt="csv")


def export_each(
    chosen: pd.DataFrame,
    manifests: Mapping[str, pd.DataFrame],
    folder: Path,
    relion: str | None = None,
) -> None:
    """Write one `{stem}_autopick.star` per micrograph, and `autopick.star`, the list of them.

    Micrographs without picks get a file too. Each of several data sets gets its own folder inside
    `folder`; the other parameters are those of `export_picks`.
    """
    optics = None if relion is None else read_relion_list(Path(relion))
    for dataset, named in _named(chosen, manifests, optics).items():
        where = folder / dataset if len(manifests) > 1 else folder
        if optics is None:
            write_picks(where, named.picks, fmt="star", names=named.words)
        else:
            written = {named.words[name]: held for name, held in named.picks.items()}
            write_picks(where, written, fmt="star", optics=optics)


def _named(
    chosen: pd.DataFrame, manifests: Mapping[str, pd.DataFrame], optics: RelionOptics | None
) -> dict[str, Named]:
    """Return the picks of each data set by micrograph, and how to name the micrographs."""
    found = {}
    for dataset, manifest in manifests.items():
        by_name = dict(iter(chosen[chosen["dataset"] == dataset].groupby("micrograph")))
        paths = dict(zip(manifest["micrograph"], manifest["path"], strict=True))
        picks = {}
        for name in paths:
            rows = by_name.get(name, chosen[:0])
            picks[name] = Picks(rows[["x", "y"]].to_numpy(float), rows["score"].to_numpy(float))
        words = paths
        if optics is not None:
            words = relion_names(optics, {name: Path(path) for name, path in paths.items()})
        found[dataset] = Named(picks, paths, words)
    return found


def export_as(
    fmt: str,
    star: Path,
    manifests: Mapping[str, pd.DataFrame],
    specs: Mapping[str, Mapping[str, Any]],
    folder: Path,
) -> None:
    """Write picks in another format; boxes are as wide as the particles.

    Parameters
    ----------
    fmt : box, cbox, topaz or json
    star : particle table written by `export_picks`
    manifests, specs : data set -> its manifest, and its particle size as configured
    folder : output folder: one file per micrograph for box and cbox, even without picks, and one
        file in total for topaz and json. Each of several data sets gets its own subfolder
    """
    held = read_picks(star, fmt="star")
    paths_of = {
        path: Path(path) for manifest in manifests.values() for path in manifest["path"].tolist()
    }
    # With export.relion, the table uses RELION's names of the micrographs.
    known = match_names(paths_of, held, star).matched if held else {}
    held = {known[name]: found for name, found in held.items()}
    for dataset, manifest in manifests.items():
        where = folder / dataset if len(manifests) > 1 else folder
        where.mkdir(parents=True, exist_ok=True)
        paths = dict(zip(manifest["micrograph"], manifest["path"], strict=True))
        none = Picks(np.empty((0, 2)), np.empty(0))
        picks = {name: held.get(path, none) for name, path in paths.items()}
        diameter = 2 * float(np.median(list(particle_radii(specs[dataset], manifest).values())))
        single = {"topaz": "picks.txt", "json": "picks.json"}.get(fmt, "")
        write_picks(where / single, picks, fmt=fmt, box_size=diameter)
