"""`fewpick label` killed under clicks: at most the last click is gone."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from label_server import NX, NY, SOUND, forked_command, make_micrographs

from fewpick.label_page.label_files import KINDS, LabelFiles

KILLS = int(os.environ.get("FEWPICK_LABEL_KILLS", "100"))
MOST_CLICKS = 30  # that are answered before a kill
LATEST = 0.03  # seconds after the last of them; a click takes about a third of that

State = dict[str, dict[str, list[Any]]]
Message = dict[str, Any]


def on_disk(labels: Path) -> State:
    shapes = dict.fromkeys(SOUND, (NY, NX))
    held = LabelFiles(labels, shapes, {name: name for name in SOUND}).read().of
    return {
        name: {kind: sorted(map(list, getattr(of, kind))) for kind in KINDS}
        for name, of in held.items()
    }


def after(state: State, message: Message) -> State:
    """What a change makes of a state."""
    changed = json.loads(json.dumps(state))
    held = changed[message["micrograph"]]
    for kind in KINDS:
        gone = message["remove"].get(kind, [])
        left = [thing for thing in held[kind] if thing not in gone]
        held[kind] = sorted(left + message["add"].get(kind, []))
    result: State = changed
    return result


def draw_click(state: State, number: int, draw: random.Random) -> Message:
    """A click somewhere: add, remove, deny, or finish an area; number makes places distinct."""
    name = draw.choice(SOUND)
    place = [float(number % NX), float(number // NX) + 0.5]
    add: dict[str, Any] = {}
    remove: dict[str, Any] = {}
    kind = draw.choice(["marks", "marks", "negatives", "areas", "remove", "turn"])
    if kind in ("marks", "negatives"):
        add = {kind: [place]}
    elif kind == "areas":
        old = state[name]["areas"]
        x, y = (number % 100) * 6, 100 + number // 100 % 100
        add, remove = {"areas": [[x, y, x + 5, y + 1]]}, {"areas": old[:2]}
    elif state[name]["marks"]:
        mark = draw.choice(state[name]["marks"])
        remove = {"marks": [mark]}
        add = {"negatives": [mark]} if kind == "turn" else {}
    return {"client": "c", "load": "l", "number": number, "micrograph": name} | {
        "add": add,
        "remove": remove,
    }


def click_until_killed(
    address: str, state: State, first: int, draw: random.Random, kill: Callable[[], None]
) -> tuple[list[Message], Message]:
    """Changes that were answered, and the one that was not."""
    where = urlsplit(address)
    assert where.hostname
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    answered: list[Message] = []
    timer = threading.Timer(draw.uniform(0, LATEST), kill)
    clicks = draw.randrange(MOST_CLICKS)
    while True:
        if len(answered) == clicks:
            timer.start()
        message = draw_click(state, first + len(answered), draw)
        try:
            connection.request(
                "POST",
                f"{where.path}api/change",
                json.dumps(message),
                {"Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            timer.join()
            return answered, message
        assert answer.status == 200, content
        answered.append(message)
        state = after(state, message)


def kill_and_compare(folder: Path, kills: int, seed: int) -> tuple[int, int]:
    """Changes that were answered in all, and kills after which the unanswered one was there."""
    micrographs = make_micrographs(folder / "micrographs")
    labels = folder / "labels.star"
    draw = random.Random(seed)
    number = in_time = 0
    state = on_disk(labels)
    for _ in range(kills):
        with forked_command(micrographs, labels) as (process, address):
            answered, last = click_until_killed(address, state, number, draw, process.kill)
        for message in answered:
            state = after(state, message)
        found = on_disk(labels)
        assert found in (state, after(state, last))
        in_time += found != state
        state, number = found, number + len(answered) + 1
        leftovers = [path.name for path in folder.iterdir() if path.name.endswith(".tmp.star")]
        assert len(leftovers) <= kills
    return number - kills, in_time


def test_a_killed_server_loses_at_most_the_last_click(tmp_path: Path) -> None:
    answered, _ = kill_and_compare(tmp_path, 4, seed=1)
    assert answered > 4


@pytest.mark.kills
def test_a_hundred_kills_lose_nothing_but_the_last_click(tmp_path: Path) -> None:
    start = time.monotonic()
    answered, in_time = kill_and_compare(tmp_path, KILLS, int(os.environ.get("FEWPICK_SEED", "0")))
    print(
        f"{KILLS} kills under {answered} answered clicks in {time.monotonic() - start:.0f} s: none "
        f"of them lost; of those not answered {in_time} were saved",
        flush=True,
    )
