"""The walk over the taus: screen all rows, solve in the band, prove the rows outside, carry on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.kernels.borrowed import borrowed
from growth.kernels.compiler import inlined, inner, kernel
from growth.kernels.process.algebra import copy, difference, metric_norm
from growth.kernels.process.approach import approach
from growth.kernels.process.band import gather, newton, residuals, weighted_sum
from growth.kernels.process.core import core_first, previous_basis, wake, width_of
from growth.kernels.process.data import (
    ADDED,
    BAND,
    CHECKED,
    CORE,
    OK,
    PASSES,
    PIVOTS,
    RETRIES,
    STALLED,
    TOP,
    UNPROVEN,
    Problem,
    State,
    Work,
)
from growth.kernels.process.predict import learn, predict
from growth.kernels.process.screen import look_again, offenders, point_at, screen, split
from growth.kernels.process.vertex import add_line, crash, descend, vertex_coef

ROOM_LOST = 0.9
"""From tau to tau a band that was widened because it had been too narrow gives up so much of its room."""
NARROWED = 0.2
"""From tau to tau a band much wider than needed, as after the start, keeps so much of its width."""
OTHERS = 8
"""Rows per column in the band that do not lie on a crowded end of the scale."""
FAR = 30.0
"""A start that is so many widths from the solution does not help."""
FLOOR = 0.05
"""Floor of the curvature in all directions."""
TRIES = 2
"""So many failures, one after a tau that failed as well, and a tau is tried from the last tau's vertex."""


@inlined
def _outside_term(
    problem: Problem, state: State, work: Work, tau: float, m: int, outside_out: FloatArray
) -> None:
    """Sum of dual value times row over all rows outside the band."""
    p = outside_out.shape[0]
    all_band, below_band = work.vec[0], work.vec[1]
    rows, w, step, side = work.rows, work.w, work.step, state.side32
    for t in range(m):
        step[t] = w[t] if side[rows[t]] < 0 else 0.0
    weighted_sum(work.band, w, m, all_band)
    weighted_sum(work.band, step, m, below_band)
    for a in range(p):
        outside_out[a] = tau * (problem.total[a] - all_band[a]) - (state.below[a] - below_band[a])


@inner
def _commit(problem: Problem, state: State, work: Work, m: int) -> None:
    """Carry the exact sides of the band's rows into the state; basic rows count as above."""
    p = state.coef.shape[0]
    rows, sign, lines, residual = work.rows, work.sign, work.lines, work.residual32
    side, below = state.side32, state.below
    for t in range(m):
        i = rows[t]
        negative = sign[t] < 0.0
        if negative != (side[i] < 0):
            f = work.w[t] if negative else -work.w[t]
            for a in range(p):
                below[a] += f * lines[t, a]
            side[i] = -side[i]
        if residual[i] * side[i] <= 0.0:
            look_again(state, i)


@inner
def _counted(problem: Problem, state: State, work: Work, target: int, limit: int, m: int) -> float:
    """Count the band's rows for its width, leaving out most of those that lie along the hyperplane.

    They are many at any width. Rows on a crowded end of the scale say nothing about coefficients that move
    the hyperplane away from it: there must be some others.
    """
    if problem.dither == 0.0:
        return float(max(1.0, m - state.ties[0]))
    others = 0.0
    for t in range(m):
        i = work.rows[t]
        others += 1.0 if abs(problem.searched[i] - problem.response[i]) <= problem.near else 0.0
    enough = others * target / (OTHERS * problem.total.shape[0])
    return float(max(min(float(m), enough), m * min(1.0, 4.0 * target / limit), 1.0))


@inner
def _from_basis(work: Work, tau: float, core: int, m: int, coef: FloatArray, outside: FloatArray) -> None:
    """Go to the vertex of the basis, with the first `core` rows of the band awake and the others asleep."""
    r, sign, w, basis = work.r, work.sign, work.w, work.basis
    for t in range(core, m):
        sign[t] = -1.0 if r[t] < 0.0 else 1.0
        add_line(work, t, w[t] * (tau if r[t] >= 0.0 else tau - 1.0), outside)
    vertex_coef(work, work.y, coef)
    residuals(work.band, work.y, coef, TOP, core, r)
    for t in range(core):
        sign[t] = 1.0 if r[t] >= 0.0 else -1.0
    for j in range(basis.shape[0]):
        sign[basis[j]] = 0.0
        r[basis[j]] = 0.0


