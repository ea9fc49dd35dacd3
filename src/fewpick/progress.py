"""Show the progress of a long stage: a bar in a terminal, and lines in the log."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

logger = logging.getLogger(__name__)

INTERVAL = 30.0  # seconds between two lines in the log


class Progress:
    """Count steps and report progress, rate and remaining time at intervals.

    Use it as a context manager, and call `update` once per step.

    Parameters
    ----------
    total : number of steps
    title : start of each line
    interval : seconds between two lines in the log; the last step is always reported
    """

    def __init__(self, total: int, title: str, interval: float = INTERVAL) -> None:
        self.total, self.title, self.interval = total, title, interval
        self.done = 0
        self._values: dict[str, str] = {}
        # Workflow scripts log to stderr, too; show a bar only in a terminal.
        self._bar = tqdm(total=total, desc=title, disable=not sys.stderr.isatty(), leave=False)

    def __enter__(self) -> Self:
        """Start counting."""
        self._begin = self._reported = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the bar."""
        self._bar.close()

    def update(self, n: int = 1, **values: float | str) -> None:
        """Count `n` steps; `values` (such as a loss) stay in the line until replaced."""
        self.done += n
        self._values |= {k: v if isinstance(v, str) else f"{v:.4g}" for k, v in values.items()}
        if values:
            self._bar.set_postfix(self._values, refresh=False)
        self._bar.update(n)
        now = time.monotonic()
        if now - self._reported >= self.interval or self.done >= self.total:
            self._reported = now
            logger.info("%s", self.line(now - self._begin))

    def line(self, elapsed: float) -> str:
        """Return the log line after `elapsed` seconds."""
        rate = self.done / elapsed if elapsed > 0 else 0.0
        left = f"{(self.total - self.done) / rate:.0f} s left" if rate else "time left unknown"
        said = f"{self.title}: {self.done}/{self.total}, {rate:.3g}/s, {left}"
        return ", ".join([said, *(f"{k} {v}" for k, v in self._values.items())])
