"""Small dense linear algebra."""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray
from growth.kernels.compiler import inner, search


@inner
def copy(v: FloatArray, copy_out: FloatArray) -> None:
    """Copy a vector: the compiler takes in a call far sooner than a loop."""
    for i in range(v.shape[0]):
        copy_out[i] = v[i]


@inner
def difference(a: FloatArray, b: FloatArray, difference_out: FloatArray) -> None:
    """Write a - b."""
    for i in range(a.shape[0]):
        difference_out[i] = a[i] - b[i]


@search
def dot(a: FloatArray, b: FloatArray) -> float:
    """Return the scalar product."""
    s = 0.0
    for i in range(a.shape[0]):
        s += a[i] * b[i]
    return s


@inner
def cholesky(a: FloatArray, factor_out: FloatArray) -> bool:
    """Write the lower Cholesky factor; False if a pivot vanishes."""
    p = a.shape[0]
    for j in range(p):
        for i in range(j, p):
            s = a[i, j]
            for k in range(j):
                s -= factor_out[i, k] * factor_out[j, k]
            if i == j:
                if not s > 1e-13 * a[j, j]:
                    return False
                factor_out[j, j] = np.sqrt(s)
            else:
                factor_out[i, j] = s / factor_out[j, j]
    return True


@inner
def cholesky_solve(factor: FloatArray, v: FloatArray, x_out: FloatArray) -> None:
    """Solve with a Cholesky factor."""
    p = v.shape[0]
    for i in range(p):
        s = v[i]
        for k in range(i):
            s -= factor[i, k] * x_out[k]
        x_out[i] = s / factor[i, i]
    for i in range(p - 1, -1, -1):
        s = x_out[i]
        for k in range(i + 1, p):
            s -= factor[k, i] * x_out[k]
        x_out[i] = s / factor[i, i]


@inner
def metric_norm(metric: FloatArray, v: FloatArray) -> float:
    """Return |metric' v|."""
    p = v.shape[0]
    total = 0.0
    for j in range(p):
        s = 0.0
        for i in range(j, p):
            s += metric[i, j] * v[i]
        total += s * s
    return float(np.sqrt(total))
