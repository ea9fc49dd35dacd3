"""A headless Chromium, driven over its debugging pipe: no driver, no server, no dependency.

Protocol: https://chromedevtools.github.io/devtools-protocol/, JSON messages ended by a null byte,
read by the browser from file descriptor 3 and written to 4.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-pipe", "--disable-quic"),
)
NO_HOST, THIS_HOST = "MAP * ~NOTFOUND", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
KEY_CODES = {
    **{"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Home": 36, "End": 35},
    **{"Enter": 13, "Escape": 27, "Delete": 46, "PageUp": 33, "PageDown": 34, "Tab": 9},
}
PATIENCE = 60.0  # seconds for an answer


def find_browser() -> str | None:
    """Path of the browser: $FEWPICK_CHROMIUM, or the first of `NAMES` there is."""
    given = os.environ.get("FEWPICK_CHROMIUM")
    return given or next(filter(None, map(shutil.which, NAMES)), None)


def _high(descriptor: int) -> int:
    """The same file under a number that is neither 3 nor 4."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10)
    os.close(descriptor)
    return moved


class Page:
    """One page in a browser of its own, without a network.

    Parameters
    ----------
    browser : path of its program
    width, height : of the window, px
    local : servers of this machine can be reached

    Attributes
    ----------
    problems : what the console said at level warning or error, and uncaught exceptions
    requests : addresses that the page asked for, data URIs left out
    """

    def __init__(
        self, browser: str, width: int = 1280, height: int = 800, *, local: bool = False
    ) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._profile = tempfile.TemporaryDirectory(
            prefix="fewpick-chromium-", ignore_cleanup_errors=True
        )
        down, self._write = map(_high, os.pipe())
        self._read, up = map(_high, os.pipe())
        # The shell puts the two pipes where the browser looks for them.
        self._process = subprocess.Popen(
            [
                *("bash", "-c", f'exec "$0" "$@" 3<&{down} 4>&{up}', browser, *FLAGS),
                *(f"--user-data-dir={self._profile.name}", f"--window-size={width},{height}"),
                f"--host-resolver-rules={THIS_HOST if local else NO_HOST}",
                "about:blank",
            ],
            pass_fds=(down, up),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(down)
        os.close(up)
        self._buffer, self._count, self._session = b"", 0, ""
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        if not local:
            self.cut()
        self.resize(width, height)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def cut(self, cut: bool = True) -> None:
        """Cut the network, or connect it again."""
        self.call(
            "Network.emulateNetworkConditions",
            offline=cut,
            latency=0,
            downloadThroughput=0 if cut else -1,
            uploadThroughput=0 if cut else -1,
        )

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        """Set the size of the window, px; a phone has two dots to the px."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def open(self, path: Path | str) -> None:
        """Open a file or an address, and wait until it is loaded."""
        url = path if isinstance(path, str) else path.absolute().as_uri()
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def run(self, expression: str) -> Any:
        """Value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript condition holds: drawings follow a new width a little later."""
        deadline = time.monotonic() + PATIENCE
        while not self.run(condition):
            assert time.monotonic() < deadline, f"never true: {condition}"
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        """Click the middle of an element with the mouse, having scrolled it into view."""
        where = json.dumps(selector)
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({where});"
            " e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Send one event of the mouse: mousePressed, mouseReleased, mouseMoved or mouseWheel."""
        button = more.pop("button", "none" if kind in ("mouseMoved", "mouseWheel") else "left")
        count = 1 if kind in ("mousePressed", "mouseReleased") else 0
        self.call(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=count, **more
        )

    def click_at(self, x: float, y: float, button: str = "left") -> None:
        """Click a place of the window."""
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, button=button)
        self.mouse("mouseReleased", x, y, button=button)

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 4) -> None:
        """Press at one place, move, and release at another."""
        self.mouse("mouseMoved", *start)
        self.mouse("mousePressed", *start)
        for i in range(1, steps + 1):
            x, y = (a + (b - a) * i / steps for a, b in zip(start, end, strict=True))
            self.mouse("mouseMoved", x, y, button="left", buttons=1)
        self.mouse("mouseReleased", *end)

    def type(self, key: str, *, shift: bool = False, control: bool = False) -> None:
        """Press a key, by its name in `KeyboardEvent.key`."""
        code = KEY_CODES.get(key, ord(key.upper()) if len(key) == 1 else 0)
        more: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": code}
        more["modifiers"] = 8 * shift + 2 * control
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 and not control else "")
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", **more)

    def press(self, selector: str, key: str, times: int = 1) -> None:
        """Give an element the keyboard and press a key such as ArrowRight."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                self.call(
                    "Input.dispatchKeyEvent",
                    type=kind,
                    key=key,
                    code=key,
                    windowsVirtualKeyCode=KEY_CODES[key],
                )

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Write a PNG of the page, all of it or what the window shows."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol; events that come meanwhile are noted."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            answer = self._receive(method)
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def _receive(self, method: str) -> Any:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], deadline - time.monotonic())
            assert ready, f"no answer to {method}"
            data = os.read(self._read, 1 << 20)
            assert data, f"the browser ended at {method}"
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: Any) -> None:
        method, values = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(values["exceptionDetails"])[:2000])
        elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning"):
            self.problems.append(json.dumps(values["args"])[:2000])
        elif method == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.problems.append(json.dumps(values["entry"])[:2000])
        elif method == "Network.requestWillBeSent":
            url = values["request"]["url"]
            if not url.startswith("data:"):
                self.requests.append(url)
