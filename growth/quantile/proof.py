"""Proof: coefficients recomputed from the bases, and a dual point for each, from the data alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.kernels import bases, certificate
from growth.kernels.design import SINGLE
from growth.quantile.prepare import NEAR, Prepared


def prove(
    prepared: Prepared, taus: FloatArray, basis: IntArray, ties: NDArray[np.int32]
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
    gradient = np.empty((m, p + 1))
    capacity = m * p + len(ties) + 1024
    while True:
        near, near_residual = np.empty((capacity, 2), np.int32), np.empty(capacity)
        arguments = rows, response, prepared.offset, weight, taus, coef, slack, tolerance
        passing = certificate.Passing.of(rows, shift)
        count = certificate.sweep(*arguments, passing, gradient, near, near_residual)
        if count <= capacity:
            break
        capacity = count
    near, near_residual = near[:count], near_residual[:count]
    side = np.empty(count, np.int8)
    certificate.near_sides(near, near_residual, basis, ties, np.empty(response.size, np.int32), side)
    gradient, offset = np.ascontiguousarray(gradient[:, :p]), gradient[:, p]
    # sum of w rho_tau(r) = sum of w (tau - 1[r < 0]) r
    objective = offset - np.einsum("kj,kj->k", shift, gradient)
    dual, gap, excess = np.empty((m, p)), np.empty(m), np.empty(m)
    scratch = np.zeros((m, p)), np.empty(p), square
    certificate.duality_gaps(
        rows, weight, taus, basis, near, near_residual, side, gradient, *scratch, dual, gap, excess
    )
    return coef, objective, np.maximum(gap, 0.0) / np.maximum(objective, floor) + excess, dual
