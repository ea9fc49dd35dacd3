"""The labelling page's server, in a thread or in a process of its own, and small micrographs."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import mrcfile
import numpy as np
import uvicorn

from fewpick import cli
from fewpick.errors import InputError
from fewpick.label_page.guide import Guide
from fewpick.label_page.label_files import ANY_SIZE, LabelFiles
from fewpick.label_page.proposals import BlobProposer
from fewpick.label_page.server import Application, listen
from fewpick.label_page.session import Session
from fewpick.micrographs import list_micrographs, read_header

NY, NX, DIAMETER = 480, 640, 32.0
NAMES = ("a.mrc", "b.mrc", "broken.mrc", "c.mrc")
SOUND = ("a.mrc", "b.mrc", "c.mrc")


def particles(name: str) -> np.ndarray:
    """Centres of the particles of one of the micrographs, (n, 2)."""
    rng = np.random.default_rng(NAMES.index(name))
    grid = np.stack(np.meshgrid(np.arange(60, 600, 90), np.arange(60, 440, 90)), -1).reshape(-1, 2)
    return np.asarray(grid + rng.integers(-10, 11, grid.shape), float)


def make_micrographs(folder: Path) -> Path:
    """Three micrographs with dark discs, and one that cannot be read."""
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:NY, :NX]
    for name in SOUND:
        image = np.random.default_rng(len(name)).normal(0, 1, (NY, NX))
        for cx, cy in particles(name):
            image -= 2.0 * (np.hypot(x - cx, y - cy) < DIAMETER / 2)
        with mrcfile.new(folder / name, overwrite=True) as mrc:
            mrc.set_data(image.astype(np.float32))
            mrc.voxel_size = 3.0
    (folder / "broken.mrc").write_bytes((folder / "a.mrc").read_bytes()[:5000])
    return folder


@dataclass
class Running:
    """A server that answers."""

    address: str
    token: str
    port: int
    session: Session
    application: Application


@contextmanager
def served(
    micrographs: Path, output: Path, *, diameter: float | None = DIAMETER, port: int = 0
) -> Iterator[Running]:
    """Serve in a thread; `fewpick label` does the same in the main one."""
    paths = list_micrographs(micrographs)
    shapes: dict[str, tuple[int, int]] = {}
    broken: dict[Path, str] = {}
    for path in paths:
        try:
            header = read_header(path)
            shapes[path.name] = header.ny, header.nx
        except InputError as error:
            broken[path] = str(error)
    written = {path.name: str(path) for path in paths}
    files = LabelFiles(output, {**shapes, **{p.name: ANY_SIZE for p in broken}}, written)
    session = Session(files, diameter)
    sound = [path for path in paths if path not in broken]
    application = Application(session, paths, broken, Guide(sound, shapes, BlobProposer))
    taken = listen(port)
    config = uvicorn.Config(
        application.asgi(), log_level="critical", lifespan="off", ws="none",
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
    thread.start()
    number = taken.getsockname()[1]
    address = f"http://127.0.0.1:{number}/{application.token}/"
    try:
        yield Running(address, application.token, number, session, application)
    finally:
        server.should_exit = True
        thread.join(30)
        taken.close()
        assert not thread.is_alive()


@contextmanager
def command(
    micrographs: Path,
    output: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    browser: bool = False,
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`fewpick label` in a process of its own, and the address that it prints."""
    words = [str(micrographs), "-o", str(output), "--port", "0", "--model", "none", *arguments]
    words += [] if browser else ["--no-browser"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fewpick.cli", "label", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    assert process.stdout is not None
    try:
        address = next((line.strip() for line in process.stdout if "http://" in line), "")
        assert address, "no address was printed"
        yield process, address
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


# Forked from a server that has imported what the command needs, which saves seconds each.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["fewpick.label_page.server", "fewpick.label_page.proposals", "fewpick.commands.label"]
)


@contextmanager
def forked_command(micrographs: Path, output: Path) -> Iterator[tuple[ForkServerProcess, str]]:
    """As `command`, in a process that may be killed and restarted many times."""
    said = output.with_suffix(".said")
    said.unlink(missing_ok=True)
    words = ["label", str(micrographs), "-o", str(output), "--no-browser", "--port", "0"]
    words += ["--model", "none"]
    process = _context.Process(target=_run_command, args=(words, said))
    process.start()
    deadline = time.monotonic() + 120
    try:
        while not (address := _address_in(said)):
            assert process.is_alive(), said.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield process, address
    finally:
        process.kill()
        process.join()


def _run_command(words: list[str], said: Path) -> None:
    with said.open("w", buffering=1) as sys.stdout:
        cli.main(words)


def _address_in(said: Path) -> str:
    text = said.read_text() if said.exists() else ""
    found = [line.strip() for line in text.splitlines() if "http://" in line]
    return found[0] if found and "\n\n" in text.split(found[0])[1] else ""
