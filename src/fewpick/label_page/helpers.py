"""Choose what proposes particles and ranks tiles: a model, a file of picks or a blob filter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fewpick.errors import InputError
from fewpick.label_page.guide import Ranker
from fewpick.label_page.proposals import (
    BlobProposer,
    FileProposer,
    ModelProposer,
    Proposer,
    Unsized,
)

if TYPE_CHECKING:
    from fewpick.picking.picker import Picker


@dataclass(frozen=True)
class Helpers:
    """What proposes particles and ranks tiles on a labelling page.

    Attributes
    ----------
    propose : diameter (px or None) -> proposer
    rank : diameter (px or None) -> ranker, or None as long as the model needs a diameter; None
        without a model
    model : a model that knows its particle size; None otherwise
    """

    propose: Callable[[float | None], Proposer]
    rank: Callable[[float | None], Ranker | None] | None = None
    model: Picker | None = None

    def own_diameter(self, paths: Sequence[Path]) -> float | None:
        """Return the model's particle diameter in px of the first readable micrograph."""
        if self.model is None:
            return None
        for path in paths:
            with suppress(InputError):
                seen = self.model.see(path)
                return round(2 * seen.radius / seen.frame.scale, 1)
        return None


def choose_helpers(
    paths: Sequence[Path],
    shapes: Mapping[str, tuple[int, int]],
    *,
    model: Path | None = None,
    dataset: str | None = None,
    device: str = "auto",
    picks: Path | None = None,
    y_axis: str = "down",
) -> Helpers:
    """Load the model or the picks.

    Parameters
    ----------
    paths, shapes : readable micrographs, and name -> (ny, nx), px
    model, dataset : model file or folder, and the data set of the model that the micrographs
        resemble
    device : auto, cpu or cuda
    picks, y_axis : picks to propose instead, and whether their y counts rows from the first
        ("down") or from the last ("up")

    Raises
    ------
    InputError
        If a file cannot be used.
    """
    helpers = Helpers(BlobProposer)
    if model is not None:
        # Importing PyTorch takes seconds; a page without a model does not need it.
        from fewpick.label_page.ranking import Ranking
        from fewpick.network.device import select_device
        from fewpick.picking.picker import Picker
        from fewpick.picking.without_labels import network_threshold

        where, name = select_device(device), model.name

        def load(diameter: float | None) -> Picker:
            radius = None if diameter is None else diameter / 2
            return Picker(model, where, dataset=dataset, radius=radius)

        @lru_cache(maxsize=1)  # takes seconds, and both proposals and ranking need it
        def threshold(diameter: float) -> float:
            return network_threshold(load(diameter), paths)

        # Proposals and ranking run in parallel, so each loads its own network.
        def picker(diameter: float | None) -> Picker:
            loaded = load(diameter)
            if diameter is not None and loaded.calibrated:
                loaded.threshold = threshold(diameter)
            return loaded

        # The general network has no particle size of its own and cannot be loaded without one.
        sized = load(1.0).particle is not None

        def propose(diameter: float | None) -> Proposer:
            known = sized or diameter is not None
            return ModelProposer(picker(diameter), name) if known else Unsized(name)

        def rank(diameter: float | None) -> Ranker | None:
            known = sized or diameter is not None
            return Ranking([picker(diameter)], paths) if known else None

        helpers = Helpers(propose, rank, picker(None) if sized else None)
    if picks is not None:
        file = FileProposer(picks, shapes, y_axis)
        return Helpers(lambda diameter: file, helpers.rank, helpers.model)
    return helpers
