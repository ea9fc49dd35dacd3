"""Draw circles on micrographs, to inspect picks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from fewpick.atomic import atomic_path
from fewpick.figures.grey import grey

LINE = 2  # px


def draw_circles(
    image: NDArray[np.generic],
    groups: Iterable[tuple[ArrayLike, str]],
    radius: float,
    path: Path,
) -> None:
    """Write a PNG of an image with circles.

    Parameters
    ----------
    image : (h, w) array
    groups : pairs of (n, 2) centres x, y in px of the image, and the colour of their circles
    radius : particle radius, px, which also determines the smoothing
    path : output file
    """
    picture = Image.fromarray(grey(image, radius)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for xy, colour in groups:
        for x, y in np.asarray(xy, np.float64).reshape(-1, 2):
            box = (x - radius, y - radius, x + radius, y + radius)
            draw.ellipse(box, outline=colour, width=LINE)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")
