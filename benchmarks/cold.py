"""Cold start: the first fit in a fresh process, with an empty and with a warm cache of compiled code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

from benchmarks.batches import Section
from benchmarks.grid import ONE_THREAD
from benchmarks.stamp import HERE
from benchmarks.table import markdown, seconds

PROGRAM = """
import json, time
clock = [time.perf_counter()]
from growth.quantile import fit_quantiles
clock.append(time.perf_counter())
from benchmarks.problems import Problem, draw
clock.append(time.perf_counter())
cohort = draw(Problem(20_000, 2))
design = cohort.design
clock.append(time.perf_counter())
for _ in range(2):
    fit_quantiles(design, cohort.score, blocks=cohort.blocks)
    clock.append(time.perf_counter())
clock.pop(2)
print(json.dumps([b - a for a, b in zip(clock, clock[1:])]))
"""


def cold_starts() -> Section:
    """Start two fresh processes one after the other on one cache folder, empty at first."""
    body, numbers = [], {}
    with tempfile.TemporaryDirectory(prefix="growth-cold-") as cache:
        for state in ("empty cache", "warm cache"):
            environment = os.environ | ONE_THREAD | {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(HERE.parent)}
            run = subprocess.run(
                [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
            )
            times = json.loads(run.stdout)
            body.append([state, *(seconds(value) for value in times)])
            numbers[state] = sum(times[:3])
    header = ["fresh process", "import", "data and design", "first fit", "second fit"]
    return Section("Cold start (n = 20,000, p = 15; wall clock)", markdown(header, body), numbers)
