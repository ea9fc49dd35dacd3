"""Download large files over HTTP completely, resuming interrupted transfers."""

from __future__ import annotations

import hashlib
import http.client
import logging
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewpick.errors import InputError

logger = logging.getLogger(__name__)

AGENT = "fewpick"
TIMEOUT = 60.0  # seconds without a byte
RETRIES = 6  # consecutive attempts without new data
PAUSE = 1.0  # seconds before the second attempt, doubled for each further one
BLOCK = 1 << 20
RESERVE = 1 << 30  # bytes to leave free on the disk
# Status codes that may be temporary.
PASSING = (408, 425, 429, 500, 502, 503, 504)

# Exceptions of interrupted transfers and temporarily unavailable servers.
BROKEN = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Remote:
    """A file on a server: its address, and its size in bytes and checksum if known.

    `checksum` is written as `sha256:0123...`; any algorithm of hashlib works.
    """

    url: str
    size: int | None = None
    checksum: str | None = None

    @property
    def name(self) -> str:
        """Return the name of the file."""
        return urllib.parse.unquote(urllib.parse.urlsplit(self.url).path.rsplit("/", 1)[-1])


def look_up(url: str, checksum: str | None = None) -> Remote:
    """Ask for the size of a file without downloading it.

    Raises
    ------
    InputError : no such file, or no answer
    """
    with _patiently(_request(url, method="HEAD")) as answer:
        length = answer.headers.get("Content-Length")
    return Remote(url, int(length) if length else None, checksum)


def read_page(url: str, missing: bytes | None = None) -> bytes:
    """Fetch a small file into memory; return `missing`, if given, when there is no such file.

    Raises
    ------
    InputError : no such file and no `missing`, or no answer
    """
    try:
        with _patiently(_request(url)) as answer:
            content: bytes = answer.read()
    except NotThereError:
        if missing is None:
            raise
        return missing
    return content


def download(
    remote: Remote, path: Path, tell: Callable[[int], object] = lambda n_bytes: None
) -> None:
    """Download a file to `path`, unless it exists.

    An incomplete download is kept as `{path}.part`. A later call, or the next attempt after an
    interrupted transfer, requests only the rest, if the file on the server is still the same.
    `path` appears once size and checksum are right.

    Parameters
    ----------
    remote : the file
    path : where to put it
    tell : called with numbers of bytes as they arrive; negative for those to download again

    Raises
    ------
    InputError : no such file, no answer after several attempts, too little space on the disk, or
        a file that arrives damaged twice
    """
    if path.exists():
        tell(path.stat().st_size)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    check_room(path.parent, (remote.size or 0) - (part.stat().st_size if part.exists() else 0))
    tell(part.stat().st_size if part.exists() else 0)
    fault = _fetch(remote, part, tell)
    if fault is not None:
        logger.warning("%s: %s; downloading it again.", remote.url, fault)
        tell(-part.stat().st_size)
        part.unlink()
        fault = _fetch(remote, part, tell)
    if fault is not None:
        part.unlink()
        _tag(part).unlink(missing_ok=True)
        raise InputError(
            f"{remote.url}: {fault}, twice. Try later, or report this to the provider."
        )
    _tag(part).unlink(missing_ok=True)
    part.replace(path)


def check_room(folder: Path, n_bytes: int) -> None:
    """Check that this many bytes fit on the disk.

    Raises
    ------
    InputError : they do not
    """
    free = shutil.disk_usage(folder).free
    if n_bytes + RESERVE > free:
        raise InputError(
            f"{folder}: needs {in_words(n_bytes)} and {in_words(RESERVE)} in reserve, only "
            f"{in_words(free)} are free. Free some space, or choose another folder."
        )


