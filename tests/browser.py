"""A headless Chromium, driven through its own protocol over a pipe: no further package is needed."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
TIME_LIMIT = 50
"""Seconds; a page takes two."""
STARTED = "document.documentElement?.dataset.state"
"""True once the report's program runs."""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def browser_path() -> str:
    """Return the browser of this machine; the test that asks is skipped if there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if not found:
        pytest.skip("no Chromium on this machine: the page is not looked at in a browser")
    return found


@dataclass
class Tab:
    """One page in the browser, and everything it complained about or asked for."""

    write: int
    read: int
    session: str = ""
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _last: int = 0
    _buffer: bytes = b""

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command and return its answer."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        until = monotonic() + TIME_LIMIT
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self.read], [], [], max(until - monotonic(), 0))
            assert ready, "the browser does not answer"
            part = os.read(self.read, 1 << 20)
            assert part, "the browser is gone"
            self._buffer += part
        one, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(one))

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def do(self, script: str) -> Any:  # noqa: ANN401
        """Run a script in the page, wait for its promise, and return its value."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true in the page."""
        until = monotonic() + TIME_LIMIT
        while not self.do(f"Boolean({condition})"):
            assert monotonic() < until, f"never true: {condition}"
            self.do("new Promise(done => setTimeout(done, 50))")

    def open(self, page: Path, fragment: str = "", ready: str = STARTED) -> None:
        """Open a file and wait until its program has started, or for another condition."""
        self.call("Page.navigate", url="about:blank")
        self.requests.clear()
        self.call("Page.navigate", url=page.as_uri() + fragment)
        self.wait(ready)

    def window(self, width: int, height: int, mobile: bool = False) -> None:
        """Set the size of the window [CSS pixels]."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )

    def media(self, *, dark: bool = False, medium: str = "") -> None:
        """Choose the system's colors, and the medium."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=medium, features=[scheme])

    def key(self, name: str) -> None:
        """Press a key."""
        code = {"Enter": 13, "ArrowDown": 40, "Escape": 27, "Tab": 9}[name]
        text = {"text": "\r"} if name == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, **text
            )

    def write_text(self, text: str) -> None:
        """Type into the element that has the focus."""
        self.call("Input.insertText", text=text)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag the mouse from one place in the window to another."""
        common = {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1], **common)
        for part in (0.5, 1.0):
            x, y = (a + part * (b - a) for a, b in zip(start, end, strict=True))
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, button="left", buttons=1)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], **common)

    def picture(self, file: Path, *, whole: bool = False) -> None:
        """Save what the window shows, or the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(answer["data"]))

    def paper(self) -> bytes:
        """Return the page as a PDF."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])


@contextmanager
def open_tab(browser: str, profile: Path) -> Iterator[Tab]:
    """Start a browser with a profile of its own, and end it."""
    to_read, write = os.pipe()
    read, to_write = os.pipe()
    given = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, to_write)]

    def as_three_and_four() -> None:
        os.dup2(given[0], 3)
        os.dup2(given[1], 4)

    process = subprocess.Popen(
        [browser, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(3, 4),
        preexec_fn=as_three_and_four,
    )
    for end in (to_read, to_write, *given):
        os.close(end)
    tab = Tab(write, read)
    try:
        target = tab.call("Target.createTarget", url="about:blank")["targetId"]
        tab.session = tab.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        tab.window(1280, 900)
        tab.media()
        yield tab
    finally:
        tab.session = ""
        try:
            tab.call("Browser.close")
        except (AssertionError, OSError):
            process.kill()
        process.wait(timeout=TIME_LIMIT)
        os.close(write)
        os.close(read)
