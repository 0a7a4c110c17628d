"""From the neighbourhood of the solution to the optimal vertex: a basis, then simplex pivots."""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray, IntArray
from growth.kernels.compiler import inlined, inner
from growth.kernels.process.algebra import dot
from growth.kernels.process.band import products, residuals, weighted_sum
from growth.kernels.process.data import OK, STALLED, TILE, TOP, Problem, State, Work

FLAT = 1e-11
"""Along a direction residuals that change by less than this count as unchanged."""
PACE = 8.0
"""Rows are looked for at first so many times as far away as the pace of the last step says."""
SLOW = 0.01
"""Where this is such a share of what the curvature says."""


@inner
def _enter(directions: FloatArray, alpha: FloatArray, leaving: int) -> None:
    """Replace basic row `leaving` by a row with products `alpha` = directions @ x."""
    p = alpha.shape[0]
    scale = 1.0 / alpha[leaving]
    for b in range(p):
        directions[leaving, b] *= scale
    for j in range(p):
        if j != leaving and alpha[j] != 0.0:
            f = alpha[j]
            for b in range(p):
                directions[j, b] -= f * directions[leaving, b]


@inner
def _sort_pairs(key: FloatArray, value: IntArray, n: int) -> None:
    """Shell sort of the first n keys, values along with them."""
    gap = 1
    while gap < n // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, n):
            k, v = key[i], value[i]
            j = i
            while j >= gap and key[j - gap] > k:
                key[j] = key[j - gap]
                value[j] = value[j - gap]
                j -= gap
            key[j] = k
            value[j] = v
        gap //= 3


@inner
def _no_basis(work: Work) -> None:
    """Start elimination: no basic rows, unit directions."""
    basis, directions = work.basis, work.directions
    p = basis.shape[0]
    for a in range(p):
        basis[a] = -1
        for b in range(p):
            directions[a, b] = 1.0 if a == b else 0.0


@inlined
def _add_to_basis(work: Work, t: int, tolerance: float) -> bool:
    """Let row t take the free slot where it weighs most, if it weighs more than `tolerance`."""
    basis, directions, alpha, line = work.basis, work.directions, work.vec[0], work.lines[t]
    largest = 0.0
    slot = -1
    for j in range(basis.shape[0]):
        alpha[j] = dot(directions[j], line)
        if basis[j] < 0 and abs(alpha[j]) > largest:
            largest = abs(alpha[j])
            slot = j
    if slot < 0 or not largest > tolerance:
        return False
    _enter(directions, alpha, slot)
    basis[slot] = t
    return True


@inner
def crash(work: Work, m: int, width: float) -> bool:
    """Choose a basis among the rows nearest to zero; Gauss-Jordan elimination fills ``directions``."""
    r, h, pick, slope = work.r, work.h, work.pick, work.slope
    p = work.basis.shape[0]
    _no_basis(work)
    found = 0
    low = -1.0
    high = width * min(1.0, 3.0 * p / m)
    tolerance = 0.05
    while found < p:
        n = 0
        for t in range(m):
            score = abs(r[t]) / h[t]
            if low < score <= high:
                pick[n] = t
                slope[n] = score
                n += 1
        _sort_pairs(slope, pick, n)
        for s in range(n):
            found += _add_to_basis(work, pick[s], tolerance)
            if found == p:
                return True
        if high < np.inf:
            low = high
            high = high * 4.0 if high < width else np.inf
        elif tolerance > 1e-9:
            tolerance *= 1e-2
            low = -1.0
        else:
            return False
    return True


@inner
def refactor(work: Work) -> bool:
    """Recompute ``directions`` from the basis; False if it is singular."""
    p = work.basis.shape[0]
    for a in range(p):
        work.pick[a] = work.basis[a]
    _no_basis(work)
    for s in range(p):  # noqa: SIM110 (kernels know no generators)
        if not _add_to_basis(work, work.pick[s], 1e-12):
            return False
    return True


@inner
def vertex_coef(work: Work, y: FloatArray, coef: FloatArray) -> None:
    """Coefficients through the basic rows, refined twice."""
    basis, lines, directions, gap = work.basis, work.lines, work.directions, work.vec[2]
    p = coef.shape[0]
    for a in range(p):
        coef[a] = 0.0
    for _ in range(3):
        for j in range(p):
            t = basis[j]
            s = y[t]
            for a in range(p):
                s -= lines[t, a] * coef[a]
            gap[j] = s
        for j in range(p):
            for a in range(p):
                coef[a] += gap[j] * directions[j, a]


@inner
def _gradient(work: Work, tau: float, outside: FloatArray, m: int, gradient_out: FloatArray) -> None:
    """Sum of dual value times row over the outside and the non-basic rows of the band."""
    sign, w, step = work.sign, work.w, work.step
    for t in range(m):
        s = sign[t]
        step[t] = 0.0 if s == 0.0 else (w[t] * tau if s > 0.0 else w[t] * (tau - 1.0))
    weighted_sum(work.band, step, m, gradient_out)
    for a in range(gradient_out.shape[0]):
        gradient_out[a] += outside[a]


