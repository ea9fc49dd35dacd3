"""Hand picks to the programs that go on with them: RELION, cryoSPARC and whatever reads tables."""

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
    """Rows that are picks by the thresholds of their data sets, the content of `threshold.json`."""
    least = {name: dataset_threshold(chosen, name) for name in table["dataset"].unique()}
    return table[table["score"] >= table["dataset"].map(least)]


class Named(NamedTuple):
    """Picks of one data set; all three know its micrographs by their file names.

    Attributes
    ----------
    picks : name -> picks, also of micrographs without any
    paths : name -> path
    words : name -> what STAR files call it
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
    """Write picks, in pixels of the original micrographs.

    Parameters
    ----------
    chosen : dataset micrograph x y score
    manifests : data set -> its manifest
    star : one RELION particle table; micrographs are named by their path
    csv : the same as a csv file
    relion : list of micrographs of a RELION project, whose names and optics are used in `star`
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
    """Write a `{stem}_autopick.star` per micrograph, and the list `autopick.star` of them.

    Micrographs without picks have a file too. With several data sets each has a folder of its own
    inside `folder`; the other parameters are those of `export_picks`.
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
    """Find the picks of each micrograph of each data set, and how to name it."""
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
    star : the particle table that `export_picks` wrote
    manifests, specs : data set -> its manifest, and its particle size as configured
    folder : box and cbox put a file per micrograph into it, also for those without picks; topaz
        and json one file. With several data sets, each has a folder of its own inside it
    """
    held = read_picks(star, fmt="star")
    paths_of = {
        path: Path(path) for manifest in manifests.values() for path in manifest["path"].tolist()
    }
    # With export.relion the table names micrographs as RELION does.
    known = match_names(paths_of, held).matched if held else {}
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
