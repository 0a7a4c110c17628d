"""Spline bases of prior scores: where the knots come from, and the design matrix they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from growth._types import FloatArray
from growth.errors import CohortError, SpecError, problem
from growth.kernels.bspline import bspline_columns
from growth.quantile.designs import plain

__all__ = ["SplineBasis", "spline_design"]

MAX_DEGREE = 8


@dataclass(frozen=True, slots=True)
class SplineBasis:
    """B-spline basis of one prior score, without its first function (the intercept takes its place).

    Parameters
    ----------
    knots : tuple of float
        Interior knots, non-decreasing [scale-score points].
    boundaries : tuple of two floats
        Boundary knots [scale-score points]. Scores outside are evaluated with the end pieces' polynomials.
    degree : int

    References
    ----------
    .. [1] D. W. Betebenner (2009), Norm- and criterion-referenced student growth, EM:IP 28(4), 42-51.
    """

    knots: tuple[float, ...]
    boundaries: tuple[float, float]
    degree: int = 3

    def __post_init__(self) -> None:
        line = (self.boundaries[0], *self.knots, self.boundaries[1])
        if not np.all(np.isfinite(line)) or any(a > b for a, b in pairwise(line)):
            raise SpecError(f"Knots must be finite, not decrease and lie within the boundaries, got {line}.")
        if line[0] == line[-1]:
            raise SpecError(f"Boundary knots must differ, got {self.boundaries}.")
        if not 1 <= self.degree <= MAX_DEGREE:
            raise SpecError(f"degree must be 1 to {MAX_DEGREE}, got {self.degree}.")

    @classmethod
    def from_scores(
        cls,
        scores: FloatArray,
        *,
        quantiles: Sequence[float] = (0.2, 0.4, 0.6, 0.8),
        margin: float = 0.1,
        digits: int | None = 3,
        degree: int = 3,
    ) -> SplineBasis:
        """Place knots at quantiles of `scores` and boundaries a share of the range beyond its ends.

        Parameters
        ----------
        scores : ndarray, shape (n,)
            Scale scores; NaN are ignored.
        quantiles : sequence of float
            Probabilities of the interior knots (linear interpolation, type 7 of Hyndman & Fan 1996).
        margin : float
            Share of the range by which the boundaries are widened on each side.
        digits : int, optional
            Decimals to which knots and boundaries are rounded.
        degree : int

        Raises
        ------
        CohortError
            If there are no two different scores.
        """
        scores = np.asarray(scores, dtype=np.float64)
        scores = scores[~np.isnan(scores)]
        if scores.size == 0 or scores.min() == scores.max():
            raise CohortError(
                problem(
                    "Knots cannot be placed: the prior scores do not vary",
                    rows=int(scores.size),
                    rule="a spline basis needs at least two different prior scores",
                    fix="raise cohorts.min_cohort or give fixed knots in basis.fixed",
                )
            )
        low, high = float(scores.min()), float(scores.max())
        extra = margin * (high - low)
        line = np.array([low - extra, *np.quantile(scores, quantiles), high + extra])
        if digits is not None:
            line = np.round(line, digits)
        values = [float(v) for v in line]
        return cls(tuple(values[1:-1]), (values[0], values[-1]), degree)

    @property
    def n_columns(self) -> int:
        """Number of design columns."""
        return len(self.knots) + self.degree

    def outside(self, scores: FloatArray) -> int:
        """Count scores outside the boundary knots, where the basis extrapolates."""
        return int(np.count_nonzero((scores < self.boundaries[0]) | (scores > self.boundaries[1])))

    def design(self, scores: FloatArray) -> FloatArray:
        """Return the basis at `scores`, shape (n, n_columns)."""
        out = np.empty((len(scores), self.n_columns))
        self._write(plain(scores), out, 0)
        return out

    def _write(self, scores: FloatArray, out: FloatArray, first: int) -> None:
        ends = self.degree + 1
        full = np.array([self.boundaries[0]] * ends + list(self.knots) + [self.boundaries[1]] * ends)
        bspline_columns(scores, full, self.degree, np.empty((3, ends)), out, first)


def spline_design(
    priors: FloatArray, bases: Sequence[SplineBasis], covariates: FloatArray | None = None
) -> FloatArray:
    """Build the additive design: intercept, one basis per prior, covariates.

    Parameters
    ----------
    priors : ndarray, shape (n, k)
        Prior scores, most recent first [scale-score points].
    bases : sequence of SplineBasis, length k
    covariates : ndarray, shape (n, q), optional

    Returns
    -------
    ndarray, shape (n, 1 + sum of basis columns + q)
    """
    n, k = priors.shape
    if k != len(bases):
        raise SpecError(f"{k} priors but {len(bases)} bases.")
    q = 0 if covariates is None else covariates.shape[1]
    out = np.empty((n, 1 + sum(basis.n_columns for basis in bases) + q))
    out[:, 0] = 1.0
    first = 1
    for j, basis in enumerate(bases):
        basis._write(plain(priors[:, j]), out, first)
        first += basis.n_columns
    if covariates is not None:
        out[:, first:] = covariates
    return out
