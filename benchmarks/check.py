"""Wall time and peak memory of ``growth check`` on a large CSV: ``python -m benchmarks.check``.

The file is a simulated state: systems with ids of their own, one after the other, until there are enough
rows. The command runs in a fresh process; the operating system counts its memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import polars as pl

from growth.panel import simulate_table

MOST_SECONDS, MOST_GB = 20.0, 4.0
_STUDENTS, _SCHOOLS = 60_000, 180


def main() -> int:
    """Write the file, check it, print what it took; 1 if it took more than is asked."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=5_000_000)
    options.add_argument("--file", type=Path, help="keep the table here, and use it if it is there")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="growth-check-") as folder:
        file = chosen.file or Path(folder) / "state.csv"
        if not file.is_file():
            write_state(file, chosen.rows)
        seconds, busy, gigabytes, code = measure(file)
    print(f"growth check on {chosen.rows:,} rows, {os.cpu_count()} cores, exit code {code}")
    print(
        f"wall {seconds:.1f} s (asked: {MOST_SECONDS:.0f}), CPU {busy:.1f} s, "
        f"peak {gigabytes:.2f} GB (asked: {MOST_GB:.0f})"
    )
    return int(code != 0 or seconds > MOST_SECONDS or gigabytes > MOST_GB)


def write_state(file: Path, rows: int) -> None:
    """Write `rows` rows of simulated students with distinct ids to a CSV file."""
    system = simulate_table(_STUDENTS, _SCHOOLS, years=2).table
    written = 0
    with file.open("wb") as sink:
        for place in range(-(-rows // system.height)):
            part = system.head(rows - written).with_columns(
                pl.format("{}{}", pl.lit(f"{place:03}"), pl.col("student_id")).alias("student_id"),
                pl.format("{}{}", pl.lit(f"{place:03}"), pl.col("school_id")).alias("school_id"),
            )
            part.write_csv(sink, include_header=place == 0)
            written += part.height


def measure(file: Path) -> tuple[float, float, float, int]:
    """Return wall and CPU time [s], peak memory [GB] and exit code of ``growth check`` on `file`."""
    command = [sys.executable, "-c", "from growth.cli import main; main()", "check", str(file)]
    start = perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    seconds = perf_counter() - start
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024**2, done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
