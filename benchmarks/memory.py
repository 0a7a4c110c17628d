"""Peak memory of fitting and scoring a million students, as the operating system counts it.

Run as a command it is the process that is measured: it reads its data, fits, and scores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.grid import ONE_THREAD, write_arrays
from benchmarks.problems import Problem, draw
from benchmarks.sections import Section, forget_peak, peak_gb
from benchmarks.stamp import HERE
from benchmarks.table import describe, markdown
from benchmarks.worker import load


def peaks(problem: Problem) -> Section:
    """Measure fresh processes: whole and continuous scores, one thread and two."""
    body: list[list[str]] = []
    numbers: dict[str, float] = {}
    for integer in (True, False):
        variant = replace(problem, integer=integer)
        with tempfile.TemporaryDirectory(prefix="growth-memory-") as name:
            cohort = draw(variant)
            write_arrays(Path(name), cohort.design, cohort.score, cohort.blocks)
            del cohort
            for threads in (1, 2):
                command = [sys.executable, "-m", "benchmarks.memory", name, str(threads)]
                environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(HERE.parent)}
                run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                found = json.loads(run.stdout)
                kind = f"{describe(variant)}, {threads} thread{'s' if threads > 1 else ''}"
                body.append([kind, *(f"{found[part]:.2f} GB" for part in ("data", "fit", "score"))])
                numbers |= {f"{kind}: {part}": found[part] for part in ("fit", "score")}
    header = ["", "data loaded", "peak while fitting", "peak while scoring"]
    text = (
        "All memory of a fresh process is counted: interpreter, libraries, compiled code, the design itself "
        f"({8e-9 * problem.n * problem.columns:.2f} GB). Asked at n = 1,000,000, p = 22: under 1.5 GB.\n\n"
    )
    return Section("Peak memory", text + markdown(header, body), numbers)


def main(folder: Path, threads: int) -> None:
    """Fit and score in this process and print its peaks."""
    from growth.quantile import fit_quantiles

    data = load(folder)
    found = {"data": peak_gb()}
    process = fit_quantiles(data.design, data.response, blocks=data.blocks, n_jobs=threads)
    found["fit"] = peak_gb()
    forget_peak()
    process.score(data.design, data.response)
    found["score"] = peak_gb()
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
