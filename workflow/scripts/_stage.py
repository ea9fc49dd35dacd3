"""Shared by all scripts: logging, and a clean exit on bad input or when time is up.

Scripts import this module before the package. It adds the checkout to the path, because the package
is not installed in conda environments and on cluster nodes.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
# Waiting threads must not spin: on a shared machine, that costs a factor of three.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

from fewpick.errors import InputError


@contextmanager
def stage(log: str) -> Iterator[None]:
    """Send log messages to the file `log` and to stderr while a stage runs.

    An InputError is logged in one line, any other exception with its traceback, as it is a bug.
    Both end the script with status 1.
    """
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        handlers=[logging.FileHandler(log, mode="w"), logging.StreamHandler(sys.stderr)],
    )
    logging.captureWarnings(True)
    begin = time.monotonic()
    try:
        yield
        logging.info("done in %.1f s", time.monotonic() - begin)
    except InputError as error:
        logging.error("%s", error)
        sys.exit(1)
    except Exception:
        logging.exception("stopped by an internal error")
        sys.exit(1)


def stop_request() -> Callable[[], bool]:
    """Catch requests to stop; return a function that tells whether there was one.

    A cluster sends SIGTERM before a job's time is up or its node is taken away; Ctrl-C sends
    SIGINT. A second signal ends the process immediately.
    """
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    return lambda: asked
