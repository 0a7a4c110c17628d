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

import math
import time
from collections.abc import Mapping
from typing import Final

import numpy as np

__all__ = ["COSTS", "PROBE", "held", "priced", "probe"]

Units = Mapping[str, float]
"""Unit of work -> how many."""

PROBE: Final = 0.0595
"""What `probe` returned where `COSTS` were fitted [CPU seconds]."""

COSTS: Final[Mapping[str, float]] = {
    "read": 0.0283,
    "read rows": 6.93e-07,
    "panels": 0.014,
    "panels rows": 2e-07,
    "panels students": 0,
    "composition": 0.177,
    "composition n p2": 2.89e-09,
    "fit p2": 2.65e-07,
    "fit n p": 4.76e-10,
    "students": 0.0822,
    "students rows": 1.42e-06,
    "fairness": 0.258,
    "fairness results": 4.7e-07,
    "schools": 0.107,
    "schools results": 8.88e-07,
    "result": 0.0175,
    "result rows": 9.78e-07,
    "simex p2": 3.08e-07,
    "simex n p": 6.16e-10,
    "intervals p2": 3.49e-07,
    "intervals n p": 0,
    "intervals n": 3.31e-08,
    "refit p2": 4.25e-07,
    "refit n p": 9.35e-10,
}
"""Unit of work -> CPU seconds."""

BASE_GB: Final = 0.134
"""Interpreter, libraries and compiled code [GB]."""
SLACK: Final = 1.3
"""Peak memory beyond that, per square root of the bytes in use [GB per root of GB].

Measured from a thousand to 22 million rows. Work goes piece by piece, and what allocators keep for each
thread is full long before arrays are large: memory grows more slowly than what is in use, until that is all.
"""

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


def held(live: float) -> float:
    """Return the peak memory [GB] of a process that has so many bytes in use that cannot be given back."""
    return BASE_GB + max(live / 1e9, SLACK * math.sqrt(live / 1e9))
