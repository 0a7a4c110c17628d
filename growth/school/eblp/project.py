"""The nearest covariance matrix to an estimate that is none."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from growth._types import BoolArray, FloatArray
from growth.errors import ConvergenceError, problem

__all__ = ["Projection", "clipped", "nearest"]

Projection: TypeAlias = Literal["nearest", "alternating"]

TOLERANCE = 1e-12
"""Relative change of a step at which projections stop."""
MOST_STEPS = 20_000
NEGATIVE = 1e-10
"""Eigenvalues above minus this share of the largest count as zero."""


def clipped(matrix: FloatArray) -> FloatArray:
    """Return the nearest positive semi-definite matrix: negative eigenvalues set to 0."""
    value, vector = np.linalg.eigh(matrix)
    if value[0] >= 0.0:
        return matrix
    found = (vector * np.maximum(value, 0.0)) @ vector.T
    return np.asarray(0.5 * (found + found.T))


def nearest(matrix: FloatArray, zero: BoolArray, how: Projection) -> FloatArray:
    """Return a positive semi-definite matrix that is 0 where `zero` says so, near a matrix that is.

    ``"nearest"``: the nearest one in the Frobenius norm, by alternating projections with Dykstra's
    correction (Higham 2002). ``"alternating"``: the same without the correction, which ends at some matrix
    that satisfies both.

    Raises
    ------
    ConvergenceError
        If 20,000 steps do not suffice.
    """
    value = np.linalg.eigvalsh(matrix)
    if value[0] >= -NEGATIVE * value[-1]:
        return matrix
    if not zero.any():
        return clipped(matrix)
    now, correction = matrix.copy(), np.zeros_like(matrix)
    for _ in range(MOST_STEPS):
        shifted = now - correction
        cone = clipped(shifted)
        if how == "nearest":
            correction = cone - shifted
        after = np.where(zero, 0.0, cone)
        step = np.linalg.norm(after - now)
        now = after
        if step <= TOLERANCE * np.linalg.norm(now):
            return now
    raise ConvergenceError(
        problem(
            "The covariance of student results has no near covariance matrix with its zeros",
            fix='use another projection ("nearest" or "alternating"), or a smaller min_pair',
        )
    )
