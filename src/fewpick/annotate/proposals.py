"""Where particles may be: proposals to accept or reject, and the tile worth labelling next.

Proposals come from a trained model, from a file of picks, or, without either, from a band-pass
filter for blobs of the particle's size.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from skimage.filters import threshold_otsu

from fewpick.annotate.label_files import Area
from fewpick.coordinates import Picks
from fewpick.coordinates.frame import read_in_frame
from fewpick.data.preprocess import preprocess_micrograph
from fewpick.errors import InputError
from fewpick.evaluation.baselines import difference_of_gaussians
from fewpick.evaluation.truth import Truth
from fewpick.micrographs import read_micrograph
from fewpick.picking import disagreement
from fewpick.picking.picker import Picker

logger = logging.getLogger(__name__)

# Edge of a tile, in particle diameters: a handful of particles where they lie close.
TILE_DIAMETERS = 5.0
SMALLEST_TILE = 48  # px of the network's input
# Micrographs that are looked at for the tile to label next; of more, a random share.
MOST_RANKED = 200
# A tile is done when finished areas cover this share of it.
DONE = 0.5
# Target size and width of the blob filter, in particle radii, as in `evaluation.baselines`.
BLOB_SIZE, BLOB_WIDTH, DARK = 768, 0.5, -1.0


class Proposer(Protocol):
    """Something that proposes particles.

    Attributes
    ----------
    name: shown on the page
    threshold: score from which proposals are shown at first; None when `propose` has to say
    """

    @property
    def name(self) -> str: ...

    @property
    def threshold(self) -> float | None: ...

    def propose(self, path: Path) -> Picks:
        """Candidates of a micrograph with scores, px of the original."""


class ModelProposer:
    """Candidates of a trained model."""

    def __init__(self, picker: Picker, name: str) -> None:
        self.picker, self.name = picker, name
        self.threshold: float | None = picker.threshold

    def propose(self, path: Path) -> Picks:
        return self.picker.find(self.picker.see(path))


class FileProposer:
    """Picks of any program; those without scores have the score 1."""

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, int]], y_axis: str) -> None:
        self.name = path.name
        self._picks = read_in_frame(path, shapes, y_axis=y_axis)
        scores = [p.score for p in self._picks.values() if p.score is not None and len(p)]
        self.threshold: float | None = float(min(map(np.min, scores))) if scores else 1.0

    def propose(self, path: Path) -> Picks:
        picks = self._picks.get(path.name)
        if picks is None:
            return Picks(np.empty((0, 2)), np.empty(0))
        score = np.ones(len(picks)) if picks.score is None else picks.score
        best = np.argsort(-score, kind="stable")
        return Picks(picks.xy[best], score[best])


class BlobProposer:
    """Dark blobs of the particle's size, by a difference of Gaussians; nothing is learnt.

    Parameters
    ----------
    diameter: of particles, px, or None while nobody has said it: nothing is proposed then
    """

    name = "blob filter"
    threshold: float | None = None

    def __init__(self, diameter: float | None) -> None:
        self._diameter = diameter

    def propose(self, path: Path) -> Picks:
        """Scores are standard deviations of the filtered image."""
        diameter = self._diameter
        if diameter is None:
            return Picks(np.empty((0, 2)), np.empty(0))
        image, frame, _, _ = preprocess_micrograph(read_micrograph(path)[0], BLOB_SIZE, path.name)
        everything = Truth("", path.name, frame.ny, frame.nx, 0.0, diameter, np.empty((0, 2)))
        found = difference_of_gaussians(image, frame, everything, DARK, BLOB_WIDTH)
        score = found.score / (found.score.std() or 1.0)
        return Picks(found.xy, score)


@dataclass(frozen=True)
class Tile:
    """A part of a micrograph worth labelling.

    Attributes
    ----------
    micrograph: name
    area: px of the original
    doubt: particles in dispute; None where there is no model to ask
    particles: particles that the model sees there
    """

    micrograph: str
    area: Area
    doubt: float | None
    particles: int


class Ranking:
    """Tiles whose labels would help most, by the disagreement of a model's views.

    Micrographs are looked at one after another in a thread of its own; `best` chooses among those
    that are ready.

    Parameters
    ----------
    pickers: models, which vote
    paths: micrographs to choose from
    seed: of the order in which they are looked at
    """

    def __init__(self, pickers: Sequence[Picker], paths: Sequence[Path], seed: int = 0) -> None:
        self._pickers = list(pickers)
        order = list(paths)
        random.Random(seed).shuffle(order)
        self.paths = order[:MOST_RANKED]
        self._areas: dict[Path, list[disagreement.Area]] = {}
        self._windows: dict[Path, list[Area]] = {}
        self._ready = threading.Condition()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look at micrographs, if that was not done."""
        with self._ready:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ranking", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    @property
    def n_ready(self) -> int:
        return len(self._areas)

    def best(
        self, finished: Mapping[str, Sequence[Area]], shown: Sequence[Tile], patience: float = 60.0
    ) -> Tile | None:
        """The tile to label next; None when there is none left.

        Parameters
        ----------
        finished: micrograph name -> finished areas, whose tiles are done
        shown: tiles that were shown already
        patience: seconds to wait for a micrograph that has one
        """
        self.start()
        found: Tile | None = None

        def settled() -> bool:
            nonlocal found
            found = self._choose(finished, shown)
            return found is not None or self.n_ready == len(self.paths) or self._stop.is_set()

        with self._ready:
            self._ready.wait_for(settled, patience)
        return found

    def _choose(self, finished: Mapping[str, Sequence[Area]], shown: Sequence[Tile]) -> Tile | None:
        """The best tile of the micrographs that are ready."""
        held = [
            (area, window)
            for path, areas in self._areas.items()
            for area, window in zip(areas, self._windows[path], strict=True)
        ]
        passed = {(tile.micrograph, tile.area) for tile in shown}
        left = {
            id(area): window
            for area, window in held
            if (area.path.name, window) not in passed
            and _covered(window, finished.get(area.path.name, ())) < DONE
        }
        # In the order of `suggest`, which spreads over kinds of places, those passed included.
        n = len(held) - len(left) + 1
        for area in disagreement.choose_areas([area for area, _ in held], n) if left else ():
            if id(area) in left:
                return Tile(area.path.name, left[id(area)], area.doubt, area.particles)
        return None

    def _work(self) -> None:
        for path in self.paths:
            if self._stop.is_set():
                return
            try:
                areas, windows = self._look(path)
            except InputError as error:
                logger.warning("%s", error)
                areas, windows = [], []
            except Exception:
                # The page goes on without a ranking of this one; the log has the reason.
                logger.exception("%s: not ranked", path)
                areas, windows = [], []
            with self._ready:
                self._areas[path], self._windows[path] = areas, windows
                self._ready.notify_all()

    def _look(self, path: Path) -> tuple[list[disagreement.Area], list[Area]]:
        """Tiles of a micrograph, and where they lie in its pixels."""
        picker = self._pickers[0]
        seen = picker.see(path)
        y0, x0, y1, x1 = seen.area
        edge = max(SMALLEST_TILE, round(TILE_DIAMETERS * 2 * seen.radius))
        edge = min(edge, y1 - y0, x1 - x0)
        areas = disagreement.areas(self._pickers, path, edge)
        frame = seen.frame
        windows = []
        for area in areas:
            top, left, bottom, right = area.window
            corners = frame.to_original([[left, top], [right, bottom]])
            (x0, y0), (x1, y1) = np.rint(corners).astype(int).tolist()
            windows.append((max(x0, 0), max(y0, 0), min(x1, frame.nx), min(y1, frame.ny)))
        return areas, windows


