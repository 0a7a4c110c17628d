"""Where each response lies among its row's conditional quantiles, without storing the quantiles.

For row i the m curve values q_t = x_i'b_t are formed in a buffer and counted. Values are summed within groups
of columns, and the groups in a fixed order, so that sums looked up in tables are the same to the last bit.

Rounding and clipping never change the order of two values, and the number of curves below the response does
not depend on their order. So values are compared as whole numbers of rounding steps, only the few that are
read off are divided by the scale, and only curves that cross where they are read off are sorted.

References
----------
.. [1] V. Chernozhukov, I. Fernandez-Val and A. Galichon (2010), Econometrica 78(3), 1093-1125.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.kernels.compiler import kernel
from growth.kernels.rows import Rows

FAR = 2.0**45
"""Responses of more rounding steps than this are compared in their own units."""


@kernel
def _gather(
    design: FloatArray,
    i: int,
    columns: IntArray,
    start: int,
    stop: int,
    used_out: IntArray,
    value_out: FloatArray,
) -> int:
    """List the entries of row i that are not zero, zeros behind; returns how many."""
    for s in range(4):
        value_out[s] = 0.0
    count = 0
    for s in range(start, stop):
        a = columns[s]
        x = design[i, a]
        used_out[count] = a
        value_out[count] = x
        count += x != 0.0
    return count


@kernel
def _add_four(used: IntArray, value: FloatArray, turned: FloatArray, q: FloatArray) -> None:
    a0, a1, a2, a3 = used[0], used[1], used[2], used[3]
    v0, v1, v2, v3 = value[0], value[1], value[2], value[3]
    for k in range(q.shape[0]):
        q[k] += v0 * turned[a0, k] + v1 * turned[a1, k] + v2 * turned[a2, k] + v3 * turned[a3, k]


@kernel
def _add_many(
    count: int, used: IntArray, value: FloatArray, turned: FloatArray, part: FloatArray, q: FloatArray
) -> None:
    for k in range(part.shape[0]):
        part[k] = 0.0
    s = 0
    while s + 3 < count:
        a0, a1, a2, a3 = used[s], used[s + 1], used[s + 2], used[s + 3]
        v0, v1, v2, v3 = value[s], value[s + 1], value[s + 2], value[s + 3]
        for k in range(part.shape[0]):
            part[k] = (
                part[k] + v0 * turned[a0, k] + v1 * turned[a1, k] + v2 * turned[a2, k] + v3 * turned[a3, k]
            )
        s += 4
    while s < count:
        a0, v0 = used[s], value[s]
        for k in range(part.shape[0]):
            part[k] += v0 * turned[a0, k]
        s += 1
    for k in range(part.shape[0]):
        q[k] += part[k]


@kernel
def _curves(
    design: FloatArray,
    i: int,
    columns: IntArray,
    ends: IntArray,
    turned: FloatArray,
    used: IntArray,
    value: FloatArray,
    part: FloatArray,
    q_out: FloatArray,
) -> None:
    """Write the curve values of one row: sums within groups of columns, then of the groups in their order."""
    m = q_out.shape[0]
    count = _gather(design, i, columns, 0, ends[0], used, value)
    if count <= 1:
        a, x = used[0], value[0]
        for k in range(m):
            q_out[k] = 0.0 + x * turned[a, k]
    else:
        for k in range(m):
            q_out[k] = 0.0
        _add_many(count, used, value, turned, part, q_out)
    for g in range(1, ends.shape[0]):
        count = _gather(design, i, columns, ends[g - 1], ends[g], used, value)
        if count <= 4:
            _add_four(used, value, turned, q_out)
        else:
            _add_many(count, used, value, turned, part, q_out)


@kernel
def _table_curves(rows: Rows, columns: IntArray, ends: IntArray, turned: FloatArray) -> FloatArray:
    """Curve values of every table line, shape (tables, lines, m)."""
    tables, lines, p = rows.tables.shape
    m = turned.shape[1]
    out = np.empty((tables, lines, m))
    used, value, part, q = np.zeros(p + 4, np.int64), np.empty(p + 4), np.empty(m), np.empty(m)
    for b in range(tables):
        for c in range(lines):
            _curves(rows.tables[b], c, columns, ends, turned, used, value, part, q)
            for k in range(m):
                out[b, c, k] = q[k]
    return out


@kernel
def _look_up(tables: FloatArray, codes: NDArray[np.uint16], i: int, lead: int, q_out: FloatArray) -> None:
    """Write the curve values of one row: table `lead` first, then the others."""
    blocks, m = codes.shape[0], q_out.shape[0]
    c0 = codes[lead, i]
    if blocks == 1:
        for k in range(m):
            q_out[k] = tables[0, c0, k]
        return
    b = 1 if lead == 0 else 0
    c1 = codes[b, i]
    for k in range(m):
        q_out[k] = tables[lead, c0, k] + tables[b, c1, k]
    for other in range(b + 1, blocks):
        if other != lead:
            c1 = codes[other, i]
            for k in range(m):
                q_out[k] += tables[other, c1, k]


@kernel
def _insertion_sort(q: FloatArray) -> None:
    """Sort in place; fast because crossings are few and near."""
    for k in range(1, q.shape[0]):
        v = q[k]
        j = k - 1
        while j >= 0 and q[j] > v:
            q[j + 1] = q[j]
            j -= 1
        q[j + 1] = v


@kernel
def _crossings(q: FloatArray) -> int:
    count = 0
    for k in range(q.shape[0] - 1):
        count += q[k + 1] < q[k]
    return count


@kernel
def _steps(q: FloatArray, scale: float, low: float, high: float, step_out: FloatArray) -> None:
    """Write clipped values, as whole numbers of rounding steps if there is a scale."""
    for k in range(q.shape[0]):
        v = q[k]
        v = low if v < low else v
        step_out[k] = high if v > high else v
    if scale > 0.0:
        for k in range(q.shape[0]):
            step_out[k] = np.rint(step_out[k] * scale)


@kernel
def curve_values(
    design: FloatArray,
    columns: IntArray,
    ends: IntArray,
    coef: FloatArray,
    rearrange: bool,
    scale: float,
    low: float,
    high: float,
    curves_out: FloatArray,
) -> int:
    """Write all curve values, shape (n, m): clipped, sorted, rounded to multiples of 1/scale.

    Parameters are those of `place`. Returns the number of rows whose values are not finite.
    """
    p, m = design.shape[1], coef.shape[0]
    turned = np.ascontiguousarray(coef.T)
    used, value, part, q = np.zeros(p + 4, np.int64), np.empty(p + 4), np.empty(m), np.empty(m)
    unit = scale if scale > 0.0 else 1.0
    unknown = 0
    for i in range(design.shape[0]):
        _curves(design, i, columns, ends, turned, used, value, part, q)
        unknown += not np.isfinite(q[0])
        crossed = rearrange and _crossings(q) > 0
        _steps(q, scale, low, high, q)
        if crossed:
            _insertion_sort(q)
        for k in range(m):
            curves_out[i, k] = q[k] / unit
    return unknown


@kernel
def _in_order(q: FloatArray, middle: int, upper: int) -> bool:
    """Tell whether sorting leaves the values at both places."""
    first, second = q[middle], q[upper]
    misplaced = 0
    misplaced += first > second
    for k in range(middle):
        misplaced += q[k] > first
    for k in range(upper + 1, q.shape[0]):
        misplaced += q[k] < second
    return bool(misplaced == 0)


@kernel
def place(
    rows: Rows,
    lead: int,
    columns: IntArray,
    ends: IntArray,
    coef: FloatArray,
    response: FloatArray,
    taus: FloatArray,
    rearrange: bool,
    scale: float,
    low: float,
    high: float,
    below_out: IntArray,
    upto_out: IntArray,
    percentile_out: FloatArray,
    median_out: FloatArray,
) -> tuple[int, int]:
    """Count curves below each response and interpolate its place in the conditional distribution.

    Parameters
    ----------
    rows : Rows
        n rows of p columns.
    lead : int
        Table of coded rows that holds the first group of columns; the others follow in their order.
    columns : ndarray, shape (p,)
        Columns, group by group.
    ends : ndarray, shape (groups,)
        Where each group ends in `columns`.
    coef : ndarray, shape (m, p)
    response : ndarray, shape (n,)
    taus : ndarray, shape (m,)
    rearrange : bool
        Un-cross the curves of each row.
    scale : float
        Curves are rounded to multiples of 1/scale; 0 means not rounded.
    low, high : float
        Curves are clipped to this range first.
    below_out, upto_out : ndarray, shape (n,)
        Number of curves below the response, and not above it.
    percentile_out : ndarray, shape (n,)
        Between two curves: linear in the response; on one or several curves: the middle of their taus
        (mid-p); beyond the outermost curves: the middle of the remaining probability.
    median_out : ndarray, shape (n,)
        Conditional median, linear between the two taus around 1/2.

    Returns
    -------
    crossings : int
        Number of neighbouring pairs of curves that crossed.
    unknown : int
        Number of rows whose curve values are not finite; the rest of their results means nothing.
    """
    m, p = coef.shape
    turned = np.ascontiguousarray(coef.T)
    coded = rows.codes.shape[0] > 0
    tables = _table_curves(rows, columns, ends, turned)
    used, value, part, q = np.zeros(p + 4, np.int64), np.empty(p + 4), np.empty(m), np.empty(m)
    plain = scale == 0.0 and low == -np.inf and high == np.inf
    step = q if plain else np.empty(m)
    middle = 0
    while middle < m - 2 and taus[middle + 1] < 0.5:
        middle += 1
    upper = min(middle + 1, m - 1)  # a single curve is its own neighbour
    lean = (0.5 - taus[middle]) / (taus[upper] - taus[middle]) if upper > middle else 0.0
    lean = min(max(lean, 0.0), 1.0)
    crossings, unknown = 0, 0
    for i in range(response.shape[0]):
        if coded:
            _look_up(tables, rows.codes, i, lead, q)
        else:
            _curves(rows.design, i, columns, ends, turned, used, value, part, q)
        unknown += not np.isfinite(q[0])
        crossed = _crossings(q)
        crossings += crossed
        if not plain:
            _steps(q, scale, low, high, step)
        y = response[i]
        # Values are below y if they are less than `least`, and not above it up to `most`.
        unit, least, most = 1.0, y, y
        if scale > 0.0:
            nearest = np.rint(y * scale)
            if abs(nearest) < FAR:
                unit = scale
                least = nearest + 1.0 if nearest / scale < y else nearest
                most = nearest - 1.0 if nearest / scale > y else nearest
            else:
                for k in range(m):
                    step[k] /= scale
        below, upto = 0, 0
        for k in range(m):
            below += step[k] < least
            upto += step[k] <= most
        first, second = step[middle], step[upper]
        between = upto == below and 0 < below < m
        if crossed > 0:
            settled = not rearrange or _in_order(step, middle, upper)
            if between:
                under, over = step[below - 1], step[below]
                lower, inner = 0, 0
                for k in range(m):
                    lower += step[k] <= under
                    inner += step[k] < over
                settled = settled and lower == below and inner == below
            if not settled:
                _insertion_sort(step)
                if rearrange:
                    first, second = step[middle], step[upper]
        if between:
            under, over = step[below - 1] / unit, step[below] / unit
            share = (y - under) / (over - under)
            percentile_out[i] = taus[below - 1] + share * (taus[below] - taus[below - 1])
        elif upto > below:
            percentile_out[i] = 0.5 * (taus[below] + taus[upto - 1])
        elif below == 0:
            percentile_out[i] = 0.5 * taus[0]
        else:
            percentile_out[i] = 0.5 * (1.0 + taus[m - 1])
        below_out[i] = below
        upto_out[i] = upto
        median_out[i] = (1.0 - lean) * (first / unit) + lean * (second / unit)
    return crossings, unknown
