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

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.kernels.bases import Square, lu, solve_transposed
from growth.kernels.borrowed import borrowed
from growth.kernels.compiler import inlined, kernel, search
from growth.kernels.rows import Rows, add_row, read_row

MOST_EXACT = 4096
"""Sums of more places would not be exact in single precision."""


class Tally(NamedTuple):
    """The residuals of one row for all taus, counted (integers, held in single precision)."""

    unsettled: np.float32
    """How many are within their error bound."""
    negative: np.float32
    """How many are negative."""
    places: np.float32
    """Sum of the places of those: for a row that turns negative once and stays so, those of the last ones."""


@search
def _dense_residuals(
    base: np.float32, row: FloatArray, turned: NDArray[np.float32], used: IntArray, r_out: NDArray[np.float32]
) -> None:
    """Residuals of one row for all taus; zeros in the row cost nothing."""
    m = r_out.shape[0]
    q = 0
    for a in range(row.shape[0]):
        used[q] = a
        q += row[a] != 0.0
    for k in range(m):
        r_out[k] = base
    s = 0
    while s + 3 < q:
        a0, a1, a2, a3 = used[s], used[s + 1], used[s + 2], used[s + 3]
        v0, v1, v2, v3 = np.float32(row[a0]), np.float32(row[a1]), np.float32(row[a2]), np.float32(row[a3])
        for k in range(m):
            r_out[k] -= v0 * turned[a0, k] + v1 * turned[a1, k] + v2 * turned[a2, k] + v3 * turned[a3, k]
        s += 4
    while s < q:
        a0 = used[s]
        v0 = np.float32(row[a0])
        for k in range(m):
            r_out[k] -= v0 * turned[a0, k]
        s += 1


@search
def _coded_residuals(
    base: np.float32, rows: Rows, i: int, tables: NDArray[np.float32], r_out: NDArray[np.float32]
) -> None:
    """Residuals of one row for all taus, from tables of fitted values."""
    for k in range(r_out.shape[0]):
        r_out[k] = base
    for b in range(rows.codes.shape[0]):
        line = tables[b, rows.codes[b, i]]
        for k in range(r_out.shape[0]):
            r_out[k] -= line[k]


@search
def _tally(r: NDArray[np.float32], slack: NDArray[np.float32], place: NDArray[np.float32]) -> Tally:
    unsettled, negative, places = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    one, zero = np.float32(1.0), np.float32(0.0)
    for k in range(r.shape[0]):
        unsettled += one if abs(r[k]) <= slack[k] else zero
        negative += one if r[k] < zero else zero
        places += place[k] if r[k] < zero else zero
    return Tally(unsettled, negative, places)


@search
def _tally_two(
    base: np.float32,
    one_line: NDArray[np.float32],
    other: NDArray[np.float32],
    slack: NDArray[np.float32],
    place: NDArray[np.float32],
) -> Tally:
    """Tally of base - one_line - other, without storing it."""
    unsettled, negative, places = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    one, zero = np.float32(1.0), np.float32(0.0)
    for k in range(one_line.shape[0]):
        r = base - (one_line[k] + other[k])
        unsettled += one if abs(r) <= slack[k] else zero
        negative += one if r < zero else zero
        places += place[k] if r < zero else zero
    return Tally(unsettled, negative, places)


@search
def _tally_three(
    base: np.float32,
    one_line: NDArray[np.float32],
    other: NDArray[np.float32],
    third: NDArray[np.float32],
    slack: NDArray[np.float32],
    place: NDArray[np.float32],
) -> Tally:
    """Tally of base - one_line - other - third, without storing it."""
    unsettled, negative, places = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    one, zero = np.float32(1.0), np.float32(0.0)
    for k in range(one_line.shape[0]):
        r = base - (one_line[k] + other[k] + third[k])
        unsettled += one if abs(r) <= slack[k] else zero
        negative += one if r < zero else zero
        places += place[k] if r < zero else zero
    return Tally(unsettled, negative, places)


