"""A state of California's size on one machine: ``python -m benchmarks.state --file FILE``.

The table is simulated once, system after system with ids of their own, and streamed into one Parquet file.
It is computed by one call in a fresh process, whose memory and times the operating system counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.resident import Watch, resident
from benchmarks.stamp import HERE

TESTED, ENROLLED = 3_000_000, 6_000_000
"""Students of the latest year: tested in grades 3 to 8 and 11, and all."""
SECONDS, GIGABYTES, THREADS = 360.0, 8.0, 2
"""What is asked, on so many cores."""
YEAR = 2025
GRADES = (4, 5, 6, 7, 8, 11)
KINDS: dict[str, dict[str, Any]] = {
    "core": {},
    "simex": {
        "measurement.csem": "column",
        "peers.composition": "one_step",
        "simex.use": "simex",
        "simex.lambdas": [1.0, 2.0],
        "simex.replicates": 10,
    },
    "intervals": {
        "measurement.csem": "column",
        "intervals.sources": ["measurement", "curves"],
        "intervals.refits": 20,
    },
    "refit": {"school.standard_error": "refit", "school.replicates": 20},
}
"""What is asked for beside preset core, by name."""
_UNTESTED = (0, 1, 2, 9, 10, 12)
_PIECE = 100_000
"""Tested students of a simulated system; a state is made of as many as it takes."""
_SCHOOL = 300
"""Tested students per school, as in California."""
_LEAST_COHORT = 300


def main() -> int:
    """Write the table, compute it, print what it took; 1 if it took more than is asked."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tested", type=int, default=TESTED, help="students tested in the latest year")
    options.add_argument("--file", type=Path, help="keep the table here, and use it if it is there")
    options.add_argument("--measure", choices=KINDS, help="compute FILE in this process (internal)")
    chosen = options.parse_args()
    if chosen.measure:
        print(json.dumps(measure(chosen.file, chosen.measure)))
        return 0
    with tempfile.TemporaryDirectory(prefix="growth-state-") as folder:
        file = chosen.file or Path(folder) / "state.parquet"
        if not file.is_file():
            write_state(file, chosen.tested)
        found = measured(file)
    print(f"{found['rows']:,} rows, {found['scored']:,} student percentiles, {found['schools']:,} schools")
    print(
        f"wall {found['wall']:.0f} s (asked: {SECONDS:.0f}), CPU {found['cpu']:.0f} s, "
        f"peak {found['resident']:.2f} GB (asked: {GIGABYTES:.0f}), {found['peak']:.2f} GB without mapped "
        f"files, {THREADS} threads"
    )
    print(", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in found["seconds"].items()))
    return int(found["wall"] > SECONDS or found["resident"] > GIGABYTES)


def write_state(file: Path, tested: int, *, enrolled: int | None = None, years: int = 2) -> None:
    """Write a simulated state to a Parquet file, never holding more than one of its systems.

    Tested students have growth in `years` years and the years before on file; of those in grades without a
    test the latest year's file has one row, without a score.
    """
    import polars as pl

    pieces = max(1, round(tested / _PIECE))
    each = -(-tested // pieces)
    others = max(0, (ENROLLED * tested // TESTED if enrolled is None else enrolled) - tested) // pieces
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="growth-state-", dir=file.parent) as name:
        parts = [Path(name) / f"{place:03}.parquet" for place in range(pieces)]
        for place, part in enumerate(parts):
            _system(place, each, others, years).write_parquet(part)
        whole = Path(name) / "state.parquet"
        pl.scan_parquet(parts).sink_parquet(whole)
        whole.rename(file)


def _system(place: int, tested: int, others: int, years: int) -> Any:  # noqa: ANN401
    import numpy as np
    import polars as pl

    from growth.panel import simulate_table

    schools = max(12, tested // _SCHOOL)
    table = simulate_table(tested, schools, years=years, latest_year=YEAR, seed=place + 1).table
    rng = np.random.default_rng(place)
    latest = table.filter(year=YEAR)
    untested = latest[rng.integers(0, latest.height, others)].with_columns(
        pl.Series("student_id", [f"U{number:09}" for number in range(others)], dtype=pl.String),
        pl.Series("grade", rng.choice(_UNTESTED, others)).cast(table.schema["grade"]),
        pl.lit(None, table.schema["score"]).alias("score"),
        pl.lit(None, table.schema["csem"]).alias("csem"),
    )
    keys = ("student_id", "school_id", "district_id")
    own = (pl.format("{}{}", pl.lit(f"{place:02}"), pl.col(key)).alias(key) for key in keys)
    return pl.concat([table, untested]).with_columns(own)


def measured(file: Path, kind: str = "core") -> dict[str, Any]:
    """Compute a table in a fresh process and return what it took."""
    command = [sys.executable, "-m", "benchmarks.state", "--measure", kind, "--file", str(file)]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "POLARS_MAX_THREADS": str(THREADS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    return dict(json.loads(done.stdout))


def specification(rows: int, kind: str = "core") -> Any:  # noqa: ANN401
    """Return preset core in the grades with priors, and more; small tables have small cohorts."""
    from growth import GrowthSpec

    smallest = min(_LEAST_COHORT, max(20, rows // 200))
    plain = GrowthSpec.preset("core").replace({"cohorts.grades": GRADES, "cohorts.min_cohort": smallest})
    return plain.replace(KINDS[kind])


def measure(file: Path, kind: str) -> dict[str, Any]:
    """Compute a table in this process."""
    import polars as pl

    from growth import run

    scan = pl.scan_parquet(file)
    rows = int(scan.select(pl.len()).collect().item())
    tested = (
        scan.filter(pl.col("score").is_not_null(), year=YEAR, subject="ELA").select(pl.len()).collect().item()
    )
    wall, cpu = time.perf_counter(), time.process_time()
    with Watch() as watch:
        result = run(file, specification(rows, kind), n_jobs=THREADS)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    students = result.polars("students")
    return {
        "rows": rows,
        "tested": int(tested),
        "scored": int(students["percentile"].count()),
        "schools": result.polars("schools")["school_id"].n_unique(),
        "cohorts": result.polars("cells").height,
        "wall": wall,
        "cpu": cpu,
        "peak": watch.most,
        "resident": resident()["VmHWM"],
        "seconds": result.manifest["seconds"],
        "cpu_seconds": result.manifest["cpu_seconds"],
    }


if __name__ == "__main__":
    sys.exit(main())
