"""Design matrices of a cohort: splines of the priors, or their linear and quadratic terms."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from growth._types import FloatArray
from growth.errors import SpecError
from growth.panel import Panel, Prior
from growth.panel.panels import PRIOR_MEAN
from growth.quantile import SplineBasis, spline_design
from growth.spec import GrowthSpec
from growth.student.least_squares import ErrorProducts

__all__ = ["PowerTerms", "SplineTerms", "power_terms", "prior_means", "prior_name", "spline_terms"]


@dataclass(frozen=True, slots=True, eq=False)
class SplineTerms:
    """The additive spline design: intercept, one basis per prior, covariates."""

    matrix: FloatArray
    """Shape (n, p)."""
    names: tuple[str, ...]
    """Length p."""
    bases: tuple[SplineBasis, ...]
    """Spline basis per prior."""
    outside: int
    """Prior scores outside the boundary knots, where curves are extrapolated."""

    @property
    def blocks(self) -> list[slice]:
        """Columns of each prior's basis."""
        ends = np.cumsum([1] + [basis.n_columns for basis in self.bases])
        return [slice(int(a), int(b)) for a, b in pairwise(ends)]


def spline_terms(panel: Panel, spec: GrowthSpec, bases: tuple[SplineBasis, ...] | None = None) -> SplineTerms:
    """Place knots, unless frozen `bases` are given, and build the spline design of a cohort.

    Raises
    ------
    CohortError
        If a prior does not vary.
    """
    priors = panel.pattern.priors
    if bases is None:
        bases = tuple(
            _basis(spec, prior, scores) for prior, scores in zip(priors, panel.knot_scores, strict=True)
        )
    names = ["intercept"]
    for prior, basis in zip(priors, bases, strict=True):
        names += [f"{prior_name(prior)}_b{j + 1}" for j in range(basis.n_columns)]
    return SplineTerms(
        matrix=spline_design(panel.priors, bases, panel.covariates),
        names=(*names, *panel.covariate_names),
        bases=bases,
        outside=sum(basis.outside(panel.priors[:, j]) for j, basis in enumerate(bases)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class PowerTerms:
    """Linear or quadratic terms of the priors, each prior measured from its mean, and covariates."""

    matrix: FloatArray
    """Shape (n, p): intercept, terms prior by prior, covariates."""
    names: tuple[str, ...]
    """Length p."""
    errors: ErrorProducts
    """Of the columns; empty where no CSEM is given."""


def power_terms(
    panel: Panel, spec: GrowthSpec, csem: FloatArray | None = None, centres: FloatArray | None = None
) -> PowerTerms:
    r"""Build the design of the linear engines.

    A prior :math:`w = x + u`, measured from the cohort's mean, with :math:`u \sim N(0, \sigma^2)` has the
    columns :math:`w` and, if quadratic, :math:`w^2 - \sigma^2`, unbiased for :math:`x` and :math:`x^2`.
    Unbiased estimates of the products of their errors are (from the Hermite polynomials of *w*)

    .. math:: \sigma^2, \quad 2 w \sigma^2, \quad 4 w^2 \sigma^2 - 2 \sigma^4 .

    The school mean of the first prior has the error :math:`\bar u_j`, with the products
    :math:`\sigma_i^2 / n_j` and :math:`2 w \sigma_i^2 / n_j` with the student's own columns and
    :math:`\sum_{i \in j} \sigma_i^2 / n_j^2` with itself.

    Parameters
    ----------
    panel : Panel
    spec : GrowthSpec
        ``student.prior_terms``.
    csem : ndarray, shape (n, k), optional
        Conditional standard errors of measurement of the priors [CSEM points].
    centres : ndarray, shape (k,), optional
        Frozen means that priors are measured from, instead of the cohort's [scale-score points].

    References
    ----------
    L. K. Chan and T. K. Mak (1985), On the polynomial functional relationship, JRSS B 47(3), 510-518.
    """
    quadratic = spec.student.prior_terms == "quadratic"
    variance = np.zeros_like(panel.priors) if csem is None else csem**2
    means = prior_means(panel) if centres is None else centres
    names, columns = ["intercept"], [np.ones(len(panel))]
    products: dict[tuple[int, int], FloatArray] = {}
    own: dict[int, FloatArray] = {}
    """Per column of the first prior, its error's product with that prior's own error."""
    for j, prior in enumerate(panel.pattern.priors):
        centred, error = panel.priors[:, j] - means[j], variance[:, j]
        at = len(columns)
        columns.append(centred)
        names.append(prior_name(prior))
        products[at, at] = error
        if quadratic:
            columns.append(centred**2 - error)
            names.append(f"{prior_name(prior)}^2")
            products[at, at + 1] = 2 * centred * error
            products[at + 1, at + 1] = 4 * centred**2 * error - 2 * error**2
        if j == 0:
            own = {column: products[at, column] for column in range(at, len(columns))}
    for covariate, name in zip(panel.covariates.T, panel.covariate_names, strict=True):
        if name == PRIOR_MEAN:
            size, mean_error = _school_error(panel, variance[:, 0])
            products |= {(column, len(columns)): value / size for column, value in own.items()}
            products[len(columns), len(columns)] = mean_error
            covariate = covariate - means[0]
        columns.append(covariate)
        names.append(name)
    errors = ErrorProducts() if csem is None else ErrorProducts(tuple(products), tuple(products.values()))
    return PowerTerms(np.column_stack(columns), tuple(names), errors)


def _school_error(panel: Panel, variance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return, per student, how many the school's mean prior is a mean of, and its error variance.

    Students without a school have the mean of the whole cohort.
    """
    if panel.school is None:
        raise SpecError("The error of school means needs the school of every student (panel.school).")
    _, place, size = np.unique(panel.school, return_inverse=True, return_counts=True)
    everyone = panel.school < 0
    count = np.where(everyone, len(panel), size[place])
    total = np.where(everyone, variance.sum(), np.bincount(place, weights=variance)[place])
    return count, total / count**2


def prior_means(panel: Panel) -> FloatArray:
    """Return the mean of each prior, shape (k,) [scale-score points]."""
    return np.array([panel.priors[:, j].mean() for j in range(panel.priors.shape[1])])


def prior_name(prior: Prior) -> str:
    """Return the name of a prior's columns, e.g. ``MATH_lag1``."""
    return f"{prior.subject}_lag{prior.lag}"


def _basis(spec: GrowthSpec, prior: Prior, scores: FloatArray) -> SplineBasis:
    fixed = spec.basis.fixed.get(prior.subject, {}).get(prior.grade)
    if fixed is not None:
        return SplineBasis(fixed.knots, fixed.boundaries, spec.basis.degree)
    digits = spec.basis.round_digits
    return SplineBasis.from_scores(
        scores,
        quantiles=spec.basis.knot_quantiles,
        margin=spec.basis.boundary_margin,
        digits=None if digits == "none" else digits,
        degree=spec.basis.degree,
    )
