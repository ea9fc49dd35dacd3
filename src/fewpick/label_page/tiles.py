"""Serve micrographs as tiles: read once, downsampled repeatedly, drawn on demand.

A micrograph is held as a pyramid: level 0 has its own pixels, each further level half as many per
side. The page requests tiles of the level that fits its zoom, so the amount of data sent does not
grow with the micrograph. The most recently used pyramids are kept in memory, up to a limit.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

from fewpick.data.preprocess import HOT_PIXEL_MAD
from fewpick.micrographs import read_micrograph
from fewpick.micrographs.grey_values import SIGMA_PER_MAD, location_and_mad

TILE = 512  # px
MEMORY = 700_000_000  # bytes of pyramids that are kept
# Grey levels span this many standard deviations around the background; the page narrows them.
REACH = 6.0
QUALITY = 88  # JPEG quality; the loss is below the noise
# Side of the square whose mean is subtracted, as a fraction of the micrograph's longer side:
# removes gradients of ice and illumination, keeps particles.
BACKGROUND = 0.2
REACH_OF_FILTER = 3.0  # standard deviations at which the low-pass is cut off
BLOCK = 64  # rows, an even number
SAMPLED = 1024  # px, side of the central part from which a level's spread is estimated

Half = NDArray[np.float16]
Image32 = NDArray[np.float32]


@dataclass
class Pyramid:
    """One micrograph at all levels, in standard deviations of its pixels.

    Attributes
    ----------
    levels : (ny / 2^k, nx / 2^k) float16 arrays
    ground : (h, w) float32 array, slowly varying background, of the last level's size
    spreads : (level, sigma) -> standard deviation, filled on demand
    """

    levels: list[Half]
    ground: Image32
    spreads: dict[tuple[int, float], float] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Return the memory used, bytes."""
        return sum(level.nbytes for level in self.levels)

    def tile(self, level: int, row: int, column: int, sigma: float = 0.0) -> NDArray[np.uint8]:
        """Draw a tile.

        Parameters
        ----------
        level, row, column : tile address; tiles at the right and bottom edges are smaller
        sigma : low-pass, standard deviation in px of the micrograph

        Returns
        -------
        (h, w) uint8 array; the background is mid-grey

        Raises
        ------
        IndexError
            If there is no such tile.
        """
        if not 0 <= level < len(self.levels):
            raise IndexError(f"level {level}")
        ny, nx = self.levels[level].shape
        y, x = row * TILE, column * TILE
        if not (0 <= y < ny and 0 <= x < nx):
            raise IndexError(f"tile {row}, {column}")
        part = self._smooth(level, y, x, min(y + TILE, ny), min(x + TILE, nx), sigma)
        scaled = part * np.float32(127.5 / (REACH * self._spread(level, sigma))) + 127.5
        return np.asarray(scaled.clip(0, 255) + 0.5, np.uint8)

    def jpeg(self, level: int, row: int, column: int, sigma: float = 0.0) -> bytes:
        """Return a tile as a JPEG file."""
        file = io.BytesIO()
        picture = Image.fromarray(self.tile(level, row, column, sigma))
        picture.save(file, format="JPEG", quality=QUALITY)
        return file.getvalue()

    def _smooth(self, level: int, y0: int, x0: int, y1: int, x1: int, sigma: float) -> Image32:
        """Return part of a level, background-subtracted and low-passed."""
        whole = self.levels[level]
        ny, nx = whole.shape
        narrow = _remaining(sigma, level)
        margin = int(REACH_OF_FILTER * narrow + 0.5)
        top, left = max(y0 - margin, 0), max(x0 - margin, 0)
        part = whole[top : y1 + margin, left : x1 + margin].astype(np.float32)
        height, width = part.shape
        across, down = self.ground.shape[1] / nx, self.ground.shape[0] / ny
        part -= np.asarray(
            Image.fromarray(self.ground).resize(
                (width, height),
                Image.Resampling.BILINEAR,
                box=(left * across, top * down, (left + width) * across, (top + height) * down),
            )
        )
        if narrow > 0:
            part = gaussian_filter(part, narrow, truncate=REACH_OF_FILTER)
        return part[y0 - top : y1 - top, x0 - left : x1 - left]

    def _spread(self, level: int, sigma: float) -> float:
        """Return a robust standard deviation of the ice at a level, from its central part."""
        key = (level, sigma)
        if key not in self.spreads:
            ny, nx = self.levels[level].shape
            y, x = max(0, (ny - SAMPLED) // 2), max(0, (nx - SAMPLED) // 2)
            part = self._smooth(level, y, x, min(y + SAMPLED, ny), min(x + SAMPLED, nx), sigma)
            self.spreads[key] = SIGMA_PER_MAD * location_and_mad(part)[1] or 1.0
        return self.spreads[key]


def build_pyramid(image: NDArray[np.float32]) -> Pyramid:
    """Build the pyramid of a micrograph, an (ny, nx) array."""
    step = max(1, int(np.sqrt(image.size / 2**18)))
    middle, mad = location_and_mad(image[::step, ::step])
    spread = SIGMA_PER_MAD * mad or 1.0
    limit = HOT_PIXEL_MAD / SIGMA_PER_MAD
    ny, nx = image.shape
    whole = np.empty((ny, nx), np.float16)
    half = np.empty((ny // 2, nx // 2), np.float32)
    for top in range(0, ny, BLOCK):  # blocks small enough to stay in the CPU cache
        part = image[top : top + BLOCK] - np.float32(middle)
        part *= np.float32(1 / spread)
        np.clip(part, -limit, limit, out=part)
        whole[top : top + BLOCK] = part
        half[top // 2 : top // 2 + len(part) // 2] = _halved(part)
    levels: list[Half] = [whole]
    last = whole.astype(np.float32) if n_levels(ny, nx) == 1 else half
    while len(levels) < n_levels(ny, nx):
        if len(levels) > 1:
            last = _halved(last)
        levels.append(last.astype(np.float16))
    side = max(3, round(BACKGROUND * max(last.shape)))
    return Pyramid(levels, uniform_filter(uniform_filter(last, side), side))


class Pyramids:
    """A cache of pyramids that drops the least recently used.

    Parameters
    ----------
    memory : limit in bytes; the pyramid in use is always kept
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self.memory = memory
        self._held: OrderedDict[Path, Pyramid] = OrderedDict()
        self._lock = threading.Lock()
        self._reading = threading.Lock()

    def get(self, path: Path) -> Pyramid:
        """Return the pyramid of a micrograph, building it if it is not cached.

        Raises
        ------
        InputError
            If the micrograph cannot be read.
        """
        if (found := self._known(path)) is not None:
            return found
        # One at a time: two would take twice the memory and be no faster on one disk.
        with self._reading:
            if (found := self._known(path)) is not None:
                return found
            pyramid = build_pyramid(read_micrograph(path)[0])
            with self._lock:
                self._held[path] = pyramid
                while len(self._held) > 1 and self.nbytes > self.memory:
                    self._held.popitem(last=False)
            return pyramid

    @property
    def nbytes(self) -> int:
        """Return the memory used, bytes."""
        return sum(pyramid.nbytes for pyramid in self._held.values())

    def __contains__(self, path: Path) -> bool:
        """Return whether the pyramid of a micrograph is cached."""
        return path in self._held

    def _known(self, path: Path) -> Pyramid | None:
        with self._lock:
            if path in self._held:
                self._held.move_to_end(path)
            return self._held.get(path)


def n_levels(ny: int, nx: int) -> int:
    """Return the number of levels of a micrograph's pyramid."""
    n = 1
    while max(ny, nx) > TILE and min(ny, nx) > 1:
        ny, nx, n = ny // 2, nx // 2, n + 1
    return n


def _remaining(sigma: float, level: int) -> float:
    """Return the low-pass sigma (px of a level) still to apply after downsampling to that level.

    Averaging 2^k x 2^k pixels blurs like a Gaussian with a variance of (4^k - 1) / 12.
    """
    left = sigma**2 - (4**level - 1) / 12
    return float(np.sqrt(left)) / 2**level if left > 0 else 0.0


def _halved(image: Image32) -> Image32:
    """Average 2 x 2 pixels; an odd last row or column is dropped."""
    ny, nx = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    rows = image[0:ny:2, :nx] + image[1:ny:2, :nx]
    halved: Image32 = (rows[:, ::2] + rows[:, 1::2]) * np.float32(0.25)
    return halved
