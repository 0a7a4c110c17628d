"""The linear quantile-regression process: one exact vertex per tau, each found from its neighbour.

Program, for each tau in (0, 1), with rows x_i (p columns, full rank), weights w_i > 0:

    primal   min_b  sum_i w_i rho_tau(y_i - x_i'b),      rho_tau(u) = u (tau - 1[u < 0])
    dual     max_d  sum_i d_i y_i   subject to   sum_i d_i x_i = 0,   (tau - 1) w_i <= d_i <= tau w_i

A vertex is a set h of p linearly independent rows with b = X_h^-1 y_h. Every other row carries a sign s_i
and the dual value w_i (tau - 1[s_i < 0]). With g = sum of these w_i (tau - 1[s_i < 0]) x_i, the duals of the
basic rows are d_h = -X_h^-T g, and b is optimal if and only if all of them lie in their boxes. D denotes
X_h^-1; row j of the array ``directions`` is column j of D: moving along it changes the residual of basic row j
and of no other basic row.

Most rows are nowhere near the hyperplane and their sign is known. Per tau:

1. *Predict* b from the neighbouring tau by a Newton step on tau.
2. *Screen*: one single-precision pass over all rows. Rows with |r_i| < omega h_i, where h_i^2 = x_i'(X'WX)^-1 x_i,
   form the band; all others are summed into one linear term (Portnoy & Koenker 1997). The sum over
   negative rows is carried from tau to tau and changed only by rows that change sides.
3. *Newton* steps on the smoothed gradient inside the band.
4. *Vertex*: a basis from the rows nearest to zero, then long-step primal simplex pivots (Barrodale & Roberts
   1973; Bloomfield & Steiger 1983), the leaving row being the one with the largest predicted decrease.
5. *Prove* that no row outside the band changed sides: |x_i'delta| <= h_i |delta|_{X'WX}; rows that this bound
   does not settle are checked one by one, and offenders join the band.

Pivoting works on responses perturbed by a tiny, fixed amount per row, so that no two rows tie; at its optimum the
true responses return and pivoting goes on if anything changed. Tau is lowered by a relative 2^-40, so that where several b
are optimal the one is taken that is the limit from lower taus. Signs are discrete state: they are never read off a
residual that is zero up to rounding. Optimality is decided by dual feasibility alone. Screening and
Newton steps may use reassociated sums (they choose the path, not the result).

References
----------
.. [1] R. Koenker (2005), Quantile Regression, Cambridge University Press, ch. 6.
.. [2] S. Portnoy and R. Koenker (1997), Statistical Science 12(4), 279-300.
.. [3] I. Barrodale and F. Roberts (1973), SIAM Journal on Numerical Analysis 10(5), 839-848.
.. [4] P. Bloomfield and W. Steiger (1983), Least Absolute Deviations, Birkhaeuser.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray

TILE = 64
"""Rows per tile of the single-precision copy of the design."""

FENCE = 0.3
"""Rows with a larger leverage h_i are always in the band: coefficients of rare columns and spline tails hang on them.
There are at most p / FENCE^2 of them."""
ALWAYS = 1e25

OK = 0
STALLED = 1

SEARCH = {"reassoc", "contract", "arcp", "nsz"}
"""Floating-point freedoms of the search kernels; none of them assumes away NaN or infinity."""

PASSES, PIVOTS, BAND, CHECKED, ADDED, RETRIES = range(6)
"""Columns of the counters per tau."""
N_COUNTERS = 6


class Problem(NamedTuple):
    """The data of one fit, shared by all taus and never written to."""

    design: FloatArray  # (n, p) rows scaled so that columns are O(1)
    response: FloatArray  # (n,)
    perturbed: FloatArray  # (n,) response moved by a tiny amount per row, so that no rows tie
    tie: float  # residuals up to this are zero up to rounding
    near: float  # rows with residuals up to this are reported with their side
    weight: FloatArray  # (n,) positive
    tiles: NDArray[
        np.float32
    ]  # (ceil(n / TILE), p, TILE) single-precision copy, zero rows at the end; or none
    codes: NDArray[
        np.uint16
    ]  # (blocks, tiles * TILE) which line of the table each row's block is; may be empty
    tables: FloatArray  # (blocks, values, p) distinct rows of each column block; then there are no tiles
    offset32: NDArray[np.float32]  # (tiles * TILE,) response - design @ center, huge in the padding
    leverage32: NDArray[np.float32]  # (tiles * TILE,) h_i, rounded up
    center: FloatArray  # (p,) coefficients about which the single-precision residuals are taken
    column_max: FloatArray  # (p,) largest absolute value per column
    offset_max: float  # largest |response - design @ center|
    gram: FloatArray  # (p, p) X'WX
    metric: FloatArray  # (p, p) lower Cholesky factor of X'X
    total: FloatArray  # (p,) sum of w_i x_i
    total_abs: FloatArray  # (p,) sum of w_i |x_i|


class State(NamedTuple):
    """What one tau hands to the next."""

    coef: FloatArray  # (p,)
    curvature: FloatArray  # (p, p) estimate of sum_i w_i f_i(0) x_i x_i'
    side32: NDArray[np.float32]  # (tiles * TILE,) +1 or -1: the side of each row
    below: FloatArray  # (p,) sum of w_i x_i over rows with side -1
    width: FloatArray  # (1,) omega


class Work(NamedTuple):
    """Scratch of one path; capacity m rows in the band."""

    residual32: NDArray[np.float32]  # (tiles * TILE,)
    listed: IntArray  # (tiles * TILE,)
    rows: IntArray  # (m,) row numbers of the band
    lines: FloatArray  # (m, p) their rows of the design
    band: FloatArray  # (p, m) the same transposed, for loops over rows
    y: FloatArray  # (m,) responses
    moved: FloatArray  # (m,) perturbed responses
    w: FloatArray  # (m,)
    h: FloatArray  # (m,) leverages
    r: FloatArray  # (m,) residuals
    sign: FloatArray  # (m,) +1, -1; 0 for basic rows
    z: FloatArray  # (m,)
    step: FloatArray  # (m,)
    slope: FloatArray  # (m,)
    pick: IntArray  # (m,)
    basis: IntArray  # (p,) positions in the band
    directions: FloatArray  # (p, p)
    curve: FloatArray  # (p,) directions_j' curvature directions_j
    factor: FloatArray  # (p, p)
    fresh: FloatArray  # (p, p)
    vec: FloatArray  # (8, p)


# Functions called from this file only: no Python entry point, which for named tuples of arrays takes long to compile.
_inner = njit(cache=True, nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
_inner_search = njit(
    cache=True,
    nogil=True,
    error_model="numpy",
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
    fastmath=SEARCH,
)


# --- small dense linear algebra -----------------------------------------------------------------------------------


@_inner_search
def _dot(a: FloatArray, b: FloatArray) -> float:
    s = 0.0
    for i in range(a.shape[0]):
        s += a[i] * b[i]
    return s


@_inner
def _cholesky(a: FloatArray, factor_out: FloatArray) -> bool:
    p = a.shape[0]
    for j in range(p):
        for i in range(j, p):
            s = a[i, j]
            for k in range(j):
                s -= factor_out[i, k] * factor_out[j, k]
            if i == j:
                if not s > 1e-13 * a[j, j]:
                    return False
                factor_out[j, j] = np.sqrt(s)
            else:
                factor_out[i, j] = s / factor_out[j, j]
    return True


@_inner
def _cholesky_solve(factor: FloatArray, v: FloatArray, x_out: FloatArray) -> None:
    p = v.shape[0]
    for i in range(p):
        s = v[i]
        for k in range(i):
            s -= factor[i, k] * x_out[k]
        x_out[i] = s / factor[i, i]
    for i in range(p - 1, -1, -1):
        s = x_out[i]
        for k in range(i + 1, p):
            s -= factor[k, i] * x_out[k]
        x_out[i] = s / factor[i, i]


@_inner
def _metric_norm(metric: FloatArray, v: FloatArray) -> float:
    p = v.shape[0]
    total = 0.0
    for j in range(p):
        s = 0.0
        for i in range(j, p):
            s += metric[i, j] * v[i]
        total += s * s
    return np.sqrt(total)


# --- set-up ---------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def moments(
    design: FloatArray,
    weight: FloatArray,
    gram_out: FloatArray,
    total_out: FloatArray,
    abs_out: FloatArray,
    max_out: FloatArray,
) -> None:
    """Write X'WX, the weighted column sums, those of absolute values, and the largest absolute values.

    Zeros in the design cost nothing.
    """
    n, p = design.shape
    used = np.empty(p, np.int64)
    gram_out[:, :] = 0.0
    total_out[:] = 0.0
    abs_out[:] = 0.0
    max_out[:] = 0.0
    for i in range(n):
        q = 0
        w = weight[i]
        for a in range(p):
            v = design[i, a]
            if v != 0.0:
                used[q] = a
                q += 1
                total_out[a] += w * v
                abs_out[a] += w * abs(v)
                max_out[a] = max(max_out[a], abs(v))
        for s in range(q):
            a = used[s]
            f = w * design[i, a]
            for t in range(s + 1):
                gram_out[a, used[t]] += f * design[i, used[t]]
    for a in range(p):
        for b in range(a):
            gram_out[b, a] = gram_out[a, b]


@njit(cache=True, nogil=True, error_model="numpy")
def build_tiles(design: FloatArray, tiles_out: NDArray[np.float32]) -> None:
    """Write the tiled single-precision copy, zero rows at the end."""
    n, p = design.shape
    for k in range(tiles_out.shape[0]):
        start = k * TILE
        stop = min(TILE, n - start)
        for a in range(p):
            for i in range(TILE):
                tiles_out[k, a, i] = np.float32(design[start + i, a]) if i < stop else np.float32(0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def leverages(design: FloatArray, metric: FloatArray, leverage_out: NDArray[np.float32]) -> None:
    """Write |metric^-1 x_i|, rounded up; ALWAYS beyond FENCE."""
    n, p = design.shape
    block = np.empty((p, TILE))
    square = np.empty(TILE)
    for start in range(0, leverage_out.shape[0], TILE):
        stop = min(TILE, n - start)
        for i in range(TILE):
            square[i] = 0.0
        for a in range(p):
            for i in range(TILE):
                block[a, i] = design[start + i, a] if i < stop else 0.0
            for b in range(a):
                f = metric[a, b]
                if f != 0.0:
                    for i in range(TILE):
                        block[a, i] -= f * block[b, i]
            f = 1.0 / metric[a, a]
            for i in range(TILE):
                block[a, i] *= f
                square[i] += block[a, i] * block[a, i]
        for i in range(TILE):
            h = np.sqrt(square[i])
            leverage_out[start + i] = np.float32(h * 1.000001 + 1e-30) if h < FENCE else np.float32(ALWAYS)


# --- passes over all rows -----------------------------------------------------------------------------------------


@_inner_search
def _screen(
    problem: Problem,
    shift: FloatArray,
    beta: NDArray[np.float32],
    width: np.float32,
    slack: np.float32,
    side: NDArray[np.float32],
    residual_out: NDArray[np.float32],
    listed_out: IntArray,
) -> int:
    """Residuals of all rows; list those in the band or on the other side than before."""
    tiles, offset, lever, codes = problem.tiles, problem.offset32, problem.leverage32, problem.codes
    p = beta.shape[0]
    even = p - p % 4
    coded = codes.shape[0]
    sums = np.empty((coded, problem.tables.shape[1]), np.float32)
    for b in range(coded):
        for c in range(sums.shape[1]):
            sums[b, c] = np.float32(_dot(problem.tables[b, c], shift))
    count = 0
    acc = np.empty(TILE, np.float32)
    flag = np.empty(TILE, np.uint8)
    words = flag.view(np.int64)
    for k in range(offset.shape[0] // TILE):
        start = k * TILE
        for i in range(TILE):
            acc[i] = offset[start + i]
        if coded > 0:
            for b in range(coded):
                line, code = sums[b], codes[b, start : start + TILE]
                for i in range(TILE):
                    acc[i] -= line[code[i]]
        else:
            for j in range(0, even, 4):
                b0, b1, b2, b3 = beta[j], beta[j + 1], beta[j + 2], beta[j + 3]
                for i in range(TILE):
                    acc[i] -= (
                        tiles[k, j, i] * b0
                        + tiles[k, j + 1, i] * b1
                        + tiles[k, j + 2, i] * b2
                        + tiles[k, j + 3, i] * b3
                    )
            for j in range(even, p):
                b0 = beta[j]
                for i in range(TILE):
                    acc[i] -= tiles[k, j, i] * b0
        for i in range(TILE):
            residual_out[start + i] = acc[i]
            flag[i] = acc[i] * side[start + i] < width * lever[start + i] + slack
        for j in range(TILE // 8):
            if words[j] != 0:
                for i in range(8 * j, 8 * j + 8):
                    listed_out[count] = start + i
                    count += flag[i]
    return count


@_inner
def _split(
    problem: Problem, state: State, work: Work, count: int, width: np.float32, slack: np.float32
) -> tuple[int, int]:
    """Among listed rows, move those that changed sides outside the band; keep the band's row numbers."""
    residual, lever, side = work.residual32, problem.leverage32, state.side32
    p = state.coef.shape[0]
    capacity = work.rows.shape[0]
    m = 0
    for t in range(count):
        i = work.listed[t]
        if abs(residual[i]) < width * lever[i] + slack:
            if m < capacity:
                work.rows[m] = i
            m += 1
        else:
            f = problem.weight[i] if residual[i] < 0 else -problem.weight[i]
            side[i] = -side[i]
            for a in range(p):
                state.below[a] += f * problem.design[i, a]
    return m, count


