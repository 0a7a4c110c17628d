r"""A second proof of optimality, from the data and stored coefficients alone.

The solver proves its solutions with the bases it walked through; those are not stored, and a proof by the
same code would repeat its mistakes. Here a dual point is sought anew. Coefficients b minimise
:math:`\sum \rho_\tau(y_i - x_i'b)` if and only if there are values d with

.. math:: d_i = \tau - 1[r_i < 0] \ (r_i \ne 0), \quad d_i \in [\tau - 1, \tau] \ (r_i = 0), \quad X'd = 0 .

The values of rows on the hyperplane solve a bounded least-squares problem. For any d in the box

.. math:: \sum \rho_\tau(r_i) - d'r = \text{gap} \ge 0,

and what :math:`X'd` misses of zero is a share of :math:`\sum |x_{ij}|`, so that both are
relative numbers.

References
----------
.. [1] R. Koenker (2005), Quantile Regression, section 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from growth._types import FloatArray

__all__ = ["Optimality", "optimality"]

ON_THE_PLANE = 2.0**-30
"""Residuals up to this share of the terms that they are differences of are zero up to rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Optimality:
    """How far each stored solution is from the optimum, each array of shape (m,)."""

    objective: FloatArray
    """Sum of check losses [units of the response]."""
    gap: FloatArray
    """(primal - dual) / primal."""
    imbalance: FloatArray
    """Largest \\|X'd\\| of a column as a share of the column's sum of absolute values."""


def optimality(design: FloatArray, response: FloatArray, taus: FloatArray, coef: FloatArray) -> Optimality:
    """Prove coefficients optimal, or say by how much they are not.

    Parameters
    ----------
    design : ndarray, shape (n, p)
    response : ndarray, shape (n,)
    taus : ndarray, shape (m,)
    coef : ndarray, shape (m, p)

    Returns
    -------
    Optimality
    """
    size = np.abs(design).sum(axis=0)
    columns = design[:, size > 0] / size[size > 0]
    found = [_one(design, columns, response, tau, b) for tau, b in zip(taus, coef, strict=True)]
    objective, gap, imbalance = (np.array(values) for values in zip(*found, strict=True))
    return Optimality(objective, gap, imbalance)


def _one(
    design: FloatArray, columns: FloatArray, response: FloatArray, tau: float, coef: FloatArray
) -> tuple[float, float, float]:
    residual = response - design @ coef
    terms = np.abs(design) @ np.abs(coef) + np.abs(response)
    free = np.abs(residual) <= ON_THE_PLANE * terms
    dual = np.where(residual < 0, tau - 1.0, tau)
    dual[free] = 0.0
    missing = -columns.T @ dual
    if free.any():
        dual[free] = _within(columns[free], missing, tau)
    objective = float(residual @ (tau - (residual < 0)))
    left = float(np.abs(columns.T @ dual).max())
    gap = (objective - float(dual @ residual)) / objective if objective > 0 else 0.0
    return objective, max(gap, 0.0), left


def _within(rows: FloatArray, target: FloatArray, tau: float) -> FloatArray:
    """Return d in [tau - 1, tau] with rows' d nearest to the target; equal rows share one unknown."""
    from scipy.optimize import lsq_linear

    distinct, place, count = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    scale = np.abs(distinct).max(axis=0)
    kept = scale > 0
    matrix = (distinct[:, kept] / scale[kept]).T * count
    solved = lsq_linear(matrix, target[kept] / scale[kept], (tau - 1.0, tau), tol=1e-14, method="bvls")
    return np.asarray(np.clip(solved.x, tau - 1.0, tau), dtype=np.float64)[place.ravel()]
