"""Where each response lies among its row's conditional quantiles, without storing the quantiles.

For row i the m curve values q_t = x_i'b_t are formed in a buffer. The number of curves below the response
does not depend on their order, so un-crossing (sorting) is needed only where values themselves are read off.

References
----------
.. [1] V. Chernozhukov, I. Fernandez-Val and A. Galichon (2010), Econometrica 78(3), 1093-1125.
"""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray, IntArray
from growth.kernels.compiler import kernel


@kernel
def _curves(row: FloatArray, turned: FloatArray, q_out: FloatArray) -> None:
    m = q_out.shape[0]
    for k in range(m):
        q_out[k] = 0.0
    for a in range(row.shape[0]):
        x = row[a]
        if x != 0.0:
            line = turned[a]
            for k in range(m):
                q_out[k] += x * line[k]


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
def _row_curves(
    row: FloatArray,
    turned: FloatArray,
    rearrange: bool,
    scale: float,
    low: float,
    high: float,
    q_out: FloatArray,
) -> int:
    """Write one row's curves: clipped, sorted, rounded. Returns the number of neighbours that crossed."""
    m = q_out.shape[0]
    _curves(row, turned, q_out)
    crossings = 0
    for k in range(1, m):
        crossings += q_out[k] < q_out[k - 1]
    for k in range(m):
        q_out[k] = min(max(q_out[k], low), high)
    if rearrange and crossings > 0:
        _insertion_sort(q_out)
    if scale > 0.0:
        for k in range(m):
            q_out[k] = np.rint(q_out[k] * scale) / scale
    return crossings


@kernel
def curve_values(
    design: FloatArray,
    turned: FloatArray,
    rearrange: bool,
    scale: float,
    low: float,
    high: float,
    curves_out: FloatArray,
) -> int:
    """Write all curve values, shape (n, m): clipped, sorted, rounded to multiples of 1/scale.

    A scale of 0 means not rounded. Returns the number of neighbouring pairs that crossed before sorting.
    """
    crossings = 0
    for i in range(curves_out.shape[0]):
        crossings += _row_curves(design[i], turned, rearrange, scale, low, high, curves_out[i])
    return crossings


@kernel
def place(
    design: FloatArray,
    turned: FloatArray,
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
) -> int:
    """Count curves below each response and interpolate its place in the conditional distribution.

    Parameters
    ----------
    design : ndarray, shape (n, p)
    turned : ndarray, shape (p, m)
        Coefficients, one column per tau.
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
    int
        Number of neighbouring pairs of curves that crossed.
    """
    n = design.shape[0]
    m = taus.shape[0]
    q = np.empty(m)
    middle = 0
    while middle < m - 2 and taus[middle + 1] < 0.5:
        middle += 1
    upper = min(middle + 1, m - 1)  # a single curve is its own neighbour
    lean = (0.5 - taus[middle]) / (taus[upper] - taus[middle]) if upper > middle else 0.0
    lean = min(max(lean, 0.0), 1.0)
    crossings = 0
    for i in range(n):
        crossings += _row_curves(design[i], turned, rearrange, scale, low, high, q)
        y = response[i]
        below, upto = 0, 0
        under, over = -np.inf, np.inf
        for k in range(m):
            v = q[k]
            below += v < y
            upto += v <= y
            under = max(under, v if v < y else -np.inf)
            over = min(over, v if v > y else np.inf)
        below_out[i] = below
        upto_out[i] = upto
        if upto > below:
            percentile_out[i] = 0.5 * (taus[below] + taus[upto - 1])
        elif below == 0:
            percentile_out[i] = 0.5 * taus[0]
        elif below == m:
            percentile_out[i] = 0.5 * (1.0 + taus[m - 1])
        else:
            share = (y - under) / (over - under)
            percentile_out[i] = taus[below - 1] + share * (taus[below] - taus[below - 1])
        median_out[i] = (1.0 - lean) * q[middle] + lean * q[upper]
    return crossings
