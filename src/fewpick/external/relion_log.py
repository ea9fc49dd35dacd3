"""RELION's Laplacian of Gaussian as a picker without labels.

The program is called and never imported. Like Topaz, it gets the preprocessed micrographs, the same
images as the arms, so that every format that fewpick reads works. They are written with a pixel
size of 1 angstrom, so that RELION's angstroms are pixels of the target frame.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd

from fewpick.coordinates import read_picks
from fewpick.errors import InputError
from fewpick.external.program import run_program
from fewpick.geometry import Frame
from fewpick.stacks import Stack

logger = logging.getLogger(__name__)

SUFFIX = "log"


def pick_log(
    executable: str, stacks: Sequence[Path], radii: Mapping[str, float], settings: Mapping[str, Any]
) -> pd.DataFrame:
    """Pick the micrographs of a data set.

    Parameters
    ----------
    executable : `relion_autopick`, by its path or by its name on the PATH
    stacks : `results/preprocessed/{dataset}/{shard}.mrcs`
    radii : micrograph -> particle radius, px of the original micrograph
    settings : `diameters` (smallest and largest to look for, in particle diameters) and
        `adjust_threshold` (RELION's `--LoG_adjust_threshold`)

    Returns
    -------
    micrograph x y score, px of the original micrograph; the score is RELION's figure of merit

    Raises
    ------
    InputError : the program is missing, or fails
    """
    parts = [pd.DataFrame(columns=["micrograph", "x", "y", "score"])]
    for path in stacks:
        stack = Stack(path)
        rows = stack.table.to_dict("records")
        frames = [Frame.from_row(row) for row in rows]
        # RELION takes one diameter and one image size per call; rounding the diameter groups
        # micrographs of almost equal pixel size.
        calls: dict[tuple[float, int, int], list[int]] = {}
        for i, (row, frame) in enumerate(zip(rows, frames, strict=True)):
            diameter = round(2 * radii[row["micrograph"]] * frame.scale, 1)
            calls.setdefault((diameter, frame.height, frame.width), []).append(i)
        for (diameter, _, _), chosen in sorted(calls.items()):
            with tempfile.TemporaryDirectory() as temporary:
                for i in chosen:
                    _write(stack, i, frames[i], Path(temporary, f"m{i}.mrc"))
                _run(executable, diameter, settings, Path(temporary))
                for i in chosen:
                    found = _found(Path(temporary, f"picks/m{i}_{SUFFIX}.star"), frames[i])
                    parts.append(found.assign(micrograph=rows[i]["micrograph"]))
    filled = [part for part in parts if len(part)] or parts[:1]
    return pd.concat(filled, ignore_index=True)[["micrograph", "x", "y", "score"]]


def _write(stack: Stack, index: int, frame: Frame, path: Path) -> None:
    """Write an image without its padding."""
    image = frame.without_padding(stack.images[index])
    mrcfile.write(path, np.asarray(image, np.float32), voxel_size=1.0)


def _run(executable: str, diameter: float, settings: Mapping[str, Any], folder: Path) -> None:
    least, most = (f"{diameter * factor:.2f}" for factor in settings["diameters"])
    arguments = ["--i", "m*.mrc", "--odir", "picks/", "--pickname", SUFFIX]
    arguments += ["--LoG", "--angpix", "1", "--LoG_diam_min", least, "--LoG_diam_max", most]
    arguments += ["--LoG_adjust_threshold", f"{settings['adjust_threshold']:g}"]
    run_program(
        executable,
        arguments,
        folder,
        name="relion_autopick",
        missing=(
            f"baselines.relion_log.executable: {executable!r} was not found on this machine. "
            "Install RELION, give the path of relion_autopick, or remove baselines.relion_log."
        ),
    )


def _found(path: Path, frame: Frame) -> pd.DataFrame:
    """Read the picks of one micrograph, in pixels of the original."""
    if not path.is_file():
        raise InputError(f"relion_autopick: did not write {path.name}. See the log.")
    picks = next(iter(read_picks(path, fmt="star").values()))
    xy = frame.to_original(frame.with_padding(picks.xy))
    table = pd.DataFrame(xy, columns=["x", "y"])
    return table.assign(score=np.nan if picks.score is None else picks.score)
