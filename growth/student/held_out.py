r"""Curves for students that a cohort's model was not fitted to, engine by engine.

Students are dealt to folds; the model is fitted to all but one fold, and gives the conditional quantiles of
the fold it has not seen. What is known of students before their current scores (priors, their errors, flags,
school means of these, knots) is taken from the whole cohort, current scores from the other folds only; so are
the slopes of two-step composition (`growth.student.composition.offsets_without`).

- ``quantile``: the fitted curves, refitted exactly for each fold.
- ``normal``: mean plus the conditional SD times the normal quantile.
- ``residual_gain`` and ``eiv``: prediction plus the quantile of the residuals of the fit (Hazen's), whose
  inverse are the ranks that these engines give. The prediction of ``eiv`` is made for true priors: it expects
  too much of students with high observed ones, on purpose, and loses against least squares by design.

SIMEX corrects percentiles and not curves; the curves here are the uncorrected ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from growth._types import BoolArray, FloatArray, IntArray
from growth.errors import CohortError, SpecError, problem
from growth.panel import Panel
from growth.quantile import QuantileProcess, fit_quantiles
from growth.spec import GrowthSpec
from growth.student.design import power_terms, spline_terms
from growth.student.engines.eiv import require_known_errors
from growth.student.engines.linear import predicted
from growth.student.engines.normal import course_of_spread

__all__ = ["fitted_curves", "held_out_curves"]

_Fit: TypeAlias = Callable[[Panel, BoolArray, BoolArray], FloatArray]
"""(cohort with the scores to fit, rows to fit, rows to foresee) -> curves of the latter, shape (r, m)."""


def held_out_curves(
    panel: Panel, spec: GrowthSpec, fold: IntArray, taus: FloatArray, *, offsets: FloatArray | None = None
) -> FloatArray:
    """Return every student's conditional quantiles from the fit without the student's fold.

    Parameters
    ----------
    panel : Panel
    spec : GrowthSpec
        ``student.engine`` and what it uses.
    fold : ndarray of int, shape (n,)
        Numbers 0, 1, ...; students of one fold are left out together.
    taus : ndarray, shape (m,)
        Increasing, in (0, 1).
    offsets : ndarray, shape (folds, n), optional
        Part of the scores that goes with composition, as known without each fold [scale-score points]; needed
        where ``peers.composition = "two_step"``.

    Returns
    -------
    ndarray, shape (n, m) [scale-score points]
        Nowhere decreasing in tau.

    Raises
    ------
    CohortError
        If there is one fold only, or without a fold the cohort is too small for the model.
    ConvergenceError
        If a fit could not be proven optimal.
    SpecError
        If the offsets are missing, or the engine's CSEMs.
    """
    if spec.peers.composition == "two_step" and offsets is None:
        raise SpecError(problem(f"{panel.key}: the offsets of two-step composition are missing"))
    folds = np.unique(fold)
    if len(folds) < 2:
        raise CohortError(
            problem(
                f"{panel.key}: all students are in one fold",
                rule="some to fit and some to foresee",
                rows=len(panel),
                fix="use fewer folds or larger cohorts",
            )
        )
    fit = _engine(panel, spec, taus)
    curves = np.empty((len(panel), len(taus)))
    for k in folds:
        left = fold == k
        shift = np.zeros(len(panel)) if offsets is None else offsets[k]
        found = fit(replace(panel, score=panel.score - shift), ~left, left)
        curves[left] = found + shift[left, None]
    return curves


def fitted_curves(panel: Panel, spec: GrowthSpec, taus: FloatArray) -> FloatArray:
    """Return every student's conditional quantiles from the fit to all, shape (n, m)."""
    everybody = np.ones(len(panel), dtype=np.bool_)
    return _engine(panel, spec, taus)(panel, everybody, everybody)


def _engine(panel: Panel, spec: GrowthSpec, taus: FloatArray) -> _Fit:
    """Build the design of a cohort once, and return how it is fitted."""
    engine = spec.student.engine
    if engine == "quantile":
        return _quantile(panel, spec, taus)
    return _normal(panel, spec, taus) if engine == "normal" else _linear(panel, spec, taus)


def _quantile(panel: Panel, spec: GrowthSpec, taus: FloatArray) -> _Fit:
    terms = spline_terms(panel, spec)
    before: list[QuantileProcess] = []

    def fit(panel: Panel, kept: BoolArray, left: BoolArray) -> FloatArray:
        design, score = np.ascontiguousarray(terms.matrix[kept]), panel.score[kept]
        if before:
            process = before[0].refit(design, score, n_jobs=1)
        else:
            process = fit_quantiles(design, score, taus, names=terms.names, blocks=terms.blocks, n_jobs=1)
            before.append(process)
        # Curves that cross foresee nothing; sorting never makes the loss larger (Chernozhukov et al. 2010).
        return process.predict(terms.matrix[left], rearrange=True)

    return fit


def _normal(panel: Panel, spec: GrowthSpec, taus: FloatArray) -> _Fit:
    from scipy.special import ndtri

    terms = spline_terms(panel, spec)

    def fit(panel: Panel, kept: BoolArray, left: BoolArray) -> FloatArray:
        part = _rows(panel, kept)
        found = predicted(part, terms.matrix[kept], terms.names)
        course = course_of_spread(found.fitted, part.score - found.fitted)
        mean = terms.matrix[left] @ found.coef
        spread = found.residual_sd * course.relative(mean)
        return np.asarray(mean[:, None] + spread[:, None] * ndtri(taus))

    return fit


def _linear(panel: Panel, spec: GrowthSpec, taus: FloatArray) -> _Fit:
    with_errors = spec.student.engine == "eiv"
    if with_errors:
        require_known_errors(panel)
    terms = power_terms(panel, spec, panel.csem if with_errors else None)
    partial = with_errors and spec.student.not_definite == "partial"

    def fit(panel: Panel, kept: BoolArray, left: BoolArray) -> FloatArray:
        part = _rows(panel, kept)
        errors = terms.errors.of_rows(kept) if with_errors else None
        found = predicted(part, terms.matrix[kept], terms.names, errors=errors, partial=partial)
        rest = np.quantile(part.score - found.fitted, taus, method="hazen")
        return np.asarray((terms.matrix[left] @ found.coef)[:, None] + rest)

    return fit


def _rows(panel: Panel, kept: BoolArray) -> Panel:
    """Return what a linear fit reads of some of the students."""
    school = None if panel.school is None else panel.school[kept]
    return replace(panel, row=panel.row[kept], score=panel.score[kept], school=school)