def in_words(n_bytes: float) -> str:
    """Return a number of bytes in words: 12.3 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}" if unit != "bytes" else f"{n_bytes:.0f} bytes"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


class NotThereError(InputError):
    """The server does not give out this file.

    Any refusal counts, since object stores answer 403 for files that do not exist.
    """


def _fetch(remote: Remote, part: Path, tell: Callable[[int], object]) -> str | None:
    """Complete `part`; return what is wrong with it, if anything."""
    failures = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        try:
            total = _transfer(remote.url, part, have, tell)
            break
        except BROKEN as error:
            failures = failures + 1 if part.exists() and part.stat().st_size == have else 1
            _wait_or_stop(remote.url, error, failures)
    size = part.stat().st_size
    for expected in (total, remote.size):
        if expected is not None and size != expected:
            return f"received {size} of {expected} bytes"
    if remote.checksum is not None:
        kind, _, expected_digest = remote.checksum.partition(":")
        with part.open("rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != expected_digest.lower():
            return f"its {kind} is {found}, not {expected_digest}"
    return None


def _transfer(url: str, part: Path, have: int, tell: Callable[[int], object]) -> int | None:
    """Append the missing bytes of `part`; return the total size, if the server states it."""
    tag = _tag(part).read_text() if have and _tag(part).exists() else ""
    request = _request(url)
    if tag:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag)
    try:
        answer = _open(request)
    except urllib.error.HTTPError as error:
        if error.code == 416 and tag:  # nothing is left to send, or the file has shrunk
            total = error.headers.get("Content-Range", "").rpartition("/")[2]
            if total.isdecimal() and int(total) == have:
                return have
            _tag(part).unlink()
            raise ConnectionError("the file has changed on the server") from None
        raise
    with answer:
        if answer.status == 206 and answer.headers.get("Content-Range", "").startswith(
            f"bytes {have}-"
        ):
            mode = "ab"
            last = answer.headers["Content-Range"].rpartition("/")[2]
            total_size = int(last) if last.isdecimal() else None
        else:
            tell(-have)
            mode = "wb"
            length = answer.headers.get("Content-Length")
            total_size = int(length) if length else None
            # Only a strong validator can show a later request that the file is unchanged.
            validator = answer.headers.get("ETag", "")
            if validator.startswith("W/") or not validator:
                validator = answer.headers.get("Last-Modified", "")
            _tag(part).write_text(validator)
        with part.open(mode) as file:
            while block := answer.read(BLOCK):
                file.write(block)
                tell(len(block))
    size = part.stat().st_size
    if total_size is not None and size < total_size:
        raise ConnectionError(f"the transfer stopped after {size} of {total_size} bytes")
    return total_size


def _tag(part: Path) -> Path:
    """Return the file that records the server's version of `part`."""
    return part.with_name(part.name + ".tag")


def _request(url: str, method: str = "GET") -> urllib.request.Request:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise InputError(f"{url}: not a web address. Give one that begins with https://.")
    # With transfer compression, a file would have a different size than announced.
    headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
    return urllib.request.Request(url, headers=headers, method=method)


def _open(request: urllib.request.Request) -> Any:
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code in PASSING or error.code == 416:
            raise
        cure = "Check the name." if error.code in (404, 410) else "Contact the provider."
        raise NotThereError(f"{request.full_url}: {error.code} {error.reason}. {cure}") from None


def _patiently(request: urllib.request.Request) -> Any:
    """Open a small file, with as many attempts as for a large one."""
    failures = 0
    while True:
        try:
            return _open(request)
        except BROKEN as error:
            failures += 1
            _wait_or_stop(request.full_url, error, failures)


def _wait_or_stop(url: str, error: Exception, failures: int) -> None:
    reason = " ".join(str(error).split()) or type(error).__name__
    if failures >= RETRIES:
        raise InputError(
            f"{url}: {reason}, {failures} times in a row. Check the connection and rerun; what "
            "has been downloaded is kept."
        ) from None
    pause = PAUSE * 2 ** (failures - 1)
    logger.warning("%s: %s. Retrying in %.0f s.", url, reason, pause)
    time.sleep(pause)
