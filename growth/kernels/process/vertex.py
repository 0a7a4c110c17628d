"""From the neighbourhood of the solution to the optimal vertex: a basis, then simplex pivots."""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray, IntArray
from growth.kernels.compiler import inner
from growth.kernels.process.algebra import dot
from growth.kernels.process.band import products, residuals, weighted_sum
from growth.kernels.process.data import OK, STALLED, Problem, State, Work


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
def crash(work: Work, m: int, width: float) -> bool:
    """Choose a basis among the rows nearest to zero; Gauss-Jordan elimination fills ``directions``."""
    p = work.basis.shape[0]
    directions, alpha, x = work.directions, work.vec[0], work.vec[1]
    for a in range(p):
        work.basis[a] = -1
        for b in range(p):
            directions[a, b] = 1.0 if a == b else 0.0
    found = 0
    low = -1.0
    high = width * min(1.0, 3.0 * p / m)
    tolerance = 0.05
    while found < p:
        n = 0
        for t in range(m):
            score = abs(work.r[t]) / work.h[t]
            if low < score <= high:
                work.pick[n] = t
                work.slope[n] = score
                n += 1
        _sort_pairs(work.slope, work.pick, n)
        for s in range(n):
            t = work.pick[s]
            for a in range(p):
                x[a] = work.lines[t, a]
            largest = 0.0
            slot = -1
            for j in range(p):
                alpha[j] = dot(directions[j], x)
                if work.basis[j] < 0 and abs(alpha[j]) > largest:
                    largest = abs(alpha[j])
                    slot = j
            if slot >= 0 and largest > tolerance:
                _enter(directions, alpha, slot)
                work.basis[slot] = t
                found += 1
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
def _refactor(work: Work) -> bool:
    """Recompute ``directions`` from the basis by Gauss-Jordan elimination with full slot choice."""
    p = work.basis.shape[0]
    directions, alpha, x = work.directions, work.vec[0], work.vec[1]
    old = work.pick
    for a in range(p):
        old[a] = work.basis[a]
        work.basis[a] = -1
        for b in range(p):
            directions[a, b] = 1.0 if a == b else 0.0
    for s in range(p):
        t = old[s]
        for a in range(p):
            x[a] = work.lines[t, a]
        largest = 0.0
        slot = -1
        for j in range(p):
            alpha[j] = dot(directions[j], x)
            if work.basis[j] < 0 and abs(alpha[j]) > largest:
                largest = abs(alpha[j])
                slot = j
        if slot < 0 or not largest > 1e-12:
            return False
        _enter(directions, alpha, slot)
        work.basis[slot] = t
    return True


@inner
def vertex_coef(work: Work, y: FloatArray, coef: FloatArray) -> None:
    """Coefficients through the basic rows, refined twice."""
    p = coef.shape[0]
    for a in range(p):
        coef[a] = 0.0
    for _ in range(3):
        gap = work.vec[2]
        for j in range(p):
            t = work.basis[j]
            s = y[t]
            for a in range(p):
                s -= work.lines[t, a] * coef[a]
            gap[j] = s
        for j in range(p):
            for a in range(p):
                coef[a] += gap[j] * work.directions[j, a]


