"""Read true centres and picks per micrograph for scoring.

Points are (n, 2) float64 arrays of x (column), y (row) in px of the original micrograph. Picks and
true centres in the unannotated border are ignored, by the same test (`geometry.inside`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fewpick.errors import InputError
from fewpick.evaluation.threshold_policy import BestThreshold, Case, best_threshold
from fewpick.geometry import Frame, inside, particle_radius
from fewpick.stacks import Stack
from fewpick.stacks import read_table as read_table
from fewpick.stage_tables.definitions import LabelTable, ManifestTable, SplitTable

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class TruthFiles:
    """The files with the ground truth of one data set.

    Attributes
    ----------
    spec : mapping
        The data set's block of the configuration (particle radius or diameter, border).
    manifest, coordinates : Path
        `results/data/{dataset}/manifest.tsv` and `coordinates.tsv`.
    """

    spec: Mapping[str, Any]
    manifest: Path
    coordinates: Path


@dataclass(frozen=True)
class Truth:
    """True centres of one annotated micrograph, `xy` (n, 2) px of the original, without the border.

    `ny`, `nx`, `border` and `diameter` are in px of the original. If only windows are labelled,
    `frame` and `windows` (y0, x0, y1, x1, half open, target frame) define them, and `xy` are the
    centres inside.
    """

    dataset: str
    micrograph: str
    ny: int
    nx: int
    border: float
    diameter: float
    xy: FloatArray
    frame: Frame | None = None
    windows: tuple[tuple[int, int, int, int], ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Return data set and micrograph."""
        return self.dataset, self.micrograph

    def inside(self, xy: FloatArray) -> BoolArray:
        """Return a mask of the points (n, 2) within the annotated area."""
        within = np.asarray(inside(xy, self.ny, self.nx, self.border), dtype=bool)
        if self.frame is None:
            return within
        x, y = self.frame.to_target(xy).T
        labelled = np.zeros(len(within), dtype=bool)
        for y0, x0, y1, x1 in self.windows:
            labelled |= (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
        return within & labelled


@dataclass(frozen=True)
class Candidates:
    """Candidates of one micrograph, and which of them are picks.

    Attributes
    ----------
    xy : (n, 2) float64 array
        x, y in px of the original micrograph.
    score : (n,) float64 array
        Ranks the candidates for precision-recall and average precision.
    kept : (n,) bool array
        Which candidates are picks, for precision, recall and F1.
    """

    xy: FloatArray
    score: FloatArray
    kept: BoolArray

    @classmethod
    def none(cls) -> Candidates:
        """Return an empty set of candidates."""
        return cls(np.empty((0, 2)), np.empty(0), np.empty(0, dtype=bool))

    def within(self, truth: Truth) -> Candidates:
        """Return the candidates within the annotated area."""
        where = truth.inside(self.xy)
        return Candidates(self.xy[where], self.score[where], self.kept[where])

    def flipped(self, ny: int) -> Candidates:
        """Return the candidates flipped upside down."""
        xy = np.column_stack([self.xy[:, 0], ny - 1 - self.xy[:, 1]])
        return Candidates(xy, self.score, self.kept)


def read_truths(datasets: Mapping[str, TruthFiles], split: Path, part: str) -> list[Truth]:
    """Return the annotated micrographs of one part of the split.

    Parameters
    ----------
    datasets : mapping of name to TruthFiles
    split : Path
        `results/splits/seed-{s}/split.tsv`; rows of other data sets are ignored.
    part : "train", "val" or "test"

    Raises
    ------
    InputError
        If the split lists a micrograph that is missing from the manifest or not annotated.
    """
    wanted = SplitTable.read(split)
    wanted = wanted[wanted["split"] == part]
    truths = []
    for name, dataset in datasets.items():
        manifest = ManifestTable.read(dataset.manifest).set_index("micrograph")
        points = read_table(dataset.coordinates)
        centres = {
            str(m): g[["x", "y"]].to_numpy(np.float64) for m, g in points.groupby("micrograph")
        }
        border = float(dataset.spec.get("border") or 0)
        for micrograph in wanted.loc[wanted["dataset"] == name, "micrograph"]:
            if micrograph not in manifest.index or not manifest.at[micrograph, "annotated"]:
                raise InputError(
                    f"{split}: {part} micrograph {micrograph!r} is not annotated in "
                    f"{dataset.manifest}. Remove it from the split."
                )
            row = manifest.loc[micrograph]
            pixel_size = None if pd.isna(row["pixel_size"]) else float(row["pixel_size"])
            ny, nx = int(row["ny"]), int(row["nx"])
            xy = centres.get(micrograph, np.empty((0, 2)))
            xy = xy[np.asarray(inside(xy, ny, nx, border), dtype=bool)]
            diameter = 2 * particle_radius(dict(dataset.spec), pixel_size)
            truths.append(Truth(name, micrograph, ny, nx, border, diameter, xy))
    return truths


def read_candidates(
    path: Path, threshold: float | Mapping[str, float]
) -> dict[tuple[str, str], Candidates]:
    """Read candidates by (dataset, micrograph); those with score >= threshold are picks.

    The threshold may also be a mapping of data set to threshold.

    Raises
    ------
    InputError
        If a coordinate or score is missing or not finite.
    """
    return group_candidates(read_table(path), threshold, str(path))


def group_candidates(
    table: pd.DataFrame, threshold: float | Mapping[str, float], source: str
) -> dict[tuple[str, str], Candidates]:
    """Do the same as `read_candidates` for a table with dataset, micrograph, x, y, score."""
    values = table[["x", "y", "score"]].to_numpy(np.float64)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        row = table.iloc[bad[0]]
        raise InputError(
            f"{source}: row {bad[0] + 1} ({row['micrograph']}) has x, y, score = {row['x']}, "
            f"{row['y']}, {row['score']}. Each pick needs three finite numbers."
        )
    keys = pd.MultiIndex.from_frame(table[["dataset", "micrograph"]])
    codes, names = keys.factorize()
    order = np.argsort(codes, kind="stable")
    groups = np.split(values[order], np.flatnonzero(np.diff(codes[order])) + 1)
    found = {}
    for (dataset, micrograph), v in zip(names, groups, strict=False):
        least = threshold[str(dataset)] if isinstance(threshold, Mapping) else threshold
        found[str(dataset), str(micrograph)] = Candidates(v[:, :2], v[:, 2], v[:, 2] >= least)
    return found


def validation_truths(
    datasets: Mapping[str, TruthFiles],
    split: Path,
    validation: str,
    ratio: Path | None = None,
    stacks: Mapping[str, Sequence[Path]] | None = None,
) -> list[Truth]:
    """Read the labels of the validation part, for tuning pickers other than the arms.

    Parameters
    ----------
    datasets : mapping of name to TruthFiles
    split : Path
        `split.tsv` of the seed.
    validation : "full", "matched" or "none"
        `splits.validation`: whole micrographs, as many labels as for training, or none.
    ratio : Path, optional
        `ratio-{r}.tsv`, which lists the labels of `matched`.
    stacks : mapping of data set name to paths of its preprocessed stacks
        Their tables hold the frames of the micrographs; only needed for `matched`.
    """
    if validation == "none":
        return []
    whole = read_truths(datasets, split, "val")
    if validation == "full":
        return whole
    if ratio is None or stacks is None:
        raise ValueError("matched validation labels need a table of labels and the stacks")
    labels = LabelTable.read(ratio).set_index(["dataset", "micrograph"])["windows"]
    frames = {
        (name, row["micrograph"]): Frame.from_row(row)
        for name in datasets
        for path in stacks[name]
        for row in read_table(Path(path).with_suffix(".tsv")).to_dict("records")
    }
    matched = []
    for truth in whole:
        if windows := labels[truth.key]:
            part = replace(truth, frame=frames[truth.key], windows=windows)
            matched.append(replace(part, xy=truth.xy[part.inside(truth.xy)]))
    return matched


def validation_threshold(
    candidates: Mapping[tuple[str, str], Candidates], truths: Sequence[Truth]
) -> BestThreshold | None:
    """Choose the score threshold of the best F1 on `truths`; None with too few labels.

    Parameters
    ----------
    candidates : mapping of (dataset, micrograph) to Candidates
    truths : sequence of Truth
        From `validation_truths`.
    """
    picks = [candidates.get(t.key, Candidates.none()).within(t) for t in truths]
    # Convert to particle diameters, so that data sets can be pooled.
    return best_threshold(
        Case(t.dataset, p.xy / t.diameter, p.score, t.xy / t.diameter)
        for p, t in zip(picks, truths, strict=True)
    )


def flip(
    picks: Mapping[tuple[str, str], Candidates], truths: Iterable[Truth]
) -> dict[tuple[str, str], Candidates]:
    """Flip candidates of the micrographs in `truths` upside down, to detect a wrong y axis."""
    return {t.key: picks[t.key].flipped(t.ny) for t in truths if t.key in picks}


def images_of(
    truths: Sequence[Truth], stacks: Sequence[Path]
) -> Iterator[tuple[Truth, NDArray[np.generic], dict[Any, Any]]]:
    """Yield each micrograph of one data set with its image and row of the stack's table.

    Images are read one at a time, in the order of the stacks, which are preprocessed images or
    masks; only rows of preprocessed stacks contain a `geometry.Frame`.

    Raises
    ------
    InputError
        If a micrograph is in none of the stacks.
    """
    missing = {t.micrograph: t for t in truths}
    for path in stacks:
        stack = Stack(path)
        for row, image in zip(stack.table.to_dict("records"), stack.images, strict=True):
            if row["micrograph"] in missing:
                yield missing.pop(row["micrograph"]), image, row
    if missing:
        raise InputError(
            f"{stacks[0].parent if stacks else 'results/preprocessed'}: micrograph "
            f"{next(iter(missing))!r} is not in any stack of its data set. Rerun the "
            "preprocessing."
        )
