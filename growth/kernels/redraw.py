"""Where redrawn scores lie on a ladder of scores: one ladder per row, many draws."""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray, IntArray
from growth.kernels.compiler import allocating

__all__ = ["rungs_below"]


@allocating
def rungs_below(ladder: FloatArray, draws: FloatArray) -> IntArray:
    """Count the rungs below each draw, by binary search.

    Parameters
    ----------
    ladder : ndarray, shape (n, m)
        Each row ascending; may hold -inf and inf.
    draws : ndarray, shape (n, k)

    Returns
    -------
    ndarray, shape (n, k)
        0..m.
    """
    n, m = ladder.shape
    out = np.empty(draws.shape, np.int64)
    for i in range(n):
        for j in range(draws.shape[1]):
            v, low, high = draws[i, j], 0, m
            while low < high:
                middle = (low + high) // 2
                if ladder[i, middle] < v:
                    low = middle + 1
                else:
                    high = middle
            out[i, j] = low
    return out
