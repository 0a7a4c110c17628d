"""Runs on a cluster whose workers are killed at random moments: all complete, all with the same results.

``python -m benchmarks.chaos --runs 20`` starts a Dask cluster of processes on this machine. Plain runs,
SIMEX, refits of schools' standard errors and studies take turns on it, while workers are killed (SIGKILL)
again and again; each must end with the results of this process alone, bit for bit. Exit code 1 if one does
not.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from time import perf_counter
from typing import TYPE_CHECKING, Any

import joblib

from benchmarks.stamp import HERE, stamp
from benchmarks.table import markdown
from growth.panel import simulate_table
from growth.pipeline import run
from growth.spec import GrowthSpec
from growth.study import run_study

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

CITY = (2_500, 12)
"""Students tested in the latest year, and schools."""
SMALL: dict[str, Any] = {
    "cohorts.subjects": ["MATH"],
    "cohorts.grades": [5, 6],
    "cohorts.min_cohort": 100,
    "school.band_draws": 200,
}
SIMEX: dict[str, Any] = {
    "measurement.csem": "column",
    "simex.use": "simex",
    "simex.replicates": 12,
    "peers.composition": "one_step",
}
REFIT: dict[str, Any] = {"school.standard_error": "refit", "school.replicates": 30}
FACTORS = {"school.aggregate": ["mean", "median"], "cohorts.other_priors": [0, 1]}


@dataclass(frozen=True, slots=True)
class Trial:
    """What one run on the cluster saw."""

    kind: str
    kills: int
    seconds: float
    same: bool


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=20)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--pause", type=float, default=3.0, help="mean time between two kills [s]")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--out", help="name in benchmarks/results")
    chosen = arguments.parse_args()
    trials: list[Trial] = []
    for trial in chaos(chosen.runs, chosen.workers, chosen.pause, random.Random(chosen.seed)):
        trials.append(trial)
        print(f"{len(trials)}: {trial}", file=sys.stderr, flush=True)
        if chosen.out:
            facts = {"stamp": stamp(), "workers": chosen.workers, "trials": [asdict(t) for t in trials]}
            (HERE / "results" / f"{chosen.out}.json").write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
            (HERE / "results" / f"{chosen.out}.md").write_text(_page(trials), "utf-8")
    print(_page(trials))
    sys.exit(not all(trial.same for trial in trials))


def _page(trials: Sequence[Trial]) -> str:
    same, kills = sum(trial.same for trial in trials), sum(trial.kills for trial in trials)
    body = [
        [str(i), one.kind, str(one.kills), f"{one.seconds:.1f} s", "yes" if one.same else "NO"]
        for i, one in enumerate(trials, start=1)
    ]
    table = markdown(["run", "kind", "workers killed", "time", "same results"], body)
    told = f"{same} of {len(trials)} runs complete with the same results bit for bit; {kills} workers killed."
    return f"# Chaos\n\n`python -m benchmarks.chaos`: {told}\n\n{table}\n"


def chaos(runs: int, workers: int, pause: float, rng: random.Random) -> Iterator[Trial]:
    """Run on a cluster, kill its workers, and compare with what this process computes alone."""
    from distributed import Client, LocalCluster

    core = GrowthSpec.preset("core").replace(SMALL)
    table = simulate_table(*CITY, years=1, seed=4).table
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "city.parquet"
        table.write_parquet(file)
        kinds: dict[str, Callable[[Path | None], object]] = {
            "cohorts": lambda parts: outputs(file, core, parts),
            "SIMEX": lambda parts: outputs(file, core.replace(SIMEX), parts),
            "refits": lambda parts: outputs(file, core.replace(REFIT), parts),
            "study": lambda parts: study(file, core, parts),
        }
        alone: dict[str, object] = {}
        seconds: dict[str, float] = {}
        for kind, compute in kinds.items():
            start = perf_counter()
            alone[kind] = compute(None)
            seconds[kind] = perf_counter() - start
        settings = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(**settings, silence_logs=logging.CRITICAL) as cluster, Client(cluster) as client:
            for i in range(runs):
                kind = list(kinds)[i % len(kinds)]
                _complete(cluster, client, workers)
                start = perf_counter()
                with (
                    killer(cluster, seconds[kind], pause, rng) as killed,
                    joblib.parallel_config(backend="dask", client=client),
                ):
                    there = kinds[kind](Path(place) / f"parts{i}")
                yield Trial(kind, len(killed), perf_counter() - start, there == alone[kind])


def outputs(file: Path, spec: GrowthSpec, parts: Path | None) -> object:
    """Return the digests of a run's results, and its models."""
    result = run(file, spec, checkpoints=parts)
    return result.manifest["outputs"], repr(result.curves.to_dict())


def study(file: Path, spec: GrowthSpec, parts: Path | None) -> object:
    """Return the tables of a study, times left out."""
    flags = spec.peers.flags
    factors = FACTORS | {"peers.flags": [list(flags), list(flags[:1])]}
    found = run_study(file, spec, factors, design="full", folder=parts)
    return {name: frame.drop("seconds", strict=False).write_json() for name, frame in found.frames.items()}


def _complete(cluster: LocalCluster, client: Client, workers: int) -> None:
    """Wait for all workers; one that was killed while it started is given up by its keeper, and replaced."""
    while True:
        with suppress(TimeoutError):
            client.wait_for_workers(workers, timeout=20)
            return
        cluster.scale(workers)


@contextmanager
def killer(cluster: LocalCluster, alone: float, pause: float, rng: random.Random) -> Iterator[list[int]]:
    """Kill a worker while the run is young, others now and then; give the list of those killed.

    `alone` is how long the run takes without a cluster, `pause` the mean time between two kills [s].
    """
    over, killed = Event(), list[int]()

    def kill() -> None:
        wait = alone * rng.uniform(0.1, 0.6)
        while not over.wait(wait):
            wait = pause * rng.uniform(0.2, 1.8)
            pids = [nanny.pid for nanny in cluster.workers.values() if nanny.pid is not None]
            with suppress(IndexError, ProcessLookupError):
                os.kill(pid := rng.choice(pids), signal.SIGKILL)
                killed.append(pid)

    thread = Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
