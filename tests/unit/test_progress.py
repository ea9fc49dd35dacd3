from __future__ import annotations

import logging

import pytest

from fewpick.progress import Progress


def test_line_says_step_rate_remaining_time_and_values() -> None:
    with Progress(600, "train") as progress:
        progress.update(100, loss=0.51239, val_f1=0.7)
        progress.update(20, loss=0.5)
        assert progress.line(60.0) == ("train: 120/600, 2/s, 240 s left, loss 0.5, val_f1 0.7")


def test_line_before_the_first_step() -> None:
    with Progress(5, "pick") as progress:
        assert progress.line(0.0) == "pick: 0/5, 0/s, time left unknown"
        assert progress.line(3.0) == "pick: 0/5, 0/s, time left unknown"


def test_log_has_a_line_now_and_then_and_one_at_the_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0
    monkeypatch.setattr("time.monotonic", lambda: clock)
    caplog.set_level(logging.INFO)
    with Progress(10, "train", interval=30) as progress:
        for _ in range(10):
            clock += 10
            progress.update()
    assert [record.message.split(",")[0] for record in caplog.records] == [
        "train: 3/10",
        "train: 6/10",
        "train: 9/10",
        "train: 10/10",
    ]
