"""How a fit is timed: CPU seconds of one thread, medians of repeats, honest extrapolation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from growth._types import FloatArray, IntArray

PROBE = 5
"""Neighbouring taus on which a process method is tried before all of them are run."""
PATIENCE = 5.0
"""A process method may take this many times the budget: few taus say little about its time for all."""
LEAST, MOST = 3, 7
"""Repeats of a process method: at least (if one fits into the budget), at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What one library did on one problem."""

    done: IntArray
    """Positions of the taus that were solved."""
    coef: FloatArray
    """Their coefficients, shape (len(done), p)."""
    seconds: float
    """CPU seconds for all taus, extrapolated if not all were solved."""
    wall: float
    """Wall-clock seconds, likewise."""
    spread: tuple[float, float]
    """Fastest and slowest repeat [CPU seconds]."""
    notes: dict[str, float] = field(default_factory=dict)
    """Further numbers, such as counters."""


def one_by_one(solve: Callable[[float], FloatArray], taus: FloatArray, budget: float) -> Run:
    """Solve tau after tau, the next always far from those done, until `budget` [CPU seconds] is used up."""
    done: list[int] = []
    coef: list[FloatArray] = []
    cpu, wall = time.process_time(), time.perf_counter()
    for k in spread_out(taus.size):
        coef.append(np.asarray(solve(float(taus[k])), dtype=np.float64).ravel())
        done.append(int(k))
        if time.process_time() - cpu > budget:
            break
    share = taus.size / len(done)
    seconds = (time.process_time() - cpu) * share
    return Run(
        np.array(done), np.array(coef), seconds, (time.perf_counter() - wall) * share, (seconds, seconds)
    )


def whole_process(solve: Callable[[FloatArray], FloatArray], taus: FloatArray, budget: float) -> Run:
    """Solve all taus at once, several times; only some neighbouring ones if all would take too long."""
    middle = taus.size // 2
    probe = np.arange(max(0, middle - PROBE // 2), min(taus.size, middle + PROBE // 2 + 1))
    cpu = time.process_time()
    coef = solve(taus[probe])
    if (time.process_time() - cpu) * taus.size / probe.size > PATIENCE * budget:
        return _scaled(solve, taus, probe)
    cpus: list[float] = []
    walls: list[float] = []
    while again(cpus, budget):
        cpu, wall = time.process_time(), time.perf_counter()
        coef = solve(taus)
        cpus.append(time.process_time() - cpu)
        walls.append(time.perf_counter() - wall)
    return Run(
        np.arange(taus.size), coef, float(np.median(cpus)), float(np.median(walls)), (min(cpus), max(cpus))
    )


def again(times: list[float], budget: float) -> bool:
    """Whether a process method is repeated after it took these times."""
    if not times:
        return True
    if len(times) < LEAST and times[0] <= budget:
        return True
    return len(times) < MOST and sum(times) + times[0] <= budget


def spread_out(m: int) -> IntArray:
    """Order 0..m-1 so that every beginning of it is spread evenly (van der Corput order)."""
    bits = max(1, int(np.ceil(np.log2(m))))
    reverse = [int(f"{k:0{bits}b}"[::-1], 2) for k in range(2**bits)]
    # Begin at the middle: an extreme tau is no fair first guess of the cost of all.
    return np.array([(k + m // 2) % m for k in reverse if k < m], dtype=np.int64)


def _scaled(solve: Callable[[FloatArray], FloatArray], taus: FloatArray, some: IntArray) -> Run:
    cpu, wall = time.process_time(), time.perf_counter()
    coef = solve(taus[some])
    share = taus.size / some.size
    seconds = (time.process_time() - cpu) * share
    return Run(some, coef, seconds, (time.perf_counter() - wall) * share, (seconds, seconds))
