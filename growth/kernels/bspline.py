"""B-spline design rows with clamped end knots and polynomial extension.

For a full knot vector t_0 <= ... <= t_{K+2d+1} (end knots repeated d+1 times) and x in the span
t_s <= x < t_{s+1}, the d+1 basis functions that do not vanish follow the Cox-de Boor recursion. A value
outside the boundary knots is evaluated with the end span's polynomials: the recursion is polynomial in x, so
leaving x outside the span is all it takes.

References
----------
.. [1] C. de Boor (1978), A Practical Guide to Splines, Springer, ch. X.
"""

from __future__ import annotations

from growth._types import FloatArray
from growth.kernels.compiler import kernel


@kernel
def bspline_columns(
    x: FloatArray, knots: FloatArray, degree: int, work: FloatArray, design_out: FloatArray, first: int
) -> None:
    """Write all basis columns but the first for every x into ``design_out[:, first:]``.

    Parameters
    ----------
    x : ndarray, shape (n,)
    knots : ndarray, shape (K + 2 * degree + 2,), non-decreasing, end knots repeated degree + 1 times
    degree : int
    work : ndarray, shape (3, degree + 1)
        Scratch.
    design_out : ndarray, shape (n, p); columns first .. first + K + degree - 1 are written
    first : int
    """
    columns = knots.shape[0] - degree - 1
    low, high = degree, columns - 1
    while knots[low] == knots[low + 1] and low < high:
        low += 1
    while knots[high] == knots[high + 1] and high > low:
        high -= 1
    values, left, right = work[0], work[1], work[2]
    for i in range(x.shape[0]):
        v = x[i]
        span = low
        while span < high and v >= knots[span + 1]:
            span += 1
        values[0] = 1.0
        for d in range(1, degree + 1):
            left[d] = v - knots[span + 1 - d]
            right[d] = knots[span + d] - v
            carried = 0.0
            for c in range(d):
                ratio = values[c] / (right[c + 1] + left[d - c])
                values[c] = carried + right[c + 1] * ratio
                carried = left[d - c] * ratio
            values[d] = carried
        for c in range(columns - 1):
            design_out[i, first + c] = 0.0
        for c in range(degree + 1):
            column = span - degree + c
            if column > 0:
                design_out[i, first + column - 1] = values[c]
