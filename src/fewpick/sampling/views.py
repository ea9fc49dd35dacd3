"""Views of a micrograph: a geometric transform for image and labels, then photometric ones.

A weak view is `T(u)`; the strong view is `A(T(u))` with a photometric A. Both share T, so a label
made on the weak view is valid, pixel by pixel, for the strong one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class View:
    """A square crop: its centre, rotation, mirroring and zoom.

    Attributes
    ----------
    y, x : float
        Centre in pixels of the source image.
    angle : float
        Rotation in radians.
    mirrored : bool
        Whether the order of the crop's columns is reversed.
    zoom : float
        Source pixels per crop pixel.
    """

    y: float
    x: float
    angle: float = 0.0
    mirrored: bool = False
    zoom: float = 1.0

    def reach(self, size: int) -> int:
        """Return how many source pixels the crop may need on each side of its centre."""
        return math.ceil(size / 2 * math.sqrt(2) * self.zoom) + 2

    def quarter_turns(self, size: int) -> int | None:
        """Return the number of quarter turns if crop and source pixels coincide, else None."""
        turns = 2 * self.angle / math.pi
        fraction = (size - 1) / 2 % 1
        aligned = (self.y - fraction) % 1 == 0 and (self.x - fraction) % 1 == 0
        return int(turns) % 4 if aligned and turns == int(turns) and self.zoom == 1 else None

    def moved(self, dy: float, dx: float) -> View:
        """Return the view with its centre shifted."""
        return replace(self, y=self.y + dy, x=self.x + dx)

    def map(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Map offsets from the crop's centre (`rows`, `columns`) to source y, x."""
        columns = -columns if self.mirrored else columns
        cos, sin = math.cos(self.angle) * self.zoom, math.sin(self.angle) * self.zoom
        return self.y + sin * columns + cos * rows, self.x + cos * columns - sin * rows


def random_view(
    y: float, x: float, rng: np.random.Generator, *, free_fraction: float = 0.5, zoom: float = 0.1
) -> View:
    """Draw a view centred near (y, x).

    Half of the views only rotate by multiples of 90 degrees and mirror, which needs no
    interpolation; the others (`free_fraction`) rotate by any angle and zoom by up to `zoom`. All of
    these are physically possible micrographs, since particles have random in-plane orientations.
    """
    mirrored = bool(rng.random() < 0.5)
    if rng.random() < free_fraction:
        angle = rng.uniform(0, 2 * math.pi)
        return View(y, x, angle, mirrored, math.exp(rng.uniform(-zoom, zoom)))
    # With half-integer centres, the pixels of a crop of even size coincide with source pixels.
    return View(
        math.floor(y) + 0.5, math.floor(x) + 0.5, int(rng.integers(4)) * math.pi / 2, mirrored
    )


def sample(images: Tensor, views: Sequence[View], size: int, *, nearest: bool = False) -> Tensor:
    """Resample images at views.

    Parameters
    ----------
    images : (n, c, h, w) float tensor
    views : n views
    size : edge of the crops, px
    nearest : take the nearest pixel (for labels) instead of bilinear interpolation (for images)

    Returns
    -------
    (n, c, size, size) tensor; edge pixels are repeated beyond the edges
    """
    height, width = images.shape[-2:]
    return functional.grid_sample(
        images,
        _grid(tuple(views), size, height, width, images.dtype, images.device),
        mode="nearest" if nearest else "bilinear",
        padding_mode="border",
        align_corners=True,
    )


@lru_cache(maxsize=16)  # an image and its labels are sampled one after another
def _grid(
    views: tuple[View, ...],
    size: int,
    height: int,
    width: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Return the crops' sampling grid, (n, size, size, 2): x, y from -1 to 1 across the source."""
    half = (size - 1) / 2
    corners = torch.tensor([[0.0, 0.0], [0.0, half], [half, 0.0]], dtype=torch.float64)
    along = torch.linspace(-1, 1, size, dtype=torch.float64)
    # The map is affine, so three points define it.
    y, x = map(torch.stack, zip(*(view.map(*corners.T) for view in views), strict=True))
    points = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], 1)
    centre, right, down = points[..., None].unbind(2)
    # Compute all x, then all y: contiguous rows are faster than interleaved pairs.
    rows, columns = centre + along * (down - centre), along * (right - centre)
    rows, columns = rows.to(device, dtype), columns.to(device, dtype)
    return (rows[..., None] + columns[:, :, None]).permute(0, 2, 3, 1)


def strong(images: Tensor, rng: np.random.Generator, generator: torch.Generator) -> Tensor:
    """Apply the photometric transform A, which mimics another exposure of the same field.

    Each with probability 0.8: contrast (factor e^+-0.4), brightness (+-0.3), a radial envelope or
    its mild inverse (defocus spread and B-factor act as an envelope of the transfer function),
    additional white noise of up to half a unit standard deviation, and a linear gradient along each
    axis (ice). With probability 0.4, one frequency band is weakened, as by a change of defocus.
    Pixels do not move.

    Parameters
    ----------
    images : (n, 1, h, w) float tensor, normalised to about unit standard deviation
    rng : draws the parameters
    generator : draws the noise, on the device of `images`
    """
    n, _, height, width = images.shape
    device, dtype = images.device, images.dtype

    def draw(low: float, high: float, probability: float = 0.8) -> NDArray[np.float64]:
        return rng.uniform(low, high, n) * (rng.random(n) < probability)

    drawn = [
        *(draw(-0.4, 0.4), draw(-0.3, 0.3), draw(0.0, 1.0), draw(0.0, 1.0, 1.0)),
        *(draw(0.02, 0.45, 1.0), draw(0.0, 1.0, 0.4)),
        *(draw(0.0, 0.5), draw(-0.5, 0.5), draw(-0.5, 0.5)),
    ]
    # A single transfer, because each transfer to a GPU takes time.
    numbers = torch.as_tensor(np.stack(drawn), dtype=dtype, device=device).view(-1, n, 1, 1, 1)
    contrast, brightness, envelope, kind, low, weakened, noisy, slope_y, slope_x = numbers

    out = images * contrast.exp() + brightness

    fy = torch.fft.fftfreq(height, device=device, dtype=dtype)[:, None]
    fx = torch.fft.rfftfreq(width, device=device, dtype=dtype)[None]
    frequency = (fy**2 + fx**2).sqrt()
    decay = envelope**2 * torch.where(kind < 0.5, 1.0, -0.3)
    band = (frequency > low) & (frequency < 1.25 * low)
    transfer = torch.exp(-decay * (2 * frequency) ** 2) * (1 - weakened * band)
    out = torch.fft.irfft2(torch.fft.rfft2(out) * transfer, s=(height, width))

    noise = torch.randn(out.shape, generator=generator, device=device, dtype=dtype)
    out = out + noisy * noise

    ramp_y = torch.linspace(-1, 1, height, device=device, dtype=dtype)[:, None]
    ramp_x = torch.linspace(-1, 1, width, device=device, dtype=dtype)[None]
    return out + slope_y * ramp_y + slope_x * ramp_x
