"""CryoTransformer's COCO json (read-only): `bbox` is the top-left corner, width and height.

CryoTransformer marks an image without particles by a single box [0, 0, 0, 0]. Source:
https://github.com/jianlin-cheng/CryoTransformer
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from fewpick.coordinates.json_points import load_json, real
from fewpick.coordinates.picks import Picks, make_picks
from fewpick.errors import InputError

TOP_KEYS = re.compile(r'"(images|annotations|categories|info|licenses)"\s*:\s*[\[{]\s*["{\]}]')


def sniff(head: str) -> bool:
    """Return whether a file with this beginning contains COCO annotations."""
    return head.lstrip().startswith("{") and TOP_KEYS.search(head) is not None


def read(path: Path) -> dict[str, Picks]:
    """Read the file; every listed image counts as annotated."""
    content = load_json(path)
    images, annotations = (_records(path, content, key) for key in ("images", "annotations"))
    names: dict[int, str] = {}
    taken: set[str] = set()
    for image in images:
        key, name = image.get("id"), image.get("file_name")
        if not isinstance(key, int) or not isinstance(name, str) or not name:
            raise InputError(f"{path}: image {image!r:.60} lacks id or file_name. Correct it.")
        if key in names or name in taken:
            raise InputError(f"{path}: duplicate image {key} ({name}). Keep one.")
        names[key] = name
        taken.add(name)
    boxes: dict[int, list[list[float]]] = {key: [] for key in names}
    for annotation in annotations:
        key, box = annotation.get("image_id"), annotation.get("bbox")
        if not isinstance(key, int) or key not in boxes:
            raise InputError(
                f"{path}: an annotation refers to image {key!r}, which is not "
                "listed. Add the image or remove the annotation."
            )
        if not isinstance(box, list) or len(box) != 4:
            raise InputError(f"{path}: bbox {box!r:.60} is not [x, y, width, height]. Correct it.")
        values = [real(f"{path}: bbox of image {key}", value) for value in box]
        if values == [0, 0, 0, 0]:
            continue
        if not (values[2] > 0 and values[3] > 0):
            raise InputError(f"{path}: bbox {box!r:.60} has no width or height. Correct it.")
        boxes[key].append(values)
    picks = {}
    for key, held in boxes.items():
        table = np.array(held, np.float64).reshape(-1, 4)
        x, y = (table[:, :2] + table[:, 2:] / 2).T
        diameter = float(np.median(table[:, 2:])) if held else None
        picks[names[key]] = make_picks(f"{path}: {names[key]}", x, y, diameter=diameter)
    return picks


def _records(path: Path, content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    records = content.get(key)
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InputError(f"{path}: lacks the {key!r} list of a COCO file. Check the format.")
    return records
