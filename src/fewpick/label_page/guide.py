"""Choose what the page suggests: proposals, and the tile to label next."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fewpick.coordinates import Picks
from fewpick.label_page.label_files import Area
from fewpick.label_page.proposals import Proposer, shown_from

# Edge of a tile, in particle diameters: holds a handful of densely packed particles.
TILE_DIAMETERS = 5.0
# A tile counts as done when finished areas cover this fraction of it.
DONE = 0.5


@dataclass(frozen=True)
class Tile:
    """A part of a micrograph worth labelling.

    Attributes
    ----------
    micrograph : name
    area : x0, y0, x1, y1 in px of the original micrograph
    doubt : number of disputed particles; None without a model
    particles : number of particles that the model detects there
    """

    micrograph: str
    area: Area
    doubt: float | None
    particles: int


class Ranker(Protocol):
    """Something that knows which tile would help most; see `ranking.Ranking`."""

    def best(self, finished: Mapping[str, Sequence[Area]], shown: Sequence[Tile]) -> Tile | None:
        """Return the tile to label next, or None if no tile is left."""

    def progress(self) -> tuple[int, int]:
        """Return the number of micrographs examined so far, and of all."""

    def stop(self) -> None:
        """Stop examining micrographs."""


def covered(area: Area, finished: Sequence[Area]) -> float:
    """Return the fraction of an area covered by finished areas (which must not overlap)."""
    x0, y0, x1, y1 = area
    shared = sum(
        max(0, min(x1, b[2]) - max(x0, b[0])) * max(0, min(y1, b[3]) - max(y0, b[1]))
        for b in finished
    )
    return shared / ((x1 - x0) * (y1 - y0))


def spread_out(
    shapes: Mapping[str, tuple[int, int]],
    labelled: Mapping[str, int],
    finished: Mapping[str, Sequence[Area]],
    shown: Sequence[Tile],
    diameter: float | None,
    seed: int = 0,
) -> Tile | None:
    """Return a tile on the micrograph with the fewest labels; used without a model.

    Parameters
    ----------
    shapes : micrograph name -> (ny, nx), px
    labelled : micrograph name -> number of labels
    finished, shown : as in `Ranking.best`
    diameter : particle diameter, px
    seed : seed for breaking ties
    """
    rng = random.Random(f"{seed} {len(shown)}")
    visits = {name: sum(tile.micrograph == name for tile in shown) for name in shapes}
    order = sorted(shapes, key=lambda name: (visits[name], labelled.get(name, 0), rng.random()))
    passed = {(tile.micrograph, tile.area) for tile in shown}
    for name in order:
        ny, nx = shapes[name]
        edge = min(round(TILE_DIAMETERS * diameter) if diameter else max(ny, nx) // 8, ny, nx)
        tiles = [
            (x, y, x + edge, y + edge)
            for y in range((ny % edge) // 2, ny - edge + 1, edge)
            for x in range((nx % edge) // 2, nx - edge + 1, edge)
        ]
        rng.shuffle(tiles)
        for area in tiles:
            if (name, area) not in passed and covered(area, finished.get(name, ())) < DONE:
                return Tile(name, area, None, 0)
    return None


class Guide:
    """Proposals and the next tile, recomputed when the particle diameter changes.

    Parameters
    ----------
    paths : readable micrographs
    shapes : micrograph name -> (ny, nx), px
    propose : diameter (px or None) -> proposer
    rank : diameter (px or None) -> ranker that uses a model, or None if the model needs a
        diameter; None without a model
    """

    def __init__(
        self,
        paths: Sequence[Path],
        shapes: Mapping[str, tuple[int, int]],
        propose: Callable[[float | None], Proposer],
        rank: Callable[[float | None], Ranker | None] | None = None,
    ) -> None:
        self.paths, self.shapes = list(paths), dict(shapes)
        self._propose, self._rank = propose, rank
        self._diameter: float | None = None
        self._proposer: Proposer | None = None
        self._ranking: Ranker | None = None
        self._picks: dict[Path, Picks] = {}
        self._shown: list[Tile] = []
        self._lock = threading.Lock()

    @property
    def ranks(self) -> bool:
        """Whether a model chooses the next tile."""
        return self._rank is not None

    def proposals(self, path: Path, diameter: float | None) -> tuple[str, Picks, float]:
        """Return the proposer's name, its candidates (best first) and the initial minimum score.

        Raises
        ------
        InputError
            If the micrograph cannot be read, or the model does not fit it.
        """
        with self._lock:
            proposer = self._current(diameter)
            if path not in self._picks:
                self._picks[path] = proposer.propose(path)
            picks = self._picks[path]
            return proposer.name, picks, shown_from(proposer, picks)

    def next(
        self,
        diameter: float | None,
        labelled: Mapping[str, int],
        finished: Mapping[str, Sequence[Area]],
    ) -> Tile | None:
        """Return the tile to label next and record it as shown; None if no tile is left.

        Parameters
        ----------
        diameter : particle diameter, px
        labelled : micrograph name -> number of labels
        finished : micrograph name -> finished areas
        """
        with self._lock:
            self._current(diameter)
            ranking = self._ranking
            if ranking is None and self._rank is not None:
                ranking = self._ranking = self._rank(diameter)
        if ranking is not None:
            tile = ranking.best(finished, self._shown)
        else:
            tile = spread_out(self.shapes, labelled, finished, self._shown, diameter)
        if tile is not None:
            self._shown.append(tile)
        return tile

    def progress(self) -> tuple[int, int]:
        """Return how many micrographs have been ranked, and how many will be in total."""
        return self._ranking.progress() if self._ranking is not None else (0, 0)

    def stop(self) -> None:
        """Stop ranking micrographs."""
        if self._ranking is not None:
            self._ranking.stop()

    def _current(self, diameter: float | None) -> Proposer:
        if self._proposer is None or diameter != self._diameter:
            self._proposer, self._diameter = self._propose(diameter), diameter
            self._picks = {}
            self.stop()
            self._ranking = None
        return self._proposer
