"""coordinates.json: `{"image.jpg": [[x, y], ...]}`.

A micrograph without a key is not annotated; one with an empty list has no particles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fewpick.atomic import atomic_path
from fewpick.coordinates.picks import Picks, make_picks
from fewpick.coordinates.text import read_text
from fewpick.errors import InputError
from fewpick.micrographs import image_suffix

# Keys of the files in EMAN2's folder `info`.
EMAN2 = {"boxes", "boxes_rct", "boxes_3d", "ctf_frame", "ddd_alignment_trans"}


def sniff(head: str) -> bool:
    """Return whether a file with this beginning is a JSON file of points."""
    return head.lstrip().startswith("{")


def load_json(path: Path) -> dict[str, Any]:
    """Load a JSON object, rejecting duplicate keys.

    Raises
    ------
    InputError
        When the text is not a JSON object.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        loaded = dict(pairs)
        if len(loaded) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in loaded if keys.count(key) > 1)
            raise InputError(f"{path}: duplicate key {twice!r}. Keep one.")
        return loaded

    try:
        content = json.loads(read_text(path), object_pairs_hook=unique)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}). Export the file again.") from None
    if not isinstance(content, dict):
        raise InputError(
            f'{path}: contains a {type(content).__name__}. Write {{"image.mrc": [[x, y], ...]}}.'
        )
    return content


def real(where: str, value: Any) -> float:
    """Return a JSON number as a float.

    Raises
    ------
    InputError
        When it is not a number, or too large.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: {value!r} is not a number. Correct the file.")
    try:
        return float(value)
    except OverflowError:
        n = len(str(value))
        raise InputError(f"{where}: a number of {n} digits is too large. Correct it.") from None


def read(path: Path) -> dict[str, Picks]:
    """Read the file; an empty list is a micrograph without particles."""
    picks = {}
    content = load_json(path)
    if EMAN2 & content.keys() and not any(image_suffix(name) for name in content):
        raise InputError(
            f"{path}: is an info file of EMAN2 ({', '.join(sorted(EMAN2 & content.keys()))}). "
            "In e2boxer, write the boxes as .box files (Write output), and use those."
        )
    for name, points in content.items():
        where = f"{path}: {name}"
        if not isinstance(points, list):
            raise InputError(f"{where}: contains {points!r:.40}. Write a list of [x, y].")
        xs, ys = [], []
        for number, point in enumerate(points, start=1):
            if not isinstance(point, list) or len(point) != 2:
                raise InputError(f"{where}: point {number} is {point!r:.40}. Write [x, y].")
            xs.append(real(f"{where}: point {number}", point[0]))
            ys.append(real(f"{where}: point {number}", point[1]))
        picks[name] = make_picks(where, xs, ys)
    return picks


def write(path: Path, picks: Mapping[str, Picks]) -> None:
    """Write the centres; the format does not store scores."""
    content = {key: [[float(x), float(y)] for x, y in held.xy] for key, held in picks.items()}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