class Passing(NamedTuple):
    """What a pass over the rows for all taus needs besides them."""

    turned: FloatArray  # (p, m) coef - center, transposed
    turned32: NDArray[np.float32]  # (p, m)
    place: NDArray[np.float32]  # (m,) 0, 1, 2, ...
    tables: NDArray[np.float32]  # (blocks, lines, m) room for fitted values of table lines
    turns: FloatArray  # (blocks, lines, m + 1) zeros
    line: FloatArray  # (m,)
    r: NDArray[np.float32]  # (m,)
    used: IntArray  # (p + 1,)
    row: FloatArray  # (p,)

    @classmethod
    def of(cls, rows: Rows, shift: FloatArray) -> Passing:
        """Prepare a pass; `shift`, shape (m, p), is coef - center."""
        m, p = shift.shape
        blocks, lines = len(rows.codes), rows.tables.shape[1]
        return cls(
            turned=np.ascontiguousarray(shift.T),
            turned32=np.ascontiguousarray(shift.T, np.float32),
            place=np.arange(m, dtype=np.float32),
            tables=np.empty((blocks, lines, m), np.float32),
            turns=np.zeros((blocks, lines, m + 1)),
            line=np.empty(m),
            r=np.empty(m, np.float32),
            used=np.empty(p + 1, np.int64),
            row=np.empty(p),
        )


@inlined
def _fit_tables(rows: Rows, turned: FloatArray, line: FloatArray, tables_out: NDArray[np.float32]) -> None:
    """Write fitted values of every table line for all taus."""
    m = turned.shape[1]
    for b in range(rows.codes.shape[0]):
        for c in range(rows.tables.shape[1]):
            for k in range(m):
                line[k] = 0.0
            for a in range(rows.first[b], rows.last[b]):
                x = rows.tables[b, c, a]
                if x != 0.0:
                    for k in range(m):
                        line[k] += x * turned[a, k]
            for k in range(m):
                tables_out[b, c, k] = np.float32(line[k])


@kernel
def sweep(
    rows: Rows,
    response: FloatArray,
    offset: FloatArray,
    weight: FloatArray,
    coef: FloatArray,
    slack32: NDArray[np.float32],
    near_tolerance: float,
    work: Passing,
    below_out: FloatArray,
    near_out: IntArray,
    near_residual_out: FloatArray,
) -> int:
    """One pass over the rows for all taus: who lies below which hyperplane.

    Single-precision residuals settle all signs that are beyond their error bound; the others are computed in
    double. As tau grows most rows' residuals turn negative once and stay so: rows are summed where they
    change sign and the sums for each tau follow by accumulation.

    Parameters
    ----------
    rows : Rows
        n rows of p columns.
    response, weight : ndarray, shape (n,)
    offset : ndarray, shape (n,)
        response - X center.
    coef : ndarray, shape (m, p)
    slack32 : ndarray, shape (m,)
        Error bound of the single-precision residuals.
    near_tolerance : float
        Rows with a smaller absolute residual are listed.
    work : Passing
        Made for this pass.
    below_out : ndarray, shape (m, p + 1)
        Sum of w_i (x_i, offset_i) over the rows with a negative residual.
    near_out : ndarray, shape (capacity, 2)
        (position of tau, row) of the near rows.
    near_residual_out : ndarray, shape (capacity,)

    Returns
    -------
    int
        Number of near rows; more than the capacity means that the list is incomplete.
    """
    rows = borrowed(rows)
    m, p = coef.shape
    blocks = rows.codes.shape[0]
    turned32, tables, place = work.turned32, work.tables, work.place
    r, used, row = work.r, work.used, work.row
    _fit_tables(rows, work.turned, work.line, tables)
    for k in range(m):
        for a in range(p + 1):
            below_out[k, a] = 0.0
    # Weight by table line and by the first tau at which a row lies below; the last place: never.
    turns = work.turns
    near = 0
    for i in range(response.shape[0]):
        base, w = offset[i], weight[i]
        base32 = np.float32(base)
        if blocks == 2:
            line0, line1 = tables[0, rows.codes[0, i]], tables[1, rows.codes[1, i]]
            tally = _tally_two(base32, line0, line1, slack32, place)
        elif blocks == 3:
            line0, line1 = tables[0, rows.codes[0, i]], tables[1, rows.codes[1, i]]
            tally = _tally_three(base32, line0, line1, tables[2, rows.codes[2, i]], slack32, place)
        elif blocks > 0:
            _coded_residuals(base32, rows, i, tables, r)
            tally = _tally(r, slack32, place)
        else:
            _dense_residuals(base32, rows.design[i], turned32, used, r)
            tally = _tally(r, slack32, place)
        count = np.int64(tally.negative)
        exact_tally = m <= MOST_EXACT and tally.unsettled == 0.0
        if exact_tally and 2 * np.int64(tally.places) == count * (2 * m - 1 - count):
            if blocks > 0:
                for b in range(blocks):
                    turns[b, rows.codes[b, i], m - count] += w
            elif count > 0:
                add_row(rows, i, w, below_out[m - count])
            if count > 0:
                below_out[m - count, p] += w * base
            continue
        if blocks > 0:
            _coded_residuals(base32, rows, i, tables, r)
        read_row(rows, i, row)
        negative = False
        for k in range(m):
            now = r[k] < 0.0
            if abs(r[k]) <= slack32[k]:
                exact = response[i]
                for a in range(p):
                    exact -= row[a] * coef[k, a]
                now = exact < 0.0
                if abs(exact) < near_tolerance:
                    if near < near_out.shape[0]:
                        near_out[near, 0] = k
                        near_out[near, 1] = i
                        near_residual_out[near] = exact
                    near += 1
            if now != negative:
                f = w if now else -w
                for a in range(p):
                    below_out[k, a] += f * row[a]
                below_out[k, p] += f * base
                negative = now
    for b in range(blocks):
        for c in range(rows.tables.shape[1]):
            for a in range(rows.first[b], rows.last[b]):
                x = rows.tables[b, c, a]
                if x != 0.0:
                    for k in range(m):
                        below_out[k, a] += x * turns[b, c, k]
    for k in range(1, m):
        for a in range(p + 1):
            below_out[k, a] += below_out[k - 1, a]
    return near


