"""Where each response lies among its row's conditional quantiles, without storing the quantiles.

For row i the m curve values q_t = x_i'b_t are formed in a buffer and counted. Values are summed within groups
of columns, and the groups in a fixed order, so that sums looked up in tables are the same to the last bit.

Rounding and clipping never change the order of two values, and the number of curves below the response does
not depend on their order. So values are clipped and rounded only if they are read off or within a rounding
step of the response, and sorted only if they cross where they are read off.

References
----------
.. [1] V. Chernozhukov, I. Fernandez-Val and A. Galichon (2010), Econometrica 78(3), 1093-1125.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.kernels.borrowed import borrowed
from growth.kernels.compiler import inlined, inner, kernel
from growth.kernels.rows import Rows

EXACT = 2.0**45
"""A rounding step counts as far more than a rounding error up to this number of steps."""


class Curves(NamedTuple):
    """The curves and how their values are summed, with scratch for one row."""

    turned: FloatArray  # (p, m) coefficients
    columns: IntArray  # (p,) group by group
    ends: IntArray  # (groups,) where each group ends in `columns`
    used: IntArray  # (p + 4 groups,)
    value: FloatArray  # (p + 4 groups,)
    stops: IntArray  # (groups,)
    part: FloatArray  # (m,)
    q: FloatArray  # (m,) values

    @classmethod
    def of(cls, coef: FloatArray, columns: IntArray, ends: IntArray) -> Curves:
        """Take curves with coefficients of shape (m, p)."""
        m, room = coef.shape[0], coef.shape[1] + 4 * ends.size
        used, value, stops = np.zeros(room, np.int64), np.empty(room), np.empty(ends.size, np.int64)
        turned = np.array(coef.T, order="C")
        return cls(turned, columns, ends, used, value, stops, np.empty(m), np.empty(m))


@inlined
def _add_four(s: int, used: IntArray, value: FloatArray, turned: FloatArray, q: FloatArray) -> None:
    a0, a1, a2, a3 = used[s], used[s + 1], used[s + 2], used[s + 3]
    v0, v1, v2, v3 = value[s], value[s + 1], value[s + 2], value[s + 3]
    for k in range(q.shape[0]):
        q[k] += v0 * turned[a0, k] + v1 * turned[a1, k] + v2 * turned[a2, k] + v3 * turned[a3, k]


@inner
def _add_many(
    start: int,
    stop: int,
    used: IntArray,
    value: FloatArray,
    turned: FloatArray,
    part: FloatArray,
    q: FloatArray,
) -> None:
    for k in range(part.shape[0]):
        part[k] = 0.0
    s = start
    while s + 3 < stop:
        a0, a1, a2, a3 = used[s], used[s + 1], used[s + 2], used[s + 3]
        v0, v1, v2, v3 = value[s], value[s + 1], value[s + 2], value[s + 3]
        for k in range(part.shape[0]):
            part[k] = (
                part[k] + v0 * turned[a0, k] + v1 * turned[a1, k] + v2 * turned[a2, k] + v3 * turned[a3, k]
            )
        s += 4
    while s < stop:
        a0, v0 = used[s], value[s]
        for k in range(part.shape[0]):
            part[k] += v0 * turned[a0, k]
        s += 1
    for k in range(part.shape[0]):
        q[k] += part[k]


@inner
def _evaluate(curves: Curves, row: FloatArray) -> None:
    """Write the curve values of one row: sums within groups of columns, then of the groups in their order.

    Zeros in the row cost nothing. `used` and `value` list the other entries, each group followed by room for
    four zeros; the lists are made first, so that sums need not wait for them.
    """
    columns, ends, turned = curves.columns, curves.ends, curves.turned
    used, value, stops, part, q_out = curves.used, curves.value, curves.stops, curves.part, curves.q
    start, begin = 0, 0
    for g in range(ends.shape[0]):
        for s in range(start, start + 4):
            value[s] = 0.0
        stop = start
        for s in range(begin, ends[g]):
            a = columns[s]
            x = row[a]
            used[stop] = a
            value[stop] = x
            stop += x != 0.0
        stops[g] = stop
        begin = ends[g]
        start = begin + 4 * (g + 1)
    start = ends[0] + 4
    if stops[0] <= 1:
        a, x = used[0], value[0]
        for k in range(q_out.shape[0]):
            q_out[k] = 0.0 + x * turned[a, k]
    else:
        for k in range(q_out.shape[0]):
            q_out[k] = 0.0
        _add_many(0, stops[0], used, value, turned, part, q_out)
    for g in range(1, ends.shape[0]):
        if stops[g] - start <= 4:
            _add_four(start, used, value, turned, q_out)
        else:
            _add_many(start, stops[g], used, value, turned, part, q_out)
        start = ends[g] + 4 * (g + 1)


@inlined
def _evaluate_tables(curves: Curves, rows: Rows, tables_out: FloatArray) -> None:
    """Write curve values of every table line."""
    q = curves.q
    for b in range(tables_out.shape[0]):
        for c in range(tables_out.shape[1]):
            _evaluate(curves, rows.tables[b, c])
            for k in range(q.shape[0]):
                tables_out[b, c, k] = q[k]


@inlined
def _look_up(tables: FloatArray, codes: NDArray[np.uint16], i: int, lead: int, q_out: FloatArray) -> None:
    """Write the curve values of one row: table `lead` first, then the others."""
    m = q_out.shape[0]
    c0 = codes[lead, i]
    second = 1 if lead == 0 else 0
    if codes.shape[0] == 1:
        for k in range(m):
            q_out[k] = tables[lead, c0, k]
    else:
        c1 = codes[second, i]
        for k in range(m):
            q_out[k] = tables[lead, c0, k] + tables[second, c1, k]
    for b in range(second + 1, codes.shape[0]):
        if b != lead:
            c1 = codes[b, i]
            for k in range(m):
                q_out[k] += tables[b, c1, k]


@inner
def _insertion_sort(q: FloatArray) -> None:
    """Sort in place; fast because crossings are few and near."""
    for k in range(1, q.shape[0]):
        v = q[k]
        j = k - 1
        while j >= 0 and q[j] > v:
            q[j + 1] = q[j]
            j -= 1
        q[j + 1] = v


@inlined
def _shown(v: float, scale: float, low: float, high: float) -> float:
    """Return a value clipped, and rounded if there is a scale."""
    clipped = min(max(v, low), high)
    return np.rint(clipped * scale) / scale if scale > 0.0 else clipped


@kernel
def add_curve_values(
    design: FloatArray,
    curves: Curves,
    rearrange: bool,
    scale: float,
    low: float,
    high: float,
    sums_out: FloatArray,
) -> int:
    """Add all curve values, clipped, sorted, rounded to multiples of 1/scale, to `sums_out`, shape (n, m).

    Parameters are those of `place`. Returns the number of rows whose values are not finite.
    """
    curves = borrowed(curves)
    q = curves.q
    unknown = 0
    for i in range(design.shape[0]):
        _evaluate(curves, design[i])
        unknown += not np.isfinite(q[0])
        if rearrange:
            _insertion_sort(q)
        for k in range(q.shape[0]):
            sums_out[i, k] += _shown(q[k], scale, low, high)
    return unknown


@inner
def _stays(q: FloatArray, k: int) -> bool:
    """Tell whether sorting leaves the value at place k."""
    v, less, upto = q[k], 0, 0
    for j in range(q.shape[0]):
        less += q[j] < v
        upto += q[j] <= v
    return bool(less <= k < upto)


@kernel
def place(
    rows: Rows,
    lead: int,
    curves: Curves,
    response: FloatArray,
    taus: FloatArray,
    rearrange: bool,
    scale: float,
    low: float,
    high: float,
    tables: FloatArray,
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
    curves : Curves
        m curves.
    response : ndarray, shape (n,)
    taus : ndarray, shape (m,)
    rearrange : bool
        Un-cross the curves of each row.
    scale : float
        Curves are rounded to multiples of 1/scale; 0 means not rounded.
    low, high : float
        Curves are clipped to this range first.
    tables : ndarray, shape (blocks, lines, m)
        Scratch.
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
    rows, curves = borrowed(rows), borrowed(curves)
    q = curves.q
    m = q.shape[0]
    coded = rows.codes.shape[0] > 0
    _evaluate_tables(curves, rows, tables)
    plain = scale == 0.0 and low == -np.inf and high == np.inf
    margin = 1.0 / scale if scale > 0.0 else 0.0
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
            _evaluate(curves, rows.design[i])
        unknown += not np.isfinite(q[0])
        y = response[i]
        least, most = y - margin, y + margin
        below, upto, crossed = int(q[m - 1] < least), int(q[m - 1] <= most), 0
        for k in range(m - 1):
            below += q[k] < least
            upto += q[k] <= most
            crossed += q[k + 1] < q[k]
        crossings += crossed
        if not plain:
            clear = low < least and most < high and abs(y) * scale < EXACT
            if not clear or (scale > 0.0 and below < upto):
                below, upto = 0, 0
                for k in range(m):
                    v = _shown(q[k], scale, low, high)
                    below += v < y
                    upto += v <= y
        between = upto == below and 0 < below < m
        first, second = q[middle], q[upper]
        if crossed > 0:
            ordered = not rearrange or (_stays(q, middle) and _stays(q, upper))
            if not ordered or (between and not (_stays(q, below - 1) and _stays(q, below))):
                _insertion_sort(q)
                if rearrange:
                    first, second = q[middle], q[upper]
        if between:
            under = _shown(q[below - 1], scale, low, high)
            over = _shown(q[below], scale, low, high)
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
        first = _shown(first, scale, low, high)
        second = _shown(second, scale, low, high)
        median_out[i] = (1.0 - lean) * first + lean * second
    return crossings, unknown