@_inner
def _gather(problem: Problem, work: Work, start: int, stop: int) -> None:
    p = work.band.shape[0]
    for t in range(start, stop):
        i = work.rows[t]
        work.y[t] = problem.response[i]
        work.moved[t] = problem.perturbed[i]
        work.w[t] = problem.weight[i]
        work.h[t] = min(problem.leverage32[i], 1.5 * FENCE)
        for a in range(p):
            work.lines[t, a] = problem.design[i, a]
    for a in range(p):
        for t in range(start, stop):
            work.band[a, t] = work.lines[t, a]


# --- inside the band ----------------------------------------------------------------------------------------------


@_inner_search
def _products(band: FloatArray, direction: FloatArray, m: int, z_out: FloatArray) -> None:
    p = direction.shape[0]
    for t in range(m):
        z_out[t] = 0.0
    even = p - p % 4
    for a in range(0, even, 4):
        b0, b1, b2, b3 = direction[a], direction[a + 1], direction[a + 2], direction[a + 3]
        c0, c1, c2, c3 = band[a], band[a + 1], band[a + 2], band[a + 3]
        for t in range(m):
            z_out[t] += c0[t] * b0 + c1[t] * b1 + c2[t] * b2 + c3[t] * b3
    for a in range(even, p):
        b0 = direction[a]
        c0 = band[a]
        for t in range(m):
            z_out[t] += c0[t] * b0


