"""Proof of optimality of quantile-regression vertices, from the data alone.

Given, for each tau, a basis h (p row numbers) the coefficients are b = X_h^-1 y_h. Rows with a clearly
non-zero residual have the dual value w_i (tau - 1[r_i < 0]); rows that lie on the hyperplane without being
basic ("ties") have the value that belongs to the side the solver gave them; the basic rows' values follow
from sum_i d_i x_i = 0. With all of them in their boxes [(tau - 1) w_i, tau w_i], d is dual feasible and

    primal - dual = sum_i (w_i rho_tau(r_i) - d_i r_i),

to which only rows on the hyperplane contribute. A basic value outside its box by a share kappa of the box
edge is made feasible by dividing all of d by 1 + kappa, which costs at most kappa of the dual value.

No reassociated sums here: results are the same on every machine with IEEE arithmetic (the single-precision
residuals are used only beyond their error bound). Sums over rows are compensated: a dual value on the very
edge of its box, as where tau times the sum of the weights is a whole number, must not be pushed over it by
the rounding of sums over many rows, which is amplified by 1 / tau.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.kernels.bases import Square, lu, solve_transposed
from growth.kernels.borrowed import borrowed
from growth.kernels.compiler import inlined, inner, kernel
from growth.kernels.rows import Rows, read_row
from growth.kernels.sums import add_to, plus, times
from growth.kernels.tallies import (
    coded_residuals,
    dense_residuals,
    tally,
    tally_plane,
    tally_three,
    tally_two,
)

MOST_EXACT = 4096
"""Sums of more places would not be exact in single precision."""


class Passing(NamedTuple):
    """What a pass over the rows for all taus needs besides them."""

    turned: FloatArray  # (p, m) coef - center, transposed
    turned32: NDArray[np.float32]  # (p, m)
    place: NDArray[np.float32]  # (m,) 0, 1, 2, ...
    tables: NDArray[np.float32]  # (blocks, lines, m) room for fitted values of table lines
    turns: FloatArray  # (blocks, lines, m + 1) zeros
    sums: FloatArray  # (m + 1, p + 1) zeros: w_i (x_i, offset_i) by the tau at which rows turn negative
    lost: FloatArray  # (m + 1, p + 1) zeros: what these sums lost to rounding
    line: FloatArray  # (2, m + 1)
    r: NDArray[np.float32]  # (m,)
    used: IntArray  # (p,)
    row: FloatArray  # (p + 1,)
    flag: NDArray[np.uint8]  # (m, and zeros up to a multiple of 8)
    flag_words: IntArray  # (m / 8,) the same memory

    @classmethod
    def of(cls, rows: Rows, shift: FloatArray) -> Passing:
        """Prepare a pass; `shift`, shape (m, p), is coef - center."""
        m, p = shift.shape
        blocks, lines = len(rows.codes), rows.tables.shape[1]
        flag = np.zeros(-(-m // 8) * 8, np.uint8)
        return cls(
            turned=np.ascontiguousarray(shift.T),
            turned32=np.ascontiguousarray(shift.T, np.float32),
            place=np.arange(m, dtype=np.float32),
            tables=np.empty((blocks, lines, m), np.float32),
            turns=np.zeros((blocks, lines, m + 1)),
            sums=np.zeros((m + 1, p + 1)),
            lost=np.zeros((m + 1, p + 1)),
            line=np.empty((2, m + 1)),
            r=np.empty(m, np.float32),
            used=np.empty(p, np.int64),
            row=np.empty(p + 1),
            flag=flag,
            flag_words=flag.view(np.int64),
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


@inlined
def _add_lines(rows: Rows, work: Passing) -> None:
    """Add the rows of every table line, by the tau at which they turn negative."""
    blocks, lines = work.turns.shape[:2]
    line, lost = work.line[0], work.line[1]
    for a in range(work.row.shape[0] - 1):
        line[:] = 0.0
        lost[:] = 0.0
        for b in range(blocks):
            if rows.first[b] <= a < rows.last[b]:
                for c in range(lines):
                    if rows.tables[b, c, a] != 0.0:
                        add_to(work.turns[b, c], rows.tables[b, c, a], line, lost)
        for k in range(line.shape[0]):
            work.sums[k, a] += line[k]
            work.lost[k, a] += lost[k]


@inlined
def _complete(taus: FloatArray, work: Passing, gradient_out: FloatArray) -> None:
    """Write tau times the sums over all rows less those over the rows that are negative at tau."""
    sums, lost = work.sums, work.lost
    m = taus.shape[0]
    for k in range(1, m + 1):
        for a in range(sums.shape[1]):
            sums[k, a], rest = plus(sums[k, a], sums[k - 1, a])
            lost[k, a] += lost[k - 1, a] + rest
    for k in range(m):
        for a in range(sums.shape[1]):
            whole, rest = times(taus[k], sums[m, a])
            gradient_out[k, a] = (whole - sums[k, a]) + (rest + (taus[k] * lost[m, a] - lost[k, a]))


@kernel
def sweep(
    rows: Rows,
    response: FloatArray,
    offset: FloatArray,
    weight: FloatArray,
    taus: FloatArray,
    coef: FloatArray,
    slack32: NDArray[np.float32],
    near_tolerance: float,
    work: Passing,
    gradient_out: FloatArray,
    near_out: NDArray[np.int32],
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
    taus : ndarray, shape (m,)
    coef : ndarray, shape (m, p)
    slack32 : ndarray, shape (m,)
        Error bound of the single-precision residuals.
    near_tolerance : float
        Rows with a smaller absolute residual are listed.
    work : Passing
        Made for this pass.
    gradient_out : ndarray, shape (m, p + 1)
        Sum of w_i (tau - 1[r_i < 0]) (x_i, offset_i).
    near_out : ndarray, shape (capacity, 2)
        (position of tau, row) of the near rows, row by row.
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
    r, used, row, turns, sums, lost = work.r, work.used, work.row, work.turns, work.sums, work.lost
    flag, words = work.flag, work.flag_words
    _fit_tables(rows, work.turned, work.line[0], tables)
    near = 0
    for i in range(response.shape[0]):
        base, w = offset[i], weight[i]
        base32 = np.float32(base)
        if blocks == 2:
            line0, line1 = tables[0, rows.codes[0, i]], tables[1, rows.codes[1, i]]
            counts = tally_two(base32, line0, line1, slack32, place)
        elif blocks == 3:
            line0, line1 = tables[0, rows.codes[0, i]], tables[1, rows.codes[1, i]]
            counts = tally_three(base32, line0, line1, tables[2, rows.codes[2, i]], slack32, place)
        elif blocks > 0:
            coded_residuals(base32, rows, i, tables, r)
            counts = tally(r, slack32, place)
        elif p <= 2:
            x0 = np.float32(rows.design[i, 0])
            x1 = np.float32(rows.design[i, 1]) if p == 2 else np.float32(0.0)
            counts = tally_plane(base32, x0, turned32[0], x1, turned32[p - 1], slack32, place)
        else:
            dense_residuals(base32, rows.design[i], turned32, used, r)
            counts = tally(r, slack32, place)
        count = np.int64(counts.negative)
        exact_tally = m <= MOST_EXACT and counts.unsettled == 0.0
        if exact_tally and 2 * np.int64(counts.places) == count * (2 * m - 1 - count):
            if blocks > 0:
                for b in range(blocks):
                    turns[b, rows.codes[b, i], m - count] += w
                row[0] = base
                add_to(row[:1], w, sums[m - count, p:], lost[m - count, p:])
            else:
                read_row(rows, i, row[:p])
                row[p] = base
                add_to(row, w, sums[m - count], lost[m - count])
            continue
        if blocks > 0:
            coded_residuals(base32, rows, i, tables, r)
        elif p <= 2:
            dense_residuals(base32, rows.design[i], turned32, used, r)
        read_row(rows, i, row[:p])
        row[p] = base
        flag[0] = (abs(r[0]) <= slack32[0]) | (r[0] < 0.0)
        for k in range(1, m):
            flag[k] = (abs(r[k]) <= slack32[k]) | ((r[k] < 0.0) != (r[k - 1] < 0.0))
        negative = False
        unsettled = False
        for j in range(words.shape[0]):
            if words[j] == 0 and not unsettled:
                continue
            for k in range(8 * j, min(8 * j + 8, m)):
                now = r[k] < 0.0
                unsettled = abs(r[k]) <= slack32[k]
                if unsettled:
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
                    add_to(row, w if now else -w, sums[k], lost[k])
                    negative = now
        if not negative:
            add_to(row, w, sums[m], lost[m])
    if blocks > 0:
        _add_lines(rows, work)
    _complete(taus, work, gradient_out)
    return near


@inner
def _found(near: NDArray[np.int32], start: int, k: int, i: int) -> int:
    """Return where (k, i) is in a list in which row i begins at `start`, or -1."""
    s = start
    while s < near.shape[0] and near[s, 1] == i and near[s, 0] < k:
        s += 1
    return s if s < near.shape[0] and near[s, 1] == i and near[s, 0] == k else -1


@kernel
def near_sides(
    near: NDArray[np.int32],
    residual: FloatArray,
    basis: IntArray,
    ties: NDArray[np.int32],
    first: NDArray[np.int32],
    side_out: NDArray[np.int8],
) -> None:
    """Write for each near (tau, row) 0 if basic, else the solver's side, else the residual's sign.

    Parameters
    ----------
    near, residual
        From `sweep`.
    basis : ndarray, shape (m, p)
    ties : ndarray, shape (q, 3)
        (position of tau, row, side) as the solver gave them.
    first : ndarray, shape (n,)
        Scratch.
    side_out : ndarray, shape (number of near rows,)
    """
    count = near.shape[0]
    first[:] = count
    for s in range(count - 1, -1, -1):
        side_out[s] = 1 if residual[s] >= 0.0 else -1
        first[near[s, 1]] = s
    for t in range(ties.shape[0]):
        k, i = ties[t, 0], ties[t, 1]
        s = _found(near, first[i], k, i)
        if s >= 0 and ties[t, 2] != 0:
            side_out[s] = 1 if ties[t, 2] > 0 else -1
    for k in range(basis.shape[0]):
        for j in range(basis.shape[1]):
            s = _found(near, first[basis[k, j]], k, basis[k, j])
            if s >= 0:
                side_out[s] = 0


@kernel
def duality_gaps(
    rows: Rows,
    weight: FloatArray,
    taus: FloatArray,
    basis: IntArray,
    near: NDArray[np.int32],
    near_residual: FloatArray,
    near_side: NDArray[np.int8],
    gradient: FloatArray,
    lost: FloatArray,
    row: FloatArray,
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
    lost : ndarray, shape (m, p)
        Zeros; scratch, as is `row`, shape (p,).
    dual_out : ndarray, shape (m, p)
        Dual values of the basic rows, divided by their weights: within [tau - 1, tau].
    gap_out : ndarray, shape (m,)
        primal - dual, before the division by 1 + kappa.
    excess_out : ndarray, shape (m,)
        kappa: by how much the worst basic value leaves its box, as a share of the box edge. Infinite where a
        basic row is off its hyperplane: it has lost its digits and counts from the wrong side.
    """
    rows = borrowed(rows)
    m, p = basis.shape
    factors, order, duals, z = work.lu, work.order, work.vec[0], work.vec[1]
    for k in range(m):
        gap_out[k] = 0.0
        excess_out[k] = 0.0
    for s in range(near.shape[0]):
        k, i = near[s, 0], near[s, 1]
        side, r = near_side[s], near_residual[s]
        counted = taus[k] if r >= 0.0 else taus[k] - 1.0
        if side == 0:
            excess_out[k] += 1.0
            missing = -counted
        else:
            d = taus[k] if side > 0 else taus[k] - 1.0
            missing = float(side) if d != counted else 0.0
            gap_out[k] += weight[i] * (counted - d) * r
        if missing != 0.0:
            read_row(rows, i, row)
            add_to(row, weight[i] * missing, gradient[k], lost[k])
    for k in range(m):
        complete = excess_out[k] == p
        for j in range(p):
            gradient[k, j] += lost[k, j]
            read_row(rows, basis[k, j], factors[j])
        if not complete or not lu(factors, order):
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
        if near_side[s] == 0 and excess_out[k] < np.inf:
            for j in range(p):
                if basis[k, j] == i:
                    r = near_residual[s]
                    loss = weight[i] * (taus[k] * r if r >= 0.0 else (taus[k] - 1.0) * r)
                    gap_out[k] += loss - dual_out[k, j] * weight[i] * r
