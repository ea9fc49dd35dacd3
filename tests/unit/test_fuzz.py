"""Short, repeatable runs of the fuzzer; make fuzz runs it for long."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import Parser, check_config, check_image, failure, fuzz, image_file, parsers, shortest

from fewpick.errors import InputError

SHORT = ("mrc", "mrc.gz", "tif", "png", "jpg", "config")  # coordinates: test_coordinates_robust.py


@pytest.mark.filterwarnings("ignore")  # of decoders, on damaged files
@pytest.mark.parametrize("name", SHORT)
def test_damage_ends_in_sound_values_or_one_error(name: str) -> None:
    n, refused, failures = fuzz(parsers()[name], 0, inputs=100)
    assert failures == {}
    assert 0 < refused < n  # the damage reaches the reader, and does not always


@pytest.mark.parametrize("name", parsers())
def test_the_files_to_damage_are_sound(tmp_path: Path, name: str) -> None:
    parser = parsers()[name]
    assert failure(parser, parser.content, tmp_path) is None


def test_a_failure_is_found_and_made_short(tmp_path: Path) -> None:
    def read(path: Path) -> None:
        if b"7" in path.read_bytes():
            raise KeyError("seven")

    parser = Parser("a.txt", b"0123456789", read, lambda rng, content: content)
    assert fuzz(parser, 0, inputs=2)[2] == {"KeyError: 'seven'": b"7"}
    assert shortest(parser, parser.content, tmp_path) == b"7"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [*a]", "contains itself"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n" + "\n".join(
            f"{new}: &{new} [{', '.join(['*' + old] * 10)}]"
            for old, new in zip("abcdefgh", "bcdefghi", strict=True)
        ), "aliases"),
        ("a: 2001-13-45", "cannot be read"),
        ("a: " + "9" * 5000, "cannot be read"),
        ("2001-01-01: 3", "not a known key"),
        ("true: 3", "not a known key"),
        ("datasets: {a: {particle_radius: " + "9" * 400 + "}}", "finite"),
    ],
)  # fmt: skip
def test_yaml_that_is_more_than_it_looks(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        check_config(path)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(("tag", "value"), [(256, 0), (257, 2**31 + 24), (257, 0)])
def test_a_tiff_of_impossible_size_is_refused(tmp_path: Path, tag: int, value: int) -> None:
    content = bytearray(image_file("a.tif"))
    at = content.index(tag.to_bytes(2, "little") + b"\x04\x00\x01\x00\x00\x00", 10)
    content[at + 8 : at + 12] = value.to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tif"):
        check_image(tmp_path / "a.tif")
