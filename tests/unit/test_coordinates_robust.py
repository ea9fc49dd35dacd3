"""Damaged, edited and converted coordinate files: the right centres, or one InputError.

FEWPICK_MUTATIONS=5000 runs that many mutations per format instead of a few hundred.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fewpick.coordinates import FORMATS, Picks, read_picks, write_picks
from fewpick.errors import InputError

MUTATIONS = int(os.environ.get("FEWPICK_MUTATIONS", "250"))
RNG = np.random.Generator
NAMES = ("mic_1.mrc", "mic_2.mrc")
TEXT = [name for name in FORMATS if name != "cs"]

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
    import tempfile

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
            held.score.shape == (len(held),) and np.isfinite(held.score).all()
        )
        assert held.diameter is None or held.diameter > 0
        points.append(held.xy)
    stacked = np.concatenate(points)
    return stacked[np.lexsort(stacked.T)]


def truth(path: Path, name: str) -> np.ndarray:
    file, content = example(name)
    (path / file).write_bytes(content)
    return centres(path / file, name)


# ------------------------------------------------------------- edits that change no centre


def _text_edit(edit: Callable[[str], str], encoding: str = "utf-8") -> Callable[[bytes], bytes]:
    return lambda content: edit(content.decode()).encode(encoding)


HARMLESS: dict[str, Callable[[bytes], bytes]] = {
    "mark of UTF-8": lambda content: b"\xef\xbb\xbf" + content,
    "Windows line ends": lambda content: content.replace(b"\n", b"\r\n"),
    "old Macintosh line ends": lambda content: content.replace(b"\n", b"\r"),
    "UTF-16": _text_edit(str, "utf-16"),
    "empty lines at both ends": lambda content: b"\n\n" + content + b"\n\n\n",
    "no newline at the end": lambda content: content.rstrip(b"\n"),
    "blanks at line ends": _text_edit(lambda text: text.replace("\n", "  \n")),
}


@pytest.mark.parametrize("edit", HARMLESS)
@pytest.mark.parametrize("name", TEXT)
def test_harmless_edits_change_nothing(tmp_path: Path, name: str, edit: str) -> None:
    expected = truth(tmp_path, name)
    file, content = example(name)
    (tmp_path / file).write_bytes(HARMLESS[edit](content))
    for fmt in (name, None):
        np.testing.assert_array_equal(centres(tmp_path / file, fmt), expected)


@pytest.mark.parametrize("name", ["star", "cbox", "csv", "topaz", "box"])
def test_the_order_of_rows_does_not_matter(tmp_path: Path, name: str) -> None:
    expected = truth(tmp_path, name)
    file, content = example(name)
    lines = content.decode().split("\n")
    rows = [i for i, line in enumerate(lines) if re.search(r"\d\.?\d*[\t,].*\d", line)]
    rows = [i for i in rows if "opticsGroup1" not in lines[i]]
    assert len(rows) >= 6
    for old, new in zip(rows, rows[::-1], strict=True):
        if old < new:
            lines[old], lines[new] = lines[new], lines[old]
    (tmp_path / file).write_text("\n".join(lines))
    np.testing.assert_array_equal(centres(tmp_path / file, None), expected)


@pytest.mark.parametrize("name", ["star", "cbox", "csv", "topaz", "box"])
def test_decimal_commas_are_read_right_or_refused(tmp_path: Path, name: str) -> None:
    expected = truth(tmp_path, name)
    file, content = example(name)
    for table in (
        re.sub(r"(\d)\.(\d)", r"\1,\2", content.decode()),
        re.sub(r"(\d)\.(\d)", r"\1,\2", content.decode().replace(",", ";").replace("\t", ";")),
    ):
        (tmp_path / file).write_text(table)
        try:
            found = centres(tmp_path / file, name)
        except InputError:
            continue
        np.testing.assert_array_equal(found, expected)
    if name == "csv":
        np.testing.assert_array_equal(found, expected)  # what a European spreadsheet writes


# --------------------------------------------------------------------------- any damage


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


@pytest.mark.parametrize("name", FORMATS)
def test_any_damage_ends_in_sound_points_or_one_error(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(list(FORMATS).index(name))
    file, content = example(name)
    path = tmp_path / file
    refused = 0
    for round_ in range(MUTATIONS):
        damaged = content
        for _ in range(rng.integers(1, 3)):
            damaged = DAMAGE[rng.integers(len(DAMAGE))](rng, damaged) if damaged else damaged
        path.write_bytes(damaged)
        try:
            centres(path, name if round_ % 2 else None)
        except InputError as error:
            refused += 1
            message = str(error)
        else:
            continue
        assert "\n" not in message
        assert file in message
        assert len(message) < 1000
    assert refused > MUTATIONS / 4  # the damage does reach the readers


@pytest.mark.parametrize("name", FORMATS)
def test_a_truncated_file_invents_no_point(tmp_path: Path, name: str) -> None:
    """Only the row that the cut goes through can differ: text formats cannot tell its digits."""
    expected = {tuple(point) for point in truth(tmp_path, name)}
    file, content = example(name)
    for end in range(0, len(content), max(1, len(content) // 120)):
        (tmp_path / file).write_bytes(content[:end])
        try:
            found = centres(tmp_path / file, name)
        except InputError:
            continue
        strangers = {tuple(point) for point in found} - expected
        assert len(strangers) <= (0 if name in ("json", "coco", "cs") else 1)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "content", [b"", b"\n", b" \n\t\n", b"\0" * 64, b"\xff\xfe", b"data_\nloop_"]
)
def test_next_to_nothing(tmp_path: Path, name: str, content: bytes) -> None:
    file, _ = example(name)
    (tmp_path / file).write_bytes(content)
    if name == "box" and not content.strip(b" \n\t\xff\xfe"):
        assert len(centres(tmp_path / file, name)) == 0
    else:
        with pytest.raises(InputError, match=re.escape(file)):
            read_picks(tmp_path / file, fmt=name)
