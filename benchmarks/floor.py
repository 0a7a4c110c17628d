"""The null library: what it costs only to read the data once per tau and decide every row's side."""

from __future__ import annotations

import numpy as np
from numba import njit

from growth._types import FloatArray, IntArray


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})
def _count_below(design: FloatArray, response: FloatArray, coef: FloatArray) -> int:
    n, p = design.shape
    below = 0
    for i in range(n):
        fitted = 0.0
        for a in range(p):
            fitted += design[i, a] * coef[a]
        below += response[i] < fitted
    return below


def dense_passes(design: FloatArray, response: FloatArray, coef: FloatArray) -> IntArray:
    """Count the rows below each of m hyperplanes, one dense pass each.

    Parameters
    ----------
    design : ndarray, shape (n, p)
    response : ndarray, shape (n,)
    coef : ndarray, shape (m, p)

    Returns
    -------
    ndarray, shape (m,)
    """
    return np.array([_count_below(design, response, b) for b in coef])
