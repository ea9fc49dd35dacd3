"""Damage files of every format for as long as wanted: sound values, or one InputError.

`make fuzz` shares FEWPICK_FUZZ_MINUTES (30) over the parsers. FEWPICK_FUZZ_SEED repeats a run;
a failure prints its parser, seed and shortest input, and how to read that input again.
"""

from __future__ import annotations

import gzip
import io
import logging
import os
import resource
import secrets
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import mrcfile
import numpy as np
import tifffile
from damaged import HOSTILE, RNG, centres, damage, example
from PIL import Image

from fewpick.config.complete import complete
from fewpick.config.file import read_config
from fewpick.config.hyperparameters import resolve_arm
from fewpick.config.schema import load_schema
from fewpick.coordinates import FORMATS
from fewpick.errors import InputError
from fewpick.micrographs import read_header, read_micrograph

ROOT = Path(__file__).parents[2]
SCHEMA = load_schema()
SECONDS = 20  # that one small file may take
MEMORY = 4 * 2**30  # bytes that reading it may take

# Where broken writers and hostile ones leave their mark in a header of 32-bit numbers.
WORDS = [0, 1, -1, 2, 255, 2**15, 2**16, 2**24, 2**30, 2**31 - 1, -(2**31), 0x7FC00000, 0x7F800000]
YAML_VALUES = [*HOSTILE, "&a [*a]", "*a", "!!python/object:os.system", "? ", "- ", "{a: {b: c}}",
               "2001-01-01", "12:30:45", "!!binary aGk=", "<<: *b", "|", "%YAML 9.9", "...", "---",
               ".inf", "[[[[]]]]", "~", "no", "0o17", "!!set {a}", "\x07", "{[1]: 2}"]  # fmt: skip


@dataclass(frozen=True)
class Parser:
    """A reader, a sound file for it, and how to damage that."""

    file: str
    content: bytes
    read: Callable[[Path], Any]
    damage: Callable[[RNG, bytes], bytes] = damage


def image_file(name: str) -> bytes:
    """Return the bytes of an image of 24 x 31 pixels; none of its rows is constant."""
    values = np.arange(24 * 31).reshape(24, 31)
    if name.startswith("a.mrc"):
        with tempfile.TemporaryDirectory() as folder, mrcfile.new(Path(folder) / "a.mrc") as mrc:
            mrc.set_data(values.astype(np.float32))
            mrc.voxel_size = 1.5
            mrc.flush()
            content = (Path(folder) / "a.mrc").read_bytes()
        return gzip.compress(content, mtime=0) if name.endswith(".gz") else content
    buffer = io.BytesIO()
    if name == "a.tif":
        tifffile.imwrite(buffer, values.astype(np.uint16))
    else:
        Image.fromarray((values % 251).astype(np.uint8)).save(
            buffer, "png" if name == "a.png" else "jpeg"
        )
    return buffer.getvalue()


def damage_image(rng: RNG, content: bytes) -> bytes:
    """Put odd numbers into the header, damage the bytes, or both."""
    packed = content.startswith(b"\x1f\x8b") and rng.random() < 0.8
    content = gzip.decompress(content) if packed else content
    damaged = bytearray(content)
    for _ in range(rng.integers(4)):
        at = int(rng.integers(min(len(damaged), 1100) - 4))
        if content[:3] not in (b"\xff\xd8\xff", b"\x89PN"):
            at -= at % 4
        word = WORDS[rng.integers(len(WORDS))]
        order: Literal["little", "big"] = "little" if rng.random() < 0.7 else "big"
        damaged[at : at + 4] = word.to_bytes(4, order, signed=True)
    result = damage(rng, bytes(damaged)) if rng.random() < 0.4 else bytes(damaged)
    return gzip.compress(result, mtime=0) if packed else result


def damage_yaml(rng: RNG, content: bytes) -> bytes:
    """Replace a value or a key, or damage the text in general."""
    if rng.random() < 0.3:
        return damage(rng, content)
    lines = content.decode().split("\n")
    for _ in range(rng.integers(1, 4)):
        at = rng.integers(len(lines))
        key, colon, _value = lines[at].partition(":")
        value = YAML_VALUES[rng.integers(len(YAML_VALUES))]
        lines[at] = f"{key}{colon} {value}" if rng.random() < 0.8 else f"{value}: {lines[at]}"
    return "\n".join(lines).encode()


