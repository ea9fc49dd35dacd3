"""Sound files of every format, and ways to damage them, for the tests of the parsers."""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path

import numpy as np

from fewpick.coordinates import Picks, read_picks, write_picks

RNG = np.random.Generator
NAMES = ("mic_1.mrc", "mic_2.mrc")

HOSTILE = [
    "nan", "NaN", "inf", "-inf", "1e309", "1e30", "-7e8", "1_000", "0x1F", "1,5", "1.234,5", "",
    "-", "--5", "1e", "\uff11\uff12", "\u0663", "None", "<NA>", "null", "true", '"', "'", "#",
    "1 2", "9" * 400, "=A1", "1.2.3", "[", "{}", "data_", "loop_", "_rlnX", "\t", ";", ",",
]  # fmt: skip


def example(name: str) -> tuple[str, bytes]:
    """Return a file's name and bytes in the format, with distinct centres."""
    rng = np.random.default_rng(5)
    xy = rng.integers(100, 4000, (6, 2)) + 0.25
    if name == "cs":
        table = np.zeros(
            6,
            [
                ("location/micrograph_path", "S32"),
                ("location/micrograph_shape", "<u4", (2,)),
                ("location/center_x_frac", "<f4"),
                ("location/center_y_frac", "<f4"),
            ],
        )
        table["location/micrograph_path"] = [b"J1/1_mic_1.mrc", b"J1/1_mic_2.mrc"] * 3
        table["location/micrograph_shape"] = 4096
        table["location/center_x_frac"], table["location/center_y_frac"] = (xy / 4096).T
        buffer = io.BytesIO()
        np.save(buffer, table)
        return "picks.cs", buffer.getvalue()
    if name == "coco":
        boxes = [
            f'{{"id": {i}, "image_id": {i % 2}, "bbox": [{x - 20}, {y - 20}, 40, 40]}}'
            for i, (x, y) in enumerate(xy)
        ]
        images = [f'{{"id": {i}, "file_name": "{image}"}}' for i, image in enumerate(NAMES)]
        text = f'{{"images": [{", ".join(images)}],\n "annotations": [{", ".join(boxes)}]}}\n'
        return "instances.json", text.encode()
    return _written(name, xy)


def _written(name: str, xy: np.ndarray) -> tuple[str, bytes]:
    one_file = {"json": "a.json", "star": "a.star", "csv": "a.csv", "topaz": "a.txt"}
    score = np.linspace(0.1, 0.9, 6)
    picks = {image: Picks(xy[i::2], score[i::2], 40.0) for i, image in enumerate(NAMES)}
    if name not in one_file:
        picks = {NAMES[0]: Picks(xy, score, 40.0)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / one_file.get(name, f"mic_1.{name}")
        write_picks(path, picks, fmt=name)
        return path.name, path.read_bytes()


def centres(path: Path, fmt: str | None) -> np.ndarray:
    """Return all centres of a file, sorted, having checked that they are sound."""
    points = [np.empty((0, 2))]
    for held in read_picks(path, fmt=fmt).values():
        assert held.xy.shape == (len(held), 2)
        assert held.xy.dtype == np.float64
        assert (np.abs(held.xy) <= 1e6).all()
        assert held.score is None or (
            held.score.shape == (len(held),) and not np.isinf(held.score).any()
        )
        assert held.diameter is None or held.diameter > 0
        points.append(held.xy)
    stacked = np.concatenate(points)
    return stacked[np.lexsort(stacked.T)]


def flip_bytes(rng: RNG, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        damaged[rng.integers(len(damaged))] = rng.integers(256)
    return bytes(damaged)


def cut_out(rng: RNG, content: bytes) -> bytes:
    first, last = sorted(rng.integers(0, len(content) + 1, 2))
    return content[:first] + content[last:]


def repeat(rng: RNG, content: bytes) -> bytes:
    first, last = sorted(rng.integers(0, len(content) + 1, 2))
    return content[:last] + content[first:]


def shuffle_lines(rng: RNG, content: bytes) -> bytes:
    lines = content.split(b"\n")
    return b"\n".join(lines[i] for i in rng.permutation(len(lines)))


def hostile_value(rng: RNG, content: bytes) -> bytes:
    text = content.decode("latin-1")
    tokens = list(re.finditer(r"[^\s,;:\[\]{}\"]+", text))
    token = tokens[rng.integers(len(tokens))]
    value = HOSTILE[rng.integers(len(HOSTILE))].encode().decode("latin-1")
    return (text[: token.start()] + value + text[token.end() :]).encode("latin-1")


def other_delimiter(rng: RNG, content: bytes) -> bytes:
    marks = [b",", b";", b"\t", b" ", b".", b"\n", b'"', b"'", b"|"]
    old, new = (marks[i] for i in rng.integers(0, len(marks), 2))
    return content.replace(old, new, int(rng.integers(1, 50)))


def other_encoding(rng: RNG, content: bytes) -> bytes:
    text = content.decode("latin-1") + "\u00e9"
    encodings = ["utf-16-le", "utf-16-be", "utf-32", "latin-1", "utf-7", "cp037", "utf-16"]
    return text.encode(encodings[rng.integers(len(encodings))])


DAMAGE = [flip_bytes, cut_out, repeat, shuffle_lines, hostile_value, hostile_value,
          other_delimiter, other_encoding]  # fmt: skip


def damage(rng: RNG, content: bytes) -> bytes:
    """Damage a file in one or two ways."""
    for _ in range(rng.integers(1, 3)):
        content = DAMAGE[rng.integers(len(DAMAGE))](rng, content) if content else content
    return content
