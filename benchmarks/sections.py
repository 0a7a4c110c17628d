"""What the parts beyond the grid share: how they report, how they measure time and memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.problems import Cohort
from growth.quantile import QuantileProcess, fit_quantiles


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a report."""

    title: str
    text: str
    numbers: dict[str, float]


def fit(cohort: Cohort, n_jobs: int | None = None) -> QuantileProcess:
    """Fit a cohort, design included."""
    return fit_quantiles(cohort.design, cohort.score, blocks=cohort.blocks, n_jobs=n_jobs)


def median_cpu(work: Callable[[], object], repeats: int = 5) -> float:
    """Median CPU seconds of this process."""
    return float(np.median([_elapsed(time.process_time, work) for _ in range(repeats)]))


def pairs_wall(work: Callable[[int], object], pairs: int) -> tuple[float, float, float]:
    """Time `work(1)` and `work(2)` in turns: medians [wall-clock seconds] and the median of their ratios."""
    clock = time.perf_counter
    taken = np.array([[_elapsed(clock, partial(work, j)) for j in (1, 2)] for _ in range(pairs)])
    one, two = np.median(taken, axis=0)
    return float(one), float(two), float(np.median(taken[:, 0] / taken[:, 1]))


def peak_gb() -> float:
    """Peak memory of this process [GB of 10^9 bytes], as Linux counts it (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    kib = next(float(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return kib * 1024 / 1e9


def forget_peak() -> None:
    """Let Linux forget the peak memory of this process so far."""
    Path("/proc/self/clear_refs").write_text("5")


def _elapsed(clock: Callable[[], float], work: Callable[[], object]) -> float:
    start = clock()
    work()
    return clock() - start
