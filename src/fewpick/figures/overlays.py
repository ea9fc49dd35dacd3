"""Pictures of micrographs with circles on them, for a quick look at picks."""

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
    groups : (n, 2) centres x, y in px of the image, and the colour of their circles
    radius : px, of the particles, which also sets how much the picture is smoothed
    path : file
    """
    picture = Image.fromarray(grey(image, radius)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for xy, colour in groups:
        for x, y in np.asarray(xy, np.float64).reshape(-1, 2):
            box = (x - radius, y - radius, x + radius, y + radius)
            draw.ellipse(box, outline=colour, width=LINE)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")
