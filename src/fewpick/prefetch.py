"""Prepare the next items in background threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Yield `work(item)` for each item in order, computed ahead in threads.

    File reading and most of NumPy release the interpreter lock, so threads are enough to keep
    cores, or a GPU, busy.

    Parameters
    ----------
    work : called once per item, in a thread
    items : consumed as needed
    threads : number of items processed at once, and maximum number of results in memory

    Raises
    ------
    Exception
        Any exception of `work`, raised in place of its result. Items not yet started are dropped.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(max_workers=threads) as pool:
        try:
            for item in items:
                if len(pending) == threads:
                    yield pending.popleft().result()
                pending.append(pool.submit(work, item))
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