@_inner_search
def _residuals(band: FloatArray, y: FloatArray, coef: FloatArray, m: int, r_out: FloatArray) -> None:
    _products(band, coef, m, r_out)
    for t in range(m):
        r_out[t] = y[t] - r_out[t]


@_inner_search
def _weighted_sum(band: FloatArray, c: FloatArray, m: int, sum_out: FloatArray) -> None:
    for a in range(sum_out.shape[0]):
        sum_out[a] = _dot(band[a, :m], c[:m])


@_inner_search
def _band_gram(band: FloatArray, c: FloatArray, m: int, scratch: FloatArray, gram_out: FloatArray) -> None:
    p = gram_out.shape[0]
    for a in range(p):
        column = band[a]
        for t in range(m):
            scratch[t] = column[t] * c[t]
        for b in range(a + 1):
            s = _dot(band[b, :m], scratch[:m])
            gram_out[a, b] = s
            gram_out[b, a] = s


@_inner_search
def _smooth_weights(work: Work, tau: float, width: float, m: int) -> None:
    """Dual values of the loss smoothed over +-width h_i, into ``work.step``."""
    r, h, w, c = work.r, work.h, work.w, work.step
    for t in range(m):
        u = 0.5 + 0.5 * r[t] / (width * h[t])
        u = min(1.0, max(0.0, u))
        c[t] = w[t] * (tau - 1.0 + u)


