"""Only whoever has the printed address gets in, and what goes in is checked."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from label_server import NAMES, NX, NY, Running, make_micrographs, served

from fewpick.coordinates import read_picks
from fewpick.errors import InputError
from fewpick.label_page.server import PORT, PORTS_TRIED, listen


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("label")
    with served(make_micrographs(folder / "micrographs"), folder / "labels.star") as held:
        yield held


def ask(
    running: Running,
    path: str,
    message: Any = None,
    *,
    raw: bool = False,
    method: str | None = None,
    **headers: str,
) -> tuple[int, Any, dict[str, str]]:
    """Status, answer and headers; `path` comes after the token unless it is `raw`."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    body = None
    if message is not None:
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        given.setdefault("Content-Type", "application/json")
    connection.putrequest(
        method or ("GET" if body is None else "POST"),
        path if raw else f"/{running.token}/{path}",
        skip_host="Host" in given,
    )
    for name, value in given.items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    kind = answer.headers.get("content-type", "")
    return (
        answer.status,
        json.loads(content) if "json" in kind else content,
        {name.lower(): value for name, value in answer.headers.items()},
    )


def change(number: int, **more: Any) -> dict[str, Any]:
    return {"client": "w", "load": "page", "number": number, "micrograph": "a.mrc", **more}


@pytest.mark.parametrize(
    "path", ["/", "/wrong/", "/wrong/api/session", "/page.js", "/api/session", "//", "/%2e%2e/"]
)
def test_without_the_token_nothing_is_answered(running: Running, path: str) -> None:
    status, text, _ = ask(running, path, raw=True)
    assert status == 403
    assert (
        text == b"This is not the address that fewpick label printed. Copy it from the terminal.\n"
    )


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "page.html",
        "server.py",
        "api/../page.html",
        "api/micrographs/99",
        "api/micrographs/-1",
        "tiles/0/0/0/99/0",
        "tiles/0/0/77/0/0",
        "tiles/0/1e9/0/0/0",
        "tiles/0/nan/0/0/0",
        "tiles/../../x/0/0/0",
        "api/session/",
    ],
)
def test_other_paths_lead_nowhere(running: Running, path: str) -> None:
    assert ask(running, path)[0] == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8017", "127.0.0.1.evil.example", ""]
)
def test_other_hosts_are_refused(running: Running, host: str) -> None:
    status, text, _ = ask(running, "api/session", Host=host)
    assert status == 403
    assert b"only to 127.0.0.1 and localhost" in text


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1:9000", "[::1]:9000", "localhost"])
def test_a_tunnel_may_change_the_port(running: Running, host: str) -> None:
    assert ask(running, "api/session", Host=host, Origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1:{port}"]
)
def test_other_origins_are_refused(running: Running, origin: str) -> None:
    given = origin.format(port=running.port)
    for path, message in [("api/session", None), ("api/change", change(1))]:
        status, text, _ = ask(running, path, message, Origin=given)
        assert status == 403
        assert b"requests from other sites" in text
    assert running.session.counts()["a.mrc"] == (0, 0, 0)


def test_other_sites_cannot_embed_what_is_shown(running: Running) -> None:
    assert ask(running, "tiles/0/0/0/0/0", Sec_Fetch_Site="cross-site")[0] == 403
    assert ask(running, "", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200
    assert ask(running, "tiles/0/0/0/0/0", Sec_Fetch_Site="same-origin")[0] == 200
    _, _, headers = ask(running, "")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("message", "kind", "status"),
    [
        (change(1, add={"marks": [[1, 1]]}), "text/plain", 415),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b" " * 9_000_000, "application/json", 413),
        (change(1) | {"number": "x"}, "application/json", 400),
        (change(1, add={"marks": "x"}), "application/json", 409),
        (change(1, add={"marks": [[1e9, 1]]}), "application/json", 409),
        (change(1) | {"micrograph": "zzz"}, "application/json", 409),
    ],
)
def test_odd_messages_change_nothing(
    running: Running, message: Any, kind: str, status: int
) -> None:
    answer, said, _ = ask(running, "api/change", message, Content_Type=kind)
    assert answer == status
    if status == 409:
        assert said["error"]
        assert said["retry"] is False
    assert running.session.counts()["a.mrc"] == (0, 0, 0)


def test_reading_cannot_change(running: Running) -> None:
    assert ask(running, "api/change")[0] == 405
    assert ask(running, "api/session", change(1))[0] == 405


def test_the_page_is_there_and_asks_nobody_else(running: Running) -> None:
    for name, kind in [("", "html"), ("page.js", "javascript"), ("view.js", "javascript")]:
        status, text, headers = ask(running, name)
        assert status == 200
        assert kind in headers["content-type"]
        assert b"http://" not in text
        assert b"https://" not in text


