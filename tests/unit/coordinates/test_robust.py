"""Damaged, edited and converted coordinate files: the right centres, or one InputError.

FEWPICK_MUTATIONS=5000 runs that many mutations per format instead of a few hundred.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damaged import centres, damage, example

from fewpick.coordinates import FORMATS, read_picks
from fewpick.errors import InputError

MUTATIONS = int(os.environ.get("FEWPICK_MUTATIONS", "250"))
TEXT = [name for name in FORMATS if name != "cs"]


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


@pytest.mark.parametrize("name", FORMATS)
def test_any_damage_ends_in_sound_points_or_one_error(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(list(FORMATS).index(name))
    file, content = example(name)
    path = tmp_path / file
    refused = 0
    for round_ in range(MUTATIONS):
        path.write_bytes(damage(rng, content))
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
    """Only the row at which the file ends can differ: text formats cannot tell its digits."""
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
