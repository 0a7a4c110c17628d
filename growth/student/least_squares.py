r"""Linear regression with known error variances in the columns, and with none: ordinary least squares.

Students *i* have observed columns :math:`w_i = x_i + u_i` with :math:`E[u_i | x_i] = 0` and an unbiased
estimate :math:`\Omega_i` of :math:`\mathrm{Var}[u_i]`; :math:`y_i = x_i'\beta + e_i`. The estimating function

.. math:: \psi_i(\beta) = w_i (y_i - w_i'\beta) + \Omega_i \beta

has mean 0, hence

.. math:: \hat\beta = A^{-1} W'y, \quad A = W'W - \sum_i \Omega_i, \quad
    \widehat{\mathrm{Var}}\,\hat\beta = c\, A^{-1} \Big(\sum_j s_j s_j'\Big) A^{-1}, \quad
    s_j = \sum_{i \in j} \psi_i(\hat\beta)

over clusters *j* (schools), with the usual :math:`c = \frac{G}{G-1} \frac{n-1}{n-p}`. With
:math:`\Omega_i = 0` this is ordinary least squares with its cluster-robust variance.

With :math:`W = QR` the share of error in the direction *v* of the columns is
:math:`v'\sum\Omega_i v / v'W'Wv`, at most the largest eigenvalue :math:`\mu` of
:math:`R^{-T} \sum_i \Omega_i R^{-1}`: :math:`1 - \mu` is the *least reliability* of any combination of
columns, and *A* is positive definite where it is positive. Where it is not safely so, eigenvalues can be
*capped*: with :math:`R^{-T} \sum_i \Omega_i R^{-1} = V M V'` each :math:`\Omega_i` is replaced by
:math:`T \Omega_i T'`, :math:`T = R' V (\min(M, m) / M)^{1/2} V' R^{-T}`, which removes all error in the
directions that bear it and as much as leaves the share :math:`1 - m` of true variance in the others (in the
spirit of Fuller 1987, section 2.5).

References
----------
.. [1] W. A. Fuller (1987), Measurement Error Models, Wiley, chapter 2.
.. [2] J. R. Lockwood and D. F. McCaffrey (2014), Correcting for test score measurement error in ANCOVA models
   for estimating treatment effects, JEBS 39(1), 22-52.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from growth._types import BoolArray, FloatArray, IntArray
from growth.errors import CohortError, problem

__all__ = ["ErrorProducts", "LinearFit", "fit_linear", "independent_columns"]

LEAST_RELIABILITY = 0.05
"""Below this share of true variance in some direction of the columns the correction is not trusted."""
RANK_TOLERANCE = 1e-7
"""A column whose part orthogonal to earlier columns is a smaller share of its length is dropped."""


@dataclass(frozen=True, slots=True, eq=False)
class ErrorProducts:
    r"""The entries of every student's :math:`\Omega_i` that are not zero, upper triangle."""

    pairs: tuple[tuple[int, int], ...] = ()
    """Columns (a, b), a <= b."""
    values: tuple[FloatArray, ...] = ()
    """Per pair the expected product of the two errors, shape (n,)."""

    def among(self, kept: Sequence[int]) -> ErrorProducts:
        """Return the entries of the columns `kept`, renumbered."""
        place = {column: k for k, column in enumerate(kept)}
        both = [
            ((place[a], place[b]), v)
            for (a, b), v in zip(self.pairs, self.values, strict=True)
            if a in place and b in place
        ]
        return ErrorProducts(tuple(pair for pair, _ in both), tuple(v for _, v in both))

    def of_rows(self, kept: BoolArray) -> ErrorProducts:
        """Return the entries of the students `kept`, shape (n,)."""
        return ErrorProducts(self.pairs, tuple(values[kept] for values in self.values))

    def total(self, p: int) -> FloatArray:
        r"""Return :math:`\sum_i \Omega_i`, shape (p, p)."""
        out = np.zeros((p, p))
        for a, b, values in self._both_ways():
            out[a, b] += values.sum()
        return out

    def times(self, coef: FloatArray, n: int) -> FloatArray:
        r"""Return :math:`\Omega_i \beta`, shape (n, p)."""
        out = np.zeros((n, len(coef)))
        for a, b, values in self._both_ways():
            out[:, a] += values * coef[b]
        return out

    def _both_ways(self) -> Iterator[tuple[int, int, FloatArray]]:
        for (a, b), values in zip(self.pairs, self.values, strict=True):
            yield a, b, values
            if a != b:
                yield b, a, values


@dataclass(frozen=True, slots=True, eq=False)
class LinearFit:
    """Coefficients of a linear prediction with cluster-robust standard errors."""

    names: tuple[str, ...]
    """Columns, length p."""
    coef: FloatArray
    """Shape (p,); 0 for dropped columns."""
    standard_error: FloatArray
    """Shape (p,); NaN for dropped columns, and for all with fewer than two clusters."""
    fitted: FloatArray
    """Prediction at the observed columns, shape (n,)."""
    residual_sd: float
    """Root of the residual sum of squares over n - p [units of the response]."""
    r2: float
    """Share of the response's variance that the prediction explains."""
    clusters: int
    dropped: tuple[str, ...]
    """Columns that depend linearly on earlier ones."""
    least_reliability: float
    """Smallest share of true variance in any combination of columns; 1 without errors."""
    capped: int
    """Combinations of columns from which only a part of the error was removed."""


