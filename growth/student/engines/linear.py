"""What the two linear engines share: a prediction, its residuals, and the residuals' ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from growth._types import FloatArray
from growth.errors import CohortError, SpecError, problem
from growth.panel import Panel
from growth.spec import GrowthSpec
from growth.student.design import power_terms
from growth.student.frozen import FrozenCohort, aligned
from growth.student.least_squares import ErrorProducts, LinearFit, fit_linear
from growth.student.models import LinearModel, NormalModel
from growth.student.result import StudentGrowth, percentile_ranks, sgp_of

__all__ = ["LinearGrowth", "kept_fit", "placed", "placed_frozen", "predicted"]

_ROUNDING = 1e-12
"""Residual SDs up to this share of the largest score are rounding."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LinearGrowth(StudentGrowth):
    """Growth as the residual of a linear prediction; `percentile` is its rank within the cohort.

    Priors are measured from the cohort's means, so that the intercept is the score expected of a student
    with average priors.
    """

    fit: LinearFit
    """Coefficients [scale-score points per unit of the column], standard errors, reliability."""

    @property
    def scaled(self) -> FloatArray:
        """Residuals over the cohort's residual SD, shape (n,) [SDs]: comparable across cohorts."""
        return self.residual / self.fit.residual_sd

    @property
    def prior_slope(self) -> tuple[float, float]:
        """Slope of the most recent prior at its mean and its standard error [points per point].

        The standard error is robust to what students of a school share; NaN with fewer than two schools.
        """
        return float(self.fit.coef[1]), float(self.fit.standard_error[1])

    @property
    def diagnostics(self) -> dict[str, object]:
        """How the cohort was fitted, by column of the cells frame."""
        fit = self.fit
        facts: dict[str, object] = {
            "p": len(fit.names),
            "dropped_columns": list(fit.dropped),
            "residual_sd": fit.residual_sd,
            "r2": fit.r2,
            "prior_slope": self.prior_slope[0],
            "prior_slope_se": self.prior_slope[1],
        }
        if fit.least_reliability < 1:
            facts |= {"least_reliability": fit.least_reliability, "capped_columns": fit.capped}
        return facts

    def __repr__(self) -> str:
        fit = self.fit
        return (
            f"LinearGrowth({self.key}: {len(self.sgp):,} students, p={len(fit.names)}, "
            f"R2 {fit.r2:.3f}, residual SD {fit.residual_sd:.1f}, "
            f"least reliability {fit.least_reliability:.2f})"
        )


def predicted(
    panel: Panel,
    matrix: FloatArray,
    names: tuple[str, ...],
    *,
    errors: ErrorProducts | None = None,
    partial: bool = False,
) -> LinearFit:
    """Fit a cohort's scores, clustered by school; `fit_linear` says how.

    Raises
    ------
    CohortError
        Of `fit_linear`, with the cohort's key; or if nothing is left unexplained.
    """
    try:
        fit = fit_linear(matrix, panel.score, names, errors=errors, cluster=panel.school, partial=partial)
    except CohortError as error:
        raise CohortError(f"{panel.key}: {error}") from None
    if fit.residual_sd > _ROUNDING * float(abs(panel.score).max()):
        return fit
    raise CohortError(
        problem(
            f"{panel.key}: the current scores are predicted without error",
            rule="residuals that vary",
            rows=len(panel),
            fix="check that the priors are not the current scores",
        )
    )


def placed(panel: Panel, fit: LinearFit) -> LinearGrowth:
    """Place every student by the rank of the residual within the cohort."""
    residual = panel.score - fit.fitted
    percentile = percentile_ranks(residual, fit.residual_sd)
    return LinearGrowth(panel.key, sgp_of(percentile), percentile, fit.fitted, residual, fit)


def placed_frozen(panel: Panel, spec: GrowthSpec, frozen: FrozenCohort) -> LinearGrowth:
    """Predict by a base year's coefficients and place residuals among the base year's."""
    model = frozen.model
    assert isinstance(model, LinearModel)
    panel = aligned(panel, frozen)
    csem = panel.csem if frozen.engine == "eiv" else None
    terms = power_terms(panel, spec, csem, model.centres)
    fit = kept_fit(terms.matrix, model)
    residual = panel.score - fit.fitted
    percentile = model.percentile(residual)
    return LinearGrowth(panel.key, sgp_of(percentile), percentile, fit.fitted, residual, fit)


def kept_fit(matrix: FloatArray, model: LinearModel | NormalModel) -> LinearFit:
    """Return the base year's fit with its prediction for the rows of `matrix`, shape (n, p).

    Raises
    ------
    SpecError
        If the design has other columns than the fit.
    """
    if matrix.shape[1] != len(model.coef):
        raise SpecError(
            f"The design has {matrix.shape[1]} columns; the frozen model has {len(model.coef)} columns."
        )
    return LinearFit(
        names=model.names,
        coef=model.coef,
        standard_error=np.full(len(model.coef), np.nan),
        fitted=matrix @ model.coef,
        residual_sd=model.residual_sd,
        r2=model.r2,
        clusters=0,
        dropped=model.dropped,
        least_reliability=model.least_reliability if isinstance(model, LinearModel) else 1.0,
        capped=model.capped if isinstance(model, LinearModel) else 0,
    )