@inlined
def _solve_band(
    problem: Problem,
    state: State,
    work: Work,
    tau: float,
    outside: FloatArray,
    coef: FloatArray,
    delta: FloatArray,
    width: np.float32,
    slack: np.float32,
    m: int,
    target: int,
    limit: int,
    afresh: bool,
    crossing: float,
    counters: IntArray,
) -> tuple[int, int]:
    """Solve on the core of the band; wake rows found on another side, first in the band, then outside."""
    p = coef.shape[0]
    everything = target >= problem.response.shape[0]
    core = m
    core_width = state.width[0]
    large = not everything and m > 1.5 * CORE * p
    if large and problem.dither > 0.0:
        rows = float(CORE * p)
        if not afresh:
            rows += 3.0 * crossing
            residuals(work.band, work.y, coef, TOP, m, work.r)
        crowd_width = width_of(problem, work, TOP, m, True, rows)
        core_width = min(core_width, width_of(problem, work, TOP, m, False, rows))
        core = core_first(problem, work, m, core_width, crowd_width)
    if (afresh and state.ties[0] < 2 * p) or not previous_basis(state, work, core):
        if large and problem.dither == 0.0:
            core_width *= min(1.0, CORE * p / _counted(problem, state, work, target, limit, m))
            core = core_first(problem, work, m, core_width, core_width)
        if core < 2 * p or not crash(work, core, core_width):
            core = m
            if not crash(work, m, state.width[0]):
                return STALLED, m
    _from_basis(work, tau, core, m, coef, outside)
    r, sign = work.r, work.sign
    exact = problem.dither == 0.0
    for _ in range(60):
        budget = 300 + 40 * p + core // 20
        status, pivots = descend(problem, state, work, tau, outside, coef, core, budget, exact)
        counters[PIVOTS] += pivots
        if status != OK and core == m:
            return status, m
        asleep = core
        # Dithered, rows on the hyperplane itself have got sides already; else they are set apart in the core.
        margin = problem.near if problem.dither == 0.0 or not exact else -problem.tie
        residuals(work.band, work.exact if exact else work.y, coef, core, m, r)
        core_width, crowd_width = -1.0, -1.0
        if status != OK:  # no minimum in sight without further rows
            core_width = width_of(problem, work, core, m, False, float(core))
            crowd_width = width_of(problem, work, core, m, True, float(core))
        for t in range(core, m):
            crowded = abs(work.y[t] - work.exact[t]) > problem.near
            near = abs(r[t]) <= (crowd_width if crowded else core_width) * work.h[t]
            if near or r[t] * sign[t] <= margin:
                wake(work, t, core, sign[t], tau, outside)
                core += 1
        if core > asleep:
            continue
        difference(coef, state.coef, delta)
        reach = np.float32(1.0001 * metric_norm(problem.metric, delta))
        added = 0
        work.n_listed[0] = 0
        if not everything and (reach > width or margin < 0.0):
            checked, added = offenders(problem, state, work, coef, width, reach, slack, m, exact, margin)
            counters[CHECKED] += checked
            counters[ADDED] += added
        if added == 0:
            if exact:
                return OK, m
            _commit(problem, state, work, m)
            copy(coef, work.vec[8])
            exact = True
            continue
        if m + added > work.rows.shape[0]:
            return UNPROVEN, m
        gather(problem, work, m, m + added)
        residuals(work.band, work.exact if exact else work.y, coef, m, m + added, r)
        for t in range(m, m + added):
            wake(work, t, core, np.float64(state.side32[work.rows[t]]), tau, outside)
            core += 1
        m += added
    return UNPROVEN, m


@inlined
def _solve_tau(
    problem: Problem,
    state: State,
    work: Work,
    tau: float,
    target: int,
    limit: int,
    cold: bool,
    crossing: float,
    counters: IntArray,
) -> int:
    """Find the optimal vertex at `tau` from the prediction in ``state.coef``.

    About `crossing` rows change sides between the last tau and this one.
    Returns the number of rows in the band, or -1 if no attempt arrived.
    """
    n, p = problem.response.shape[0], problem.total.shape[0]
    crowded, failures = 0, 0
    too_narrow = False
    afresh = True
    still = np.inf
    tries = TRIES if state.room[0] == 1.0 else 1
    coef, outside, delta, predicted = work.vec[7], work.vec[9], work.vec[10], work.vec[11]
    copy(state.coef, predicted)
    width_before = state.width[0]
    for attempt in range(14):
        everything = target >= n
        if failures >= tries and afresh and not everything and state.basis[0] >= 0:
            afresh = False  # where the density changes abruptly predictions fail; a vertex is never far off
            copy(state.vertex, state.coef)
            state.width[0] = max(4.0 * width_before, 0.5 * state.width[1])
        slack = point_at(problem, work, state.coef)
        width = np.float32(np.inf) if everything else np.float32(state.width[0])
        if everything:
            m = n
            rows = work.rows
            for i in range(n):
                rows[i] = i
        else:
            count = screen(problem, state, work, width, slack)
            m = split(problem, state, work, count, width, slack)
        counters[PASSES] += 1
        if not everything:
            if m > limit and crowded < 2 and failures <= tries:
                counted = _counted(problem, state, work, target, limit, m)
                if counted > limit:
                    crowded += 1  # narrowing does not help where many rows lie on the hyperplane itself
                    state.width[0] *= 0.7 * limit / counted
                    continue
            if m < min(2 * p, n):
                state.width[0] *= 2.0
                continue
        work.visit[0] += 1
        gather(problem, work, TOP, m)
        _outside_term(problem, state, work, tau, m, outside)
        copy(state.coef, coef)
        if not newton(problem, state, work, tau, outside, coef, m, 0.0 if cold else 0.3, FLOOR):
            state.width[0] *= 2.0
            too_narrow = True
            failures += 1
            counters[RETRIES] += 1
            continue
        if not afresh:
            copy(state.coef, coef)
        difference(coef, state.coef, delta)
        moved = metric_norm(problem.metric, delta)
        if state.basis[0] < 0 and not cold and (moved > FAR * state.width[0] or failures > 4):
            break  # the start is that of another problem
        if not everything and moved > 3.0 * state.width[0] and attempt < 4:
            # Far from the solution: a better prediction is worth more than a vertex of the wrong band.
            for a in range(p):
                state.coef[a] += min(1.0, 6.0 * state.width[0] / moved) * delta[a]
            failures += moved > 0.5 * still  # no progress
            still = moved
            counters[RETRIES] += 1
            continue
        status, m = _solve_band(
            problem,
            state,
            work,
            tau,
            outside,
            coef,
            delta,
            width,
            slack,
            m,
            target,
            limit,
            afresh,
            crossing,
            counters,
        )
        if status != OK:
            failures += 1
            counters[RETRIES] += 1
            if status == UNPROVEN and afresh:  # optimal but for rows outside: a better place to screen from
                copy(coef, state.coef)
            else:
                state.width[0] *= 2.0
                too_narrow = True
            continue
        if problem.dither == 0.0:
            _commit(problem, state, work, m)
            copy(coef, state.coef)
        else:
            copy(work.vec[8], state.coef)
        counters[BAND] = m
        if not everything:
            state.room[0] = min(
                4.0, max(1.0, state.room[0] * (2.0 if too_narrow and failures >= tries else ROOM_LOST))
            )
            aim = state.room[0] * target / _counted(problem, state, work, target, limit, m)
            narrowed = 0.5 if state.basis[0] < 0 else NARROWED  # refits start from the width of the first tau
            state.width[0] *= min(2.0, max(narrowed if afresh else 1.0 / 32.0, aim))
        return m
    # Leave a sane state to the next tau; this one is solved from scratch later.
    copy(predicted, state.coef)
    state.width[0] = width_before
    return -1


