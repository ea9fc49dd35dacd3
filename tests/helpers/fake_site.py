"""A web server on this machine that serves what is put into it, with faults on demand."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Site:
    """Files by path, what goes wrong with them, and the requests that came.

    `faults` holds for each path what happens to its next transfers: a number breaks off after so
    many bytes, `500` as text answers with that status, `corrupt` changes a byte in the middle,
    `no ranges` sends the whole whatever is asked.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[int | str]] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""

    def transfers(self, path: str) -> list[str | None]:
        """The ranges that were asked of a file."""
        return [r for method, p, r in self.requests if method == "GET" and p == path]


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves a `Site` as Apache does, with ranges and entity tags."""

    site: Site

    def do_HEAD(self) -> None:
        self.answer(head=True)

    def do_GET(self) -> None:
        self.answer(head=False)

    def answer(self, head: bool) -> None:
        site, path = self.site, urllib.parse.unquote(self.path)
        asked = self.headers.get("Range")
        site.requests.append((self.command, path, asked))
        if path.endswith("/"):
            self.reply(200, self.listing(path), head)
            return
        if path not in site.files:
            self.reply(404, b"not here", head)
            return
        content = site.files[path]
        fault = None if head or not site.faults.get(path) else site.faults[path].pop(0)
        if isinstance(fault, str) and fault.isdecimal():
            self.reply(int(fault), b"busy", head)
            return
        if fault == "corrupt":
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
        tag = f'"{hashlib.md5(site.files[path]).hexdigest()}"'
        headers = {"ETag": tag, "Accept-Ranges": "bytes"}
        status, start = 200, 0
        if asked and fault != "no ranges" and self.headers.get("If-Range") == tag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                headers["Content-Range"] = f"bytes */{len(content)}"
                self.reply(416, b"", head, headers)
                return
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.reply(
            status, content[start:], head, headers, fault if isinstance(fault, int) else None
        )

    def reply(
        self,
        status: int,
        content: bytes,
        head: bool,
        headers: dict[str, str] | None = None,
        stop: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if not head:
            self.wfile.write(content[:stop])
        if stop is not None:
            self.close_connection = True

    def listing(self, path: str) -> bytes:
        rows = [
            '<a href="?C=N;O=D">Name</a> <a href="?C=S;O=A">Size</a>',
            '<a href="/empiar/world_availability/">Parent Directory</a>',
            '<a href="more/">more/</a> -',
        ]
        for name in self.site.files:
            if name.startswith(path) and "/" not in name.removeprefix(path):
                link = urllib.parse.quote(name.removeprefix(path))
                rows.append(f'<img src="/icons/unknown.gif"> <a href="{link}">{link[:20]}</a> 64M')
        return "<html><h1>Index of</h1><pre>{}</pre></html>".format("\n".join(rows)).encode()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Site]:
    """Serve a `Site` of one's own on a free port of this machine."""
    held = Site()
    handler = type("Bound", (Handler,), {"site": held})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        held.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield held
        finally:
            server.shutdown()
            thread.join()


CSV = b"X-Coordinate,Y-Coordinate,Diameter\n10,20,12\n30,5,12\n"


def archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return buffer.getvalue()


def entry(image: bytes) -> dict[str, bytes]:
    return {
        "10017/micrographs/m1.mrc": image,
        "10017/micrographs/m2.mrc": image,
        "10017/micrographs/._m2.mrc": b"of a Macintosh",
        "10017/ground_truth/particle_coordinates/m1.csv": CSV,
        "10017/ground_truth/particle_coordinates/m2.csv": CSV,
        "10017/ground_truth/empiar-10017_particles_selected.star": b"data_",
        "10017/particles_stack/m1_particles.mrc": image,
    }