@_inner
def _newton(
    problem: Problem,
    state: State,
    work: Work,
    tau: float,
    outside: FloatArray,
    coef: FloatArray,
    m: int,
    keep: float,
) -> bool:
    """Update the curvature from the band (`keep`: share of the old one) and take chord-Newton steps."""
    p = coef.shape[0]
    width = state.width[0]
    _residuals(work.band, work.y, coef, m, work.r)
    for t in range(m):
        inside = abs(work.r[t]) < width * work.h[t]
        work.step[t] = 0.5 * work.w[t] / (width * work.h[t]) if inside else 0.0
    _band_gram(work.band, work.step, m, work.z, work.fresh)
    # A small multiple of X'WX keeps directions that the band does not see from being taken for flat.
    trace = 0.0
    trace_gram = 0.0
    for a in range(p):
        trace += work.fresh[a, a]
        trace_gram += problem.gram[a, a]
    ridge = 0.05 * trace / trace_gram
    for a in range(p):
        for b in range(p):
            new = work.fresh[a, b] + ridge * problem.gram[a, b]
            state.curvature[a, b] = keep * state.curvature[a, b] + (1.0 - keep) * new
    if not _cholesky(state.curvature, work.factor):
        return False
    gradient, delta = work.vec[0], work.vec[1]
    smooth = 0.5 * width
    for _ in range(3):
        _smooth_weights(work, tau, smooth, m)
        _weighted_sum(work.band, work.step, m, gradient)
        for a in range(p):
            gradient[a] += outside[a]
        _cholesky_solve(work.factor, gradient, delta)
        for a in range(p):
            coef[a] += delta[a]
        _products(work.band, delta, m, work.z)
        for t in range(m):
            work.r[t] -= work.z[t]
        smooth *= 0.5
    return True