@inner
def _report_tie(k: int, i: int, above: bool, ties_out: NDArray[np.int32], n_ties_out: IntArray) -> None:
    n = n_ties_out[0]
    if n < ties_out.shape[0]:
        ties_out[n, 0] = k
        ties_out[n, 1] = i
        ties_out[n, 2] = 1 if above else -1
    n_ties_out[0] += 1


@inner
def _report_ties(
    problem: Problem,
    state: State,
    work: Work,
    k: int,
    m: int,
    ties_out: NDArray[np.int32],
    n_ties_out: IntArray,
) -> None:
    """List the rows on the hyperplane that are not basic, with their sides."""
    before = n_ties_out[0]
    sign, r, rows, side, near = work.sign, work.r, work.rows, state.side32, problem.near
    for t in range(m):
        if sign[t] != 0.0 and abs(r[t]) <= near:
            _report_tie(k, rows[t], sign[t] > 0.0, ties_out, n_ties_out)
    if problem.dither == 0.0:
        state.ties[0] = n_ties_out[0] - before
        return
    for t in range(work.n_listed[0]):
        i = work.listed[t]
        _report_tie(k, i, side[i] > 0, ties_out, n_ties_out)


@kernel
def solve_path(
    problem: Problem,
    state: State,
    work: Work,
    taus: FloatArray,
    scores: FloatArray,
    order: IntArray,
    tau_from: float,
    target: int,
    limit: int,
    cold: bool,
    far: bool,
    basis_out: IntArray,
    ties_out: NDArray[np.int32],
    n_ties_out: IntArray,
    counters_out: IntArray,
    status_out: IntArray,
) -> None:
    """Solve the taus of `order` one after the other, starting from `state`, which belongs to `tau_from`.

    The band aims at `target` rows (all rows: nothing is screened out) and is narrowed above `limit` rows.
    With `cold` the state holds a rough start instead of a solution; samples of the rows bring it nearer first
    if it is `far`.

    `scores` are the normal scores of the taus.

    Rows other than basic ones with a residual up to ``problem.near`` are reported with their side in
    ``ties_out`` as (position of tau, row, side): their dual value cannot be read off the residual.
    """
    problem, state, work = borrowed(problem), borrowed(state), borrowed(work)
    p = state.coef.shape[0]
    if far:
        approach(problem, state, work, tau_from)
    previous = tau_from
    n_ties_out[0] = 0
    for s in range(order.shape[0]):
        k = order[s]
        tau = taus[k]
        if not (cold and s == 0):
            predict(problem, state, work, tau - previous, scores[k])
        crossing = abs(tau - previous) * problem.response.shape[0]
        m = _solve_tau(problem, state, work, tau, target, limit, cold and s == 0, crossing, counters_out[k])
        previous = taus[k]
        if m < 0:
            status_out[k] = STALLED
            continue
        status_out[k] = OK
        learn(problem, state, work, scores[k])
        for j in range(p):
            basis_out[k, j] = work.rows[work.basis[j]]
            state.basis[j] = basis_out[k, j]
            state.vertex[j] = state.coef[j]
        _report_ties(problem, state, work, k, m, ties_out, n_ties_out)
