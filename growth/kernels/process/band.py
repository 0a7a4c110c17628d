"""Inside the band: rows gathered from the design, and Newton steps on the smoothed loss."""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray
from growth.kernels.compiler import inlined, inner, search
from growth.kernels.process.algebra import cholesky, cholesky_solve, dot
from growth.kernels.process.data import FENCE, TILE, TOP, Problem, State, Work
from growth.kernels.rows import read_row


@inner
def gather(problem: Problem, work: Work, start: int, stop: int) -> None:
    """Copy rows of the design, with what belongs to them, into the band."""
    rows, lines, band = work.rows, work.lines, work.band
    y, exact, w, h = work.y, work.exact, work.w, work.h
    searched, response, weight, leverage = (
        problem.searched,
        problem.response,
        problem.weight,
        problem.leverage32,
    )
    for first in range(start, stop, TILE):  # a few rows at a time, which stay in the nearest cache
        last = min(first + TILE, stop)
        for t in range(first, last):
            i = rows[t]
            y[t] = searched[i]
            exact[t] = response[i]
            w[t] = weight[i]
            h[t] = min(leverage[i], 1.5 * FENCE)
            read_row(problem.rows, i, lines[t])
        for a in range(band.shape[0]):
            column, line = band[a, first:last], lines[first:last, a]
            for t in range(column.shape[0]):
                column[t] = line[t]


@search
def products(band: FloatArray, direction: FloatArray, start: int, stop: int, z_out: FloatArray) -> None:
    """Write the product of every row with a direction.

    Loops run over whole slices: others are not vectorised as well, and this is where most time is spent.
    """
    p = direction.shape[0]
    z = z_out[start:stop]
    m = z.shape[0]
    for t in range(m):
        z[t] = 0.0
    even = p - p % 4
    for a in range(0, even, 4):
        b0, b1, b2, b3 = direction[a], direction[a + 1], direction[a + 2], direction[a + 3]
        c0, c1 = band[a, start:stop], band[a + 1, start:stop]
        c2, c3 = band[a + 2, start:stop], band[a + 3, start:stop]
        for t in range(m):
            z[t] += c0[t] * b0 + c1[t] * b1 + c2[t] * b2 + c3[t] * b3
    for a in range(even, p):
        b0 = direction[a]
        c0 = band[a, start:stop]
        for t in range(m):
            z[t] += c0[t] * b0


@search
def residuals(
    band: FloatArray, y: FloatArray, coef: FloatArray, start: int, stop: int, r_out: FloatArray
) -> None:
    """Write the residuals of the rows."""
    products(band, coef, start, stop, r_out)
    r, response = r_out[start:stop], y[start:stop]
    for t in range(r.shape[0]):
        r[t] = response[t] - r[t]


@search
def weighted_sum(band: FloatArray, c: FloatArray, m: int, sum_out: FloatArray) -> None:
    """Write the weighted sum of the rows."""
    for a in range(sum_out.shape[0]):
        sum_out[a] = dot(band[a, :m], c[:m])


@search
def _band_gram(band: FloatArray, c: FloatArray, m: int, scratch: FloatArray, gram_out: FloatArray) -> None:
    p = gram_out.shape[0]
    for a in range(p):
        column = band[a]
        for t in range(m):
            scratch[t] = column[t] * c[t]
        for b in range(a + 1):
            s = dot(band[b, :m], scratch[:m])
            gram_out[a, b] = s
            gram_out[b, a] = s


@search
def _smooth_weights(work: Work, tau: float, width: float, m: int) -> None:
    """Dual values of the loss smoothed over +-width h_i, into ``work.step``."""
    r, h, w, c = work.r, work.h, work.w, work.step
    for t in range(m):
        u = 0.5 + 0.5 * r[t] / (width * h[t])
        u = min(1.0, max(0.0, u))
        c[t] = w[t] * (tau - 1.0 + u)


@inlined
def _trace_without_crowd(problem: Problem, work: Work, m: int) -> float:
    """Trace of the curvature from rows that are not at a crowded end of the scale.

    Those that are would make it so large that a share of it hides all that the others say.
    """
    trace = 0.0
    for t in range(m):
        if work.step[t] > 0.0 and abs(work.y[t] - work.exact[t]) <= problem.near:
            trace += work.step[t] * dot(work.lines[t], work.lines[t])
    return trace


@inner
def newton(
    problem: Problem,
    state: State,
    work: Work,
    tau: float,
    outside: FloatArray,
    coef: FloatArray,
    m: int,
    keep: float,
    floor: float,
) -> bool:
    """Update the curvature from the band and take chord-Newton steps.

    `keep` is the share of the old curvature. Directions that the band does not see are not taken for flat: in
    none of them is the curvature less than a share `floor` of its mean over all.
    """
    p = coef.shape[0]
    width = state.width[0]
    r, h, w, z, step = work.r, work.h, work.w, work.z, work.step
    residuals(work.band, work.y, coef, TOP, m, r)
    for t in range(m):
        inside = abs(r[t]) < width * h[t]
        step[t] = 0.5 * w[t] / (width * h[t]) if inside else 0.0
    _band_gram(work.band, step, m, z, work.fresh)
    trace = 0.0
    trace_gram = 0.0
    for a in range(p):
        trace += work.fresh[a, a]
        trace_gram += problem.gram[a, a]
    if problem.dither > 0.0:
        trace = max(_trace_without_crowd(problem, work, m), 0.01 * trace)
    ridge = floor * trace / trace_gram
    for a in range(p):
        for b in range(p):
            new = work.fresh[a, b] + ridge * problem.gram[a, b]
            state.curvature[a, b] = keep * state.curvature[a, b] + (1.0 - keep) * new
    if not cholesky(state.curvature, work.factor):
        return False
    gradient, delta = work.vec[0], work.vec[1]
    smooth = 0.5 * width
    previous = np.inf
    for _ in range(4):
        _smooth_weights(work, tau, smooth, m)
        weighted_sum(work.band, step, m, gradient)
        for a in range(p):
            gradient[a] += outside[a]
        cholesky_solve(work.factor, gradient, delta)
        decrement = dot(gradient, delta)
        if decrement > 2.0 * previous:
            break  # the curvature no longer fits: further steps would leave again
        previous = decrement
        for a in range(p):
            coef[a] += delta[a]
        products(work.band, delta, TOP, m, z)
        for t in range(m):
            r[t] -= z[t]
        smooth *= 0.5
    return True
