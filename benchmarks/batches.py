"""Beyond single fits: warm refits, scoring a state, two cores. All in this process."""

from __future__ import annotations

import cProfile
import pstats
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from benchmarks.floor import dense_passes
from benchmarks.problems import Cohort, Problem, draw
from benchmarks.table import describe, markdown, seconds
from growth.quantile import QuantileProcess, fit_quantiles

ASKED_REFITS = 200
"""Replicates of a SIMEX batch: with 100 taus each, 20,000 fits."""


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a report."""

    title: str
    text: str
    numbers: dict[str, float]


def refits(problem: Problem, replicates: int) -> Section:
    """Refit a process to priors with measurement error added (lambda = 1), each from the one before."""
    title = "Warm refits (SIMEX, lambda = 1)"
    if not hasattr(QuantileProcess, "refit"):
        return Section(title, "Not measured: `QuantileProcess.refit` does not exist in this version.", {})
    cohort, rng = draw(problem), np.random.default_rng(problem.seed)
    process = _fit(cohort)
    warm, cold, passes, gap = [], [], [], 0.0
    for replicate in range(replicates + 1):
        design = cohort.perturbed(1.0, rng)
        start = time.process_time()
        process = process.refit(design, cohort.score)
        warm.append(time.process_time() - start)
        gap = max(gap, float(process.relative_gap.max()))
        if replicate < 3:
            start = time.process_time()
            again = fit_quantiles(design, cohort.score, blocks=cohort.blocks)
            cold.append(time.process_time() - start)
            if not np.allclose(again.objective, process.objective, rtol=1e-11):
                raise AssertionError("A refit does not reach the optimum of a cold fit.")
            start = time.process_time()
            dense_passes(design, cohort.score, process.coef)
            passes.append(time.process_time() - start)
    numbers = {
        "refit": float(np.median(warm[1:])),  # the first one may compile
        "cold": float(np.median(cold)),
        "floor": float(np.median(passes)),
        "gap": gap,
    }
    total = numbers["refit"] * ASKED_REFITS
    body = [
        [
            describe(problem),
            seconds(numbers["refit"]),
            seconds(numbers["cold"]),
            f"{numbers['cold'] / numbers['refit']:.1f}",
            f"{numbers['refit'] / numbers['floor']:.1f}",
            seconds(total),
            f"{gap:.0e}",
        ]
    ]
    header = [
        "n, p",
        "refit of 100 taus",
        "cold fit",
        "cold / refit",
        "refit / floor",
        f"{ASKED_REFITS} replicates",
        "gap",
    ]
    return Section(title, f"{replicates} replicates measured.\n\n" + markdown(header, body), numbers)


def scoring(problem: Problem, students: int) -> Section:
    """Place students among the 100 curves of a stored process."""
    process = _fit(draw(problem))
    everyone = draw(problem.with_rows(students))
    bases = draw(problem).bases
    design = Cohort(everyone.priors, everyone.score, everyone.flags, bases, everyone.integer).design
    _reset_peak()
    before = _peak_mb()
    process.score(design[:1000], everyone.score[:1000])
    time_score = _median_cpu(lambda: process.score(design, everyone.score))
    peak = _peak_mb()
    turned = np.ascontiguousarray(process.coef.T)
    time_product = _median_cpu(lambda: [design[i : i + 20_000] @ turned for i in range(0, students, 20_000)])
    numbers = {"score": time_score, "product": time_product, "extra_mb": peak - before}
    body = [
        [
            f"{students:,}, p = {problem.columns}",
            seconds(time_score),
            f"{students / time_score / 1e6:.2f} million",
            seconds(time_product),
            f"{peak - before:,.0f} MB",
        ]
    ]
    header = [
        "students",
        "time",
        "students per second",
        "matrix product alone (BLAS)",
        "memory beyond the design",
    ]
    return Section("Scoring against a stored process", markdown(header, body), numbers)


def cores(problem: Problem, cohorts: int) -> Section:
    """Fit several cohorts, and one cohort, with one and with two threads."""
    drawn = [
        draw(Problem(problem.n, problem.priors, problem.flags, problem.integer, s)) for s in range(cohorts)
    ]
    _fit(drawn[0])

    def many(n_jobs: int) -> list[QuantileProcess]:
        fits: list[QuantileProcess] = Parallel(n_jobs=n_jobs, backend="threading")(
            delayed(_fit)(cohort) for cohort in drawn
        )
        return fits

    results = {n_jobs: many(n_jobs) for n_jobs in (1, 2)}
    equal = all(np.array_equal(a.coef, b.coef) for a, b in zip(results[1], results[2], strict=True))
    one_cohort = {j: _fit(drawn[0], j).coef for j in (1, 2)}
    equal = equal and np.array_equal(one_cohort[1], one_cohort[2])
    wall = {j: _median_wall(partial(many, j)) for j in (1, 2)}
    inside = {j: _median_wall(partial(_fit, drawn[0], j)) for j in (1, 2)}
    numbers = {
        "cohorts": wall[1] / wall[2],
        "within": inside[1] / inside[2],
        "bitwise_equal": float(equal),
    }
    body = [
        [
            f"{cohorts} cohorts of {describe(problem)}",
            seconds(wall[1]),
            seconds(wall[2]),
            f"{numbers['cohorts']:.2f}",
        ],
        [
            f"one cohort of {describe(problem)}",
            seconds(inside[1]),
            seconds(inside[2]),
            f"{numbers['within']:.2f}",
        ],
    ]
    text = markdown(["wall clock", "1 thread", "2 threads", "times faster"], body)
    return Section("Two cores", f"{text}\n\nBitwise equal results: {'yes' if equal else 'NO'}.", numbers)


def profile(problem: Problem) -> Section:
    """Say which functions of the engine the CPU time of one fit goes to, compiled code included."""
    cohort = draw(problem)
    design = cohort.design
    fit_quantiles(design, cohort.score, blocks=cohort.blocks)
    profiler = cProfile.Profile(time.process_time, builtins=False)  # compiled calls count for their caller
    profiler.runcall(fit_quantiles, design, cohort.score, blocks=cohort.blocks)
    spent = [
        (own, f"{Path(file).stem}.{name}")
        for (file, _, name), (_, _, own, _, _) in pstats.Stats(profiler).stats.items()  # type: ignore[attr-defined]
    ]
    total = sum(own for own, _ in spent)
    largest = [(own, name) for own, name in sorted(spent, reverse=True) if own > 0.01 * total]
    body = [[name, seconds(own), f"{own / total:.0%}"] for own, name in largest]
    text = f"{describe(problem)}: {seconds(total)}.\n\n" + markdown(["function", "own time", "share"], body)
    return Section("Where the time goes", text, {name: own for own, name in largest})


def _fit(cohort: Cohort, n_jobs: int | None = None) -> QuantileProcess:
    return fit_quantiles(cohort.design, cohort.score, blocks=cohort.blocks, n_jobs=n_jobs)


def _median_cpu(work: Callable[[], object], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return float(np.median(times))


def _median_wall(work: Callable[[], object], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _reset_peak() -> None:
    """Let Linux forget the peak memory of this process so far."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return next(float(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
