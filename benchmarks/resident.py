"""Memory of this process as Linux counts it: all that is resident, and what cannot be given back."""

from __future__ import annotations

import threading
from pathlib import Path

_SECONDS = 0.01


class Watch:
    """The most memory that could not be given back at any time [GB]."""

    def __init__(self) -> None:
        self.most = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._done.wait(_SECONDS):
            self.most = max(self.most, resident()["RssAnon"])

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def resident() -> dict[str, float]:
    """Return what the system says of this process's memory [GB]."""
    lines = (line.split() for line in Path("/proc/self/status").read_text("utf-8").splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 / 1e9 for words in lines if words[-1] == "kB"}
