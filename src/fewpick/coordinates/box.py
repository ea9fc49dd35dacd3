"""EMAN box: one file per micrograph of `corner_x corner_y width height [score]` lines.

The centre is corner + size / 2. EMAN1 writes -3 where newer programs write a score. Source:
https://blake.bcm.edu/emanwiki/EMAN2/BoxerFormats
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fewpick.atomic import atomic_path
from fewpick.coordinates.picks import Picks, make_picks
from fewpick.coordinates.text import NUMBER, number, optional_number, read_text
from fewpick.errors import InputError
from fewpick.micrographs.layout import one_or_each

NO_SCORE = "-3"  # what EMAN1 writes instead of a score


def sniff(head: str) -> bool:
    """Return whether a file with this beginning is an EMAN box file."""
    first = next((line.split() for line in head.splitlines() if line.strip()), [])
    numbers = len(first) in (4, 5) and all(NUMBER.fullmatch(word) for word in first[:4])
    return numbers and float(first[2]) == float(first[3]) > 0  # boxes are square


def read(path: Path) -> dict[str, Picks]:
    """Read one file; an empty one is a micrograph without particles."""
    rows: list[list[float]] = []
    lengths: list[int] = []
    sizes: list[list[str]] = []
    for line, content in enumerate(read_text(path).split("\n"), start=1):
        words = content.split()
        if not words:
            continue
        # A box added by hand may lack a score, but has the same size as the others.
        alike = not rows or len(words) == lengths[0] or words[2:4] == sizes[0]
        if len(words) not in (4, 5) or not alike:
            raise InputError(
                f"{path}: line {line} has {len(words)} values. Write 4 (corner x, corner y, width, "
                "height) or 5 (with a score), the same number on every line."
            )
        where = f"{path}: line {line}"
        last_word = words[4] if len(words) == 5 and words[4] != NO_SCORE else ""
        corner_and_size = [number(where, word) for word in words[:4]]
        rows.append([*corner_and_size, optional_number(where, last_word)])
        lengths.append(len(words))
        sizes.append(words[2:4])
    if not rows:
        return {path.stem: make_picks(path, [], [])}
    table = np.array(rows)
    corner, size, score = table[:, :2], table[:, 2:4], table[:, 4]
    if not (size > 0).all():
        row = int(np.flatnonzero(~(size > 0).all(axis=1))[0])
        raise InputError(
            f"{path}: the size of box {row + 1} is {size[row, 0]:g} x {size[row, 1]:g} px. Make "
            "width and height positive."
        )
    if set(score) == {-1.0, -2.0}:
        raise InputError(
            f"{path}: contains start and end points of helices (-1, -2). Use picks of single "
            "particles instead."
        )
    x, y = (corner + size / 2).T
    return {path.stem: make_picks(path, x, y, score, float(np.median(size)))}


def write(path: Path, picks: Mapping[str, Picks], *, box_size: float | None = None) -> None:
    """Write one file per micrograph; corners are whole pixels, as in EMAN."""
    for held, file, size in sized_files(path, ".box", picks, box_size):
        lines = []
        for row, (x, y) in enumerate(held.xy - size / 2):
            words = [f"{np.rint(x):.0f}", f"{np.rint(y):.0f}", f"{size}", f"{size}"]
            if held.score is not None:
                value = held.score[row]
                words.append(NO_SCORE if np.isnan(value) else f"{value:.6f}")
            lines.append("\t".join(words) + "\n")
        with atomic_path(file) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")


def sized_files(
    path: Path, suffix: str, picks: Mapping[str, Picks], box_size: float | None
) -> list[tuple[Picks, Path, int]]:
    """Return picks, file and box size (px) of each micrograph, all checked before any is written.

    Raises
    ------
    InputError
        When several micrographs would be written to one file, or a size is unknown.
    """
    files = one_or_each(path, suffix, picks)
    return [
        (picks[key], file, even_size(file, picks[key], box_size)) for key, file in files.items()
    ]


def even_size(path: Path, picks: Picks, box_size: float | None) -> int:
    """Return the box size in whole, even px, so that whole-pixel centres stay exact.

    Raises
    ------
    InputError
        When neither the caller nor the picks provide a size.
    """
    size = picks.diameter if box_size is None else box_size
    if size is None and len(picks):
        raise InputError(f"{path}: the box size is unknown. Set it in px (box_size, --box-size).")
    return max(2, 2 * round((size or 2) / 2))
