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
from pathlib import Path

import numpy as np

from growth._types import FloatArray, IntArray
from growth.errors import SpecError, problem
from growth.panel import Panel
from growth.quantile import QuantileProcess, Scores, SplineBasis, fit_quantiles, spline_design
from growth.spec import GrowthSpec
from growth.student.design import spline_terms
from growth.student.frozen import FrozenCohort, aligned
from growth.student.models import QuantileModel
from growth.student.result import HUNDRED, StudentGrowth
from growth.student.simex import SimexGrowth, Watch, simex_growth

__all__ = ["QuantileGrowth", "is_hundred", "placed_again", "quantile_cuts", "quantile_growth"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class QuantileGrowth(StudentGrowth):
    """Growth read off fitted conditional quantiles; `expected` is the median curve."""

    crossing_share: float
    """Share of neighbouring curves that crossed before rearrangement."""
    outside_knots: int
    """Prior scores outside the boundary knots, where curves are extrapolated."""
    bases: tuple[SplineBasis, ...]
    """Spline basis per prior."""
    process: QuantileProcess
    """The fitted curves with their certificate."""
    simex: SimexGrowth | None = None
    """Percentiles corrected for measurement error, if the specification asks for them."""

    @property
    def diagnostics(self) -> dict[str, object]:
        """How the cohort was fitted, by column of the cells frame."""
        process = self.process
        return {
            "p": process.coef.shape[1],
            "dropped_columns": list(process.dropped_names),
            "crossing_share": self.crossing_share,
            "outside_knots": self.outside_knots,
            "max_relative_gap": float(process.relative_gap.max()),
            "pivots": int(process.counters["pivots"].sum()) if process.counters else None,
            "fallbacks": process.status.count("fallback"),
        }

    def __repr__(self) -> str:
        size = f"{len(self.sgp):,} students, {len(self.bases)} priors"
        return f"QuantileGrowth({self.key}: {size}, {self.process!r})"


def quantile_growth(
    panel: Panel,
    spec: GrowthSpec,
    *,
    process: QuantileProcess | None = None,
    frozen: FrozenCohort | None = None,
    n_jobs: int | None = None,
    watch: Watch | None = None,
    folder: Path | None = None,
) -> QuantileGrowth:
    """Fit the conditional quantiles of a cohort, or take given curves, and place every student.

    With ``simex.use = "simex"`` the percentiles corrected for measurement error come beside the others;
    `watch` and `folder` are those of `growth.student.simex.corrected_curves`.

    Raises
    ------
    CohortError
        If a prior does not vary.
    ConvergenceError
        If a fit could not be proven optimal.
    SpecError
        If a frozen process comes without fixed knots, does not fit the design, or meets SIMEX.
    """
    simex, bases = spec.simex.use == "simex", None
    if simex and (process is not None or frozen is not None):
        raise SpecError(
            problem(
                "A frozen process holds no fits to perturbed scores",
                rule="SIMEX refits the cohort at hand",
                fix='set simex.use = "none", freeze other parts than curves, or fit the cohort anew',
            )
        )
    if frozen is not None:
        assert isinstance(frozen.model, QuantileModel)
        panel, bases, process = aligned(panel, frozen), frozen.model.bases, frozen.model.process(frozen.n)
    elif process is not None:
        _require_fixed_knots(spec, panel)
    terms = spline_terms(panel, spec, bases)
    if process is None:
        process = fit_quantiles(
            terms.matrix,
            panel.score,
            spec.quantiles.grid(),
            names=list(terms.names),
            blocks=terms.blocks,
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
        terms.matrix,
        panel.score,
        rearrange=spec.quantiles.rearrange,
        digits=_digits(spec),
        bounds=bounds,
    )
    return QuantileGrowth(
        key=panel.key,
        sgp=_sgp(scores, process.taus, panel.score, bounds),
        percentile=scores.percentile,
        expected=scores.median,
        residual=panel.score - scores.median,
        crossing_share=scores.crossing_share,
        outside_knots=terms.outside,
        bases=terms.bases,
        process=process,
        simex=simex_growth(panel, process, terms.matrix, spec, n_jobs=n_jobs, watch=watch, folder=folder)
        if simex
        else None,
    )


def placed_again(
    growth: StudentGrowth, panel: Panel, design: FloatArray, weights: FloatArray, spec: GrowthSpec
) -> StudentGrowth:
    """Refit a cohort's curves to weighted students, and place all of its students on them.

    Where no student has weight the curves stay as they are.

    Parameters
    ----------
    growth : QuantileGrowth
        Of the cohort, fitted; the refit starts from it.
    panel : Panel
        The same cohort; its `offset`, if any, is taken out of scores.
    design : ndarray, shape (n, p)
        The columns that the cohort was fitted with.
    weights : ndarray, shape (n,)
        Non-negative.

    Raises
    ------
    ConvergenceError
        If a refit could not be proven optimal.
    """
    assert isinstance(growth, QuantileGrowth)
    score = panel.score if panel.offset is None else panel.score - panel.offset
    process = growth.process
    if weights.any():
        process = process.refit(design, score, weights, n_jobs=1)
    bounds = panel.bounds if spec.correction.loss_hoss else None
    scores = process.score(
        design,
        score,
        rearrange=spec.quantiles.rearrange,
        digits=_digits(spec),
        bounds=bounds,
        n_jobs=1,
    )
    residual = score - scores.median
    sgp = _sgp(scores, process.taus, score, bounds)
    return StudentGrowth(growth.key, sgp, scores.percentile, panel.score - residual, residual)


def quantile_cuts(
    growth: QuantileGrowth, panel: Panel, percentiles: tuple[int, ...], spec: GrowthSpec
) -> FloatArray:
    """Return the curves at tau = (c + 0.5) / 100, shape (n, q) [scale-score points].

    Raises
    ------
    SpecError
        If the process was not fitted on the 100-tau grid.
    """
    if not is_hundred(growth.process.taus):
        raise SpecError("Percentile cuts need the grid of 100 taus.")
    design = spline_design(panel.priors, growth.bases, panel.covariates)
    curves = growth.process.predict(design, rearrange=spec.quantiles.rearrange, digits=_digits(spec))
    return curves[:, list(percentiles)]


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


def _digits(spec: GrowthSpec) -> int | None:
    digits = spec.quantiles.round_digits
    return None if digits == "none" else digits


def is_hundred(taus: FloatArray) -> bool:
    """Tell whether curve number t lies at (t - 0.5) / 100, so that counting curves counts percentiles."""
    return len(taus) == 100 and bool(np.allclose(taus, HUNDRED, rtol=0.0, atol=1e-9))


def _sgp(scores: Scores, taus: FloatArray, score: FloatArray, bounds: tuple[float, float] | None) -> IntArray:
    """Count curves below the score, on the scale 1-99.

    With LOSS/HOSS correction a score at the ceiling counts curves up to it: tied scores there get the highest
    percentile.
    """
    below = scores.below
    if bounds is not None:
        below = np.where(score >= bounds[1], scores.upto, below)
    if not is_hundred(taus):
        below = np.floor(100.0 * scores.percentile).astype(np.int64)
    return np.clip(below, 1, 99)
