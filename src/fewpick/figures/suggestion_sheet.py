"""Write a table and an image of the areas suggested for labelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from fewpick.atomic import atomic_path
from fewpick.figures.grey import grey
from fewpick.figures.palette import FALSE, FOUND
from fewpick.geometry import Frame
from fewpick.network.inference import find_peaks
from fewpick.picking.disagreement import Area, vote
from fewpick.picking.picker import Picker

CELL, COLUMNS, CAPTION, GAP = 300, 4, 34, 8  # px of the sheet
# Votes between these bounds are disputed.
DISPUTED = (0.2, 0.8)


def tabulate(chosen: Sequence[Area], frames: Mapping[Path, Frame]) -> pd.DataFrame:
    """Return one row per area, best first: rank, micrograph, x0, y0, x1, y1, disputed, seen.

    The corners are in px of the original micrograph (x = column, y = row of its array); `disputed`
    and `seen` are numbers of particles.
    """
    rows = []
    for rank, area in enumerate(chosen, start=1):
        y0, x0, y1, x1 = area.window
        corners = frames[area.path].to_original([[x0, y0], [x1, y1]])
        (left, top), (right, bottom) = np.rint(corners).astype(int).tolist()
        rows.append(
            {
                "rank": rank,
                "micrograph": area.path.name,
                "x0": left,
                "y0": top,
                "x1": right,
                "y1": bottom,
                "disputed": round(area.doubt, 2),
                "seen": area.particles,
            }
        )
    return pd.DataFrame(rows)


def draw_sheet(chosen: Sequence[Area], pickers: Sequence[Picker], path: Path) -> None:
    """Write a PNG with an image of each area and the picks that voters agree on or dispute."""
    columns = min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    size = (columns * (CELL + GAP) + GAP, rows * (CELL + CAPTION + GAP) + GAP)
    sheet = Image.new("RGB", size, "white")
    font = ImageFont.load_default(size=13)
    for index, area in enumerate(chosen):
        left = GAP + index % columns * (CELL + GAP)
        top = GAP + index // columns * (CELL + CAPTION + GAP)
        sheet.paste(_picture(area, pickers), (left, top))
        name = area.path.name if len(area.path.name) <= 38 else f"…{area.path.name[-37:]}"
        text = f"{index + 1}. {name}\n{area.doubt:.1f} disputed, {area.particles} detected"
        ImageDraw.Draw(sheet).multiline_text((left, top + CELL + 1), text, fill="black", font=font)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def _picture(area: Area, pickers: Sequence[Picker]) -> Image.Image:
    seen = pickers[0].see(area.path)
    mean = vote(pickers, seen)[0].mean(0)
    y0, x0, y1, x1 = area.window
    xy, _ = find_peaks(mean, seen.radius, seen.area)
    height, width = y1 - y0, x1 - x0
    scale = CELL / max(height, width)
    whole = Image.fromarray(grey(seen.frame.without_padding(seen.image), seen.radius))
    part = whole.crop((x0, y0, x1, y1)).resize(
        (round(width * scale), round(height * scale)), Image.Resampling.BICUBIC
    )
    picture = part.convert("RGB")
    draw = ImageDraw.Draw(picture)
    reach = seen.radius * scale
    for x, y in xy:
        p = mean[min(round(y), len(mean) - 1), min(round(x), len(mean) - 1)]
        if p < DISPUTED[0]:
            continue
        cx, cy = (x - x0) * scale, (y - y0) * scale
        colour = FOUND if p > DISPUTED[1] else FALSE
        box = (cx - reach, cy - reach, cx + reach, cy + reach)
        draw.ellipse(box, outline=colour, width=2)
    return picture