def _covered(area: Area, finished: Sequence[Area]) -> float:
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
    """A tile on the micrograph with the fewest labels, where no model can be asked.

    Parameters
    ----------
    shapes: micrograph name -> (ny, nx), px
    labelled: micrograph name -> number of labels
    finished, shown: as in `Ranking.best`
    diameter: of particles, px
    seed: of the choice between equals
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
            if (name, area) not in passed and _covered(area, finished.get(name, ())) < DONE:
                return Tile(name, area, None, 0)
    return None


def shown_from(proposer: Proposer, picks: Picks) -> float:
    """Score from which proposals are shown at first."""
    if proposer.threshold is not None:
        return proposer.threshold
    if picks.score is None or len(np.unique(picks.score)) < 2:
        return 0.0
    return float(threshold_otsu(picks.score))


class Guide:
    """Proposals and the next tile, made again when the particle diameter changes.

    Parameters
    ----------
    paths: micrographs that can be read
    shapes: micrograph name -> (ny, nx), px
    propose: diameter (px or None) -> proposer
    load: diameter -> models that rank tiles; None without any
    """

    def __init__(
        self,
        paths: Sequence[Path],
        shapes: Mapping[str, tuple[int, int]],
        propose: Callable[[float | None], Proposer],
        load: Callable[[float | None], Sequence[Picker]] | None = None,
    ) -> None:
        self.paths, self.shapes = list(paths), dict(shapes)
        self._propose, self._load = propose, load
        self._diameter: float | None = None
        self._proposer: Proposer | None = None
        self._ranking: Ranking | None = None
        self._picks: dict[Path, Picks] = {}
        self._shown: list[Tile] = []
        self._lock = threading.Lock()

    @property
    def ranks(self) -> bool:
        """Whether a model chooses the next tile."""
        return self._load is not None

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
        """The tile to label next, which counts as shown then; None when there is none left.

        Parameters
        ----------
        diameter: of particles, px
        labelled: micrograph name -> number of labels
        finished: micrograph name -> finished areas
        """
        with self._lock:
            self._current(diameter)
            ranking = self._ranking
            if ranking is None and self._load is not None:
                ranking = self._ranking = Ranking(self._load(diameter), self.paths)
        if ranking is not None:
            tile = ranking.best(finished, self._shown)
        else:
            tile = spread_out(self.shapes, labelled, finished, self._shown, diameter)
        if tile is not None:
            self._shown.append(tile)
        return tile

    def progress(self) -> tuple[int, int]:
        """Micrographs that the ranking has looked at, and those it will."""
        ranking = self._ranking
        return (ranking.n_ready, len(ranking.paths)) if ranking else (0, 0)

    def stop(self) -> None:
        if self._ranking is not None:
            self._ranking.stop()

    def _current(self, diameter: float | None) -> Proposer:
        if self._proposer is None or diameter != self._diameter:
            self._proposer, self._diameter = self._propose(diameter), diameter
            self._picks = {}
            self.stop()
            self._ranking = None
        return self._proposer
