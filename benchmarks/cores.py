"""Two cores: a state's cohorts side by side, one cohort in two halves, refits side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from joblib import Parallel, delayed

from benchmarks.problems import Problem, draw
from benchmarks.sections import Section, pairs_wall
from benchmarks.table import describe, markdown, seconds
from growth._types import FloatArray
from growth.quantile import QuantileProcess, fit_quantiles

Arrays = tuple[FloatArray, ...]


def cores(problem: Problem, cohorts: int, pairs: int) -> Section:
    """Time 1 and 2 threads in turns and compare all results bit by bit.

    Parameters
    ----------
    problem : Problem
        Size of one cohort.
    cohorts : int
        Cohorts of the state: 12 are grades 3 to 8 in two subjects.
    pairs : int
        Times that both are run.
    """
    drawn = [draw(replace(problem, seed=seed)) for seed in range(cohorts)]
    state = [(cohort.design, cohort.score, cohort.blocks) for cohort in drawn]
    simex = drawn[0].simex(1.0, cohorts, np.random.default_rng(0))
    replicates = [simex.design(b) for b in range(cohorts)]
    first = fit_quantiles(replicates[0], drawn[0].score, blocks=drawn[0].blocks)

    def one(design: FloatArray, score: FloatArray, blocks: list[slice], n_jobs: int | None = None) -> Arrays:
        process = fit_quantiles(design, score, blocks=blocks, n_jobs=n_jobs)
        return (*_numbers(process), process.score(design, score).percentile)

    def whole_state(n_jobs: int) -> list[Arrays]:
        return list(Parallel(n_jobs=n_jobs, backend="threading")(delayed(one)(*cohort) for cohort in state))

    def halves(n_jobs: int) -> list[Arrays]:
        return [_numbers(fit_quantiles(state[0][0], state[0][1], blocks=state[0][2], n_jobs=n_jobs))]

    def again(n_jobs: int) -> list[Arrays]:
        refits = Parallel(n_jobs=n_jobs, backend="threading")(
            delayed(first.refit)(design, drawn[0].score) for design in replicates
        )
        return [_numbers(process) for process in refits]

    runs = {
        "cohorts": (f"{cohorts} cohorts of {describe(problem)}, fitted and scored", whole_state),
        "within": (f"one cohort of {describe(problem)}, lower and upper quantiles", halves),
        "refits": (f"{cohorts} warm refits of {describe(problem)} (SIMEX, lambda = 1)", again),
    }
    body, numbers, equal = [], {"n": float(problem.n)}, True
    for name, (what, work) in runs.items():
        same = _identical(work(1), work(2))  # first runs, which also warm up
        one_thread, two_threads, numbers[name] = pairs_wall(work, pairs)
        equal = equal and same
        verdict = "yes" if same else "NO"
        body.append([what, seconds(one_thread), seconds(two_threads), f"{numbers[name]:.2f}", verdict])
    numbers["bitwise_equal"] = float(equal)
    header = ["wall clock", "1 thread", "2 threads", "times faster", "bitwise equal"]
    text = f"Medians of {pairs} pairs run in turns.\n\n" + markdown(header, body)
    return Section("Two cores", text, numbers)


def _numbers(process: QuantileProcess) -> Arrays:
    return process.coef, process.objective, process.relative_gap, process.dual, process.basis.astype(float)


def _identical(left: list[Arrays], right: list[Arrays]) -> bool:
    return all(
        np.array_equal(a, b)
        for one, two in zip(left, right, strict=True)
        for a, b in zip(one, two, strict=True)
    )
