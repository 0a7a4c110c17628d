"""Two looks at a single process: scoring a state against the curves of a fit, and where a fit's time goes."""

from __future__ import annotations

import cProfile
import pstats
import time
from pathlib import Path

import numpy as np

from benchmarks.problems import Cohort, Problem, draw
from benchmarks.sections import Section, fit, forget_peak, median_cpu, peak_gb
from benchmarks.table import describe, markdown, seconds
from growth.quantile import fit_quantiles


def scoring(problem: Problem, students: int) -> Section:
    """Place students among the 100 curves of a stored process."""
    process = fit(draw(problem))
    everyone = draw(problem.with_rows(students))
    bases = draw(problem).bases
    design = Cohort(everyone.priors, everyone.score, everyone.flags, bases, everyone.integer).design
    forget_peak()
    before = peak_gb()
    process.score(design[:1000], everyone.score[:1000])
    time_score = median_cpu(lambda: process.score(design, everyone.score))
    peak = peak_gb()
    turned = np.ascontiguousarray(process.coef.T)
    time_product = median_cpu(lambda: [design[i : i + 20_000] @ turned for i in range(0, students, 20_000)])
    numbers = {"students": students, "score": time_score, "product": time_product, "extra_gb": peak - before}
    body = [
        [
            f"{students:,}, p = {problem.columns}",
            seconds(time_score),
            f"{students / time_score / 1e6:.2f} million",
            seconds(time_product),
            f"{1e3 * (peak - before):,.0f} MB",
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
