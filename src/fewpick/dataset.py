"""What a training sees: preprocessed micrographs, the labels it may use, and crops of both."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewpick.errors import InputError
from fewpick.geometry import Frame
from fewpick.masks import BACKGROUND, PARTICLE, UNKNOWN, draw_discs
from fewpick.stacks import Stack, read_table
from fewpick.views import View, sample

Window = tuple[int, int, int, int]
CPU = torch.device("cpu")
# Around a clicked particle: where its own disc has ended and a neighbour's cannot have begun.
CLEAR = (0.8, 1.4)


@dataclass(frozen=True)
class Micrograph:
    """One preprocessed micrograph and what is known of it. All lengths are target-frame pixels.

    Attributes
    ----------
    dataset, name, split: str
        `split` is train, val, test or unannotated.
    image: (T, T) float16 array, mapped from disk
    mask: (T, T) int8 array, mapped from disk
        The full annotation (1 particle, 0 background, -1 unknown). Training learns from it inside
        `windows` only; elsewhere it serves diagnostics.
    radius, disc: float
        Particle radius, and radius of the discs in the mask.
    area: y0, x0, y1, x1
        The part that is image, without padding and unannotated border; half open.
    frame: Frame
        Map to the original micrograph.
    windows: labelled areas, like `area`
    points: (n, 2) float64 array
        Labelled particle centres, x, y.
    clicked: bool
        The points are clicked particles, and nothing is said about the rest.
    expected: float or None
        About how many particles the user expects in `area`.
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

    def labels(self) -> NDArray[np.int8]:
        """The mask as training may see it: (T, T) int8, -1 where it may not.

        A clicked particle tells more than its disc: no other particle can lie on it, so the ring
        from `CLEAR[0]` to `CLEAR[1]` particle radii around it is background. The rest is unknown.
        """
        labels = np.full(self.mask.shape, UNKNOWN, np.int8)
        if self.clicked:
            draw_discs(labels, self.points, CLEAR[1] * self.radius, BACKGROUND)
            draw_discs(labels, self.points, CLEAR[0] * self.radius, UNKNOWN)
            draw_discs(labels, self.points, self.disc, PARTICLE)
        for y0, x0, y1, x1 in self.windows:
            labels[y0:y1, x0:x1] = self.mask[y0:y1, x0:x1]
        return labels

    def label_windows(self) -> list[Window]:
        """Areas around what is labelled, for drawing crops."""
        if not self.clicked:
            return list(self.windows)
        reach = math.ceil(CLEAR[1] * self.radius)
        return [
            (round(y) - reach, round(x) - reach, round(y) + reach, round(x) + reach)
            for x, y in self.points
        ]


def load(stacks: Iterable[Path], masks: Iterable[Path], ratio_table: Path) -> list[Micrograph]:
    """Open the stacks of all data sets and join them with a table of labels.

    Parameters
    ----------
    stacks, masks: paths `.../{dataset}/{shard}.mrcs`, in the same order
    ratio_table: `results/splits/seed-{s}/ratio-{r}.tsv`

    Raises
    ------
    InputError
        If a stack and its masks disagree, or the table names a micrograph that has no image.
    """
    images: dict[tuple[str, str], tuple[NDArray[Any], NDArray[Any], float, Frame]] = {}
    for image_path, mask_path in zip(map(Path, stacks), map(Path, masks), strict=True):
        image_stack, mask_stack = Stack(image_path), Stack(mask_path)
        names = image_stack.table["micrograph"].tolist()
        if names != mask_stack.table["micrograph"].tolist():
            raise InputError(
                f"{mask_path}: holds other micrographs than {image_path}. "
                "Delete both and run again."
            )
        for index, name in enumerate(names):
            images[image_path.parent.name, name] = (
                image_stack.images[index],
                mask_stack.images[index],
                float(mask_stack.table["disc"][index]),
                Frame.from_row(image_stack.table.iloc[index].to_dict()),
            )
    micrographs = []
    for row in read_table(ratio_table).to_dict("records"):
        key = row["dataset"], row["micrograph"]
        if key not in images:
            raise InputError(
                f"{ratio_table}: names {key[1]!r} of data set {key[0]!r}, which was not "
                "preprocessed. Delete the table and run again."
            )
        image, mask, disc, frame = images[key]
        y0, x0, y1, x1 = json.loads(row["area"])
        points = np.asarray(json.loads(row["points"]), np.float64).reshape(-1, 2)
        windows = tuple((a, b, c, d) for a, b, c, d in json.loads(row["windows"]))
        micrographs.append(
            Micrograph(
                *key,
                row["split"],
                image,
                mask,
                float(row["radius"]),
                disc,
                (y0, x0, y1, x1),
                frame,
                windows,
                points,
                clicked=len(points) > 0 and not windows,
                expected=None if math.isnan(row["expected"]) else float(row["expected"]),
            )
        )
    return micrographs