@_inner
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


@_inner
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


@_inner
def _crash(work: Work, m: int, width: float) -> bool:
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
                alpha[j] = _dot(directions[j], x)
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


@_inner
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
            alpha[j] = _dot(directions[j], x)
            if work.basis[j] < 0 and abs(alpha[j]) > largest:
                largest = abs(alpha[j])
                slot = j
        if slot < 0 or not largest > 1e-12:
            return False
        _enter(directions, alpha, slot)
        work.basis[slot] = t
    return True


@_inner
def _vertex_coef(work: Work, y: FloatArray, coef: FloatArray) -> None:
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


@_inner
def _gradient(work: Work, tau: float, outside: FloatArray, m: int, gradient_out: FloatArray) -> None:
    """Sum of dual value times row over the outside and the non-basic rows of the band."""
    for t in range(m):
        s = work.sign[t]
        work.step[t] = 0.0 if s == 0.0 else (work.w[t] * tau if s > 0.0 else work.w[t] * (tau - 1.0))
    _weighted_sum(work.band, work.step, m, gradient_out)
    for a in range(gradient_out.shape[0]):
        gradient_out[a] += outside[a]


@_inner
def _select(step: FloatArray, slope: FloatArray, pick: IntArray, n: int, target: float) -> int:
    """Position s of the smallest step at which accumulated slopes reach `target` (which they do in all).

    Quickselect: the first n entries are permuted together so that the steps before s, and no others, are passed.
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


@_inner
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


@_inner
def _descend(
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
            v[a] = _dot(state.curvature[a], directions[j])
        work.curve[j] = _dot(v, directions[j])
    while True:
        leaving = -1
        best = 0.0
        excess = 0.0
        upward = True
        for j in range(p):
            d = -_dot(directions[j], g)
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
            _vertex_coef(work, work.y, coef)
            _residuals(work.band, work.y, coef, m, r)
            for j in range(p):
                r[basis[j]] = 0.0
            for t in range(m):
                if sign[t] * r[t] < -problem.tie:
                    sign[t] = -sign[t]
            _gradient(work, tau, outside, m, g)
            for j in range(p):
                for a in range(p):
                    v[a] = _dot(state.curvature[a], directions[j])
                work.curve[j] = _dot(v, directions[j])
            clean = True
            continue
        if pivots >= budget:
            return STALLED, pivots
        pivots += 1
        clean = False
        toward = -1.0 if upward else 1.0  # the coefficients move by t * toward * direction
        for a in range(p):
            x[a] = toward * directions[leaving, a]
        _products(work.band, x, m, z)
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
                crossed = _select(work.step, work.slope, work.pick, n, excess)
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
            v[a] = _dot(state.curvature[a], directions[leaving])
        for j in range(p):
            alpha[j] = _dot(directions[j], x)
        ratio_scale = 1.0 / alpha[leaving]
        own = work.curve[leaving]
        for j in range(p):
            if j != leaving:
                ratio = alpha[j] * ratio_scale
                work.curve[j] += ratio * (ratio * own - 2.0 * _dot(v, directions[j]))
        work.curve[leaving] = own * ratio_scale * ratio_scale
        _enter(directions, alpha, leaving)
        basis[leaving] = entering
        sign[entering] = 0.0
        r[entering] = 0.0


# --- one tau ------------------------------------------------------------------------------------------------------


@_inner
def _outside_term(
    problem: Problem, state: State, work: Work, tau: float, m: int, outside_out: FloatArray
) -> None:
    """Sum of dual value times row over all rows outside the band."""
    p = outside_out.shape[0]
    all_band, below_band = work.vec[0], work.vec[1]
    for t in range(m):
        work.step[t] = work.w[t] if state.side32[work.rows[t]] < 0 else 0.0
    _weighted_sum(work.band, work.w, m, all_band)
    _weighted_sum(work.band, work.step, m, below_band)
    for a in range(p):
        outside_out[a] = tau * (problem.total[a] - all_band[a]) - (state.below[a] - below_band[a])


@_inner
def _offenders(
    problem: Problem,
    state: State,
    work: Work,
    coef: FloatArray,
    width: np.float32,
    reach: np.float32,
    slack: np.float32,
    screened: int,
    m: int,
) -> tuple[int, int]:
    """Append to the band the outside rows within `reach` whose side at `coef` is not the assumed one."""
    residual, side, lever = work.residual32, state.side32, problem.leverage32
    p = coef.shape[0]
    n = problem.response.shape[0]
    capacity = work.rows.shape[0]
    checked = 0
    added = 0
    for i in range(n):
        distance = residual[i] * side[i]
        if distance < reach * lever[i] + slack and distance >= width * lever[i] + slack:
            checked += 1
            r = problem.response[i]
            for a in range(p):
                r -= problem.design[i, a] * coef[a]
            if r * side[i] <= problem.near:
                known = False
                for t in range(screened, min(m + added, capacity)):
                    known = known or work.rows[t] == i
                if not known:
                    if m + added < capacity:
                        work.rows[m + added] = i
                    added += 1
    return checked, added


@_inner
def _commit(problem: Problem, state: State, work: Work, m: int) -> None:
    """Carry the exact sides of the band's rows into the state; basic rows count as above."""
    p = state.coef.shape[0]
    for t in range(m):
        i = work.rows[t]
        negative = work.sign[t] < 0.0
        if negative != (state.side32[i] < 0):
            f = work.w[t] if negative else -work.w[t]
            for a in range(p):
                state.below[a] += f * work.lines[t, a]
            state.side32[i] = -state.side32[i]


