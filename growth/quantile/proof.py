"""Proof: coefficients recomputed from the bases, and a dual point for each, from the data alone."""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray, IntArray
from growth.kernels import bases, certificate
from growth.kernels.design import SINGLE
from growth.quantile.prepare import NEAR, Prepared

ROUNDED = (1e-10, 1e-3)
"""Dual values outside their boxes by a share between these are computed once more with less rounding.

Sums over 100,000 equal rows are off by 1e-12, which is 2e-5 of the narrow side of a box at tau = 0.995.
"""
_BASIC = 2


def prove(
    prepared: Prepared, taus: FloatArray, basis: IntArray, ties: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Recompute coefficients from the bases and certify them row by row.

    Returns coefficients (of the problem's columns), objectives, relative gaps, duals of the basic rows.
    """
    data, weight = prepared.problem, prepared.weight
    rows, response = data.rows, data.response
    m, p = basis.shape
    coef, objective = np.empty((m, p)), np.empty(m)
    square = bases.Square.of(p)
    bases.vertex_coefficients(rows, response, basis, square, coef)
    # A nearly perfect fit has no size of its own to compare its rounding errors with.
    floor = weight.sum() * prepared.scale * 2.0**-12
    if prepared.perfect:
        for k in range(m):
            r = prepared.design.residuals(response, coef[k])
            objective[k] = weight @ (r * (taus[k] - (r < 0.0)))
        return coef, objective, objective / floor, np.zeros((m, p))
    shift = coef - data.center
    size = data.offset_max + (p + 3) * np.abs(shift) @ data.column_max
    slack = (SINGLE * size).astype(np.float32)
    tolerance = prepared.scale * NEAR
    below = np.empty((m, p + 1))
    capacity = m * p + len(ties) + 1024
    while True:
        near, near_residual = np.empty((capacity, 2), np.int64), np.empty(capacity)
        arguments = rows, response, prepared.offset, weight, coef, slack, tolerance
        passing = certificate.Passing.of(rows, shift)
        count = certificate.sweep(*arguments, passing, below, near, near_residual)
        if count <= capacity:
            break
        capacity = count
    near, near_residual = near[:count], near_residual[:count]
    side = _near_sides(near, near_residual, basis, ties, response.size)
    dual, gap, excess = np.empty((m, p)), np.empty(m), np.empty(m)
    total = data.total * weight.mean()
    gradient = taus[:, None] * total - below[:, :p]
    certificate.duality_gaps(
        rows, weight, taus, basis, near, near_residual, side, gradient, square, dual, gap, excess
    )
    # A basic row off its hyperplane has lost its digits: its dual value would count from the wrong side.
    excess[np.bincount(near[side == 0, 0], minlength=m) < p] = np.inf
    doubtful = np.flatnonzero((excess > ROUNDED[0]) & (excess < ROUNDED[1]))
    lines = prepared.design.dense() if doubtful.size else np.empty((0, p))
    for k in doubtful.tolist():
        mine = near[:, 0] == k
        residual = response - lines @ coef[k]
        given = np.where(residual < 0.0, -1, 1)
        given[near[mine, 1]] = side[mine]
        dual[k] = basic_duals(lines, weight, taus[k], basis[k], given)
        excess[k] = max(0.0, (dual[k] / taus[k]).max() - 1.0, (dual[k] / (taus[k] - 1.0)).max() - 1.0)
    # sum of w rho_tau(r) = tau (sum of w r) - (sum of w r over negative r)
    whole = weight @ prepared.offset - shift @ total
    objective = taus * whole - (below[:, p] - np.einsum("kj,kj->k", shift, below[:, :p]))
    return coef, objective, np.maximum(gap, 0.0) / np.maximum(objective, floor) + excess, dual


def basic_duals(
    lines: FloatArray, weight: FloatArray, tau: float, basis: IntArray, side: IntArray
) -> FloatArray:
    """Return dual values of the basic rows over their weights, shape (p,), from sums in extended precision.

    A value on the very edge of its box, as where tau times the sum of the weights is a whole number, must not
    be pushed over it by the rounding of sums over many rows.

    Parameters
    ----------
    lines : ndarray, shape (n, p)
    weight : ndarray, shape (n,)
    tau : float
    basis : ndarray, shape (p,)
    side : ndarray, shape (n,)
        Side (+1, -1) of each row, 0 for basic ones.
    """
    share = np.where(side > 0, tau, np.where(side < 0, tau - 1.0, 0.0))
    d = share.astype(np.longdouble) * weight
    gradient = np.array([float((d * column).sum()) for column in lines.T])
    return np.asarray(np.linalg.solve(lines[basis].T, -gradient) / weight[basis], dtype=np.float64)


def _near_sides(near: IntArray, residual: FloatArray, basis: IntArray, ties: IntArray, n: int) -> IntArray:
    """Return for each near (tau, row) 0 if basic, else the solver's side, else the residual's sign."""
    m = basis.shape[0]
    used = np.zeros(n, bool)
    used[near[:, 1]] = True
    place = np.cumsum(used) * used - 1  # of the rows that are near; the last place is for all others
    told = np.zeros((int(np.count_nonzero(used)) + 1, m), np.int8)
    told[place[ties[:, 1]], ties[:, 0]] = ties[:, 2]
    told[place[basis], np.arange(m)[:, None]] = _BASIC
    side: IntArray = told[place[near[:, 1]], near[:, 0]].astype(np.int64)
    side[side == 0] = np.where(residual[side == 0] >= 0.0, 1, -1)
    side[side == _BASIC] = 0
    return side
