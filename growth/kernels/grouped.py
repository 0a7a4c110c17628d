"""Places of draws within rows of reference draws."""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray, IntArray
from growth.kernels.compiler import allocating

__all__ = ["places"]


@allocating
def places(reference: FloatArray, draws: FloatArray, order: IntArray) -> IntArray:
    """Count, draw by draw, the reference values below each value twice and the equal ones once.

    A merge of two ordered rows: D (J + R) steps.

    Parameters
    ----------
    reference : ndarray, shape (D, R)
        Each row ascending.
    draws : ndarray, shape (D, J)
    order : ndarray, shape (D, J)
        ``argsort`` of each row of `draws`.

    Returns
    -------
    ndarray, shape (D, J)
        2 x number below + number equal, 0..2R; half of it over R is the mid-rank share.
    """
    rows, schools = draws.shape
    size = reference.shape[1]
    out = np.empty((rows, schools), np.int64)
    for d in range(rows):
        below = 0
        upto = 0
        for k in range(schools):
            j = order[d, k]
            v = draws[d, j]
            while below < size and reference[d, below] < v:
                below += 1
            upto = max(upto, below)
            while upto < size and reference[d, upto] <= v:
                upto += 1
            out[d, j] = below + upto
    return out
