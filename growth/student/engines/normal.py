r"""Normal-theory student growth percentiles with a spread that depends on the expected score.

The conditional mean is the least-squares fit on the spline design of the quantile engine. The conditional SD
is a smooth positive function of the fitted value *f*,

.. math:: \log s^2(f) = \sum_k \gamma_k N_k(f),

with :math:`N_k` a natural cubic spline basis (linear tails) whose knots are quantiles of *f*: .05, .275, .5,
.725 and .95, or .1, .5 and .9 with fewer than 100 students. :math:`\gamma` maximises the Gaussian likelihood
of the residuals *r*: it minimises the convex :math:`\sum_i (\log s_i^2 + r_i^2 / s_i^2)`. Then :math:`s^2` is
scaled by n / (n - p) for the columns of the mean. The percentile is :math:`100\,\Phi((y - f) / s(f))`.

A flag shifts the mean only: students with and without it share the spread at equal expected scores. Skewness
and excess kurtosis of :math:`(y - f) / s` say how far normal theory holds in a cohort; where they are far
from 0 the quantile engine is the one to use.

References
----------
.. [1] A. C. Harvey (1976), Estimating regression models with multiplicative heteroscedasticity,
   Econometrica 44(3), 461-465.
.. [2] F. E. Harrell (2015), Regression Modeling Strategies, 2nd ed., Springer, section 2.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from growth._types import FloatArray
from growth.errors import ConvergenceError
from growth.panel import Panel
from growth.panel.csem import natural_spline
from growth.quantile import SplineBasis
from growth.spec import GrowthSpec
from growth.student.design import spline_terms
from growth.student.engines.linear import kept_fit, predicted
from growth.student.frozen import FrozenCohort, aligned
from growth.student.least_squares import LinearFit
from growth.student.models import NormalModel
from growth.student.result import StudentGrowth, sgp_of

__all__ = ["NormalGrowth", "SpreadCourse", "course_of_spread", "normal_cuts", "normal_growth"]

_MANY, _FEW = (0.05, 0.275, 0.5, 0.725, 0.95), (0.1, 0.5, 0.9)
_ENOUGH = 100
_OPEN = 1e-12
"""Percentiles stay this far inside (0, 1)."""
_GRADIENT = 1e-8
"""Largest slope of the mean log-likelihood, per SD of a basis function, at the solution."""


@dataclass(frozen=True, slots=True, eq=False)
class SpreadCourse:
    """Log of the conditional variance as a natural cubic spline of the expected score."""

    knots: FloatArray
    """Increasing, shape (k,) [scale-score points]; empty where the spread is constant."""
    log_variance: FloatArray
    """At the knots, shape (k,), relative to the mean square of all residuals."""

    def relative(self, expected: FloatArray) -> FloatArray:
        """Return the conditional SD over the root mean square of all residuals, shape (n,)."""
        if not len(self.knots):
            return np.ones(len(expected))
        spline = natural_spline(self.knots.tolist(), self.log_variance)
        return np.asarray(np.exp(spline(expected) / 2))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NormalGrowth(StudentGrowth):
    """Growth as the normal score of the residual; `expected` is the conditional mean."""

    spread: FloatArray
    """Conditional SD of the score, shape (n,) [scale-score points]."""
    fit: LinearFit
    """The conditional mean."""
    course: SpreadCourse
    """How the spread goes with the expected score."""
    bases: tuple[SplineBasis, ...]
    """Spline basis per prior."""
    outside_knots: int
    """Prior scores outside the boundary knots, where the mean is extrapolated."""

    @property
    def scaled(self) -> FloatArray:
        """Residuals over their conditional SD, shape (n,) [SDs]."""
        return self.residual / self.spread

    @property
    def skewness(self) -> float:
        """Of the scaled residuals; 0 if normal."""
        return float(np.mean(self.scaled**3) / np.mean(self.scaled**2) ** 1.5)

    @property
    def excess_kurtosis(self) -> float:
        """Of the scaled residuals; 0 if normal."""
        return float(np.mean(self.scaled**4) / np.mean(self.scaled**2) ** 2 - 3)

    @property
    def diagnostics(self) -> dict[str, object]:
        """How the cohort was fitted, by column of the cells frame."""
        return {
            "p": len(self.fit.names),
            "dropped_columns": list(self.fit.dropped),
            "outside_knots": self.outside_knots,
            "residual_sd": self.fit.residual_sd,
            "r2": self.fit.r2,
            "skewness": self.skewness,
            "excess_kurtosis": self.excess_kurtosis,
        }

    def __repr__(self) -> str:
        low, high = np.quantile(self.spread, [0.05, 0.95])
        return (
            f"NormalGrowth({self.key}: {len(self.sgp):,} students, {len(self.bases)} priors, "
            f"R2 {self.fit.r2:.3f}, SD {low:.1f}-{high:.1f}, skewness {self.skewness:+.2f}, "
            f"excess kurtosis {self.excess_kurtosis:+.2f})"
        )


def normal_growth(panel: Panel, spec: GrowthSpec, frozen: FrozenCohort | None = None) -> NormalGrowth:
    """Fit mean and spread of a cohort's scores, or take a frozen model, and place every student.

    Raises
    ------
    CohortError
        If a prior does not vary, or there are no more students than columns.
    ConvergenceError
        If the spread could not be fitted.
    """
    from scipy.special import ndtr

    if frozen is None:
        terms = spline_terms(panel, spec)
        fit = predicted(panel, terms.matrix, terms.names)
        course = course_of_spread(fit.fitted, panel.score - fit.fitted)
    else:
        model = frozen.model
        assert isinstance(model, NormalModel)
        panel = aligned(panel, frozen)
        terms = spline_terms(panel, spec, model.bases)
        fit, course = kept_fit(terms.matrix, model), SpreadCourse(model.knots, model.log_variance)
    residual = panel.score - fit.fitted
    spread = fit.residual_sd * course.relative(fit.fitted)
    percentile = np.clip(ndtr(residual / spread), _OPEN, 1 - _OPEN)
    return NormalGrowth(
        key=panel.key,
        sgp=sgp_of(percentile),
        percentile=percentile,
        expected=fit.fitted,
        residual=residual,
        spread=spread,
        fit=fit,
        course=course,
        bases=terms.bases,
        outside_knots=terms.outside,
    )


def normal_cuts(growth: NormalGrowth, percentiles: tuple[int, ...]) -> FloatArray:
    """Return the normal quantiles at tau = (c + 0.5) / 100, shape (n, q) [scale-score points]."""
    from scipy.special import ndtri

    z = ndtri((np.array(percentiles) + 0.5) / 100)
    return np.asarray(growth.expected[:, None] + growth.spread[:, None] * z)


def course_of_spread(fitted: FloatArray, residual: FloatArray) -> SpreadCourse:
    """Fit the course of the spread by the likelihood of the residuals.

    Parameters
    ----------
    fitted, residual : ndarray, shape (n,) [scale-score points]

    Raises
    ------
    ConvergenceError
        If the spread could not be fitted.
    """
    from scipy.optimize import minimize

    shares = _MANY if len(fitted) >= _ENOUGH else _FEW
    knots = np.unique(np.quantile(fitted, shares))
    if len(knots) < 2:
        return SpreadCourse(np.empty(0), np.empty(0))
    # orthonormal columns: the same functions, and a Hessian that starts as the unit matrix
    basis, r = np.linalg.qr(natural_spline(knots.tolist(), np.eye(len(knots)))(fitted))
    basis *= np.sqrt(len(fitted))
    ratio = residual**2 / np.mean(residual**2)

    def surprise(gamma: FloatArray) -> tuple[float, FloatArray]:
        log_variance = basis @ gamma
        with np.errstate(over="ignore"):
            share = ratio * np.exp(-log_variance)
        return float(np.mean(log_variance + share)), basis.T @ (1 - share) / len(ratio)

    def curvature(gamma: FloatArray) -> FloatArray:
        share = ratio * np.exp(-(basis @ gamma))
        return np.asarray((basis * share[:, None]).T @ basis / len(ratio))

    start = np.zeros(len(knots))
    found = minimize(
        surprise, start, jac=True, hess=curvature, method="trust-exact", options={"gtol": _GRADIENT}
    )
    if not float(np.abs(surprise(found.x)[1]).max()) < 1e3 * _GRADIENT:
        raise ConvergenceError("The conditional spread of the scores could not be fitted.")
    at_knots = np.linalg.lstsq(r, found.x * np.sqrt(len(fitted)), rcond=None)[0]
    return SpreadCourse(knots, at_knots)
