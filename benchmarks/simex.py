"""SIMEX of a large cohort from its panel to corrected and ranked percentiles, in fresh processes.

Run as a command it is the process that is measured.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time

import numpy as np

from benchmarks.grid import ONE_THREAD
from benchmarks.problems import Problem, csem, draw
from benchmarks.sections import Section, forget_peak, peak_gb
from benchmarks.stamp import HERE
from benchmarks.table import describe, markdown, seconds
from growth.panel import Panel, Pattern, Prior
from growth.spec import GrowthSpec

REPLICATES = 50
"""Per lambda."""


def simex(problem: Problem, replicates: int = REPLICATES) -> Section:
    """Time SIMEX with one thread and with two; their results must be equal to the last bit.

    Everything is timed: first fit, draws, knots, designs, refits, curves, extrapolation, placing, ranking.
    """
    body: list[list[str]] = []
    found = {}
    for threads in (1, 2):
        command = [sys.executable, "-m", "benchmarks.simex", *map(str, (problem.n, replicates, threads))]
        environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(HERE.parent)}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found[threads] = one = json.loads(run.stdout)
        body.append(
            [
                f"{threads} thread{'s' if threads > 1 else ''}",
                seconds(one["wall"]),
                seconds(one["cpu"]),
                f"{one['peak']:.2f} GB",
            ]
        )
    if found[1]["digest"] != found[2]["digest"]:
        raise AssertionError("SIMEX depends on the number of threads.")
    fits = 100 * (1 + 4 * replicates)
    text = (
        f"{describe(problem)}; lambda = 0.5, 1, 1.5, 2 with {replicates} replicates each, {fits:,} fits; "
        "everything from the panel to SIMEX and ranked SIMEX percentiles. Results of one and two threads are "
        "equal bit for bit. Asked at n = 50,000 and 50 replicates: under 60 s on two cores, under 4 GB.\n\n"
    )
    numbers = {"n": problem.n, "replicates": replicates, "wall": found[2]["wall"], "cpu": found[1]["cpu"]}
    numbers["peak"] = max(one["peak"] for one in found.values())
    header = ["", "wall-clock time", "CPU time", "peak memory"]
    return Section("SIMEX of a cohort", text + markdown(header, body), numbers)


def cohort_panel(problem: Problem) -> Panel:
    """Return a cohort as the student room takes it, with the CSEM of every prior."""
    cohort = draw(problem)
    return Panel(
        subject="MATH",
        grade=8,
        year=2025,
        pattern=Pattern(tuple(Prior("MATH", k, 8 - k) for k in range(1, problem.priors + 1))),
        row=np.arange(problem.n),
        score=cohort.score,
        priors=cohort.priors,
        covariates=cohort.flags,
        covariate_names=tuple(f"flag{j}" for j in range(problem.flags)),
        knot_scores=tuple(cohort.priors.T),
        bounds=None,
        norm_group="",
        csem=csem(cohort.priors),
    )


def main(n: int, replicates: int, threads: int) -> None:
    """Measure in this process and print what was found."""
    from growth.student import QuantileGrowth, student_growth

    spec = GrowthSpec.preset("sgp").replace({"simex.use": "simex", "measurement.csem": "column"})
    few = spec.replace({"simex.replicates": 2, "simex.lambdas": [1.0]})
    student_growth(cohort_panel(Problem(5_000, 2)), few, n_jobs=threads)  # compiles
    panel = cohort_panel(Problem(n, 2))
    forget_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    growth = student_growth(panel, spec.replace({"simex.replicates": replicates}), n_jobs=threads)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert isinstance(growth, QuantileGrowth)
    assert growth.simex is not None
    digest = hashlib.sha256()
    for values in (growth.simex.sgp, growth.simex.sgp_ranked, growth.simex.percentile):
        digest.update(np.ascontiguousarray(values).data)
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak_gb(), "digest": digest.hexdigest()}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
