"""Conditional-quantile student growth percentiles of one cohort.

Two percentiles per student. The *SGP* follows the R package's conventions: curves sorted, rounded to 5
decimals, the number of curves strictly below the score, 0 becoming 1 and 100 becoming 99. The *continuous
percentile* in (0, 1) interpolates between the curves and takes the middle where a score lies on one; it is
what schools are built from.

References
----------
.. [1] D. W. Betebenner (2009), Norm- and criterion-referenced student growth, EM:IP 28(4), 42-51.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from growth._types import FloatArray, IntArray
from growth.errors import SpecError
from growth.panel import Panel, Prior
from growth.quantile import QuantileProcess, Scores, SplineBasis, fit_quantiles, spline_design
from growth.spec import GrowthSpec

__all__ = ["StudentGrowth", "percentile_cuts", "student_growth"]


@dataclass(frozen=True, slots=True, eq=False)
class StudentGrowth:
    """Growth of the students of one cohort, in the order of its rows."""

    key: str
    """The cohort's key."""
    sgp: IntArray
    """Student growth percentile, shape (n,), 1-99."""
    percentile: FloatArray
    """Continuous percentile, shape (n,), in (0, 1)."""
    expected: FloatArray
    """Median score of similar students, shape (n,) [scale-score points]."""
    crossing_share: float
    """Share of neighbouring curves that crossed before rearrangement."""
    outside_knots: int
    """Prior scores outside the boundary knots, where curves are extrapolated."""
    bases: tuple[SplineBasis, ...]
    """Spline basis per prior."""
    process: QuantileProcess
    """The fitted curves with their certificate."""

    def __repr__(self) -> str:
        size = f"{len(self.sgp):,} students, {len(self.bases)} priors"
        return f"StudentGrowth({self.key}: {size}, {self.process!r})"


def student_growth(
    panel: Panel, spec: GrowthSpec, *, process: QuantileProcess | None = None, n_jobs: int | None = None
) -> StudentGrowth:
    """Fit the conditional quantiles of a cohort and place every student.

    Parameters
    ----------
    panel : Panel
    spec : GrowthSpec
        Its basis, quantiles and correction parts are used.
    process : QuantileProcess, optional
        Curves fitted earlier (a frozen baseline); nothing is fitted then. Coefficients belong to knots, so
        ``spec.basis.fixed`` must hold the knots of every prior.
    n_jobs : int, optional
        Threads; results do not depend on it.

    Returns
    -------
    StudentGrowth

    Raises
    ------
    CohortError
        If a prior does not vary.
    ConvergenceError
        If a fit could not be proven optimal.
    SpecError
        If a frozen process comes without fixed knots, or does not fit the design.
    """
    if process is not None:
        _require_fixed_knots(spec, panel)
    bases = tuple(
        _basis(spec, prior, scores)
        for prior, scores in zip(panel.pattern.priors, panel.knot_scores, strict=True)
    )
    design = spline_design(panel.priors, bases, panel.covariates)
    if process is None:
        process = fit_quantiles(
            design,
            panel.score,
            spec.quantiles.grid(),
            names=_names(panel.pattern.priors, bases, panel.covariate_names),
            blocks=_blocks(bases),
            n_jobs=n_jobs,
        )
    bounds = None
    if spec.correction.loss_hoss:
        if panel.bounds is None:
            raise SpecError(
                f"correction.loss_hoss needs scale.bounds for {panel.subject}, grade {panel.grade}."
            )
        bounds = panel.bounds
    scores = process.score(
        design,
        panel.score,
        rearrange=spec.quantiles.rearrange,
        digits=_digits(spec),
        bounds=bounds,
    )
    return StudentGrowth(
        key=panel.key,
        sgp=_sgp(scores, process.taus, panel.score, bounds),
        percentile=scores.percentile,
        expected=scores.median,
        crossing_share=scores.crossing_share,
        outside_knots=sum(basis.outside(panel.priors[:, j]) for j, basis in enumerate(bases)),
        bases=bases,
        process=process,
    )


def percentile_cuts(
    growth: StudentGrowth, panel: Panel, percentiles: tuple[int, ...], spec: GrowthSpec, *, digits: int = 0
) -> FloatArray:
    """Return the score up to which each percentile reaches, shape (n, q) [scale-score points].

    Column c holds the curve at tau = (c + 0.5) / 100: the upper end of the scores that earn SGP c.

    Raises
    ------
    SpecError
        If the process was not fitted on the 100-tau grid.
    """
    if not _is_hundred(growth.process.taus):
        raise SpecError("Percentile cuts need the grid of 100 taus.")
    design = spline_design(panel.priors, growth.bases, panel.covariates)
    curves = growth.process.predict(design, rearrange=spec.quantiles.rearrange, digits=_digits(spec))
    cuts = np.round(curves[:, list(percentiles)], digits)
    return cuts if panel.bounds is None else np.clip(cuts, *panel.bounds)


def _require_fixed_knots(spec: GrowthSpec, panel: Panel) -> None:
    loose = [
        f"{prior.subject} grade {prior.grade}"
        for prior in panel.pattern.priors
        if prior.grade not in spec.basis.fixed.get(prior.subject, {})
    ]
    if loose:
        raise SpecError(
            "A frozen process needs the knots it was fitted with: "
            f"basis.fixed has none for {', '.join(loose)}."
        )


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


def _names(
    priors: tuple[Prior, ...], bases: tuple[SplineBasis, ...], covariates: tuple[str, ...]
) -> list[str]:
    names = ["intercept"]
    for prior, basis in zip(priors, bases, strict=True):
        names += [f"{prior.subject}_lag{prior.lag}_b{j + 1}" for j in range(basis.n_columns)]
    return names + list(covariates)


def _blocks(bases: tuple[SplineBasis, ...]) -> list[slice]:
    ends = np.cumsum([1] + [basis.n_columns for basis in bases])
    return [slice(int(a), int(b)) for a, b in pairwise(ends)]


def _digits(spec: GrowthSpec) -> int | None:
    digits = spec.quantiles.round_digits
    return None if digits == "none" else digits


def _is_hundred(taus: FloatArray) -> bool:
    """Tell whether curve number t lies at (t - 0.5) / 100, so that counting curves counts percentiles."""
    return len(taus) == 100 and bool(np.allclose(taus, (np.arange(100) + 0.5) / 100, rtol=0.0, atol=1e-9))


def _sgp(scores: Scores, taus: FloatArray, score: FloatArray, bounds: tuple[float, float] | None) -> IntArray:
    """Count curves below the score, on the scale 1-99.

    With LOSS/HOSS correction a score at the ceiling counts curves up to it: tied scores there get the highest
    percentile.
    """
    below = scores.below
    if bounds is not None:
        below = np.where(score >= bounds[1], scores.upto, below)
    if not _is_hundred(taus):
        below = np.floor(100.0 * scores.percentile).astype(np.int64)
    return np.clip(below, 1, 99)
