"""One door to every engine: who takes the cohort is a choice of the specification, `student.engine`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from growth._types import FloatArray
from growth.errors import SpecError
from growth.panel import Panel
from growth.quantile import QuantileProcess
from growth.spec import GrowthSpec
from growth.student.composition import with_composition, without_composition
from growth.student.design import prior_means
from growth.student.engines.eiv import eiv_growth
from growth.student.engines.linear import LinearGrowth
from growth.student.engines.normal import NormalGrowth, normal_cuts, normal_growth
from growth.student.engines.quantile import QuantileGrowth, quantile_cuts, quantile_growth
from growth.student.engines.residual_gain import residual_gain_growth
from growth.student.frozen import FrozenCohort
from growth.student.models import (
    CohortModel,
    LinearModel,
    Makeup,
    NormalModel,
    QuantileModel,
    residual_quantiles,
)
from growth.student.result import StudentGrowth
from growth.student.simex import Watch

__all__ = ["StudentGrowth", "frozen_cohort", "percentile_cuts", "student_growth"]


def student_growth(
    panel: Panel,
    spec: GrowthSpec,
    *,
    process: QuantileProcess | None = None,
    frozen: FrozenCohort | None = None,
    n_jobs: int | None = None,
    watch: Watch | None = None,
    folder: Path | None = None,
) -> StudentGrowth:
    """Fit a cohort and place every student among similar students.

    Parameters
    ----------
    panel : Panel
    spec : GrowthSpec
        ``student.engine`` chooses the model; its basis, quantiles and correction parts are used by the
        engines that have splines and curves.
    process : QuantileProcess, optional
        Curves from elsewhere, for the engine ``quantile``; nothing is fitted then. Coefficients belong to
        knots, so ``spec.basis.fixed`` must hold the knots of every prior.
    frozen : FrozenCohort, optional
        The model of an earlier year's cohort, of any engine; nothing is fitted then.
    n_jobs : int, optional
        Threads; results do not depend on it.
    watch : callable, optional
        Called with a few words after each block of SIMEX replicates.
    folder : Path, optional
        Where SIMEX keeps finished replicates, so that it can be interrupted and go on.

    Returns
    -------
    StudentGrowth
        `QuantileGrowth`, `NormalGrowth` or `LinearGrowth` (``eiv``, ``residual_gain``), with what is known
        about the fit.

    Raises
    ------
    CohortError
        If a prior does not vary, or the cohort is too small or too noisy for the model.
    ConvergenceError
        If a fit could not be proven optimal.
    SpecError
        If a frozen process comes without fixed knots, does not fit the design, or meets another engine; if
        composition is taken out in two steps and `growth.student.compose` has not seen the panel.
    """
    two_steps = spec.peers.composition == "two_step"
    placed = without_composition(panel) if two_steps else panel
    if frozen is not None and (frozen.engine != spec.student.engine or process is not None):
        raise SpecError(
            f"The frozen cohort was fitted by the engine {frozen.engine!r}; the specification asks for "
            f"{spec.student.engine!r}{'' if process is None else ', and other curves are given as well'}."
        )
    if spec.student.engine == "quantile":
        found: StudentGrowth = quantile_growth(
            placed, spec, process=process, frozen=frozen, n_jobs=n_jobs, watch=watch, folder=folder
        )
    else:
        found = _without_curves(placed, spec, process, frozen)
    return with_composition(found, panel) if two_steps else found


def frozen_cohort(
    panel: Panel, growth: StudentGrowth, engine: str, makeup: Makeup | None = None
) -> FrozenCohort:
    """Return the model behind the growth of a cohort, to be applied to later years.

    Parameters
    ----------
    panel : Panel
    growth : StudentGrowth
        Of `panel`, fitted.
    engine : str
        That fitted it, ``spec.student.engine``.
    makeup : Makeup, optional
        Of the cohort, where composition is taken out in two steps.
    """
    return FrozenCohort(
        year=panel.year,
        subject=panel.subject,
        grade=panel.grade,
        pattern=panel.pattern,
        engine=engine,
        n=len(panel),
        covariates=panel.covariate_names,
        model=_model(panel, growth),
        makeup=makeup,
    )


def _model(panel: Panel, growth: StudentGrowth) -> CohortModel:
    if isinstance(growth, QuantileGrowth):
        return QuantileModel.of(growth.process, growth.bases)
    if isinstance(growth, NormalGrowth):
        return NormalModel(
            growth.bases,
            growth.fit.names,
            growth.fit.coef,
            growth.fit.dropped,
            growth.fit.residual_sd,
            growth.fit.r2,
            growth.course.knots,
            growth.course.log_variance,
        )
    assert isinstance(growth, LinearGrowth)
    fit = growth.fit
    return LinearModel(
        fit.names,
        fit.coef,
        prior_means(panel),
        fit.dropped,
        fit.residual_sd,
        fit.r2,
        fit.least_reliability,
        fit.capped,
        residual_quantiles(growth.residual),
    )


def _without_curves(
    panel: Panel, spec: GrowthSpec, process: QuantileProcess | None, frozen: FrozenCohort | None
) -> StudentGrowth:
    engine = spec.student.engine
    if process is not None:
        raise SpecError(f'A frozen process needs student.engine = "quantile", not {engine!r}.')
    if engine == "normal":
        return normal_growth(panel, spec, frozen)
    return eiv_growth(panel, spec, frozen) if engine == "eiv" else residual_gain_growth(panel, spec, frozen)


def percentile_cuts(
    growth: StudentGrowth, panel: Panel, percentiles: tuple[int, ...], spec: GrowthSpec, *, digits: int = 0
) -> FloatArray:
    """Return the score up to which each percentile reaches, shape (n, q) [scale-score points].

    Column c holds the curve at tau = (c + 0.5) / 100: the upper end of the scores that earn SGP c.

    Raises
    ------
    SpecError
        If the process was not fitted on the 100-tau grid, or the engine has no curves.
    """
    if isinstance(growth, QuantileGrowth):
        curves = quantile_cuts(growth, panel, percentiles, spec)
        curves += 0.0 if panel.offset is None else panel.offset[:, None]
    elif isinstance(growth, NormalGrowth):
        curves = normal_cuts(growth, percentiles)
    else:
        raise SpecError(f"The engine {spec.student.engine!r} ranks residuals: it has no percentile curves.")
    cuts = np.round(curves, digits)
    return cuts if panel.bounds is None else np.clip(cuts, *panel.bounds)