def test_a_session_names_all_micrographs_and_what_is_wrong_with_one(running: Running) -> None:
    _, held, _ = ask(running, "api/session")
    assert [m["name"] for m in held["micrographs"]] == list(NAMES)
    assert (held["micrographs"][0]["ny"], held["micrographs"][0]["nx"]) == (NY, NX)
    errors = [m["error"] for m in held["micrographs"]]
    assert [bool(error) for error in errors] == [False, False, True, False]
    assert "truncated or its header is wrong" in errors[2]
    status, answer, _ = ask(running, "api/micrographs/2")
    assert status == 200
    assert answer["error"] == errors[2]
    for path in ("tiles/2/0/0/0/0", "api/micrographs/2/proposals"):
        status, answer, _ = ask(running, path)
        assert (status, answer["error"]) == (409, errors[2])


def test_a_micrograph_whose_pixels_cannot_be_read_is_told(tmp_path: Path) -> None:
    folder = make_micrographs(tmp_path / "micrographs")
    (folder / "broken.mrc").unlink()
    flat = bytearray((folder / "b.mrc").read_bytes())
    flat[1024:] = bytes(len(flat) - 1024)
    (folder / "b.mrc").write_bytes(flat)
    with served(folder, tmp_path / "labels.star") as running:
        assert "every pixel is 0" in ask(running, "api/micrographs/1")[1]["error"]
        assert ask(running, "api/micrographs/2")[1]["error"] is None


def test_tiles_are_pictures(running: Running) -> None:
    status, content, headers = ask(running, "tiles/0/4.0/0/0/0")
    assert status == 200
    assert headers["content-type"] == "image/jpeg"
    assert content[:2] == b"\xff\xd8"
    assert "private" in headers["cache-control"]


def test_changes_undo_and_proposals_over_the_wire(tmp_path: Path) -> None:
    with served(make_micrographs(tmp_path / "m"), tmp_path / "labels.star") as running:
        status, answer, _ = ask(running, "api/change", change(1, add={"marks": [[10, 20.5]]}))
        assert status == 200
        assert answer["labels"]["marks"] == [[10, 20.5]]
        assert answer["totals"]["marks"] == 1
        (held,) = read_picks(tmp_path / "labels.star").values()
        assert held.xy.tolist() == [[10, 20.5]]
        version = answer["version"]
        _, answer, _ = ask(running, "api/change", change(2, add={"areas": [[0, 0, 90, 90]]}))
        assert answer["totals"]["areas"] == 1
        _, news, _ = ask(running, f"api/changes?since={version}")
        assert list(news["changed"]) == ["0"]
        assert news["changed"]["0"]["areas"] == [[0, 0, 90, 90]]
        assert ask(running, "api/changes?since=x")[0] == 400
        step = {"client": "w", "load": "page", "number": 3}
        _, answer, _ = ask(running, "api/undo", step)
        assert answer["labels"]["areas"] == []
        _, answer, _ = ask(running, "api/redo", step | {"number": 4})
        assert answer["labels"]["areas"] == [[0, 0, 90, 90]]
        _, answer, _ = ask(running, "api/undo", {"client": "other", "load": "o", "number": 1})
        assert answer["nothing"]
        _, answer, _ = ask(running, "api/micrographs/0/proposals")
        assert answer["name"] == "blob filter"
        assert len(answer["proposals"]) >= 30
        _, tile, _ = ask(running, "api/next", {})
        assert tile["micrograph"] in (1, 3)
        status, answer, _ = ask(running, "api/diameter", {"diameter": 40})
        assert answer["diameter"] == 40
        assert ask(running, "api/diameter", {"diameter": "wide"})[0] == 409


def test_labels_that_cannot_be_saved_are_to_be_sent_again(tmp_path: Path) -> None:
    with served(make_micrographs(tmp_path / "m"), tmp_path / "labels.star") as running:
        (tmp_path / "labels.star").write_text("not a star file")
        status, answer, _ = ask(running, "api/change", change(1, add={"marks": [[10, 20]]}))
        assert status == 503
        assert answer["retry"]
        assert "Labels are not saved until it can be read again" in answer["error"]
        (tmp_path / "labels.star").unlink()
        assert ask(running, "api/change", change(1, add={"marks": [[10, 20]]}))[0] == 200


def test_a_port_in_use_is_told_or_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"--port: port {port} is in use.*--port"):
            listen(port)
    first = listen(None)
    second = listen(None)
    try:
        assert first.getsockname()[1] != second.getsockname()[1]
        for held in (first, second):
            assert held.getsockname()[0] == "127.0.0.1"
            assert PORT <= held.getsockname()[1] < PORT + PORTS_TRIED
    finally:
        first.close()
        second.close()
