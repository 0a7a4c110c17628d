"""Cold start: the first fit in a fresh process, with an empty and with a warm cache of compiled code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.grid import ONE_THREAD
from benchmarks.problems import Problem, draw
from benchmarks.sections import Section
from benchmarks.stamp import HERE
from benchmarks.table import describe, markdown, seconds

PROGRAM = """
import sys, time
clock = [time.perf_counter()]
from growth.quantile import SplineBasis, fit_quantiles, spline_design
clock.append(time.perf_counter())
import json
import numpy as np
priors, score = np.load(sys.argv[1]), np.load(sys.argv[2])
blocks = [slice(1 + 7 * j, 8 + 7 * j) for j in range(priors.shape[1])]
clock[-1:] = [clock[-1] - clock[0]]
for _ in range(2):
    start = time.perf_counter()
    design = spline_design(priors, [SplineBasis.from_scores(prior) for prior in priors.T])
    clock.append(time.perf_counter() - start)
    start = time.perf_counter()
    process = fit_quantiles(design, score, blocks=blocks)
    clock.append(time.perf_counter() - start)
    start = time.perf_counter()
    process.score(design, score)
    clock.append(time.perf_counter() - start)
print(json.dumps(clock[1:]))
"""
WARM = 3
"""Fresh processes on the warm cache; the median counts."""


def cold_starts(problem: Problem) -> Section:
    """Start fresh processes one after the other on one cache folder, empty at first."""
    cohort = draw(problem)
    taken = []
    with tempfile.TemporaryDirectory(prefix="growth-cold-") as name:
        folder = Path(name)
        np.save(folder / "priors.npy", cohort.priors)
        np.save(folder / "score.npy", cohort.score)
        environment = os.environ | ONE_THREAD
        environment |= {"NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(HERE.parent)}
        command = [sys.executable, "-c", PROGRAM, str(folder / "priors.npy"), str(folder / "score.npy")]
        for _ in range(1 + WARM):
            run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            taken.append(json.loads(run.stdout))
    body, numbers = [], {}
    for state, times in (("empty cache", taken[0]), ("warm cache", np.median(taken[1:], axis=0).tolist())):
        load, design, fit, score, *second = times
        numbers[state] = load + design + fit
        parts = (load, design, fit, score, numbers[state], sum(second))
        body.append([state, *(seconds(value) for value in parts)])
    header = ["", "import", "design", "first fit", "first scoring", "import to first fit", "second time"]
    text = f"{describe(problem)}; wall clock. Asked: 1 s with a warm cache, 15 s with an empty one.\n\n"
    return Section("Cold start", text + markdown(header, body), numbers)
