r"""The placing rules of the engines, turned round: the scores at which a student's percentile steps up.

A student's *ladder* has 98 rungs :math:`T_2 \le ... \le T_{99}` [scale-score points]: a score *y* of this
student would have earned the growth percentile

.. math:: \mathrm{SGP}(y) = 1 + \#\{s : T_s < y\},

with everything else about the student and the cohort as it is. What the percentile of another score would
have been, and how it is distributed when the score is, follows from the ladder alone, whatever the engine.

*quantile*, 100 taus: the sorted curves 2 to 99. Other grids: the scores at which the continuous percentile
reaches 2, ..., 99 hundredths. *normal*: the normal quantiles at (s - 0.5) / 100. Linear engines: the expected
score plus a residual of the cohort; the student's own residual is not among those that a redrawn one is
ranked with. Under a base year's frozen model: its curves, its spread, its residuals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from growth._types import FloatArray
from growth.panel import Panel
from growth.quantile import QuantileProcess, spline_design
from growth.spec import GrowthSpec
from growth.student.engines.linear import LinearGrowth
from growth.student.engines.normal import NormalGrowth
from growth.student.engines.quantile import QuantileGrowth, is_hundred
from growth.student.frozen import FrozenCohort, aligned
from growth.student.models import LinearModel
from growth.student.result import HUNDRED, StudentGrowth

__all__ = ["RUNGS", "Ladder", "ladder_of"]

RUNGS = np.arange(2, 100)
"""The percentiles that have a rung."""

Ladder: TypeAlias = Callable[[slice], FloatArray]
"""From some of the cohort's rows to their ladders, shape (rows, 98)."""


def ladder_of(
    growth: StudentGrowth,
    panel: Panel,
    spec: GrowthSpec,
    *,
    frozen: FrozenCohort | None = None,
    process: QuantileProcess | None = None,
) -> Ladder:
    """Return the ladders of a cohort's students.

    Parameters
    ----------
    growth : StudentGrowth
        Of `student_growth`.
    panel : Panel
        The cohort that it was made from.
    spec : GrowthSpec
    frozen : FrozenCohort, optional
        The model of a base year that `growth` was placed by.
    process : QuantileProcess, optional
        Other curves of the same columns to read off, for the engine ``quantile``.

    Raises
    ------
    TypeError
        If the growth is of no known engine.
    """
    if isinstance(growth, QuantileGrowth):
        panel = panel if frozen is None else aligned(panel, frozen)
        return _of_curves(growth, panel, spec, process or growth.process)
    if isinstance(growth, NormalGrowth):
        return _of_normal(growth)
    if isinstance(growth, LinearGrowth):
        if frozen is None:
            return _of_residuals(growth)
        assert isinstance(frozen.model, LinearModel)
        return _of_kept_residuals(growth, frozen.model)
    raise TypeError(f"no ladder for {type(growth).__name__}")


def _of_curves(growth: QuantileGrowth, panel: Panel, spec: GrowthSpec, process: QuantileProcess) -> Ladder:
    digits = spec.quantiles.round_digits
    bounds = panel.bounds if spec.correction.loss_hoss else None
    hundred = is_hundred(process.taus)
    step = 1e-3 * 10.0**-spec.intervals.digits  # far less than redrawn scores can differ by

    def rungs(rows: slice) -> FloatArray:
        design = spline_design(panel.priors[rows], growth.bases, panel.covariates[rows])
        curves = process.predict(design, digits=None if digits == "none" else digits, bounds=bounds)
        if not hundred:
            found = _interpolated(curves, process.taus, step)
        else:
            found = curves[:, RUNGS - 1]
            if bounds is not None:  # a score at the ceiling counts the curves up to it
                found = np.minimum(found, bounds[1] - step)
        return found if panel.offset is None else found + panel.offset[rows, None]

    return rungs


def _of_normal(growth: NormalGrowth) -> Ladder:
    from scipy.special import ndtri

    z = ndtri(HUNDRED[RUNGS - 1])
    return lambda rows: growth.expected[rows, None] + growth.spread[rows, None] * z


def _of_residuals(growth: LinearGrowth) -> Ladder:
    n = len(growth.residual)
    order = np.argsort(growth.residual, kind="stable")
    ordered = np.concatenate([[-np.inf], growth.residual[order], [np.inf, np.inf]])
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    # The percentile of r is ((others below r) + 1/2) / n, and beats h with this many others below:
    needed = np.floor(n * HUNDRED[RUNGS - 1] + 0.5).astype(np.int64)

    def rungs(rows: slice) -> FloatArray:
        own = (needed > 0) & (needed - 1 >= place[rows, None])
        return np.asarray(growth.expected[rows, None] + ordered[needed + own])

    return rungs


def _of_kept_residuals(growth: LinearGrowth, model: LinearModel) -> Ladder:
    values = np.unique(model.residuals)
    share = model.percentile(values)
    share, first = np.unique(share, return_index=True)
    goals = HUNDRED[RUNGS - 1]
    rungs = np.interp(goals, share, values[first])
    rungs[goals < share[0]], rungs[goals >= share[-1]] = -np.inf, np.inf
    return lambda rows: growth.expected[rows, None] + rungs


def _interpolated(curves: FloatArray, taus: FloatArray, step: float) -> FloatArray:
    """Return where the continuous percentile reaches 2, ..., 99 hundredths, shape (n, 98).

    Parameters
    ----------
    curves : ndarray, shape (n, m)
        Ascending in each row.
    taus : ndarray, shape (m,)
    step : float
        What lies this far below a rung counts as on it [scale-score points].
    """
    n, m = curves.shape
    goals = RUNGS / 100
    after = np.searchsorted(taus, goals)  # the first tau that is not below the goal
    low, high = np.clip(after - 1, 0, m - 1), np.clip(after, 0, m - 1)
    width = np.where(high > low, taus[high] - taus[low], 1.0)
    share = np.clip((goals - taus[low]) / width, 0.0, 1.0)
    rung = curves[:, low] + share * (curves[:, high] - curves[:, low])
    # On a curve, or several that coincide, the percentile is the middle of their taus.
    rises = np.diff(curves, axis=1) > 0
    first = np.maximum.accumulate(np.column_stack([np.zeros(n, bool), rises]) * np.arange(m), axis=1)
    last = (
        m
        - 1
        - np.maximum.accumulate(np.column_stack([np.zeros(n, bool), rises[:, ::-1]]) * np.arange(m), axis=1)[
            :, ::-1
        ]
    )
    middle = 0.5 * (taus[first] + taus[last])
    flat = curves[:, low] == curves[:, high]
    rung -= step * (~flat | (100.0 * middle[:, high] >= RUNGS))
    rung[:, goals <= 0.5 * taus[0]] = -np.inf
    rung[:, goals > 0.5 * (1.0 + taus[-1])] = np.inf
    return np.maximum.accumulate(rung, axis=1)
