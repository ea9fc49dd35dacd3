"""Rank tiles by the disagreement between a model's views, as `fewpick suggest` does."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fewpick.errors import InputError
from fewpick.label_page.guide import DONE, TILE_DIAMETERS, Tile, covered
from fewpick.label_page.label_files import Area
from fewpick.picking import disagreement
from fewpick.picking.picker import Picker

logger = logging.getLogger(__name__)

SMALLEST_TILE = 48  # px of the network's input
# At most this many micrographs are examined; if there are more, a random subset.
MOST_RANKED = 200


class Ranking:
    """Find the tiles whose labels would help most, by the disagreement between a model's views.

    A background thread examines micrographs one after another; `best` chooses among those done.

    Parameters
    ----------
    pickers : models that vote
    paths : micrographs to choose from
    seed : seed for the order in which they are examined
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
        """Start the background thread, unless it has been started."""
        with self._ready:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ranking", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Stop examining micrographs."""
        self._stop.set()

    def progress(self) -> tuple[int, int]:
        """Return the number of micrographs examined so far, and in total."""
        return len(self._areas), len(self.paths)

    def best(
        self, finished: Mapping[str, Sequence[Area]], shown: Sequence[Tile], patience: float = 60.0
    ) -> Tile | None:
        """Return the tile to label next, or None if no tile is left.

        Parameters
        ----------
        finished : micrograph name -> finished areas; tiles they cover are skipped
        shown : tiles already shown
        patience : seconds to wait for a micrograph that has such a tile
        """
        self.start()
        found: Tile | None = None

        def settled() -> bool:
            nonlocal found
            found = self._choose(finished, shown)
            return found is not None or len(self._areas) == len(self.paths) or self._stop.is_set()

        with self._ready:
            self._ready.wait_for(settled, patience)
        return found

    def _choose(self, finished: Mapping[str, Sequence[Area]], shown: Sequence[Tile]) -> Tile | None:
        """Return the best tile of the micrographs examined so far."""
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
            and covered(window, finished.get(area.path.name, ())) < DONE
        }
        # `choose_areas` spreads its choice over kinds of places, so tiles already shown or done
        # have to take part, and n allows for them.
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
                # One failed micrograph must not stop the ranking of the others.
                logger.exception("%s: not ranked", path)
                areas, windows = [], []
            with self._ready:
                self._areas[path], self._windows[path] = areas, windows
                self._ready.notify_all()

    def _look(self, path: Path) -> tuple[list[disagreement.Area], list[Area]]:
        """Return the tiles of a micrograph, and their areas in px of the original."""
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
