"""Read text written by instruments, spreadsheets and other operating systems."""

from __future__ import annotations

import re
from pathlib import Path

from fewpick.errors import InputError

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

# Pattern of a number; `float` alone would also accept "1_000", "nan", "inf" and other digits.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def read_text(path: Path) -> str:
    r"""Read a text file as UTF-8, or UTF-16 if it starts with that mark; line ends become \n.

    Raises
    ------
    InputError
        When the file cannot be read, or is not text in these encodings.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}). Check its permissions and the disk."
        ) from None
    encoding = "utf-16" if raw[:2] in UTF16_MARKS else "utf-8"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: byte {error.start} is not {encoding} text. "
            "Save the file as UTF-8; it may also be damaged or binary."
        ) from None
    if "\0" in text:
        raise InputError(f"{path}: contains NUL characters. Copy the file again; it is damaged.")
    text = text.lstrip("\ufeff")  # the byte order mark that Windows writes
    return text.replace("\r\n", "\n").replace("\r", "\n")


# Spellings of a missing value.
MISSING = {"", "nan", "na", "n/a", "<na>", "none", "null", "inf", "+inf", "-inf", "-nan", "-"}


def optional_number(where: object, text: str) -> float:
    """Convert an optional number; NaN if missing.

    Raises
    ------
    InputError
        As `number`.
    """
    return float("nan") if text.strip().casefold() in MISSING else number(where, text)


def number(where: object, text: str) -> float:
    """Convert a decimal number, rejecting other spellings that Python accepts.

    Raises
    ------
    InputError
        When `text` is not a number; the message starts with `where`.
    """
    text = text.strip()
    if not NUMBER.fullmatch(text):
        cure = "Use a decimal point." if "," in text else "Correct the file."
        raise InputError(f"{where}: {text!r:.60} is not a number. {cure}")
    return float(text)