def check_image(path: Path) -> None:
    """Read an image; its size is the one of its header, and its values can be computed with."""
    header = read_header(path)
    image, _ = read_micrograph(path)
    assert image.shape == (header.ny, header.nx)
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert image.min() < image.max()
    assert header.pixel_size is None or 0 < header.pixel_size < np.inf


def check_config(path: Path) -> None:
    """Read and complete a configuration; every arm of it can be resolved."""
    completed = complete(read_config(path), SCHEMA, path.name)
    for arm in completed["arms"]:
        resolve_arm(completed, arm, 0.05, 0)


def parsers() -> dict[str, Parser]:
    """All parsers by name, the coordinate formats first."""
    found = {}
    for name in FORMATS:
        file, content = example(name)
        found[name] = Parser(file, content, partial(centres, fmt=name))
        found[f"{name}?"] = Parser(file, content, partial(centres, fmt=None))
    for file in ("a.mrc", "a.mrc.gz", "a.tif", "a.png", "a.jpg"):
        found[file[2:]] = Parser(file, image_file(file), check_image, damage_image)
    text = (ROOT / "config/config.yaml").read_bytes()
    found["config"] = Parser("config.yaml", text, check_config, damage_yaml)
    return found


def failure(parser: Parser, content: bytes, folder: Path) -> str | None:
    """Read the content; None if that gave sound values, "" if one error, else what went wrong."""
    path = folder / parser.file
    path.write_bytes(content)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        parser.read(path)
    except InputError as error:
        message = str(error)
        if parser.file not in message or "\n" in message or len(message) > 1000:
            return f"a message that does not serve: {message[:300]!r}"
        return ""
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def shortest(parser: Parser, content: bytes, folder: Path) -> bytes:
    """Leave out pieces for as long as the same kind of failure remains."""
    kind = (failure(parser, content, folder) or "").partition(":")[0]
    end = time.monotonic() + 60
    size = len(content) // 2
    while size:
        at = 0
        while at < len(content) and time.monotonic() < end:
            less = content[:at] + content[at + size :]
            if (failure(parser, less, folder) or "").partition(":")[0] == kind:
                content = less
            else:
                at += size
        size //= 2
    return content


def fuzz(
    parser: Parser, seed: int, *, inputs: float = np.inf, seconds: float = np.inf
) -> tuple[int, int, dict[str, bytes]]:
    """Damage and read until a number of inputs or a time is reached.

    Returns
    -------
    n, refused: int
        Inputs read, and those that ended in an InputError.
    failures: dict
        What went wrong, one of each kind, to the shortest input found.
    """
    rng, end = np.random.default_rng(seed), time.monotonic() + seconds
    n = refused = 0
    failures: dict[str, bytes] = {}
    seen = set()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        while n < inputs and time.monotonic() < end:
            content = parser.damage(rng, parser.content)
            what = failure(parser, content, folder)
            n += 1
            refused += what == ""
            if what and (kind := what[:40]) not in seen:
                seen.add(kind)
                failures[what] = shortest(parser, content, folder)
    return n, refused, failures


def guard() -> None:
    """Make a hang and a runaway allocation failures like others."""

    def hang(*_: Any) -> None:
        raise TimeoutError(f"not read within {SECONDS} s")

    signal.signal(signal.SIGALRM, hang)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))


def main() -> None:
    """Fuzz all parsers, or those named on the command line."""
    everything = parsers()
    chosen = {name: everything[name] for name in sys.argv[1:] or everything}
    minutes = float(os.environ.get("FEWPICK_FUZZ_MINUTES", "30"))
    seed = int(os.environ.get("FEWPICK_FUZZ_SEED", secrets.randbelow(10**6)))
    guard()
    logging.disable()
    warnings.simplefilter("ignore")
    print(f"seed {seed}, {minutes:g} minutes, {len(chosen)} parsers", flush=True)
    counts, failed = [], False
    for name, parser in chosen.items():
        n, refused, failures = fuzz(parser, seed, seconds=60 * minutes / len(chosen))
        counts.append((name, n, refused))
        print(f"{name:8} {n:8} inputs, {refused:8} refused, {len(failures)} failures", flush=True)
        for what, content in failures.items():
            failed = True
            print(f"  {what}\n  {content!r}"[:4000])
            print(f"  Again: write these bytes to {parser.file} and read it, or FEWPICK_FUZZ_SEED="
                  f"{seed} python tests/helpers/fuzz.py '{name}'", flush=True)  # fmt: skip
    print(f"{'all':8} {sum(n for _, n, _ in counts):8} inputs")
    sys.exit(failed)


if __name__ == "__main__":
    main()
