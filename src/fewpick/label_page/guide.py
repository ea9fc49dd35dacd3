"""What the page shows of its own accord: proposals, and the tile worth labelling next."""

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

# Edge of a tile, in particle diameters: a handful of particles where they lie close.
TILE_DIAMETERS = 5.0
# A tile is done when finished areas cover this share of it.
DONE = 0.5


@dataclass(frozen=True)
class Tile:
    """A part of a micrograph worth labelling.

    Attributes
    ----------
    micrograph : name
    area : px of the original
    doubt : particles in dispute; None where there is no model to ask
    particles : particles that the model sees there
    """

    micrograph: str
    area: Area
    doubt: float | None
    particles: int


class Ranker(Protocol):
    """Something that knows which tile helps most; see `ranking.Ranking`."""

    def best(self, finished: Mapping[str, Sequence[Area]], shown: Sequence[Tile]) -> Tile | None:
        """Return the tile to label next; None when there is none left."""

    def progress(self) -> tuple[int, int]:
        """Micrographs that were looked at, and all."""

    def stop(self) -> None:
        """Look at no more micrographs."""


def covered(area: Area, finished: Sequence[Area]) -> float:
    """Share of an area that finished ones, which do not overlap, cover."""
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
    """Return a tile on the micrograph with the fewest labels, where no model can be asked.

    Parameters
    ----------
    shapes : micrograph name -> (ny, nx), px
    labelled : micrograph name -> number of labels
    finished, shown : as in `Ranking.best`
    diameter : of particles, px
    seed : of the choice between equals
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
    """Proposals and the next tile, made again when the particle diameter changes.

    Parameters
    ----------
    paths : micrographs that can be read
    shapes : micrograph name -> (ny, nx), px
    propose : diameter (px or None) -> proposer
    rank : diameter -> what ranks tiles by a model, or None when it needs a diameter; None without
        a model
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
        """Who proposes, the candidates with scores, best first, and the score to show them from.

        Raises
        ------
        InputError
            When the micrograph cannot be read, or the model does not fit it.
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
        """Return the tile to label next, which counts as shown then; None when there is none left.

        Parameters
        ----------
        diameter : of particles, px
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
        """Micrographs that the ranking has looked at, and those it will."""
        return self._ranking.progress() if self._ranking is not None else (0, 0)

    def stop(self) -> None:
        """Stop looking at micrographs."""
        if self._ranking is not None:
            self._ranking.stop()

    def _current(self, diameter: float | None) -> Proposer:
        if self._proposer is None or diameter != self._diameter:
            self._proposer, self._diameter = self._propose(diameter), diameter
            self._picks = {}
            self.stop()
            self._ranking = None
        return self._proposer
