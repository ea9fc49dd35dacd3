"""Read and prepare the next items in threads, ahead of their use."""

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
    """Yield `work(item)` of each item in order, worked on ahead in threads.

    Reading files and most of NumPy release the interpreter lock, so threads are enough to keep
    cores, or a GPU, busy.

    Parameters
    ----------
    work : called once per item, in a thread
    items : read as they are needed
    threads : items worked on at once; no more than that many results are in memory

    Raises
    ------
    Exception
        What `work` raises, where its result would have come. Items not yet begun are dropped.
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
