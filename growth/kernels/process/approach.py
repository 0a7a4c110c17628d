"""The start: from least squares near the first solution, by solutions to growing samples of the rows."""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray
from growth.kernels.compiler import inlined, inner
from growth.kernels.process.algebra import copy, difference, dot, metric_norm
from growth.kernels.process.band import gather, newton, residuals
from growth.kernels.process.data import TOP, Problem, State, Work
from growth.kernels.process.vertex import select
from growth.kernels.rows import read_row

SAMPLE_FLOOR = 1.0
"""Floor of the curvature in all directions: a sample may miss the few rows that some of them hang on."""
SAMPLE, SAMPLE_ROWS = 1024, 80
"""Rows, and rows per column, that the first sample of a start has at least."""
FIRST_STEPS = 3
"""So many Newton steps, each smoothed less, lead from least squares to its solution."""
GROWTH = 4
"""The next sample is so many times as large."""
LAST = 8
"""A sample of one in so many rows is the last."""
OFF = 3.0
"""The width after a solution to s rows holds so many times sqrt(p / s) of all rows: three standard errors."""
LEAP, LEAPS = 4.0, 2
"""A step of so many widths does not count: its sample is taken again, twice as wide, so many times in all."""


@inner
def _width_of_share(work: Work, coef: FloatArray, m: int, share: float) -> float:
    """Return the width that holds a `share` of the first m band rows."""
    r, h, step, slope, pick = work.r, work.h, work.step, work.slope, work.pick
    residuals(work.band, work.y, coef, TOP, m, r)
    for t in range(m):
        step[t] = abs(r[t]) / h[t]
        slope[t] = 1.0
        pick[t] = t
    return float(max(step[select(step, slope, pick, m, max(1.0, min(share, 1.0) * m))], 1e-300))


@inlined
def _sample(
    problem: Problem, work: Work, tau: float, coef: FloatArray, stride: int, width: float, outside: FloatArray
) -> int:
    """List the strided rows within `width` of the hyperplane, sum the others; return the number listed."""
    n, p = problem.response.shape[0], coef.shape[0]
    row, rows, lever, weight, y = work.vec[0], work.rows, problem.leverage32, problem.weight, problem.searched
    for a in range(p):
        outside[a] = 0.0
    m = 0
    for i in range(stride // 2, n, stride):
        if width < np.inf:
            read_row(problem.rows, i, row)
            r = y[i] - dot(row, coef)
            if abs(r) > width * lever[i]:
                f = weight[i] * (tau if r >= 0.0 else tau - 1.0)
                for a in range(p):
                    outside[a] += f * row[a]
                continue
        rows[m] = i
        m += 1
    return m


@inlined
def approach(problem: Problem, state: State, work: Work, tau: float) -> None:
    """Bring ``state.coef`` from least squares near the solution, by solutions to growing samples of the rows.

    A solution to s rows is off by about sqrt(p / s) residual deviations: of the next sample, and at last of
    all rows, only that share matters which lies that near to it.
    """
    n, p = problem.response.shape[0], problem.total.shape[0]
    coef, outside, before, move = state.coef, work.vec[9], work.vec[10], work.vec[11]
    size = min(n, max(SAMPLE, SAMPLE_ROWS * p))
    stride, m, first, leaps = 1, 0, FIRST_STEPS, 0
    width, share = np.inf, 1.0
    while True:  # one place for all steps: what is called from several is compiled as often
        if m == 0 or width < np.inf:
            stride = max(1, n // size)
            m = _sample(problem, work, tau, coef, stride, width, outside)
            gather(problem, work, TOP, m)
        if first > 0:
            share *= 0.6
            state.width[0] = _width_of_share(work, coef, m, share)
        copy(coef, before)
        solved = newton(problem, state, work, tau, outside, coef, m, 0.0, SAMPLE_FLOOR)
        difference(coef, before, move)
        first -= 1
        if first > 0:
            continue
        near = width == np.inf or (solved and metric_norm(problem.metric, move) < LEAP * width)
        if not near and leaps < LEAPS:
            leaps += 1  # rows beyond the width have a say
            copy(before, coef)
            width *= 2.0
            state.width[0] = width
            continue
        width = _width_of_share(work, coef, m, OFF * np.sqrt(p * size) / m)
        state.width[0] = width
        if LAST * size >= n:
            break
        size *= GROWTH
    for a in range(p):
        for b in range(p):
            state.curvature[a, b] *= stride