def fit_linear(
    design: FloatArray,
    response: FloatArray,
    names: tuple[str, ...],
    *,
    errors: ErrorProducts | None = None,
    cluster: IntArray | None = None,
    partial: bool = False,
) -> LinearFit:
    """Fit a linear prediction; formulas in the module's docstring.

    Parameters
    ----------
    design : ndarray, shape (n, p)
        Observed columns, the first of ones.
    response : ndarray, shape (n,)
    names : tuple of str, length p
    errors : ErrorProducts, optional
        Of the columns; none if not given.
    cluster : ndarray of int64, shape (n,), optional
        Cluster of each row; -1, or no clusters at all, for rows on their own.
    partial : bool
        Where removing all error would leave less than 5 % true variance in some combination of columns,
        remove from it as much as leaves 5 %, instead of raising.

    Raises
    ------
    CohortError
        If there are no more rows than columns, or removing the error leaves too little.
    """
    n = len(response)
    kept = independent_columns(design)
    p = len(kept)
    if n <= p:
        raise CohortError(
            problem(
                "The cohort is too small for the model",
                rule=f"more students than the {p} columns",
                rows=n,
                fix="raise cohorts.min_cohort",
            )
        )
    columns = np.ascontiguousarray(design[:, kept])
    errors = (errors or ErrorProducts()).among(kept)
    q, r = np.linalg.qr(columns)
    inverse = np.linalg.inv(r)
    share, turn = np.linalg.eigh(inverse.T @ errors.total(p) @ inverse)
    least = 1.0 - float(share[-1])
    if least < LEAST_RELIABILITY and not partial:
        raise CohortError(_too_little(least, [names[k] for k in kept], n))
    most = 1.0 - LEAST_RELIABILITY
    removed = np.minimum(share, most)
    shrink = np.sqrt(most / np.maximum(share, most))
    keep = inverse @ (turn * shrink) @ turn.T @ r  # T'

    core = (turn / (1.0 - removed)) @ turn.T
    coef = inverse @ (core @ (q.T @ response))
    fitted = columns @ coef
    residual = response - fitted
    groups, clusters = _groups(cluster, n)
    psi = columns * residual[:, None] + errors.times(keep @ coef, n) @ keep
    spread = _sandwich(inverse @ core @ inverse.T, psi, groups, clusters)
    squares = float(residual @ residual)
    total = float(np.sum((response - response.mean()) ** 2))
    every, every_error = np.zeros(design.shape[1]), np.full(design.shape[1], np.nan)
    every[kept], every_error[kept] = coef, spread
    return LinearFit(
        names=names,
        coef=every,
        standard_error=every_error,
        fitted=fitted,
        residual_sd=float(np.sqrt(squares / (n - p))),
        r2=1.0 - squares / total if total > 0 else 0.0,
        clusters=clusters,
        dropped=tuple(name for k, name in enumerate(names) if k not in kept),
        least_reliability=least,
        capped=int(np.count_nonzero(removed < share)),
    )


def independent_columns(design: FloatArray) -> list[int]:
    """Return the columns that do not depend linearly on earlier ones."""
    kept: list[int] = []
    basis = np.empty((design.shape[0], 0))
    for k, column in enumerate(design.T):
        rest = column.astype(np.float64)
        for _ in range(2):  # once more removes what rounding left
            rest = rest - basis @ (basis.T @ rest)
        length = float(np.linalg.norm(rest))
        if length > RANK_TOLERANCE * float(np.linalg.norm(column)):
            kept.append(k)
            basis = np.column_stack([basis, rest / length])
    return kept


def _too_little(least: float, names: list[str], n: int) -> str:
    return problem(
        "Removing the measurement error leaves too little: in some combination of "
        f"{', '.join(names[1:])} the share of true variance would be {least:.2f}",
        rule=f"at least {LEAST_RELIABILITY} (W'W less the error products is safely positive definite)",
        rows=n,
        fix="check the CSEMs, use fewer priors, no school means (peers.composition) where schools are few, "
        'or set student.not_definite = "partial"',
    )


def _groups(cluster: IntArray | None, n: int) -> tuple[IntArray, int]:
    """Return the cluster number of each row, and how many there are; rows without one are on their own."""
    if cluster is None:
        return np.arange(n), n
    alone = cluster < 0
    labels = np.where(alone, -1 - np.arange(n), cluster)
    _, groups = np.unique(labels, return_inverse=True)
    return groups.astype(np.int64), int(groups.max()) + 1


def _sandwich(bread: FloatArray, psi: FloatArray, groups: IntArray, clusters: int) -> FloatArray:
    """Return the standard errors, shape (p,)."""
    n, p = psi.shape
    if clusters < 2:
        return np.full(p, np.nan)
    sums = np.column_stack([np.bincount(groups, weights=column, minlength=clusters) for column in psi.T])
    factor = clusters / (clusters - 1) * (n - 1) / (n - p)
    variance = factor * bread @ (sums.T @ sums) @ bread.T
    return np.asarray(np.sqrt(np.diag(variance)))
