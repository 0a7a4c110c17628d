"""The index pipeline's contract: one call for a system of CORE's size, with a freeze bundle and without.

Run as a command it is the process that is measured: it loads the bundle, runs, and prints wall-clock seconds,
stage by stage as the manifest has them, CPU seconds, and its peak memory as the operating system counts it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.sections import Section
from benchmarks.stamp import HERE
from benchmarks.table import markdown

ENROLLED, TESTED, SCHOOLS = 1_000_000, 525_000, 1_500
"""Students; tested in grades 3 to 8 and 11, so that about 450,000 have a score in a grade with priors."""
SECONDS, GIGABYTES, THREADS = 60.0, 6.0, 2
"""What is asked, on so many cores."""
GRADES = (4, 5, 6, 7, 8, 11)
UNTESTED = (0, 1, 2, 9, 10, 12)
YEAR = 2025


def contract(enrolled: int = ENROLLED, tested: int = TESTED, schools: int = SCHOOLS) -> Section:
    """Simulate the system, freeze the year before, and measure fresh processes."""
    with tempfile.TemporaryDirectory(prefix="growth-pipeline-") as name:
        folder = Path(name)
        about = _child("make", folder, enrolled, tested, schools)
        _child("freeze", folder)
        found = {kind: _child(kind, folder) for kind in ("frozen", "fitted")}
    body = [
        [
            kind,
            f"{one['wall']:.1f} s",
            f"{one['cpu']:.1f} s",
            f"{one['peak']:.2f} GB",
            _stages(one),
        ]
        for kind, one in found.items()
    ]
    numbers = {
        f"{kind}: {part}": one[part] for kind, one in found.items() for part in ("wall", "cpu", "peak")
    }
    numbers |= {"rows": about["rows"], "scored": found["frozen"]["scored"]}
    text = (
        f"{about['rows']:,} rows: {about['enrolled']:,} students enrolled in {YEAR} in {schools:,} schools, "
        f"two subjects, {about['in_scope']:,} scores in scope per subject, two prior years on file; preset "
        f"core, {THREADS} threads, a Parquet file in and all frames out, kernels compiled before. Asked: "
        f"under {SECONDS:.0f} s and {GIGABYTES:.0f} GB. Other work counts into the clock.\n\n"
    )
    header = ["growth.run", "wall clock", "CPU", "peak memory", "stages [s]"]
    return Section("The index pipeline", text + markdown(header, body), numbers)


def _stages(one: dict[str, Any]) -> str:
    return ", ".join(f"{stage} {value:.1f}" for stage, value in one["seconds"].items())


def _child(job: str, folder: Path, *sizes: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.pipeline", job, str(folder), *map(str, sizes)]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "POLARS_MAX_THREADS": str(THREADS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def make(folder: Path, enrolled: int, tested: int, schools: int) -> dict[str, int]:
    """Write the table: a simulated system, and rows without a score in the grades that are not tested."""
    import numpy as np
    import polars as pl

    from growth.panel import simulate_table

    table = simulate_table(tested, schools, years=2, latest_year=YEAR).table
    latest = table.filter(year=YEAR)
    missing = max(0, enrolled - latest["student_id"].n_unique())
    rng = np.random.default_rng(1)
    traits = table.columns[table.columns.index("school_id") :]
    others = latest[rng.integers(0, latest.height, missing)].select(traits)
    ids = pl.Series([f"U{number:09d}" for number in range(missing)])
    others = others.with_columns(
        student_id=ids, grade=pl.Series(rng.choice(UNTESTED, missing), dtype=pl.Int16)
    )
    parts = [table]
    for year in (YEAR - 2, YEAR - 1, YEAR):
        for subject in table["subject"].unique().sort():
            rows = others.with_columns(
                pl.lit(year).cast(table.schema["year"]).alias("year"),
                pl.lit(subject).alias("subject"),
                pl.lit(None, table.schema["score"]).alias("score"),
                pl.lit(None, table.schema["csem"]).alias("csem"),
            )
            parts.append(rows.select(table.columns))
    whole = pl.concat(parts)
    whole.write_parquet(folder / "table.parquet")
    scores = latest.filter(pl.col("grade").is_in(GRADES), pl.col("score").is_not_null())
    return {
        "rows": whole.height,
        "enrolled": whole.filter(year=YEAR)["student_id"].n_unique(),
        "in_scope": scores.height // 2,
    }


def freeze(folder: Path) -> dict[str, int]:
    """Freeze the year before."""
    from growth import GrowthSpec, run
    from growth.store import save_bundle

    spec = GrowthSpec.preset("core").replace({"cohorts.grades": GRADES, "cohorts.years": (YEAR - 1,)})
    bundle = run(folder / "table.parquet", spec, n_jobs=THREADS).freeze()
    save_bundle(bundle, folder / "base.zip")
    return {"cohorts": len(bundle.curves or ())}


def measure(folder: Path, kind: str) -> dict[str, Any]:
    """Run once in this process."""
    from growth import GrowthSpec, run
    from growth.store import load_bundle

    spec = GrowthSpec.preset("core").replace({"cohorts.grades": GRADES})
    wall, cpu = time.perf_counter(), time.process_time()
    bundle = load_bundle(folder / "base.zip") if kind == "frozen" else None
    result = run(folder / "table.parquet", spec, freeze=bundle, n_jobs=THREADS)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    scored = int(result.polars("students")["percentile"].count())
    return {"wall": wall, "cpu": cpu, "peak": peak, "scored": scored, "seconds": result.manifest["seconds"]}


def main(job: str, folder: Path, *sizes: int) -> None:
    """Do one job and print what came of it."""
    if job == "make":
        found: dict[str, Any] = dict(make(folder, *sizes))
    else:
        found = dict(freeze(folder)) if job == "freeze" else measure(folder, job)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
