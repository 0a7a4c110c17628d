"""How far a run has come."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TypeAlias

__all__ = ["Progress", "Steps"]

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, what is done next or was done last)."""


class Steps:
    """Counts steps and tells a listener, one call at a time, whichever thread has done the step."""

    def __init__(self, listener: Progress | None, total: int) -> None:
        self._listener, self._total, self._done, self._lock = listener, total, 0, Lock()

    def add(self, label: str, steps: int = 1) -> None:
        """Count a step, or several that were done before."""
        with self._lock:
            self._done += steps
            if self._listener is not None:
                self._listener(self._done, self._total, label)
