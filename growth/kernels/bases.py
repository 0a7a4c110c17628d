"""Coefficients through the rows of a basis, and the equations they come from.

No reassociated sums here: results are the same on every machine with IEEE arithmetic.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from growth._types import FloatArray, IntArray
from growth.kernels.borrowed import borrowed
from growth.kernels.compiler import inlined, inner, kernel
from growth.kernels.rows import Rows, read_row

__all__ = ["Square", "lu", "solve_transposed", "vertex_coefficients"]


class Square(NamedTuple):
    """Scratch for linear equations of p rows: kernels that allocate nothing compile in half the time."""

    lines: FloatArray  # (p, p)
    lu: FloatArray  # (p, p)
    order: IntArray  # (p,)
    ranks: IntArray  # (2, p)
    vec: FloatArray  # (3, p)

    @classmethod
    def of(cls, p: int) -> Square:
        """Return scratch for p rows."""
        order, ranks = np.empty(p, np.int64), np.empty((2, p), np.int64)
        return cls(np.empty((p, p)), np.empty((p, p)), order, ranks, np.empty((3, p)))


@inner
def lu(a: FloatArray, order: IntArray) -> bool:
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


@inlined
def _solve(factors: FloatArray, order: IntArray, v: FloatArray, x_out: FloatArray) -> None:
    p = v.shape[0]
    for i in range(p):
        s = v[order[i]]
        for j in range(i):
            s -= factors[i, j] * x_out[j]
        x_out[i] = s
    for i in range(p - 1, -1, -1):
        s = x_out[i]
        for j in range(i + 1, p):
            s -= factors[i, j] * x_out[j]
        x_out[i] = s / factors[i, i]


@inlined
def solve_transposed(
    factors: FloatArray, order: IntArray, v: FloatArray, z: FloatArray, x_out: FloatArray
) -> None:
    """Solve the transposed equations; `z` is scratch."""
    p = v.shape[0]
    for i in range(p):
        s = v[i]
        for j in range(i):
            s -= factors[j, i] * z[j]
        z[i] = s / factors[i, i]
    for i in range(p - 1, -1, -1):
        s = z[i]
        for j in range(i + 1, p):
            s -= factors[j, i] * z[j]
        z[i] = s
    for i in range(p):
        x_out[order[i]] = z[i]


@inlined
def _precedes(lines: FloatArray, values: FloatArray, i: int, j: int) -> bool:
    """Whether row i comes before row j, by response, then by design row."""
    if values[i] != values[j]:
        return bool(values[i] < values[j])
    for a in range(lines.shape[1]):
        if lines[i, a] != lines[j, a]:
            return bool(lines[i, a] < lines[j, a])
    return False


@inlined
def _read_basis(
    rows: Rows, response: FloatArray, basis: IntArray, rank: IntArray, lines: FloatArray, values: FloatArray
) -> None:
    """Read the rows of a basis and their responses; `rank` receives their order."""
    for j in range(basis.shape[0]):
        read_row(rows, basis[j], lines[j])
        values[j] = response[basis[j]]
        t = j
        while t > 0 and _precedes(lines, values, j, rank[t - 1]):
            rank[t] = rank[t - 1]
            t -= 1
        rank[t] = j


@kernel
def vertex_coefficients(
    rows: Rows, response: FloatArray, basis: IntArray, work: Square, coef_out: FloatArray
) -> int:
    """Order each basis, shape (m, p), by response, then by design row; write the coefficients through it.

    So these, refined twice, depend neither on the path to a basis, nor on the order of the rows, nor on which
    of several equal rows is in it, nor on units. Returns the number of singular bases (their coefficients
    are NaN).
    """
    rows = borrowed(rows)
    m, p = basis.shape
    lines, factors, order, gap, move = work.lines, work.lu, work.order, work.vec[0], work.vec[1]
    values, rank, ranked = work.vec[2], work.ranks[0], work.ranks[1]
    singular = 0
    for k in range(m):
        _read_basis(rows, response, basis[k], rank, lines, values)
        for j in range(p):
            ranked[j] = basis[k, rank[j]]
            for a in range(p):
                factors[j, a] = lines[rank[j], a]
        for j in range(p):
            basis[k, j] = ranked[j]
        if not lu(factors, order):
            coef_out[k, :] = np.nan
            singular += 1
            continue
        coef_out[k, :] = 0.0
        for _ in range(3):
            for j in range(p):
                s = values[rank[j]]
                for a in range(p):
                    s -= lines[rank[j], a] * coef_out[k, a]
                gap[j] = s
            _solve(factors, order, gap, move)
            for a in range(p):
                coef_out[k, a] += move[a]
    return singular
