"""Hand picks to the programs that go on with them: RELION, cryoSPARC and whatever reads tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fewpick.coordinates import Picks, match_names, read_picks, write_picks
from fewpick.external.relion_list import read_relion_list, relion_names
from fewpick.geometry import one_pixel_size, particle_radii


def export_picks(
    chosen: pd.DataFrame,
    manifests: Mapping[str, pd.DataFrame],
    *,
    star: Path,
    csv: Path,
    folder: Path,
    relion: str | None = None,
) -> None:
    """Write picks, in pixels of the original micrographs.

    Parameters
    ----------
    chosen : dataset micrograph x y score
    manifests : data set -> its manifest
    star : one RELION particle table; micrographs are named by their path
    csv : the same as a csv file
    folder : one `{stem}_autopick.star` per micrograph, also of those without picks, and the list
        `autopick.star`; with several data sets, one folder each inside it
    relion : list of micrographs of a RELION project, whose names and optics are used in `star` and
        `folder`
    """
    optics = None if relion is None else read_relion_list(Path(relion))
    listed: dict[str, Picks] = {}
    picks: dict[str, Picks] = {}
    sizes: list[float] = []
    for dataset, manifest in manifests.items():
        by_name = dict(iter(chosen[chosen["dataset"] == dataset].groupby("micrograph")))
        paths = dict(zip(manifest["micrograph"], manifest["path"], strict=True))
        held = {}
        for name in paths:
            rows = by_name.get(name, chosen[:0])
            held[name] = Picks(rows[["x", "y"]].to_numpy(float), rows["score"].to_numpy(float))
        where = folder / dataset if len(manifests) > 1 else folder
        if optics is None:
            write_picks(where, held, fmt="star", names=paths)
        else:
            names = relion_names(optics, {name: Path(path) for name, path in paths.items()})
            named = {names[name]: found for name, found in held.items()}
            write_picks(where, named, fmt="star", optics=optics)
            listed |= named
        picks |= {paths[name]: found for name, found in held.items()}
        sizes += manifest["pixel_size"].tolist()
    write_picks(star, listed or picks, fmt="star", pixel_size=one_pixel_size(sizes), optics=optics)
    write_picks(csv, picks, fmt="csv")


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
