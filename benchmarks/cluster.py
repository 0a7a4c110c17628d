"""How well a cluster of processes does what threads do: scaling from one worker to two, and overhead.

``python -m benchmarks.cluster --out cluster`` computes the same on a Dask cluster of this machine with one
worker and with two, and with two threads: SIMEX of a city, and a study. Workers have one thread each and have
loaded their kernels before; Dask has the settings of ``docs/howto/cluster.md``, and once its own. Results
must be equal bit for bit. On two cores the process that asks has little left of them: what it does itself
counts against the cluster. CPU seconds of all processes are counted beside, which other work on the machine
disturbs less.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import joblib
import numpy as np

from benchmarks.chaos import SIMEX, outputs, study
from benchmarks.stamp import HERE, stamp
from benchmarks.table import markdown
from growth._types import FloatArray
from growth.panel import simulate_table
from growth.spec import GrowthSpec

Compute: TypeAlias = Callable[[Path, Path | None], object]
"""From a table and a folder to whatever must be equal."""
EFFICIENCY, OVERHEAD = 0.85, 0.15
"""Asked: at least, and at most."""
NAMES = {
    "threads": "two threads",
    "one": "one worker",
    "two": "two workers",
    "own": "two workers, Dask's own settings",
}
GUIDE = HERE.parent / "docs" / "howto" / "cluster.md"


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
    header = ["", "", *NAMES.values(), "efficiency", "overhead", "overhead with Dask's own settings"]
    body = [
        line
        for r in rows
        for line in (
            [r["kind"], "time", *(f"{r[name]:.1f} s" for name in NAMES), f"{r['efficiency']:.0%}",
             f"{r['overhead']:+.0%}", f"{r['overhead_own']:+.0%}"],
            ["", "CPU time", *(f"{r['cpu'][name]:.1f} s" for name in NAMES), "",
             *(f"{r['cpu'][name] / r['cpu']['threads'] - 1:+.0%}" for name in ("two", "own"))],
        )
    ]  # fmt: skip
    table = markdown(header, body)
    text = (
        f"{chosen.students:,} tested students, {chosen.schools} schools, 2 subjects; SIMEX with 4 lambdas of "
        f"{chosen.replicates} replicates. Efficiency: one worker's time over twice that of two (asked: at "
        f"least {EFFICIENCY:.0%}). Overhead: two workers against two threads of one process (asked: under "
        f"{OVERHEAD:.0%}). CPU time is that of all processes. Results are equal bit for bit."
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
    cluster = _clusters(compute, file, small)
    compute(small, None)
    start = _clock([])
    with joblib.parallel_config(backend="threading", n_jobs=2):
        threads = compute(file, None)
    spent = {"threads": _clock([]) - start}
    for name, workers, settings in (("one", 1, dask_settings()), ("two", 2, dask_settings()), ("own", 2, {})):
        spent[name], found = cluster(workers, settings)
        if found != threads:
            raise AssertionError("Results depend on where they are computed.")
    time = {name: float(one[0]) for name, one in spent.items()}
    return {
        "kind": kind,
        **time,
        "cpu": {name: float(one[1]) for name, one in spent.items()},
        "efficiency": time["one"] / time["two"] / 2,
        "overhead": time["two"] / time["threads"] - 1,
        "overhead_own": time["own"] / time["threads"] - 1,
    }


def dask_settings() -> dict[str, Any]:
    """Return the settings that the guide names."""
    import yaml

    text = GUIDE.read_text("utf-8").split("```yaml\n")[1].split("```")[0]
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def _clusters(
    compute: Compute, file: Path, small: Path
) -> Callable[[int, dict[str, Any]], tuple[FloatArray, object]]:
    """Return what computes on a cluster of so many workers, and gives the time spent and what was found."""
    import dask
    from distributed import Client, LocalCluster

    def on_cluster(workers: int, settings: dict[str, Any]) -> tuple[FloatArray, object]:
        how = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
        with (
            dask.config.set(dask.config.merge(dask.config.config, settings)),
            tempfile.TemporaryDirectory() as place,
            LocalCluster(**how, silence_logs=logging.CRITICAL) as cluster,
            Client(cluster) as client,
            joblib.parallel_config(backend="dask", client=client),
        ):
            for part in range(workers):  # whichever takes it
                compute(small, Path(place) / f"warm{part}")
            pids = [nanny.pid for nanny in cluster.workers.values()]
            start = _clock(pids)
            found = compute(file, Path(place) / "parts")
            return _clock(pids) - start, found

    return on_cluster


def _clock(pids: Sequence[int]) -> FloatArray:
    """Return the time, and the CPU time of this process and some others [s]."""
    import psutil

    spent = [psutil.Process(pid).cpu_times() for pid in (os.getpid(), *pids)]
    return np.array([perf_counter(), sum(one.user + one.system for one in spent)])


if __name__ == "__main__":
    main()