@_inner
def _solve_tau(
    problem: Problem, state: State, work: Work, tau: float, target: int, cold: bool, counters: IntArray
) -> int:
    """Find the optimal vertex at `tau` from the prediction in ``state.coef``."""
    n, p = problem.design.shape
    capacity = work.rows.shape[0]
    coef, outside, delta = work.vec[7], np.empty(p), np.empty(p)
    beta = np.empty(p, np.float32)
    for attempt in range(14):
        everything = target >= n
        size = problem.offset_max
        for a in range(p):
            delta[a] = state.coef[a] - problem.center[a]
            beta[a] = np.float32(delta[a])
            size += (p + 3) * problem.column_max[a] * abs(beta[a])
        slack = np.float32(
            1.2e-7 * size + 1.001 * problem.near
        )  # no row outside the band may end up near zero
        width = np.float32(np.inf) if everything else np.float32(state.width[0])
        count = _screen(problem, delta, beta, width, slack, state.side32, work.residual32, work.listed)
        counters[PASSES] += 1
        if everything:
            count = n
            for i in range(n):
                work.listed[i] = i
        m, _ = _split(problem, state, work, count, width, slack)
        if not everything:
            if m > capacity:
                state.width[0] *= 0.7 * capacity / m
                continue
            if m < min(2 * p, n):
                state.width[0] *= 2.0
                continue
        screened = m
        _gather(problem, work, 0, m)
        _outside_term(problem, state, work, tau, m, outside)
        for a in range(p):
            coef[a] = state.coef[a]
        if not _newton(problem, state, work, tau, outside, coef, m, 0.0 if cold else 0.5):
            state.width[0] *= 2.0
            counters[RETRIES] += 1
            continue
        for a in range(p):
            delta[a] = coef[a] - state.coef[a]
        moved = _metric_norm(problem.metric, delta)
        if not everything and moved > 3.0 * state.width[0] and attempt < 4:
            # Far from the solution: a better prediction is worth more than a vertex of the wrong band.
            for a in range(p):
                state.coef[a] += min(1.0, 6.0 * state.width[0] / moved) * delta[a]
            counters[RETRIES] += 1
            continue
        if not _crash(work, m, state.width[0]):
            state.width[0] *= 2.0
            counters[RETRIES] += 1
            continue
        _vertex_coef(work, work.moved, coef)
        _residuals(work.band, work.moved, coef, m, work.r)
        for t in range(m):
            work.sign[t] = 1.0 if work.r[t] >= 0.0 else -1.0
        for j in range(p):
            work.sign[work.basis[j]] = 0.0
            work.r[work.basis[j]] = 0.0
        status = OK
        proven = False
        reach = np.float32(width)
        for _ in range(20):
            status, pivots = _descend(problem, state, work, tau, outside, coef, m, 60 + 20 * p + m)
            counters[PIVOTS] += pivots
            if status != OK or everything:
                proven = status == OK
                break
            for a in range(p):
                delta[a] = coef[a] - state.coef[a]
            reach = np.float32(1.0001 * _metric_norm(problem.metric, delta))
            if reach <= width:
                proven = True
                break
            checked, added = _offenders(problem, state, work, coef, width, reach, slack, screened, m)
            counters[CHECKED] += checked
            counters[ADDED] += added
            if added == 0:
                proven = True
                break
            if m + added > capacity:
                break
            _gather(problem, work, m, m + added)
            for t in range(m, m + added):
                i = work.rows[t]
                s = work.y[t]
                for a in range(p):
                    s -= work.lines[t, a] * coef[a]
                work.r[t] = s
                work.sign[t] = -1.0 if s < 0.0 else 1.0
                f = -work.w[t] * (tau if state.side32[i] > 0 else tau - 1.0)
                for a in range(p):
                    outside[a] += f * work.lines[t, a]
            m += added
        if not proven:
            state.width[0] *= 2.0
            counters[RETRIES] += 1
            continue
        _commit(problem, state, work, m)
        for a in range(p):
            state.coef[a] = coef[a]
        counters[BAND] = m
        if not everything:
            state.width[0] *= min(2.0, max(0.5, target / m))
        return m
    return -1


