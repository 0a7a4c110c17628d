"""The way to the next vertex where one width cannot fit all rows: Newton steps that see every row.

Where the hyperplane runs along a floor of the scale, some of its coefficients are held by thousands of rows
within a hundredth of a score point and others by a few rows points away. A band of the rows with
|r_i| < omega h_i, with h_i from X'WX, then holds far too many rows for the former or too few for the latter,
and the simplex is left to find the way, in hundreds of pivots over thousands of rows.

Here lengths are taken in the metric of the curvature itself, h_i^2 = x_i'J^-1 x_i with
J = sum_i w_i / (2 omega h_i) x_i x_i' over |r_i| < omega h_i, so that well-held coefficients get narrow
widths (of smoothing methods, see [1]_). The search starts at the vertex of the last tau. Every step finds h_i
of all rows, takes as omega the width that holds a given number of them, makes a Newton step on the loss
smoothed over +-omega h_i, no longer than until that loss, with the sides that all other rows change on the
way, stops falling; the number of rows falls from step to step. A few steps leave so few rows on the wrong
side that pivoting among the nearest rows finds the vertex. A look at all rows proves the sides of the others.

References
----------
.. [1] K. Madsen and H. B. Nielsen (1993), A finite smoothing algorithm for linear l1 estimation, SIAM Journal
   on Optimization 3(2), 223-235.
"""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray, IntArray
from growth.kernels.borrowed import borrowed
from growth.kernels.compiler import inlined, inner, kernel, search
from growth.kernels.process.algebra import cholesky, cholesky_solve, dot
from growth.kernels.process.band import band_gram, gather, products, residuals, weighted_sum
from growth.kernels.process.core import wake
from growth.kernels.process.data import (
    ADDED,
    BAND,
    CHECKED,
    EASY,
    HEAVY,
    OK,
    PASSES,
    PIVOTS,
    TOP,
    Problem,
    State,
    Work,
)
from growth.kernels.process.screen import look_again
from growth.kernels.process.vertex import crash, descend, select, vertex_coef
from growth.kernels.process.wide import STIRRED, Wide, all_residuals, apart, measure
from growth.kernels.rows import add_row, read_row

FIRST = 3.0
"""Rows inside the first width, for each that is about to change sides."""
LAST = 40.0
"""Rows per column inside the last width."""
NEAREST = 60.0
"""Rows per column among which the vertex is sought."""
FURTHER = 3.0
"""Times as many rows if it is not found there."""
SHRINK = 0.4
"""Share of the rows inside the width that stay inside the next."""
SPARE = 1.5
"""Times the rows inside the width that are gathered, since they are counted in a sample."""
SAMPLE = 8192
"""Size of that sample."""
MOST_STRAYS = 20
"""Rows per column on the hyperplane, or on another side than thought: bands do better."""
STEPS = 16
"""At most."""
MEASURED = 2
"""Lengths are found anew after so many steps: they only decide which rows are smoothed."""
LOST = 0.3
"""Share of the rows inside the width that a step may lead out of it before the width grows."""
SETTLED = 0.1
"""The same for the last step."""
SHORT = 0.2
"""After steps shorter than this share of a Newton step the width stays."""
OLD = 0.02
"""Share of the last curvature that is kept: directions in which no row is near must not be taken for flat."""


