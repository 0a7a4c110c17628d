"""A SIMEX batch: the same cohort again and again with fresh measurement error, refitted warm."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.floor import dense_passes
from benchmarks.grid import Row, compare
from benchmarks.problems import Problem, draw
from benchmarks.sections import Section
from benchmarks.table import LABELS, describe, markdown, seconds, times
from growth.quantile import fit_quantiles

ASKED = 200
"""Replicates of a batch: with 100 taus each, 20,000 fits."""
COLD = 5
"""Replicates that are also fitted from scratch."""
PEERS = ["growth", "quantreg_pfnb", "quantreg_fn", "quantreg_br"]


def refits(problem: Problem, replicates: int, budget: float, report: Callable[[Row], None]) -> Section:
    """Fit one replicate from scratch and refit the others, each from the first; peers fit one of them.

    Not timed: drawing the errors and evaluating the splines, which every method has to do alike.
    """
    cohort = draw(problem)
    simex = cohort.simex(1.0, replicates + 2, np.random.default_rng(problem.seed))
    clock = time.process_time
    first = fit_quantiles(simex.design(0), cohort.score, blocks=cohort.blocks)
    first.refit(simex.design(1), cohort.score)  # compiles
    start = clock()
    first = fit_quantiles(simex.design(0), cohort.score, blocks=cohort.blocks)
    cold, warm, passes, walks = [clock() - start], [], [], []
    gap, apart, fallbacks, unhelped = 0.0, 0.0, 0, 0
    for replicate in range(2, replicates + 2):
        design = simex.design(replicate)
        start = clock()
        process = first.refit(design, cohort.score)
        warm.append(clock() - start)
        gap = max(gap, float(process.relative_gap.max()))
        fallbacks += sum(status != "certified" for status in process.status)
        unhelped += not process.warm
        walks.append([float(process.counters[name].mean()) for name in ("passes", "pivots")])
        if len(cold) < COLD:
            start = clock()
            again = fit_quantiles(design, cohort.score, blocks=cohort.blocks)
            cold.append(clock() - start)
            apart = max(apart, float(np.abs(again.objective / process.objective - 1.0).max()))
            start = clock()
            dense_passes(design, cohort.score, process.coef)
            passes.append(clock() - start)
    one, all_taus = float(np.median(warm)), float(np.median(cold))
    numbers = {
        "n": problem.n,
        "replicates": ASKED,
        "measured": len(warm),
        "total": float(np.mean(warm)) * ASKED,  # the mean, so that slow ones count
        "refit": one,
        "slowest": max(warm),
        "cold": all_taus,
        "floor": float(np.median(passes)),
        "gap": gap,
        "apart": apart,
        "fallbacks": fallbacks,
        "not_warm": unhelped,
        "passes": float(np.mean(walks, axis=0)[0]),
        "pivots": float(np.mean(walks, axis=0)[1]),
    }
    smooth = Problem(problem.n, problem.priors, problem.flags, False, problem.seed)  # it is continuous now
    rows = []
    for row in compare(smooth, simex.design(2), cohort.score, cohort.blocks, PEERS, budget):
        report(row)
        rows.append(row)
    numbers |= {row.library: row.seconds * ASKED for row in rows if row.seconds is not None}
    star = "" if len(warm) == ASKED else "*"
    body = [
        ["**growth, warm refits**", seconds(one), seconds(numbers["total"]) + star, "1", f"{gap:.0e}"],
        ["growth, cold fits", seconds(all_taus), *_batch(all_taus, one), f"{rows[0].gap or 0:.0e}"],
        ["floor: 100 dense passes", seconds(numbers["floor"]), *_batch(numbers["floor"], one), ""],
    ]
    for row in rows[1:]:
        if row.seconds is None:
            body.append([LABELS[row.library], "-", "", "", row.reason])
            continue
        partial = "*" if row.extrapolated else ""
        name = LABELS[row.library] + (f" ({row.remark})" if row.remark else "")
        body.append([name, seconds(row.seconds) + partial, *_batch(row.seconds, one), f"{row.gap or 0:.0e}"])
    header = ["", "one replicate of 100 quantiles", f"{ASKED} replicates", "times as long", "largest gap"]
    text = (
        f"{describe(problem)}; lambda = 1, priors continuous, knots on all replicates; CPU time, one thread. "
        f"{len(warm)} refits measured: {seconds(min(warm))} to {seconds(max(warm))}, "
        f"{numbers['passes']:.2f} passes and {numbers['pivots']:.1f} pivots per quantile, "
        f"{fallbacks} fallbacks, {unhelped} done from scratch; objectives of cold fits and refits differ by "
        f"{apart:.0e} at most, relative.\n\n"
    )
    return Section("A SIMEX batch: warm refits", text + markdown(header, body), numbers)


def _batch(one: float, refit: float) -> list[str]:
    return [seconds(one * ASKED), times(one / refit)]
