"""What a run costs, from what there is to do: units of work times seconds per unit.

Seconds per unit were fitted to runs of simulated systems (``python -m benchmarks.capacity --fit``, which
writes them) on a machine whose `probe` took `PROBE` seconds; on another machine they are scaled by its own.
That takes half a second, needs no compiled code, and knows what a calibration run of a few seconds could
not: how a state's table is sorted and grouped. Where columns, schools or processors are of quite another kind
than in the simulation, so are the seconds.

A cohort of *n* students and *p* columns takes, for each of *T* quantiles, a part that grows with
:math:`p^2` (pivots and bands of the solver) and one that grows with :math:`n p` (passes over the rows, among
them those that place students).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import numpy as np

__all__ = ["BASE_GB", "COSTS", "PROBE", "SLACK", "priced", "probe"]

Units = Mapping[str, float]
"""Unit of work -> how many."""

PROBE: Final = 0.0643
"""What `probe` returned where `COSTS` were fitted [CPU seconds]."""

COSTS: Final[Mapping[str, float]] = {
    "read": 0.04,
    "read rows": 3.63e-07,
    "panels": 0.0376,
    "panels rows": 2.27e-07,
    "panels students": 0,
    "composition": 0.224,
    "composition n p2": 2.81e-09,
    "fit p2": 4.34e-07,
    "fit n p": 6.03e-10,
    "students": 0.148,
    "students rows": 3.66e-07,
    "fairness": 0.216,
    "fairness results": 6.68e-07,
    "schools": 0.157,
    "schools results": 8.55e-07,
    "result": 0.042,
    "result rows": 8.09e-07,
    "simex p2": 4.73e-07,
    "simex n p": 7.88e-10,
    "intervals p2": 5.19e-07,
    "intervals n p": 0,
    "intervals n": 3.3e-08,
    "refit p2": 5.93e-07,
    "refit n p": 9.03e-10,
}
"""Unit of work -> CPU seconds."""

BASE_GB: Final = 0.497
"""Interpreter, libraries and compiled code [GB]."""
SLACK: Final = 0.879
"""Peak memory per byte that is in use."""

_SIZE, _COLUMNS, _REPEATS = 200_000, 20, 5


def probe() -> float:
    """Return how long this machine takes for a fixed piece of sorting and arithmetic [CPU seconds]."""
    numbers = np.random.default_rng(0).random((_SIZE, _COLUMNS))
    return min(_once(numbers) for _ in range(_REPEATS))


def _once(numbers: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> float:
    start = time.thread_time()
    order = np.argsort(numbers[:, 0], kind="stable")
    np.cumsum(numbers[order], axis=0)
    np.exp(numbers).sum(axis=1)
    return time.thread_time() - start


def priced(units: Units, speed: float = 1.0) -> float:
    """Return the CPU seconds of some units of work, on a machine that takes `speed` times as long."""
    return speed * sum(COSTS[name] * count for name, count in units.items())
