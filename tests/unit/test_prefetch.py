"""Results come in order, no more of them than threads are ahead, and failures where they belong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from fewpick.prefetch import in_order


def test_results_come_in_order_and_little_is_done_ahead() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        time.sleep(0.002 * (item % 3))
        return 10 * item

    for number, result in enumerate(in_order(work, range(20), threads=3)):
        assert result == 10 * number
        assert len(begun) <= number + 3


def test_items_are_read_as_they_are_needed() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1000):
            read.append(item)
            yield item

    results = in_order(lambda item: item, items(), threads=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    results.close()  # type: ignore[attr-defined]
    assert len(read) <= 6


def test_a_failure_comes_in_its_place_and_ends_the_threads() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    results = in_order(work, range(100), threads=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert all("ThreadPool" not in thread.name for thread in threading.enumerate())
