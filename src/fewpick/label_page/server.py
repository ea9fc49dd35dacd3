"""Serve the page on this machine only, to whoever has the address with the token.

Every path starts with a random token, so without the printed address nothing is served, not even
the page. Requests for another host name (DNS rebinding) or from another site's page are refused as
well. A tunnel (`ssh -L`) may change the port, but not the host name.
"""

from __future__ import annotations

import errno
import hmac
import json
import secrets
import socket
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from fewpick.annotation.areas import inside_any
from fewpick.errors import InputError
from fewpick.label_page.guide import Guide
from fewpick.label_page.label_files import AREAS, MARKS, NEGATIVES
from fewpick.label_page.session import NotSaved, Session, parse_change
from fewpick.label_page.tiles import TILE, Pyramids, n_levels
from fewpick.label_page.worth import worth

ADDRESS = "127.0.0.1"
PORT = 8017
PORTS_TRIED = 20  # starting at PORT, unless the user names one
NAMES = ("127.0.0.1", "localhost", "::1")
LARGEST_MESSAGE = 8_000_000  # bytes
MOST_PROPOSALS = 5000
LARGEST_SIGMA = 500.0
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
FILES = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "view.js": ("view.js", "text/javascript; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
}


class OnlyOurs:
    """Refuse requests to another host, from another site's page, or without the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                held = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in HEADERS.items()),
                    *([] if b"cache-control" in held else [(b"cache-control", b"no-store")]),
                ]
            await send(message)

        refusal = refused(Request(scope), self.token)
        if refusal is not None:
            await PlainTextResponse(refusal + "\n", 403)(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)


def refused(request: Request, token: str) -> str | None:
    """Return why a request is refused, or None if it is allowed."""
    host = request.headers.get("host", "")
    if _host_name(host) not in NAMES:
        return f"fewpick label answers only to {NAMES[0]} and {NAMES[1]}."
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return "fewpick label does not answer requests from other sites."
    given = request.url.path.split("/", 2)[1]
    if not hmac.compare_digest(given.encode(), token.encode()):
        return "This is not the address that fewpick label printed. Copy it from the terminal."
    if request.headers.get("sec-fetch-site", "none") == "cross-site" and (
        request.method != "GET" or request.headers.get("sec-fetch-mode") != "navigate"
    ):
        return "fewpick label does not answer requests from other sites."
    return None


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class Application:
    """The web application behind the page.

    Parameters
    ----------
    session : the labels
    paths : all micrographs, in display order
    broken : micrographs with an unreadable header -> reason
    guide : proposals and the next tile
    commands : commands to run after labelling, one per line
    """

    def __init__(
        self,
        session: Session,
        paths: Sequence[Path],
        broken: Mapping[Path, str],
        guide: Guide,
        commands: Sequence[str] = (),
    ) -> None:
        self.session, self.paths, self.guide = session, list(paths), guide
        self.broken = {path.name: why for path, why in broken.items()}
        self.numbers = {path.name: i for i, path in enumerate(paths)}
        self.pyramids = Pyramids()
        self.commands = list(commands)
        self.token = secrets.token_urlsafe(24)

    def asgi(self) -> ASGIApp:
        """Return the ASGI application, behind the access check."""
        routes = [
            *(Route(f"/{name}", self._file) for name in FILES),
            Route("/api/session", self.get_session),
            Route("/api/changes", self.get_changes),
            Route("/api/micrographs/{i:int}", self.get_micrograph),
            Route("/api/micrographs/{i:int}/proposals", self.get_proposals),
            Route("/api/change", self.post_change, methods=["POST"]),
            Route("/api/undo", self.post_undo, methods=["POST"]),
            Route("/api/redo", self.post_redo, methods=["POST"]),
            Route("/api/diameter", self.post_diameter, methods=["POST"]),
            Route("/api/next", self.post_next, methods=["POST"]),
            Route("/tiles/{i:int}/{sigma:float}/{level:int}/{row:int}/{column:int}", self.get_tile),
        ]
        handlers: dict[Any, Any] = {InputError: _say, OSError: _say}
        ours = Router(routes, redirect_slashes=False)
        inner = Starlette(routes=[Mount(f"/{self.token}", app=ours)], exception_handlers=handlers)
        inner.router.redirect_slashes = False
        return OnlyOurs(inner, self.token)

    # ------------------------------------------------------------------------------ responses

    def _file(self, request: Request) -> Response:
        name, kind = FILES[request.url.path.rpartition("/")[2]]
        content = resources.files("fewpick.label_page").joinpath(name).read_bytes()
        return Response(content, media_type=kind)

    def get_session(self, request: Request) -> Response:
        """Return all micrographs and settings."""
        shapes, counts = self.session.files.shapes, self.session.counts()
        micrographs = []
        for path in self.paths:
            ny, nx = (0, 0) if path.name in self.broken else shapes[path.name]
            micrographs.append(
                {
                    "name": path.name,
                    "ny": ny,
                    "nx": nx,
                    "levels": n_levels(ny, nx) if ny else 0,
                    "error": self.broken.get(path.name),
                    "counts": counts[path.name],
                }
            )
        return JSONResponse(
            {
                "file": str(self.session.files.path.absolute()),
                "micrographs": micrographs,
                "tile": TILE,
                "ranks": self.guide.ranks,
                "commands": self.commands,
                **self._totals(),
            }
        )

    def get_changes(self, request: Request) -> Response:
        """Return what changed since the page last asked."""
        version, names, notices = self.session.news(_number(request.query_params.get("since")))
        changed = {self.numbers[name]: self._labels(name) for name in names}
        return JSONResponse(
            {"changed": changed, "notices": notices, **self._totals(), "version": version}
        )

    def get_micrograph(self, request: Request) -> Response:
        """Return the labels of a micrograph, and an error if its pixels cannot be read."""
        path = self._path(request)
        if path.name not in self.broken:
            try:
                self.pyramids.get(path)
            except InputError as error:
                self.broken[path.name] = str(error)
        return JSONResponse(
            {"error": self.broken.get(path.name), **self._labels(path.name), **self._totals()}
        )

    def get_proposals(self, request: Request) -> Response:
        """Return the candidates of a micrograph."""
        path = self._sound(request)
        name, picks, threshold = self.guide.proposals(path, self.session.labels.diameter)
        assert picks.score is not None
        rows = np.column_stack([picks.xy, picks.score])[:MOST_PROPOSALS]
        return JSONResponse(
            {"name": name, "threshold": threshold, "proposals": np.round(rows, 4).tolist()}
        )

    def get_tile(self, request: Request) -> Response:
        """Return a tile as JPEG."""
        path = self._sound(request)
        values = request.path_params
        if not 0 <= values["sigma"] <= LARGEST_SIGMA:
            raise HTTPException(404)
        try:
            content = self.pyramids.get(path).jpeg(
                values["level"], values["row"], values["column"], values["sigma"]
            )
        except IndexError:
            raise HTTPException(404) from None
        kept = {"Cache-Control": "private, max-age=3600"}
        return Response(content, media_type="image/jpeg", headers=kept)

    async def post_change(self, request: Request) -> Response:
        """Add or remove marks."""
        message = await _message(request)
        change = parse_change(message)
        client = str(message.get("client", ""))
        await run_in_threadpool(self.session.change, client, change, _sent(message))
        return JSONResponse(self._answer(change.micrograph))

    async def post_undo(self, request: Request) -> Response:
        """Undo the last change."""
        return await self._undo(request, self.session.undo)

    async def post_redo(self, request: Request) -> Response:
        """Redo the last undone change."""
        return await self._undo(request, self.session.redo)

    async def _undo(self, request: Request, step: Any) -> Response:
        message = await _message(request)
        done = await run_in_threadpool(step, str(message.get("client", "")), _sent(message))
        if done is None:
            return JSONResponse({"nothing": True, **self._totals()})
        return JSONResponse({"nothing": False, **self._answer(done.micrograph)})

    async def post_diameter(self, request: Request) -> Response:
        """Set the particle diameter."""
        message = await _message(request)
        try:
            diameter = float(message["diameter"])
        except (KeyError, TypeError, ValueError):
            raise InputError("diameter: not a number. Enter it in px of the micrographs.") from None
        await run_in_threadpool(self.session.set_diameter, diameter)
        return JSONResponse(self._totals())

    async def post_next(self, request: Request) -> Response:
        """Choose the tile to label next."""
        await _message(request)
        labels = self.session.labels
        counts = {name: marks + bad for name, (marks, bad, _) in self.session.counts().items()}
        finished = {name: list(of.areas) for name, of in labels.of.items()}
        for name in self.broken:
            counts.pop(name, None)
        tile = await run_in_threadpool(self.guide.next, labels.diameter, counts, finished)
        ready, total = self.guide.progress()
        return JSONResponse(
            {
                "micrograph": None if tile is None else self.numbers[tile.micrograph],
                "area": None if tile is None else tile.area,
                "doubt": None if tile is None else tile.doubt,
                "particles": 0 if tile is None else tile.particles,
                "ready": ready,
                "total": total,
            }
        )

    # -------------------------------------------------------------------------------- helpers

    def _path(self, request: Request) -> Path:
        i = int(request.path_params["i"])
        if not 0 <= i < len(self.paths):
            raise HTTPException(404)
        return self.paths[i]

    def _sound(self, request: Request) -> Path:
        path = self._path(request)
        if path.name in self.broken:
            raise InputError(self.broken[path.name])
        return path

    def _answer(self, micrograph: str) -> dict[str, Any]:
        return {
            "micrograph": self.numbers[micrograph],
            "labels": self._labels(micrograph),
            **self._totals(),
        }

    def _labels(self, name: str) -> dict[str, Any]:
        version, of = self.session.of(name)
        return {"at": version, MARKS: of.marks, NEGATIVES: of.negatives, AREAS: of.areas}

    def _totals(self) -> dict[str, Any]:
        """Return the version, counts over all micrographs, and what they are worth."""
        labels = self.session.labels
        marks = sum(len(of.marks) for of in labels.of.values())
        inside = sum(
            int(inside_any(of.marks, of.areas).sum()) for of in labels.of.values() if of.areas
        )
        return {
            "version": self.session.version,
            "diameter": labels.diameter,
            "totals": {
                MARKS: marks,
                NEGATIVES: sum(len(of.negatives) for of in labels.of.values()),
                AREAS: sum(len(of.areas) for of in labels.of.values()),
                "micrographs": sum(bool(of.marks or of.areas) for of in labels.of.values()),
                "worth": worth(marks, inside),
            },
        }


def _say(request: Request, error: Exception) -> Response:
    later = isinstance(error, NotSaved)
    return JSONResponse({"error": str(error), "retry": later}, 503 if later else 409)


def _sent(message: Mapping[str, Any]) -> tuple[str, int]:
    return str(message.get("load", "")), _number(message.get("number"))


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise HTTPException(400) from None


async def _message(request: Request) -> dict[str, Any]:
    """Return the JSON object in a request's body."""
    # A browser lets other sites send this type only after a preflight request, which is refused.
    if request.headers.get("content-type", "").split(";")[0] != "application/json":
        raise HTTPException(415)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_MESSAGE:
            raise HTTPException(413)
    try:
        message = json.loads(body)
    except ValueError:
        raise HTTPException(400) from None
    if not isinstance(message, dict):
        raise HTTPException(400)
    return message


def listen(port: int | None) -> socket.socket:
    """Listen on the given port of this machine, or on the first free one starting at `PORT`.

    Raises
    ------
    InputError
        If the port is in use or not allowed.
    """
    tried = range(PORT, PORT + PORTS_TRIED) if port is None else (port,)
    for number in tried:
        taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((ADDRESS, number))
        except OSError as error:
            taken.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            continue
        taken.listen(128)
        return taken
    which = f"port {port} is" if port is not None else f"ports {tried[0]} to {tried[-1]} are"
    raise InputError(f"--port: {which} in use or not allowed. Choose another with --port.")


def serve(application: Application, taken: socket.socket) -> None:
    """Serve until the process is interrupted."""
    config = uvicorn.Config(
        application.asgi(), log_level="warning", access_log=False, lifespan="off", ws="none",
        server_header=False, timeout_graceful_shutdown=2,
    )  # fmt: skip
    try:
        uvicorn.Server(config).run(sockets=[taken])
    finally:
        application.guide.stop()
