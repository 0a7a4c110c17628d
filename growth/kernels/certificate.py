"""Proof of optimality of quantile-regression vertices, from the data alone.

Given, for each tau, a basis h (p row numbers) the coefficients are b = X_h^-1 y_h. Rows with a clearly
non-zero residual have the dual value w_i (tau - 1[r_i < 0]); rows that lie on the hyperplane without being
basic ("ties") have the value that belongs to the side the solver gave them; the basic rows' values follow
from sum_i d_i x_i = 0. With all of them in their boxes [(tau - 1) w_i, tau w_i], d is dual feasible and

    primal - dual = sum_i (w_i rho_tau(r_i) - d_i r_i),

to which only rows on the hyperplane contribute. A basic value outside its box by a share kappa of the box
edge is made feasible by dividing all of d by 1 + kappa, which costs at most kappa of the dual value.

No reassociated sums here: results are the same on every machine with IEEE arithmetic (the single-precision
residuals are used only beyond their error bound).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.kernels.compiler import kernel, search


@kernel
def _lu(a: FloatArray, order: IntArray) -> bool:
    """LU factors of `a` in place with partial pivoting; `order` receives the row order."""
    p = a.shape[0]
    for i in range(p):
        order[i] = i
    for k in range(p):
        best = k
        for i in range(k + 1, p):
            if abs(a[i, k]) > abs(a[best, k]):
                best = i
        if a[best, k] == 0.0:
            return False
        if best != k:
            order[k], order[best] = order[best], order[k]
            for j in range(p):
                a[k, j], a[best, j] = a[best, j], a[k, j]
        for i in range(k + 1, p):
            f = a[i, k] / a[k, k]
            a[i, k] = f
            if f != 0.0:
                for j in range(k + 1, p):
                    a[i, j] -= f * a[k, j]
    return True


@kernel
def _solve(lu: FloatArray, order: IntArray, v: FloatArray, x_out: FloatArray) -> None:
    p = v.shape[0]
    for i in range(p):
        s = v[order[i]]
        for j in range(i):
            s -= lu[i, j] * x_out[j]
        x_out[i] = s
    for i in range(p - 1, -1, -1):
        s = x_out[i]
        for j in range(i + 1, p):
            s -= lu[i, j] * x_out[j]
        x_out[i] = s / lu[i, i]


@kernel
def _solve_transposed(lu: FloatArray, order: IntArray, v: FloatArray, x_out: FloatArray) -> None:
    p = v.shape[0]
    z = np.empty(p)
    for i in range(p):
        s = v[i]
        for j in range(i):
            s -= lu[j, i] * z[j]
        z[i] = s / lu[i, i]
    for i in range(p - 1, -1, -1):
        s = z[i]
        for j in range(i + 1, p):
            s -= lu[j, i] * z[j]
        z[i] = s
    for i in range(p):
        x_out[order[i]] = z[i]


@kernel
def vertex_coefficients(
    design: FloatArray, response: FloatArray, basis: IntArray, coef_out: FloatArray
) -> int:
    """Write the coefficients through each basis, shape (m, p), refined twice.

    Returns the number of singular bases (their coefficients are NaN).
    """
    m, p = basis.shape
    lu, order, gap, move = np.empty((p, p)), np.empty(p, np.int64), np.empty(p), np.empty(p)
    singular = 0
    for k in range(m):
        for j in range(p):
            for a in range(p):
                lu[j, a] = design[basis[k, j], a]
        if not _lu(lu, order):
            coef_out[k, :] = np.nan
            singular += 1
            continue
        coef_out[k, :] = 0.0
        for _ in range(3):
            for j in range(p):
                i = basis[k, j]
                s = response[i]
                for a in range(p):
                    s -= design[i, a] * coef_out[k, a]
                gap[j] = s
            _solve(lu, order, gap, move)
            for a in range(p):
                coef_out[k, a] += move[a]
    return singular


@search
def _single_residuals(
    base: np.float32,
    x: NDArray[np.float32],
    used: IntArray,
    q: int,
    turned: NDArray[np.float32],
    slack: NDArray[np.float32],
    r_out: NDArray[np.float32],
) -> tuple[np.float32, np.float32, np.float32]:
    """Residuals for all taus; how many are within their error bound, negative, unlike their neighbour."""
    m = r_out.shape[0]
    for k in range(m):
        r_out[k] = base
    s = 0
    while s + 3 < q:
        v0, v1, v2, v3 = x[s], x[s + 1], x[s + 2], x[s + 3]
        a0, a1, a2, a3 = used[s], used[s + 1], used[s + 2], used[s + 3]
        for k in range(m):
            r_out[k] -= v0 * turned[a0, k] + v1 * turned[a1, k] + v2 * turned[a2, k] + v3 * turned[a3, k]
        s += 4
    while s < q:
        v0, a0 = x[s], used[s]
        for k in range(m):
            r_out[k] -= v0 * turned[a0, k]
        s += 1
    unsettled = np.float32(0.0)
    flips = np.float32(0.0)
    negative = np.float32(0.0)
    one, zero = np.float32(1.0), np.float32(0.0)
    for k in range(m):
        unsettled += one if abs(r_out[k]) <= slack[k] else zero
        negative += one if r_out[k] < zero else zero
    for k in range(1, m):
        flips += one if (r_out[k] < zero) != (r_out[k - 1] < zero) else zero
    return unsettled, negative, flips


@kernel
def sweep(
    design: FloatArray,
    response: FloatArray,
    weight: FloatArray,
    center: FloatArray,
    coef: FloatArray,
    turned32: NDArray[np.float32],
    slack32: NDArray[np.float32],
    near_tolerance: float,
    below_out: FloatArray,
    near_out: IntArray,
    near_residual_out: FloatArray,
) -> int:
    """One pass over the rows for all taus: who lies below which hyperplane.

    Single-precision residuals settle all signs that are beyond their error bound; the others are computed in
    double. As tau grows a row's residual changes sign once or a few times, so rows are summed where they
    change sign and the sums for each tau follow by accumulation.

    Parameters
    ----------
    design : ndarray, shape (n, p)
    response, weight : ndarray, shape (n,)
    center : ndarray, shape (p,)
        Coefficients about which the single-precision residuals are taken.
    coef : ndarray, shape (m, p)
    turned32 : ndarray, shape (p, m)
        Single-precision coef - center, one column per tau.
    slack32 : ndarray, shape (m,)
        Error bound of the single-precision residuals.
    near_tolerance : float
        Rows with a smaller absolute residual are listed.
    below_out : ndarray, shape (m + 1, p + 1)
        Sum of w_i (x_i, y_i - x_i'center) over the rows with a negative residual, last line: over all rows.
    near_out : ndarray, shape (capacity, 2)
        (position of tau, row) of the near rows.
    near_residual_out : ndarray, shape (capacity,)

    Returns
    -------
    int
        Number of near rows; more than the capacity means that the list is incomplete.
    """
    n, p = design.shape
    m = coef.shape[0]
    r = np.empty(m, np.float32)
    x32 = np.empty(p, np.float32)
    used = np.empty(p, np.int64)
    for k in range(m + 1):
        for a in range(p + 1):
            below_out[k, a] = 0.0
    near = 0
    for i in range(n):
        q = 0
        base = response[i]
        for a in range(p):
            v = design[i, a]
            if v != 0.0:
                used[q] = a
                x32[q] = np.float32(v)
                base -= v * center[a]
                q += 1
        unsettled, count, flips = _single_residuals(np.float32(base), x32, used, q, turned32, slack32, r)
        if unsettled > 0.0:
            flips = np.float32(m + 1)  # unknown: look at every neighbour
            for k in range(m):
                if abs(r[k]) <= slack32[k]:
                    exact = response[i]
                    for s in range(q):
                        exact -= design[i, used[s]] * coef[k, used[s]]
                    r[k] = np.float32(-1.0) if exact < 0.0 else np.float32(1.0)
                    if abs(exact) < near_tolerance:
                        if near < near_out.shape[0]:
                            near_out[near, 0] = k
                            near_out[near, 1] = i
                            near_residual_out[near] = exact
                        near += 1
        w = weight[i]
        negative = r[0] < 0.0
        if negative:
            _add_row(design, i, used, q, w, base, below_out[0])
        if flips == 1.0 and not negative:
            _add_row(design, i, used, q, w, base, below_out[m - int(count)])
        elif flips > 0.0:
            for k in range(1, m):
                now = r[k] < 0.0
                if now != negative:
                    _add_row(design, i, used, q, w if now else -w, base, below_out[k])
                    negative = now
        _add_row(design, i, used, q, w, base, below_out[m])
    for k in range(1, m):
        for a in range(p + 1):
            below_out[k, a] += below_out[k - 1, a]
    return near


@kernel
def _add_row(
    design: FloatArray, i: int, used: IntArray, q: int, w: float, base: float, sum_out: FloatArray
) -> None:
    for s in range(q):
        sum_out[used[s]] += w * design[i, used[s]]
    sum_out[design.shape[1]] += w * base


@kernel
def duality_gaps(
    design: FloatArray,
    weight: FloatArray,
    taus: FloatArray,
    basis: IntArray,
    near: IntArray,
    near_residual: FloatArray,
    near_side: IntArray,
    below: FloatArray,
    dual_out: FloatArray,
    gap_out: FloatArray,
    excess_out: FloatArray,
) -> None:
    """Complete the dual point and measure it.

    Parameters
    ----------
    near_side : ndarray, shape (q,)
        Side (+1, -1) of each near row, 0 for basic ones.
    below : ndarray, shape (m + 1, p + 1)
        From `sweep`.
    dual_out : ndarray, shape (m, p)
        Dual values of the basic rows, divided by their weights: within [tau - 1, tau].
    gap_out : ndarray, shape (m,)
        primal - dual, before the division by 1 + kappa.
    excess_out : ndarray, shape (m,)
        kappa: by how much the worst basic value leaves its box, as a share of the box edge.
    """
    m, p = basis.shape
    g = np.empty((m, p))
    for k in range(m):
        gap_out[k] = 0.0
        for a in range(p):
            g[k, a] = taus[k] * below[m, a] - below[k, a]
    for s in range(near.shape[0]):
        k, i = near[s, 0], near[s, 1]
        d = 0.0 if near_side[s] == 0 else weight[i] * (taus[k] if near_side[s] > 0 else taus[k] - 1.0)
        counted = weight[i] * (taus[k] if near_residual[s] >= 0.0 else taus[k] - 1.0)
        if d != counted:
            for a in range(p):
                g[k, a] += (d - counted) * design[i, a]
        if near_side[s] != 0:
            r = near_residual[s]
            loss = weight[i] * (taus[k] * r if r >= 0.0 else (taus[k] - 1.0) * r)
            gap_out[k] += loss - d * r
    lu, order, d = np.empty((p, p)), np.empty(p, np.int64), np.empty(p)
    for k in range(m):
        for j in range(p):
            for a in range(p):
                lu[j, a] = design[basis[k, j], a]
        if not _lu(lu, order):
            for j in range(p):
                dual_out[k, j] = np.nan
            gap_out[k] = np.inf
            excess_out[k] = np.inf
            continue
        _solve_transposed(lu, order, g[k], d)
        worst = 0.0
        for j in range(p):
            v = -d[j] / weight[basis[k, j]]
            dual_out[k, j] = v
            worst = max(worst, v / taus[k] - 1.0, v / (taus[k] - 1.0) - 1.0)
        excess_out[k] = worst
    # Basic rows: their residuals are rounding errors, which count as well.
    for s in range(near.shape[0]):
        k, i = near[s, 0], near[s, 1]
        if near_side[s] == 0:
            for j in range(p):
                if basis[k, j] == i:
                    r = near_residual[s]
                    loss = weight[i] * (taus[k] * r if r >= 0.0 else (taus[k] - 1.0) * r)
                    gap_out[k] += loss - dual_out[k, j] * weight[i] * r