@_inner
def _score_quantile(work: Work, coef: FloatArray, m: int, share: float) -> float:
    """Return the `share` quantile of |residual| / leverage among the first m band rows."""
    _residuals(work.band, work.y, coef, m, work.r)
    for t in range(m):
        work.step[t] = abs(work.r[t]) / work.h[t]
        work.slope[t] = 1.0
        work.pick[t] = t
    return work.step[_select(work.step, work.slope, work.pick, m, max(1.0, share * m))]


@njit(cache=True, nogil=True, error_model="numpy")
def cold_start(problem: Problem, state: State, work: Work, tau: float, rows: int, share: float) -> None:
    """Bring ``state.coef`` from least squares near the solution by Newton steps on `rows` strided rows.

    Sets the width so that about `share` of all rows fall into the first band.
    """
    n, p = problem.design.shape
    coef, outside = state.coef, np.zeros(p)
    stride = max(1, n // rows)
    m = min(rows, (n + stride - 1) // stride)
    for t in range(m):
        work.rows[t] = t * stride
    _gather(problem, work, 0, m)
    quantile = 0.6
    for _ in range(6):
        state.width[0] = _score_quantile(work, coef, m, quantile)
        if not _newton(problem, state, work, tau, outside, coef, m, 0.0):
            break
        quantile *= 0.6
    state.width[0] = max(_score_quantile(work, coef, m, min(share, 1.0)), 1e-300)
    for a in range(p):
        for b in range(p):
            state.curvature[a, b] *= n / m


@njit(cache=True, nogil=True, error_model="numpy")
def solve_path(
    problem: Problem,
    state: State,
    work: Work,
    taus: FloatArray,
    order: IntArray,
    tau_from: float,
    target: int,
    cold: bool,
    coef_out: FloatArray,
    basis_out: IntArray,
    ties_out: IntArray,
    n_ties_out: IntArray,
    counters_out: IntArray,
    status_out: IntArray,
) -> None:
    """Solve the taus of `order` one after the other, starting from `state`, which belongs to `tau_from`.

    Rows other than basic ones with a residual up to ``problem.near`` are reported with their side in ``ties_out``
    as (position of tau, row, side): their dual value cannot be read off the residual.
    """
    p = state.coef.shape[0]
    previous = tau_from
    step = np.empty(p)
    move = np.empty(p)
    n_ties_out[0] = 0
    for s in range(order.shape[0]):
        k = order[s]
        tau = taus[k] * (1.0 - 2.0**-40)
        if not (cold and s == 0) and _cholesky(state.curvature, work.factor):
            for a in range(p):
                step[a] = (taus[k] - previous) * problem.total[a]
            _cholesky_solve(work.factor, step, move)
            for a in range(p):
                state.coef[a] += move[a]
        m = _solve_tau(problem, state, work, tau, target, cold and s == 0, counters_out[k])
        previous = taus[k]
        for a in range(p):
            coef_out[k, a] = state.coef[a]
        if m < 0:
            status_out[k] = STALLED
            continue
        status_out[k] = OK
        for j in range(p):
            basis_out[k, j] = work.rows[work.basis[j]]
        for t in range(m):
            if work.sign[t] != 0.0 and abs(work.r[t]) <= problem.near:
                if n_ties_out[0] < ties_out.shape[0]:
                    ties_out[n_ties_out[0], 0] = k
                    ties_out[n_ties_out[0], 1] = work.rows[t]
                    ties_out[n_ties_out[0], 2] = 1 if work.sign[t] > 0.0 else -1
                n_ties_out[0] += 1
