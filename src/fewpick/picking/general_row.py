"""Pick with the general network for its row of the comparison, without using any labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from fewpick.coordinates import Picks
from fewpick.geometry import Frame
from fewpick.network.weights import GENERAL
from fewpick.picking.picker import Picker, PreparedMicrograph
from fewpick.picking.without_labels import pick_micrographs
from fewpick.stacks import Stack

logger = logging.getLogger(__name__)


class StackPicker(Picker):
    """The general network on preprocessed stacks, the same images as the trained arms use.

    Parameters
    ----------
    stacks : `results/preprocessed/{dataset}/{shard}.mrcs`
    radii : micrograph -> particle radius, px of the original micrograph
    """

    def __init__(self, stacks: Sequence[Path], radii: Mapping[str, float]) -> None:
        super().__init__(GENERAL, torch.device("cpu"), radius=1.0)  # see _radius for the real ones
        self.frames: dict[str, Frame] = {}
        self._radii = radii
        self._images = {}
        for path in stacks:
            stack = Stack(path)
            for i, row in enumerate(stack.table.to_dict("records")):
                self.frames[row["micrograph"]] = Frame.from_row(row)
                self._images[row["micrograph"]] = stack.images[i]

    def see(self, path: Path) -> PreparedMicrograph:
        """Preprocess the stack image of the micrograph with this name, without its padding."""
        frame = self.frames[str(path)]
        image = frame.without_padding(self._images[str(path)])
        return self.prepare(path, np.asarray(image, np.float32), None)

    def _radius(self, path: Path, ny: int, nx: int, header: float | None) -> float:
        return self._radii[str(path)] * self.frames[str(path)].scale


def pick_stacks(stacks: Sequence[Path], radii: Mapping[str, float]) -> dict[str, Picks]:
    """Pick the micrographs of a data set.

    Parameters
    ----------
    stacks, radii : as for `StackPicker`

    Returns
    -------
    micrograph -> picks in px of the original, empty ones included. They have no scores, so that
    no threshold can be tuned on labels.
    """
    picker = StackPicker(stacks, radii)
    verdict, found = pick_micrographs([Path(name) for name in picker.frames], picker)
    logger.info("%s", verdict)
    found_in = {}
    for path, _, picks in found:
        frame = picker.frames[str(path)]
        found_in[str(path)] = Picks(frame.to_original(frame.with_padding(picks.xy)))
    return found_in