@inner
def _nearest(problem: Problem, work: Work, wide: Wide, count: float) -> int:
    """Gather about `count` rows with the smallest |r| / h."""
    now, length, step, slope, pick = wide.now, wide.length, work.step, work.slope, work.pick
    n = problem.response.shape[0]
    stride = max(1, n // SAMPLE)
    s = 0
    for i in range(0, n, stride):
        step[s] = abs(now[i]) / length[i]
        slope[s] = 1.0
        pick[s] = i
        s += 1
    width = np.float32(step[select(step, slope, pick, s, min(count / stride, s - 1.0))])
    m = 0
    rows, joined = work.rows, work.joined
    work.visit[0] += 1
    for i in range(n):
        if abs(now[i]) <= width * length[i]:
            rows[m] = i
            joined[i] = work.visit[0]
            m += 1
    gather(problem, work, TOP, m)
    y, exact, h = work.y, work.exact, work.h
    for t in range(m):
        h[t] = length[rows[t]]
        y[t] = apart(problem, y[t], exact[t])
    return m


@inner
def _omega(work: Work, m: int, count: float) -> float:
    """Return the width that holds `count` of the rows gathered."""
    r, h, step, slope, pick = work.r, work.h, work.step, work.slope, work.pick
    for t in range(m):
        step[t] = abs(r[t]) / h[t]
        slope[t] = 1.0
        pick[t] = t
    return float(step[select(step, slope, pick, m, min(count, m - 1.0))])


@search
def _newton(
    problem: Problem,
    state: State,
    work: Work,
    tau: float,
    omega: float,
    m: int,
    gradient: FloatArray,
    delta_out: FloatArray,
) -> bool:
    """Newton step on the smoothed loss of all rows; updates the curvature."""
    r, h, w, step, slope, rows = work.r, work.h, work.w, work.step, work.slope, work.rows
    side, curvature = state.side32, state.curvature
    p = gradient.shape[0]
    for t in range(m):
        u = 0.5 + 0.5 * r[t] / (omega * h[t])
        above = 1.0 if side[rows[t]] > 0 else 0.0
        step[t] = w[t] * (min(1.0, max(0.0, u)) - above)
        slope[t] = 0.5 * w[t] / (omega * h[t]) if (u > 0.0) & (u < 1.0) else 0.0
    weighted_sum(work.band, step, m, gradient)
    band_gram(work.band, slope, m, work.z, work.fresh)
    for a in range(p):
        gradient[a] += tau * problem.total[a] - state.below[a]
        for b in range(p):
            curvature[a, b] = work.fresh[a, b] + OLD * curvature[a, b]
    if not cholesky(curvature, work.factor):
        return False
    cholesky_solve(work.factor, gradient, delta_out)
    return True


@inlined
def _on_the_way(problem: Problem, work: Work, wide: Wide, m: int) -> int:
    """List after the m rows gathered when, on a full step, each other row changes sides, and its slope."""
    now, then, joined, when, slope, weight = (
        wide.now,
        wide.then,
        work.joined,
        work.sign,
        work.z,
        problem.weight,
    )
    visit = work.visit[0]
    end = m
    for i in range(problem.response.shape[0]):
        if (now[i] < 0) != (then[i] < 0) and joined[i] != visit:
            move = abs(now[i] - then[i])
            when[end] = abs(now[i]) / move
            slope[end] = weight[i] * move
            end += 1
    return end


@search
def _slope_at(work: Work, omega: float, length: float, m: int, end: int) -> float:
    """Change of the slope of the loss along the step between its start and `length`."""
    r, h, w, z, when = work.r, work.h, work.w, work.z, work.sign
    s = 0.0
    for t in range(m):
        half = 0.5 / (omega * h[t])
        before = min(1.0, max(0.0, 0.5 + half * r[t]))
        after = min(1.0, max(0.0, 0.5 + half * (r[t] - length * z[t])))
        s += w[t] * z[t] * (before - after)
    for t in range(m, end):
        s += z[t] if when[t] < length else 0.0
    return s


@inlined
def _length(work: Work, omega: float, decrement: float, m: int, end: int) -> float:
    """Return 1, or a shorter length at which the loss stops falling."""
    if _slope_at(work, omega, 1.0, m, end) <= decrement:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(7):
        middle = 0.5 * (low + high)
        if _slope_at(work, omega, middle, m, end) > decrement:
            high = middle
        else:
            low = middle
    return high


@inner
def _take_sides(problem: Problem, state: State, wide: Wide) -> None:
    """Let every row count with the side on which it is."""
    now, side = wide.now, state.side32
    for i in range(problem.response.shape[0]):
        if now[i] * side[i] < 0:
            side[i] = -side[i]
            add_row(problem.rows, i, problem.weight[i] if side[i] < 0 else -problem.weight[i], state.below)
            look_again(state, i)


@inlined
def _narrow(
    problem: Problem,
    state: State,
    work: Work,
    wide: Wide,
    tau: float,
    coef: FloatArray,
    crossing: float,
    measured: bool,
    counters: IntArray,
) -> bool:
    """Take Newton steps over fewer and fewer rows; False if too many lie on the hyperplane."""
    n, p = problem.response.shape[0], coef.shape[0]
    gradient, delta, trial, shift = work.vec[0], work.vec[2], work.vec[9], work.vec[10]
    last = min(LAST * p, 0.125 * n)
    count = min(max(FIRST * crossing, 2.0 * last), 0.25 * n)
    all_residuals(problem, work, coef, work.beta, shift, wide.now)
    counters[PASSES] += 1
    on_it = 0
    for i in range(n):
        on_it += abs(wide.now[i]) <= STIRRED * problem.dither + problem.near
    if on_it > 2 * p + MOST_STRAYS:
        return False
    _take_sides(problem, state, wide)
    for step in range(STEPS):
        anew = step % MEASURED == 1 or (step == 0 and not measured)
        if anew and not measure(problem, state, work, wide):
            return False
        m = _nearest(problem, work, wide, SPARE * count)
        residuals(work.band, work.y, coef, TOP, m, work.r)
        omega = _omega(work, m, count)
        if not omega > 0.0 or not _newton(problem, state, work, tau, omega, m, gradient, delta):
            return False
        for a in range(p):
            trial[a] = coef[a] + delta[a]
        all_residuals(problem, work, trial, work.beta, shift, wide.then)
        counters[PASSES] += 1
        products(work.band, delta, TOP, m, work.z)
        end = _on_the_way(problem, work, wide, m)
        length = _length(work, omega, dot(gradient, delta), m, end)
        lost = 0
        for t in range(m):
            reach = omega * work.h[t]
            lost += (abs(work.r[t]) < reach) & (abs(length * work.z[t]) > reach)
        for a in range(p):
            coef[a] += length * delta[a]
        if length < 1.0:
            all_residuals(problem, work, coef, work.beta, shift, wide.now)
            counters[PASSES] += 1
        else:
            for i in range(n):
                wide.now[i] = wide.then[i]
        _take_sides(problem, state, wide)
        if lost > LOST * count and count <= 0.125 * n:
            count *= 2.0
        elif length > SHORT:
            if count > last:
                count = max(last, SHRINK * count)
            elif lost <= SETTLED * count:
                break
    return True


@inner
def _strays(
    problem: Problem, state: State, work: Work, wide: Wide, coef: FloatArray, m: int, counters: IntArray
) -> int:
    """Append the rows that are not on the side with which they count; return their number."""
    row, now, side, joined, visit = work.vec[0], wide.now, state.side32, work.joined, work.visit[0]
    p = coef.shape[0]
    all_residuals(problem, work, coef, work.beta, work.vec[10], now)
    counters[PASSES] += 1
    slack = np.float32(2.0 * problem.near + STIRRED * problem.dither)
    added = 0
    for i in range(problem.response.shape[0]):
        if now[i] * side[i] < slack and joined[i] != visit:
            counters[CHECKED] += 1
            read_row(problem.rows, i, row)
            r = problem.response[i]
            for a in range(p):
                r -= row[a] * coef[a]
            if r * side[i] <= problem.near:
                joined[i] = visit
                work.rows[m + added] = i
                added += 1
    counters[ADDED] += added
    return added


@inlined
def _vertex(
    problem: Problem,
    state: State,
    work: Work,
    wide: Wide,
    tau: float,
    coef: FloatArray,
    m: int,
    counters: IntArray,
) -> int:
    """Pivot among the m rows gathered, and those found on another side; returns how many.

    0: they are too few. -1: the hyperplane lies on too many rows.
    """
    p = coef.shape[0]
    outside, r, sign, w, step = work.vec[9], work.r, work.sign, work.w, work.step
    residuals(work.band, work.y, coef, TOP, m, r)
    if m < 2 * p or not crash(work, m, np.inf):
        return 0
    for t in range(m):  # dual value times row over all other rows
        step[t] = w[t] if state.side32[work.rows[t]] < 0 else 0.0
        step[t] -= tau * w[t]
    weighted_sum(work.band, step, m, outside)
    for a in range(p):
        outside[a] += tau * problem.total[a] - state.below[a]
    vertex_coef(work, work.y, coef)
    residuals(work.band, work.y, coef, TOP, m, r)
    for t in range(m):
        sign[t] = 1.0 if r[t] >= 0.0 else -1.0
    for j in range(p):
        sign[work.basis[j]] = 0.0
        r[work.basis[j]] = 0.0
    for _ in range(60):
        budget = 300 + 40 * p + m // 20
        status, pivots = descend(problem, state, work, tau, outside, coef, m, budget, True)
        counters[PIVOTS] += pivots
        if status != OK:
            return 0
        added = _strays(problem, state, work, wide, coef, m, counters)
        if added == 0:
            return m
        if added > MOST_STRAYS * p:
            return -1
        gather(problem, work, m, m + added)
        for t in range(m, m + added):
            work.y[t] = apart(problem, work.y[t], work.exact[t])
        residuals(work.band, work.exact, coef, m, m + added, r)
        for t in range(m, m + added):
            wake(work, t, t, np.float64(state.side32[work.rows[t]]), tau, outside)
        m += added
    return 0


@inlined
def _keep_sides(problem: Problem, state: State, work: Work, m: int) -> None:
    """Carry the sides of the rows gathered into the state; basic rows count as above."""
    for t in range(m):
        i = work.rows[t]
        if (work.sign[t] < 0.0) != (state.side32[i] < 0):
            state.side32[i] = -state.side32[i]
            add_row(problem.rows, i, work.w[t] if work.sign[t] < 0.0 else -work.w[t], state.below)
        look_again(state, i)


@kernel
def funnel_path(
    problem: Problem,
    state: State,
    work: Work,
    wide: Wide,
    taus: FloatArray,
    order: IntArray,
    tau_from: float,
    basis_out: IntArray,
    ties_out: IntArray,
    n_ties_out: IntArray,
    counters_out: IntArray,
    status_out: IntArray,
) -> int:
    """Solve the first taus of `order`, starting from the last vertex; as `solve_path` otherwise.

    Returns how many were solved: fewer than all if one was not found, or after many pivots.
    """
    problem, state, work, wide = borrowed(problem), borrowed(state), borrowed(work), borrowed(wide)
    n, p = problem.response.shape[0], problem.total.shape[0]
    coef = work.vec[7]
    previous = tau_from
    for s in range(order.shape[0]):
        k = order[s]
        tau = taus[k]
        first = state.basis[0] < 0
        crossing = n if first else abs(tau - previous) * n
        previous = tau
        for a in range(p):
            coef[a] = state.coef[a] if first else state.vertex[a]
        if not _narrow(problem, state, work, wide, tau, coef, crossing, s > 0, counters_out[k]):
            return s
        m = 0
        for attempt in range(2):
            if m == 0:
                near = _nearest(problem, work, wide, NEAREST * p * FURTHER**attempt)
                m = _vertex(problem, state, work, wide, tau, coef, near, counters_out[k])
        if m <= 0:
            return s
        _keep_sides(problem, state, work, m)
        counters_out[k, BAND] = m
        status_out[k] = OK
        for a in range(p):
            state.coef[a] = coef[a]
            state.vertex[a] = coef[a]
        for j in range(p):
            basis_out[k, j] = work.rows[work.basis[j]]
            state.basis[j] = basis_out[k, j]
        ties = 0
        for t in range(m):
            if work.sign[t] != 0.0 and abs(work.r[t]) <= problem.near:
                if n_ties_out[0] < ties_out.shape[0]:
                    ties_out[n_ties_out[0], 0] = k
                    ties_out[n_ties_out[0], 1] = work.rows[t]
                    ties_out[n_ties_out[0], 2] = 1 if work.sign[t] > 0.0 else -1
                n_ties_out[0] += 1
                ties += 1
        state.ties[0] = ties
        if counters_out[k, PIVOTS] > EASY + HEAVY * p:
            return s + 1
    return int(order.shape[0])