def cut(
    images: Sequence[NDArray[np.generic]],
    views: Sequence[View],
    size: int,
    *,
    fill: str | int,
    device: torch.device = CPU,
) -> Tensor:
    """Cut one view out of each image.

    A CPU cuts one crop after the other, since half of the views (`random_view`) then only move
    pixels; a GPU is faster when it interpolates them all together.

    Parameters
    ----------
    images: (T, T) arrays; only the neighbourhood of each view is read
    views: one per image
    size: edge of the crop, px
    fill: "reflect" continues an image beyond its edges (bilinear interpolation); a number is put
        there instead and turns on nearest-neighbour sampling, as labels need it
    device: where the crops are made

    Returns
    -------
    (n, 1, size, size) float32 tensor on the device
    """
    if device.type != CPU.type:
        return _cut_together(images, views, size, fill, device)
    crops = torch.empty(len(views), 1, size, size)
    for crop, image, view in zip(crops, images, views, strict=True):
        turns = view.quarter_turns(size)
        extent = size if turns is not None else 2 * view.reach(size)
        top = math.ceil(view.y - (extent - 1) / 2)
        left = math.ceil(view.x - (extent - 1) / 2)
        window = _window(image, top, left, extent, fill)
        if turns is not None:
            turned = np.rot90(window, turns)
            crop[0] = torch.from_numpy((turned[:, ::-1] if view.mirrored else turned).copy())
        else:
            crop[:] = sample(
                torch.from_numpy(window)[None, None],
                [view.moved(-top, -left)],
                size,
                nearest=isinstance(fill, int),
            )[0]
    return crops


def _cut_together(
    images: Sequence[NDArray[np.generic]],
    views: Sequence[View],
    size: int,
    fill: str | int,
    device: torch.device,
) -> Tensor:
    reach = max(view.reach(size) for view in views)
    corners = [(math.floor(view.y) - reach + 1, math.floor(view.x) - reach + 1) for view in views]
    windows = [
        _window(image, top, left, 2 * reach, fill)
        for image, (top, left) in zip(images, corners, strict=True)
    ]
    return sample(
        torch.from_numpy(np.stack(windows)[:, None]).to(device),
        [view.moved(-top, -left) for view, (top, left) in zip(views, corners, strict=True)],
        size,
        nearest=isinstance(fill, int),
    )


def _window(
    image: NDArray[np.generic], top: int, left: int, extent: int, fill: str | int
) -> NDArray[np.float32]:
    """Square of an image that may reach beyond its edges, continued there as `cut` says."""
    height, width = image.shape
    if top >= 0 and left >= 0 and top + extent <= height and left + extent <= width:
        return image[top : top + extent, left : left + extent].astype(np.float32)
    rows, columns = np.arange(top, top + extent), np.arange(left, left + extent)
    window = image[np.ix_(_mirrored(rows, height), _mirrored(columns, width))].astype(np.float32)
    if isinstance(fill, int):
        window[(rows < 0) | (rows >= height)] = fill
        window[:, (columns < 0) | (columns >= width)] = fill
    return window


def _mirrored(index: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Reflect indices beyond 0 .. n-1 back into it, the edge itself not repeated."""
    if n == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * n - 2)
    return np.where(index < n, index, 2 * n - 2 - index)
