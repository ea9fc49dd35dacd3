"""What every script shares: its log, and a clean end when the input is bad or time is up.

Scripts import this module before the package, which it takes from the checkout: in conda
environments and on cluster nodes the package is not installed.
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
# Threads that wait for each other must not spin: on a shared machine that costs a factor of three.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

from fewpick.errors import InputError


@contextmanager
def stage(log: str) -> Iterator[None]:
    """Send log messages to the file `log` and to stderr while a stage runs.

    An InputError is told in one line and ends the script with status 1; any other exception is a
    fault of the program, and its traceback goes to both places.
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
    """From now on a request to stop is only noted; the result tells whether there was one.

    SIGTERM is what a cluster sends before it takes a job's node away or its time is up, SIGINT is
    Ctrl-C. The second one ends the process at once.
    """
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    return lambda: asked