@inner
def _gradient(work: Work, tau: float, outside: FloatArray, m: int, gradient_out: FloatArray) -> None:
    """Sum of dual value times row over the outside and the non-basic rows of the band."""
    for t in range(m):
        s = work.sign[t]
        work.step[t] = 0.0 if s == 0.0 else (work.w[t] * tau if s > 0.0 else work.w[t] * (tau - 1.0))
    weighted_sum(work.band, work.step, m, gradient_out)
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
def _within_reach(
    sign: FloatArray, r: FloatArray, z: FloatArray, m: int, reach: float, pick_out: IntArray
) -> int:
    """List the rows that change sign within `reach` along z."""
    n = 0
    if reach < np.inf:
        for t in range(m):
            q = sign[t] * z[t]
            pick_out[n] = t
            n += (q > 1e-11) & (sign[t] * r[t] <= reach * q)
    else:
        for t in range(m):
            pick_out[n] = t
            n += sign[t] * z[t] > 1e-11
    return n


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
) -> tuple[int, int]:
    """Pivot from the basis in `work` to an optimal vertex of the band problem.

    Returns (status, pivots). On OK, ``coef``, ``work.r`` and ``work.sign`` belong to the optimal vertex.
    """
    p = coef.shape[0]
    directions, basis, sign, r, z = work.directions, work.basis, work.sign, work.r, work.z
    g, alpha, x, v = work.vec[3], work.vec[4], work.vec[5], work.vec[6]
    pivots = 0
    clean = False  # directions, coefficients, residuals and duals are recomputed since the last pivot
    _gradient(work, tau, outside, m, g)
    for j in range(p):
        for a in range(p):
            v[a] = dot(state.curvature[a], directions[j])
        work.curve[j] = dot(v, directions[j])
    while True:
        leaving = -1
        best = 0.0
        excess = 0.0
        upward = True
        for j in range(p):
            d = -dot(directions[j], g)
            w = work.w[basis[j]]
            over, under = d - tau * w, (tau - 1.0) * w - d
            e = max(over, under)
            if e > 1e-13 * w:
                rounding = 0.0
                for a in range(p):
                    rounding += abs(directions[j, a]) * problem.total_abs[a]
                if e > 1e-12 * w + 2e-15 * rounding:
                    score = e * e / max(work.curve[j], 1e-300)
                    if score > best:
                        best, leaving, excess, upward = score, j, e, over > under
        if leaving < 0:
            if clean:
                return OK, pivots
            if not _refactor(work):
                return STALLED, pivots
            vertex_coef(work, work.y, coef)
            residuals(work.band, work.y, coef, 0, m, r)
            for j in range(p):
                r[basis[j]] = 0.0
            for t in range(m):
                if sign[t] * r[t] < -problem.tie:
                    sign[t] = -sign[t]
            _gradient(work, tau, outside, m, g)
            for j in range(p):
                for a in range(p):
                    v[a] = dot(state.curvature[a], directions[j])
                work.curve[j] = dot(v, directions[j])
            clean = True
            continue
        if pivots >= budget:
            return STALLED, pivots
        pivots += 1
        clean = False
        toward = -1.0 if upward else 1.0  # the coefficients move by t * toward * direction
        for a in range(p):
            x[a] = toward * directions[leaving, a]
        products(work.band, x, 0, m, z)
        guess = 4.0 * excess / max(work.curve[leaving], 1e-300)
        entering = -1
        length = 0.0
        crossed = 0
        for attempt in range(2):
            n = _within_reach(sign, r, z, m, guess if attempt == 0 else np.inf, work.pick)
            available = 0.0
            for s in range(n):
                t = work.pick[s]
                q = sign[t] * z[t]
                work.step[s] = max(sign[t] * r[t], 0.0) / q
                work.slope[s] = work.w[t] * q
                available += work.slope[s]
            if available >= excess:
                crossed = select(work.step, work.slope, work.pick, n, excess)
                entering = work.pick[crossed]
                length = work.step[crossed]
                break
        if entering < 0:
            return (
                STALLED,
                pivots,
            )  # the band is too narrow: without the outside rows this direction is unbounded
        for s in range(crossed):
            t = work.pick[s]
            f = -work.w[t] * sign[t]
            for a in range(p):
                g[a] += f * work.lines[t, a]
            sign[t] = -sign[t]
        f = -work.w[entering] * (tau if sign[entering] > 0.0 else tau - 1.0)
        for a in range(p):
            g[a] += f * work.lines[entering, a]
        out = basis[leaving]
        sign[out] = 1.0 if upward else -1.0
        f = work.w[out] * (tau if upward else tau - 1.0)
        for a in range(p):
            g[a] += f * work.lines[out, a]
        for t in range(m):
            r[t] -= length * z[t]
        for a in range(p):
            coef[a] += length * x[a]
        # exchange the rows and update the predicted curvature along each direction
        for a in range(p):
            x[a] = work.lines[entering, a]
            v[a] = dot(state.curvature[a], directions[leaving])
        for j in range(p):
            alpha[j] = dot(directions[j], x)
        ratio_scale = 1.0 / alpha[leaving]
        own = work.curve[leaving]
        for j in range(p):
            if j != leaving:
                ratio = alpha[j] * ratio_scale
                work.curve[j] += ratio * (ratio * own - 2.0 * dot(v, directions[j]))
        work.curve[leaving] = own * ratio_scale * ratio_scale
        _enter(directions, alpha, leaving)
        basis[leaving] = entering
        sign[entering] = 0.0
        r[entering] = 0.0
