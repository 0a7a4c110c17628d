"""Runs on a cluster whose workers are killed at random moments: all complete, all with the same results.

``python -m benchmarks.chaos --runs 20`` starts a Dask cluster of processes on this machine. Cohorts with
intervals, SIMEX, refits of schools' standard errors and studies take turns on it, each once undisturbed, to
know how long it takes; then workers are killed (SIGKILL) at moments drawn within that time. Each run must end
with the results of this process alone, bit for bit. Exit code 1 if one does not, or ended before a worker was
killed.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
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
COHORTS: dict[str, Any] = {
    "cohorts.grades": [4, 5, 6, 7, 8],
    "measurement.csem": "column",
    "intervals.sources": ["measurement", "curves"],
}
REFIT: dict[str, Any] = {"school.standard_error": "refit", "school.replicates": 30}
FACTORS = {"school.aggregate": ["mean", "median"], "cohorts.other_priors": [0, 1]}
FIRST, LATER = (0.1, 0.5), (0.1, 1.0)
"""Shares of the undisturbed time between which the first worker is killed, and others."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What one run on the cluster saw."""

    kind: str
    kills: tuple[float, ...]
    """When workers were killed [s]."""
    pause: float
    """Mean time from the beginning or a kill to the next kill [s]."""
    undisturbed: float
    """Time that such a run takes on the cluster when nobody is killed [s]."""
    seconds: float
    same: bool


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=20)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--most", type=int, default=3, help="workers killed in a run, at most")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--out", help="name in benchmarks/results")
    chosen = arguments.parse_args()
    trials: list[Trial] = []
    for trial in chaos(chosen.runs, chosen.workers, chosen.most, random.Random(chosen.seed)):
        trials.append(trial)
        print(f"{len(trials)}: {trial}", file=sys.stderr, flush=True)
        if chosen.out:
            facts = {"stamp": stamp(), "workers": chosen.workers, "trials": [asdict(t) for t in trials]}
            (HERE / "results" / f"{chosen.out}.json").write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
            (HERE / "results" / f"{chosen.out}.md").write_text(_page(trials), "utf-8")
    print(_page(trials))
    sys.exit(not all(trial.same and trial.kills for trial in trials))


def _page(trials: Sequence[Trial]) -> str:
    same, kills = sum(trial.same for trial in trials), [len(trial.kills) for trial in trials]
    body = [
        [str(i), one.kind, f"{one.undisturbed:.1f} s", ", ".join(f"{at:.1f} s" for at in one.kills) or "NONE",
         f"{one.seconds:.1f} s", "yes" if one.same else "NO"]
        for i, one in enumerate(trials, start=1)
    ]  # fmt: skip
    table = markdown(["run", "kind", "undisturbed", "a worker killed at", "time", "same results"], body)
    pause = sum(trial.pause * len(trial.kills) for trial in trials) / max(sum(kills), 1)
    told = (
        f"{same} of {len(trials)} runs complete with the same results bit for bit; {sum(kills)} workers "
        f"killed, {min(kills)} to {max(kills)} in a run, one every {pause:.1f} s."
    )
    return f"# Chaos\n\n`python -m benchmarks.chaos --runs {len(trials)}`: {told}\n\n{table}\n"


def chaos(runs: int, workers: int, most: int, rng: random.Random) -> Iterator[Trial]:
    """Run on a cluster, kill its workers, and compare with what this process computes alone."""
    from distributed import Client, LocalCluster

    core = GrowthSpec.preset("core").replace(SMALL)
    table = simulate_table(*CITY, years=1, seed=4).table
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "city.parquet"
        table.write_parquet(file)
        more = FACTORS | {"school.min_n": [10, 20]}
        kinds: dict[str, Callable[[Path | None], object]] = {
            "cohorts": lambda parts: outputs(file, core.replace(COHORTS), parts),
            "SIMEX": lambda parts: outputs(file, core.replace(SIMEX), parts),
            "refits": lambda parts: outputs(file, core.replace(REFIT), parts),
            "study": lambda parts: study(file, core, parts, more),
        }
        alone = {kind: compute(None) for kind, compute in kinds.items()}
        settings = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
        with (
            LocalCluster(**settings, silence_logs=logging.CRITICAL) as cluster,
            Client(cluster) as client,
            joblib.parallel_config(backend="dask", client=client),
        ):
            run(file, core, checkpoints=Path(place) / "warm")  # workers load their kernels
            undisturbed: dict[str, float] = {}
            for i in range(runs):
                kind = list(kinds)[i % len(kinds)]
                if kind not in undisturbed:
                    start = perf_counter()
                    kinds[kind](Path(place) / kind)
                    undisturbed[kind] = perf_counter() - start
                _complete(cluster, client, workers)
                start = perf_counter()
                with killer(cluster, _moments(undisturbed[kind], most, rng), rng) as killed:
                    there = kinds[kind](Path(place) / f"parts{i}")
                seconds = perf_counter() - start
                pause = killed[-1] / len(killed) if killed else 0.0
                same = there == alone[kind]
                yield Trial(kind, tuple(killed), pause, undisturbed[kind], seconds, same)


def _moments(undisturbed: float, most: int, rng: random.Random) -> list[float]:
    """Draw when workers are to be killed, the first while a run is young [s]."""
    later = [rng.uniform(*LATER) for _ in range(rng.randint(0, most - 1))]
    return sorted(undisturbed * share for share in [rng.uniform(*FIRST), *later])


def outputs(file: Path, spec: GrowthSpec, parts: Path | None) -> object:
    """Return the digests of a run's results, and its models."""
    result = run(file, spec, checkpoints=parts)
    return result.manifest["outputs"], repr(result.curves.to_dict())


def study(
    file: Path, spec: GrowthSpec, parts: Path | None, factors: Mapping[str, list[Any]] = FACTORS
) -> object:
    """Return the tables of a study, times left out."""
    flags = spec.peers.flags
    factors = {**factors, "peers.flags": [list(flags), list(flags[:1])]}
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
def killer(cluster: LocalCluster, moments: Sequence[float], rng: random.Random) -> Iterator[list[float]]:
    """Kill a worker at each of some moments, or as soon as there is one; give the list of when it was [s]."""
    over, killed, start = Event(), list[float](), perf_counter()

    def kill() -> None:
        for moment in moments:
            while not over.wait(max(moment - (perf_counter() - start), 0.02)):
                pids = [nanny.pid for nanny in cluster.workers.values() if nanny.pid is not None]
                with suppress(IndexError, ProcessLookupError):
                    os.kill(rng.choice(pids), signal.SIGKILL)
                    killed.append(perf_counter() - start)
                    break

    thread = Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