@kernel
def duality_gaps(
    rows: Rows,
    weight: FloatArray,
    taus: FloatArray,
    basis: IntArray,
    near: IntArray,
    near_residual: FloatArray,
    near_side: IntArray,
    gradient: FloatArray,
    work: Square,
    dual_out: FloatArray,
    gap_out: FloatArray,
    excess_out: FloatArray,
) -> None:
    """Complete the dual point and measure it.

    Parameters
    ----------
    near_side : ndarray, shape (q,)
        Side (+1, -1) of each near row, 0 for basic ones.
    gradient : ndarray, shape (m, p)
        Sum of w_i (tau - 1[r_i < 0]) x_i, from `sweep`; overwritten.
    dual_out : ndarray, shape (m, p)
        Dual values of the basic rows, divided by their weights: within [tau - 1, tau].
    gap_out : ndarray, shape (m,)
        primal - dual, before the division by 1 + kappa.
    excess_out : ndarray, shape (m,)
        kappa: by how much the worst basic value leaves its box, as a share of the box edge.
    """
    rows = borrowed(rows)
    m, p = basis.shape
    factors, order, duals, z = work.lu, work.order, work.vec[0], work.vec[1]
    for k in range(m):
        gap_out[k] = 0.0
    for s in range(near.shape[0]):
        k, i = near[s, 0], near[s, 1]
        d = 0.0 if near_side[s] == 0 else weight[i] * (taus[k] if near_side[s] > 0 else taus[k] - 1.0)
        counted = weight[i] * (taus[k] if near_residual[s] >= 0.0 else taus[k] - 1.0)
        if d != counted:
            add_row(rows, i, d - counted, gradient[k])
        if near_side[s] != 0:
            r = near_residual[s]
            loss = weight[i] * (taus[k] * r if r >= 0.0 else (taus[k] - 1.0) * r)
            gap_out[k] += loss - d * r
    for k in range(m):
        for j in range(p):
            read_row(rows, basis[k, j], factors[j])
        if not lu(factors, order):
            for j in range(p):
                dual_out[k, j] = np.nan
            gap_out[k] = np.inf
            excess_out[k] = np.inf
            continue
        solve_transposed(factors, order, gradient[k], z, duals)
        worst = 0.0
        for j in range(p):
            v = -duals[j] / weight[basis[k, j]]
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
