"""Load preprocessed micrographs with the labels that training may use."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fewpick.coordinates.picks import Points
from fewpick.data.masks import CLEAR, PARTICLE, UNKNOWN, draw_clicks, draw_discs
from fewpick.errors import InputError
from fewpick.geometry import Frame
from fewpick.stacks import Stack
from fewpick.stage_tables.definitions import LabelTable

Window = tuple[int, int, int, int]
CPU = torch.device("cpu")
# Points in a label table may differ by this many px from those that the mask was drawn from.
ROUNDED = 1e-3


@dataclass(frozen=True)
class Micrograph:
    """One preprocessed micrograph and its labels. All lengths are in px of the target frame.

    Attributes
    ----------
    dataset, name, split : str
        `split` is train, val, test or unannotated.
    image : (T, T) float16 array, memory-mapped
    mask : (T, T) int8 array, memory-mapped
        The full annotation (1 particle, 0 background, -1 unknown). Training uses it only inside
        `windows`; elsewhere it serves diagnostics.
    radius, disc : float
        Particle radius, and radius of the discs in the mask.
    area : y0, x0, y1, x1
        The image without padding and unannotated border; half open.
    frame : Frame
        Map to the original micrograph.
    windows : labelled areas, like `area`
    points : (n, 2) float64 array
        Labelled particle centres, x (column), y (row).
    clicked : bool
        Whether points outside the windows are clicked particles, with unlabelled surroundings.
    expected : float or None
        Approximate number of particles that the user expects in `area`.
    negatives : (n, 2) float64 array
        Non-particles, x, y.
    """

    dataset: str
    name: str
    split: str
    image: NDArray[np.float16]
    mask: NDArray[np.int8]
    radius: float
    disc: float
    area: Window
    frame: Frame
    windows: tuple[Window, ...]
    points: NDArray[np.float64]
    clicked: bool = False
    expected: float | None = None
    negatives: Points = field(default_factory=lambda: np.empty((0, 2)))

    def clicks(self) -> Points:
        """Return labelled particles outside the windows, whose surroundings are unlabelled."""
        outside = _are_clicks(self.points, self.windows) if self.clicked else slice(0)
        return self.points[outside]

    def labels(self) -> NDArray[np.int8]:
        """Draw the mask that training may use, (T, T) int8; -1 where it may not.

        Only labelled particles are used: where the disc of a particle with its centre outside the
        windows reaches into a window, the label is unknown.
        """
        labels = np.full(self.mask.shape, UNKNOWN, np.int8)
        draw_clicks(labels, self.clicks(), self.negatives, self.radius, self.disc)
        for y0, x0, y1, x1 in self.windows:
            labels[y0:y1, x0:x1] = self.mask[y0:y1, x0:x1]
        if self.windows:
            labelled = np.zeros_like(labels)
            draw_discs(labelled, self.points, self.disc + ROUNDED, PARTICLE)
            labels[(labels == PARTICLE) & (labelled != PARTICLE)] = UNKNOWN
        return labels

    def label_windows(self) -> list[Window]:
        """Return areas around the labels, for drawing crops."""
        reach = math.ceil(CLEAR[1] * self.radius)
        return list(self.windows) + [
            (round(y) - reach, round(x) - reach, round(y) + reach, round(x) + reach)
            for x, y in [*self.clicks(), *self.negatives]
        ]


def _are_clicks(points: Points, windows: Iterable[Window]) -> NDArray[np.bool_]:
    """Return a mask of the points outside the windows, with 1 px tolerance for rounding."""
    return ~in_windows(points, [(y0 - 1, x0 - 1, y1 + 1, x1 + 1) for y0, x0, y1, x1 in windows])


def in_windows(xy: Points, windows: Iterable[Window]) -> NDArray[np.bool_]:
    """Return a mask of the points ((n, 2) x, y) inside one of the windows (y0, x0, y1, x1)."""
    inside = np.zeros(len(xy), bool)
    for y0, x0, y1, x1 in windows:
        inside |= (xy[:, 0] >= x0) & (xy[:, 0] < x1) & (xy[:, 1] >= y0) & (xy[:, 1] < y1)
    return inside


def grouped_by_dataset(micrographs: Iterable[Micrograph]) -> dict[str, list[Micrograph]]:
    """Group micrographs by data set, in order of appearance."""
    grouped: dict[str, list[Micrograph]] = {}
    for micrograph in micrographs:
        grouped.setdefault(micrograph.dataset, []).append(micrograph)
    return grouped


def load_training_set(
    stacks: Iterable[Path], masks: Iterable[Path], ratio_table: Path
) -> list[Micrograph]:
    """Open the stacks of all data sets and join them with a label table.

    Parameters
    ----------
    stacks, masks : paths `.../{dataset}/{shard}.mrcs`, in the same order
    ratio_table : `results/splits/seed-{s}/ratio-{r}.tsv`

    Raises
    ------
    InputError
        If a stack and its masks contain different micrographs, or the table lists a micrograph
        without an image.
    """
    images: dict[tuple[str, str], tuple[NDArray[Any], NDArray[Any], float, Frame]] = {}
    for image_path, mask_path in zip(map(Path, stacks), map(Path, masks), strict=True):
        image_stack, mask_stack = Stack(image_path), Stack(mask_path)
        names = image_stack.table["micrograph"].tolist()
        if names != mask_stack.table["micrograph"].tolist():
            raise InputError(
                f"{mask_path}: contains different micrographs than {image_path}. Delete both and "
                "rerun."
            )
        for index, name in enumerate(names):
            frame = Frame.from_row(image_stack.table.iloc[index].to_dict())
            # A stack has the size of its largest micrograph.
            square = slice(frame.size), slice(frame.size)
            images[image_path.parent.name, name] = (
                image_stack.images[index][square],
                mask_stack.images[index][square],
                float(mask_stack.table["disc"][index]),
                frame,
            )
    micrographs = []
    for row in LabelTable.read(ratio_table).to_dict("records"):
        key = row["dataset"], row["micrograph"]
        if key not in images:
            raise InputError(
                f"{ratio_table}: lists {key[1]!r} of data set {key[0]!r}, which was not "
                "preprocessed. Delete the table and rerun."
            )
        image, mask, disc, frame = images[key]
        points, windows = row["points"], row["windows"]
        micrographs.append(
            Micrograph(
                *key,
                row["split"],
                image,
                mask,
                float(row["radius"]),
                disc,
                row["area"],
                frame,
                windows,
                points,
                clicked=bool(_are_clicks(points, windows).any()),
                expected=None if math.isnan(row["expected"]) else float(row["expected"]),
                negatives=row.get("negatives", np.empty((0, 2))),
            )
        )
    return micrographs
