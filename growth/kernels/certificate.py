"""Proof of optimality of quantile-regression vertices, from the data alone.

Given, for each tau, a basis h (p row numbers) the coefficients are b = X_h^-1 y_h. Rows with a clearly non-zero residual
have the dual value w_i (tau - 1[r_i < 0]); rows that lie on the hyperplane without being basic ("ties") have the value
that belongs to the side the solver gave them; the basic rows' values follow from sum_i d_i x_i = 0. With all of them
in their boxes [(tau - 1) w_i, tau w_i], d is dual feasible and

    primal - dual = sum_i (w_i rho_tau(r_i) - d_i r_i),

to which only rows on the hyperplane contribute. A basic value outside its box by a share kappa of the box edge
is made feasible by dividing all of d by 1 + kappa, which costs at most kappa of the dual value.

No reassociated sums here: results are the same on every machine with IEEE arithmetic.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from growth._types import FloatArray, IntArray

BLOCK = 1024
"""Rows summed on their own before they join the total: keeps rounding errors of sums over many rows small."""


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def vertex_coefficients(design: FloatArray, response: FloatArray, basis: IntArray, coef_out: FloatArray) -> int:
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


@njit(cache=True, nogil=True, error_model="numpy")
def sweep(
    design: FloatArray,
    response: FloatArray,
    weight: FloatArray,
    taus: FloatArray,
    turned: FloatArray,
    near_tolerance: float,
    objective_out: FloatArray,
    gradient_out: FloatArray,
    near_out: IntArray,
    near_residual_out: FloatArray,
) -> int:
    """One pass over the rows for all taus.

    Parameters
    ----------
    design : ndarray, shape (n, p)
    response, weight : ndarray, shape (n,)
    taus : ndarray, shape (m,)
    turned : ndarray, shape (p, m)
        Coefficients, one column per tau.
    near_tolerance : float
        Rows with a smaller absolute residual are listed instead of summed.
    objective_out : ndarray, shape (m,)
        Sum of check losses of all rows.
    gradient_out : ndarray, shape (m, p)
        Sum of dual value times row over the rows that are not near.
    near_out : ndarray, shape (capacity, 2)
        (position of tau, row) of the near rows.
    near_residual_out : ndarray, shape (capacity,)

    Returns
    -------
    int
        Number of near rows; more than the capacity means that the list is incomplete.
    """
    n, p = design.shape
    m = taus.shape[0]
    total, part = np.zeros((p, m)), np.zeros((p, m))
    objective, part_objective = np.zeros(m), np.zeros(m)
    r, c = np.empty(m), np.empty(m)
    used = np.empty(p, np.int64)
    near = 0
    for i in range(n):
        q = 0
        for a in range(p):
            if design[i, a] != 0.0:
                used[q] = a
                q += 1
        y, w = response[i], weight[i]
        for k in range(m):
            r[k] = y
        for s in range(q):
            x, line = design[i, used[s]], turned[used[s]]
            for k in range(m):
                r[k] -= x * line[k]
        smallest = np.inf
        for k in range(m):
            v = w * taus[k] if r[k] >= 0.0 else w * (taus[k] - 1.0)
            c[k] = v
            part_objective[k] += v * r[k]
            smallest = min(smallest, abs(r[k]))
        if smallest < near_tolerance:
            for k in range(m):
                if abs(r[k]) < near_tolerance:
                    if near < near_out.shape[0]:
                        near_out[near, 0] = k
                        near_out[near, 1] = i
                        near_residual_out[near] = r[k]
                    near += 1
                    c[k] = 0.0
        for s in range(q):
            x, line = design[i, used[s]], part[used[s]]
            for k in range(m):
                line[k] += x * c[k]
        if (i + 1) % BLOCK == 0 or i == n - 1:
            for a in range(p):
                for k in range(m):
                    total[a, k] += part[a, k]
                    part[a, k] = 0.0
            for k in range(m):
                objective[k] += part_objective[k]
                part_objective[k] = 0.0
    for k in range(m):
        objective_out[k] = objective[k]
        for a in range(p):
            gradient_out[k, a] = total[a, k]
    return near


@njit(cache=True, nogil=True, error_model="numpy")
def duality_gaps(
    design: FloatArray,
    weight: FloatArray,
    taus: FloatArray,
    basis: IntArray,
    near: IntArray,
    near_residual: FloatArray,
    near_side: IntArray,
    gradient: FloatArray,
    dual_out: FloatArray,
    gap_out: FloatArray,
    excess_out: FloatArray,
) -> None:
    """Complete the dual point and measure it.

    Parameters
    ----------
    near_side : ndarray, shape (q,)
        Side (+1, -1) of each near row, 0 for basic ones.
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
            g[k, a] = gradient[k, a]
    for s in range(near.shape[0]):
        k, i = near[s, 0], near[s, 1]
        if near_side[s] != 0:
            d = weight[i] * (taus[k] if near_side[s] > 0 else taus[k] - 1.0)
            for a in range(p):
                g[k, a] += d * design[i, a]
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