@inner
def select(step: FloatArray, slope: FloatArray, pick: IntArray, n: int, target: float) -> int:
    """Position s of the smallest step at which accumulated slopes reach `target` (which they do in all).

    Quickselect: the first n entries are permuted together so that the steps before s, and no others, are
    passed.
    """
    low, high = 0, n
    reached = 0.0
    while high - low > 1:
        a, b, c = step[low], step[(low + high) // 2], step[high - 1]
        pivot = max(min(a, b), min(max(a, b), c))
        i, k, j = low, low, high
        left = 0.0
        middle = 0.0
        while k < j:
            v = step[k]
            if v < pivot:
                left += slope[k]
                step[k], step[i] = step[i], v
                slope[k], slope[i] = slope[i], slope[k]
                pick[k], pick[i] = pick[i], pick[k]
                i += 1
                k += 1
            elif v > pivot:
                j -= 1
                step[k], step[j] = step[j], v
                slope[k], slope[j] = slope[j], slope[k]
                pick[k], pick[j] = pick[j], pick[k]
            else:
                middle += slope[k]
                k += 1
        if reached + left >= target:
            high = i
        elif reached + left + middle >= target:
            reached += left
            for k in range(i, j):
                reached += slope[k]
                if reached >= target:
                    return k
            return j - 1
        else:
            reached += left + middle
            low = j
    return min(low, n - 1)


@inner
def _within_reach(work: Work, m: int, reach: float) -> int:
    """List in ``work.pick`` the rows that change sign within `reach` along ``work.z``; return their number.

    Rows are few among many: they are marked in blocks, which vectorises, and looked for in words of marks.
    """
    sign, r, z, pick, flag, words = work.sign, work.r, work.z, work.pick, work.flag, work.flag_words
    whole = m - m % TILE
    n = 0
    for start in range(0, whole, TILE):
        for i in range(TILE):
            q = sign[start + i] * z[start + i]
            flag[i] = (q > FLAT) & (sign[start + i] * r[start + i] <= reach * q)
        for j in range(TILE // 8):
            if words[j] != 0:
                for i in range(8 * j, 8 * j + 8):
                    pick[n] = start + i
                    n += flag[i] != 0
    for t in range(whole, m):
        q = sign[t] * z[t]
        if (q > FLAT) & (sign[t] * r[t] <= reach * q):
            pick[n] = t
            n += 1
    return n


@inner
def _curves_along(state: State, work: Work) -> None:
    """Recompute the curvature of the smoothed loss along every direction."""
    curvature, directions, curve, v = state.curvature, work.directions, work.curve, work.vec[6]
    p = curve.shape[0]
    for j in range(p):
        for a in range(p):
            v[a] = dot(curvature[a], directions[j])
        curve[j] = dot(v, directions[j])


@inlined
def _price(
    problem: Problem, work: Work, tau: float, gradient: FloatArray, ties: bool
) -> tuple[int, float, bool]:
    """Choose the basic row to leave: (position or -1, excess of its dual value, does its residual grow).

    Among values outside their box the one with the largest predicted decrease. A value on the edge of its box
    means that a whole edge of solutions is optimal; with `ties` such a row leaves if smaller taus want it to.
    """
    basis, directions, weight, curve = work.basis, work.directions, work.w, work.curve
    total_abs = problem.total_abs
    p = basis.shape[0]
    leaving, best, excess, upward = -1, 0.0, 0.0, True
    for j in range(p):
        direction = directions[j]
        d = -dot(direction, gradient)
        w = weight[basis[j]]
        over, under = d - tau * w, (tau - 1.0) * w - d
        e = max(over, under)
        if e > -1e-7 * w:
            rounding = 0.0
            for a in range(p):
                rounding += abs(direction[a]) * total_abs[a]
            tolerance = 1e-12 * w + 2e-15 * rounding
            if e > tolerance:
                score = e * e / max(curve[j], 1e-300)
                if score > best:
                    leaving, best, excess, upward = j, score, e, over > under
            elif ties and best == 0.0 and e > -tolerance:
                # d(dual) / d(tau) = w - direction'total; the edges of the box move by w
                drift = dot(direction, problem.total)
                if (over > under and drift > 1e-9 * rounding) or (over <= under and drift < -1e-9 * rounding):
                    leaving, upward = j, over > under
    return leaving, excess, upward


@inlined
def _settle(
    problem: Problem, state: State, work: Work, tau: float, outside: FloatArray, coef: FloatArray, m: int
) -> bool:
    """Recompute from the basis all that pivots update."""
    if not refactor(work):
        return False
    r, sign, y, exact, tie, apart = work.r, work.sign, work.y, work.exact, problem.tie, problem.apart
    vertex_coef(work, exact, coef)
    residuals(work.band, exact, coef, TOP, m, r)
    for j in range(coef.shape[0]):
        r[work.basis[j]] = 0.0
    for t in range(m):
        if sign[t] * r[t] < -tie:
            sign[t] = -sign[t]
        elif abs(r[t]) <= tie:
            # Steps of length zero could go round in circles: set ties apart, each on its own side.
            move = abs(y[t] - exact[t])
            r[t] = sign[t] * (move if move <= problem.near else apart * move)
    _gradient(work, tau, outside, m, work.vec[3])
    _curves_along(state, work)
    return True


@inlined
def _entering(work: Work, excess: float, curve: float, pace: float, m: int) -> tuple[int, float, int]:
    """Long-step ratio test along ``work.z``: (row or -1, step length, number of rows passed on the way).

    The curvature tells how far to look for rows, unless the `pace` of the last step, its length for each unit
    of excess, was far slower: among rows that tie steps are as short as these were moved.
    """
    sign, r, z, w = work.sign, work.r, work.z, work.w
    pick, step, slope = work.pick, work.step, work.slope
    reach = 4.0 * excess / max(curve, 1e-300)
    slow = PACE * pace * excess
    for attempt in range(4):
        if attempt == 0:
            if not slow < SLOW * reach:
                continue
            n = _within_reach(work, m, slow)
        else:
            n = _within_reach(work, m, reach if attempt < 3 else np.inf)
            reach *= 16.0
        available = 0.0
        for s in range(n):
            t = pick[s]
            q = sign[t] * z[t]
            step[s] = max(sign[t] * r[t], 0.0) / q
            slope[s] = w[t] * q
            available += slope[s]
        if n > 0 and available >= excess:
            passed = select(step, slope, pick, n, excess)
            return pick[passed], step[passed], passed
    return -1, 0.0, 0


@inlined
def add_line(work: Work, t: int, f: float, sum_out: FloatArray) -> None:
    """Add f times row t to a sum."""
    line = work.lines[t]
    for a in range(sum_out.shape[0]):
        sum_out[a] += f * line[a]


@inlined
def _exchange(
    state: State,
    work: Work,
    tau: float,
    leaving: int,
    entering: int,
    upward: bool,
    passed: int,
    gradient: FloatArray,
) -> None:
    """Flip the rows passed, swap the basic row, and update gradient, directions and curvatures."""
    alpha, v, x = work.vec[4], work.vec[6], work.lines[entering]
    basis, directions, curvature, curve = work.basis, work.directions, state.curvature, work.curve
    pick, w, sign = work.pick, work.w, work.sign
    p = basis.shape[0]
    for s in range(passed):
        t = pick[s]
        add_line(work, t, -w[t] * sign[t], gradient)
        sign[t] = -sign[t]
    add_line(work, entering, -w[entering] * (tau if sign[entering] > 0.0 else tau - 1.0), gradient)
    out = basis[leaving]
    sign[out] = 1.0 if upward else -1.0
    add_line(work, out, w[out] * (tau if upward else tau - 1.0), gradient)
    for a in range(p):
        v[a] = dot(curvature[a], directions[leaving])
        alpha[a] = dot(directions[a], x)
    own = curve[leaving]
    for j in range(p):
        if j != leaving:
            ratio = alpha[j] / alpha[leaving]
            curve[j] += ratio * (ratio * own - 2.0 * dot(v, directions[j]))
    curve[leaving] = own / (alpha[leaving] * alpha[leaving])
    _enter(directions, alpha, leaving)
    basis[leaving] = entering
    sign[entering] = 0.0
    work.r[entering] = 0.0


@inner
def descend(
    problem: Problem,
    state: State,
    work: Work,
    tau: float,
    outside: FloatArray,
    coef: FloatArray,
    m: int,
    budget: int,
    exact: bool,
) -> tuple[int, int]:
    """Pivot from the basis in `work` to an optimal vertex of the band problem.

    With `exact` the last pivots are made with the exact responses. Returns (status, pivots). On OK, `coef`,
    ``work.r`` and ``work.sign`` belong to the optimal vertex.
    """
    gradient, move, directions, r, z = work.vec[3], work.vec[5], work.directions, work.r, work.z
    p = coef.shape[0]
    pivots = 0
    on_edges = 0
    settled = False
    _gradient(work, tau, outside, m, gradient)
    _curves_along(state, work)
    while True:
        leaving, excess, upward = _price(problem, work, tau, gradient, settled and on_edges < 5 * p + 50)
        if leaving < 0:
            if settled or not exact:
                return OK, pivots
            if not _settle(problem, state, work, tau, outside, coef, m):
                return STALLED, pivots
            settled = True
            continue
        if pivots >= budget:
            return STALLED, pivots
        for a in range(p):
            move[a] = -directions[leaving, a] if upward else directions[leaving, a]
        products(work.band, move, TOP, m, z)
        entering, length, passed = _entering(work, excess, work.curve[leaving], state.pace[0], m)
        if entering < 0:
            # Without the other rows this direction, or this edge of solutions, has no end: the band is too
            # narrow. Among all rows an edge without an end is one of rounding.
            return (OK if excess == 0.0 and m == problem.response.shape[0] else STALLED), pivots
        pivots += 1
        if excess > 0.0:
            state.pace[0] = length / excess
        on_edges += excess == 0.0
        settled = False
        for t in range(m):
            r[t] -= length * z[t]
        for a in range(p):
            coef[a] += length * move[a]
        _exchange(state, work, tau, leaving, entering, upward, passed, gradient)
