"""How long a study will still take."""

from __future__ import annotations

from time import perf_counter

from growth.pipeline.progress import Progress, Steps

__all__ = ["TimeLeft", "in_words"]


class TimeLeft:
    """Counts variants and tells a listener the time left, by the pace of those that were computed."""

    def __init__(self, listener: Progress | None, total: int) -> None:
        self._steps, self._left = Steps(listener, total), total
        self._computed, self._start = 0, perf_counter()

    def done(self, computed: bool) -> None:
        """Count one variant; those that were known already say nothing about the pace."""
        self._left -= 1
        self._computed += computed
        if not self._left:
            self._steps.add("done")
        elif not self._computed:
            self._steps.add("known already")
        else:
            pace = (perf_counter() - self._start) / self._computed
            self._steps.add(f"about {in_words(pace * self._left)} left")


def in_words(seconds: float) -> str:
    """Return a time that is only roughly known."""
    if seconds < 90:
        return f"{max(round(seconds / 5) * 5, 5)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
