"""How well a cluster of processes does what threads do: scaling from one worker to two, and overhead.

``python -m benchmarks.cluster --out cluster`` computes the same on a Dask cluster of this machine with one
worker and with two, and with two threads: SIMEX of a city, and a study. Workers have one thread each and have
loaded their kernels before. Results must be equal bit for bit. On two cores the process that asks
has little left of them: what it does itself counts against the cluster.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import joblib

from benchmarks.chaos import SIMEX, outputs, study
from benchmarks.stamp import HERE, stamp
from benchmarks.table import markdown
from growth.panel import simulate_table
from growth.spec import GrowthSpec

Compute: TypeAlias = Callable[[Path, Path | None], object]
"""From a table and a folder to whatever must be equal."""
EFFICIENCY, OVERHEAD = 0.85, 0.15
"""Asked: at least, and at most."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--students", type=int, default=40_000)
    arguments.add_argument("--schools", type=int, default=120)
    arguments.add_argument("--replicates", type=int, default=50)
    arguments.add_argument("--kinds", nargs="+", default=["SIMEX", "study"], choices=["SIMEX", "study"])
    arguments.add_argument("--out", help="name in benchmarks/results")
    chosen = arguments.parse_args()
    core = GrowthSpec.preset("core").replace({"cohorts.min_cohort": 100})  # so that warming up is short
    simex = core.replace(SIMEX | {"simex.replicates": chosen.replicates})
    warm = simex.replace({"simex.replicates": 2, "cohorts.grades": [5]})
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "city.parquet"
        simulate_table(chosen.students, chosen.schools, years=1, seed=4).table.write_parquet(file)
        small = Path(place) / "small.parquet"
        simulate_table(2_000, 12, years=1, seed=4).table.write_parquet(small)
        kinds: dict[str, Compute] = {
            "SIMEX": lambda table, parts: outputs(table, warm if table == small else simex, parts),
            "study": lambda table, parts: study(table, core, parts),
        }
        rows = [timed(kinds[kind], kind, file, small) for kind in chosen.kinds]
    header = ["", "two threads", "one worker", "two workers", "efficiency", "overhead"]
    body = [
        [r["kind"], *(f"{r[name]:.1f} s" for name in ("threads", "one", "two")), f"{r['efficiency']:.0%}",
         f"{r['overhead']:+.0%}"]
        for r in rows
    ]  # fmt: skip
    table = markdown(header, body)
    text = (
        f"{chosen.students:,} tested students, {chosen.schools} schools, 2 subjects; SIMEX with 4 lambdas of "
        f"{chosen.replicates} replicates. Efficiency: one worker's time over twice that of two (asked: at "
        f"least {EFFICIENCY:.0%}). Overhead: two workers against two threads of one process (asked: under "
        f"{OVERHEAD:.0%}). Results are equal bit for bit."
    )
    print(f"{text}\n\n{table}")
    if chosen.out:
        facts = {"stamp": stamp(), "rows": rows}
        (HERE / "results" / f"{chosen.out}.json").write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
        page = f"# Cluster\n\n`python -m benchmarks.cluster`\n\n{text}\n\n{table}\n"
        (HERE / "results" / f"{chosen.out}.md").write_text(page, "utf-8")
    sys.exit(not any(row["efficiency"] >= EFFICIENCY and row["overhead"] <= OVERHEAD for row in rows))


def timed(
    compute: Callable[[Path, Path | None], object], kind: str, file: Path, small: Path
) -> dict[str, Any]:
    """Compute with two threads, one worker and two workers.

    Raises
    ------
    AssertionError
        If results differ.
    """
    found = {}
    compute(small, None)
    start = perf_counter()
    with joblib.parallel_config(backend="threading", n_jobs=2):
        found["threads"] = compute(file, None)
    row: dict[str, Any] = {"kind": kind, "threads": perf_counter() - start}
    for name, workers in (("one", 1), ("two", 2)):
        row[name], found[name] = _on_cluster(compute, workers, file, small)
    if found["one"] != found["threads"] or found["two"] != found["threads"]:
        raise AssertionError("Results depend on where they are computed.")
    return row | {"efficiency": row["one"] / row["two"] / 2, "overhead": row["two"] / row["threads"] - 1}


def _on_cluster(compute: Compute, workers: int, file: Path, small: Path) -> tuple[float, object]:
    from distributed import Client, LocalCluster

    settings = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    with (
        tempfile.TemporaryDirectory() as place,
        LocalCluster(**settings, silence_logs=logging.CRITICAL) as cluster,
        Client(cluster) as client,
        joblib.parallel_config(backend="dask", client=client),
    ):
        compute(small, Path(place) / "warm")
        start = perf_counter()
        found = compute(file, Path(place) / "parts")
        return perf_counter() - start, found


if __name__ == "__main__":
    main()
