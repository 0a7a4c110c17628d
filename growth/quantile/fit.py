"""Fit a quantile process: prepare the data, walk the taus, prove every solution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from growth._types import FloatArray, IntArray
from growth.errors import ConvergenceError, SpecError, problem
from growth.quantile.designs import DenseDesign, Design, Moments, rescaled
from growth.quantile.prepare import (
    Prepared,
    arranged,
    checked,
    collapse,
    independent_columns,
    least_squares,
    prepare,
)
from growth.quantile.process import QuantileProcess
from growth.quantile.proof import prove
from growth.quantile.single import weighted_quantiles
from growth.quantile.start import Start
from growth.quantile.walk import perfect_fit, walk_taus
from growth.quantile.warm import compile_together

__all__ = ["GAP_TOLERANCE", "fit_quantiles", "refit_quantiles"]

GAP_TOLERANCE = 1e-9
"""Largest relative duality gap that counts as proof of optimality."""
DEFAULT_TAUS = (np.arange(1, 101) - 0.5) / 100


def fit_quantiles(
    design: FloatArray,
    response: FloatArray,
    taus: Sequence[float] | FloatArray = DEFAULT_TAUS,
    weights: FloatArray | None = None,
    *,
    names: Sequence[str] = (),
    blocks: Sequence[slice] = (),
    n_jobs: int | None = None,
) -> QuantileProcess:
    """Solve the linear quantile-regression problem exactly for every tau.

    Parameters
    ----------
    design : ndarray, shape (n, p)
        Finite; include a column of ones for an intercept.
    response : ndarray, shape (n,)
        Finite.
    taus : array_like, shape (m,)
        Increasing, within (0, 1). Default (t - 0.5) / 100, t = 1..100.
    weights : ndarray, shape (n,), optional
        Non-negative; rows of weight 0 take no part.
    names : sequence of str, length p, optional
        Column names for reports.
    blocks : sequence of slice, optional
        Columns that belong together (the spline basis of one prior). If every block takes few distinct
        values, as with integer scores, large fits look residuals up instead of computing them. Results do not
        depend on it.
    n_jobs : int, optional
        Threads; at most two are used within one process. Results do not depend on it.

    Returns
    -------
    QuantileProcess

    Raises
    ------
    ColumnError
        If shapes disagree or values are not finite.
    SpecError
        If taus are not increasing within (0, 1).
    ConvergenceError
        If a solution could not be proven optimal.

    Notes
    -----
    Linearly dependent columns are found first; of a dependent set the last columns are dropped, get the
    coefficient 0 and are reported in `dropped`. Where several coefficient vectors are optimal the one is
    returned that is the limit from smaller taus.

    References
    ----------
    .. [1] R. Koenker and G. Bassett (1978), Econometrica 46(1), 33-50.
    .. [2] S. Portnoy and R. Koenker (1997), Statistical Science 12(4), 279-300.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.column_stack([np.ones(5), np.arange(5.0)])
    >>> fit_quantiles(x, np.array([0.0, 1.0, 2.0, 3.0, 40.0]), [0.5]).coef
    array([[0., 1.]])
    """
    design, response, weight, grid, labels = checked(design, response, taus, weights, names)
    compile_together()
    members, rows, response, weight = _merged(design, response, weight, blocks)
    moments = rows.moments(weight)
    kept, dropped = independent_columns(rows, moments.gram)
    if dropped:
        rows, moments = DenseDesign(np.ascontiguousarray(rows.dense()[:, kept])), moments.subset(kept)
    prepared, solved = _solved(rows, response, weight, moments, grid, n_jobs)
    geometry = prepared.geometry
    return QuantileProcess(
        taus=grid,
        coef=_full(geometry.original(solved.coef), kept, design.shape[1]),
        objective=solved.objective,
        relative_gap=solved.relative_gap,
        dual=solved.dual,
        basis=members[prepared.order[solved.basis]],
        status=solved.status,
        counters=solved.counters,
        names=labels,
        dropped=tuple(int(j) for j in dropped),
        n=int(np.count_nonzero(weights)) if weights is not None else design.shape[0],
        blocks=tuple(blocks),
        start=solved.start,
    )


def refit_quantiles(
    process: QuantileProcess,
    design: FloatArray,
    response: FloatArray,
    weights: FloatArray | None = None,
    *,
    n_jobs: int | None = None,
) -> QuantileProcess:
    """Fit the same columns and taus to other data, starting from a fitted process.

    See `QuantileProcess.refit`.
    """
    design, response, weight, grid, labels = checked(design, response, process.taus, weights, process.names)
    if design.shape[1] != process.coef.shape[1]:
        raise SpecError(
            f"The design has {design.shape[1]} columns; this process has {process.coef.shape[1]} columns."
        )
    given = response
    start = process.start
    alike = start is not None and start.geometry.rotation is None and not process.dropped
    if start is None or not alike or np.ptp(response) == 0.0:
        return fit_quantiles(
            design, response, grid, weights, names=labels, blocks=process.blocks, n_jobs=n_jobs
        )
    members, rows, response, weight = _merged(design, response, weight, process.blocks)
    totals = rescaled(rows.totals(weight), start.geometry.scale, float(weight.mean()))
    resized = start.resized(response.size)
    try:
        prepared = prepare(rows, response, weight, resized.geometry, totals)
        solved = None if prepared.perfect else solve(prepared, grid, n_jobs, resized)
    except ConvergenceError:
        solved = None
    if solved is None:
        # The new data differ too much from the old: dependent columns, another scale.
        return fit_quantiles(design, given, grid, weights, names=labels, blocks=process.blocks, n_jobs=n_jobs)
    return replace(
        process,
        coef=start.geometry.original(solved.coef),
        objective=solved.objective,
        relative_gap=solved.relative_gap,
        dual=solved.dual,
        basis=members[prepared.order[solved.basis]],
        status=solved.status,
        counters=solved.counters,
        n=int(np.count_nonzero(weights)) if weights is not None else design.shape[0],
        start=solved.start,
        warm=True,
    )


def _solved(
    rows: Design,
    response: FloatArray,
    weight: FloatArray,
    moments: Moments,
    taus: FloatArray,
    n_jobs: int | None,
) -> tuple[Prepared, Solved]:
    """Solve in scaled columns, or, where these lose too many digits for a proof, in orthogonal ones."""
    design, geometry, totals = least_squares(rows, response, weight, moments)
    prepared = prepare(design, response, weight, geometry, totals)
    try:
        return prepared, solve(prepared, taus, n_jobs)
    except ConvergenceError:
        if geometry.rotation is not None:
            raise
    design, geometry, totals = least_squares(rows, response, weight, moments, orthogonal=True)
    prepared = prepare(design, response, weight, geometry, totals)
    return prepared, replace(solve(prepared, taus, n_jobs), status=("fallback",) * taus.size)


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """All taus solved and proven, in the coordinates of the search."""

    coef: FloatArray
    objective: FloatArray
    relative_gap: FloatArray
    dual: FloatArray
    basis: IntArray
    status: tuple[str, ...]
    counters: dict[str, IntArray]
    start: Start | None


def solve(prepared: Prepared, taus: FloatArray, n_jobs: int | None, start: Start | None = None) -> Solved:
    """Walk the taus and prove every solution.

    Raises
    ------
    ConvergenceError
        If a solution could not be proven optimal.
    """
    if prepared.perfect:
        walked = perfect_fit(prepared, taus)
    elif prepared.design.shape[1] == 1:
        walked = weighted_quantiles(prepared, taus)
    else:
        walked = walk_taus(prepared, taus, n_jobs, start)
    coef, objective, gap, dual = prove(prepared, taus, walked.basis, walked.ties)
    unproven = ~(gap <= GAP_TOLERANCE)
    if unproven.any():
        worst = int(np.nanargmax(np.where(np.isnan(gap), np.inf, gap)))
        raise ConvergenceError(
            problem(
                f"{int(unproven.sum())} of {taus.size} quantiles have no proof of optimality "
                f"(worst: tau = {taus[worst]:g}, relative gap {gap[worst]:.1e})",
                rule=f"relative duality gap <= {GAP_TOLERANCE:g}",
                fix="look for columns of very different scale or nearly dependent columns",
            )
        )
    status = tuple("fallback" if used else "certified" for used in walked.fallback)
    return Solved(coef, objective, gap, dual, walked.basis, status, walked.counters, walked.start)


def _merged(
    design: FloatArray, response: FloatArray, weight: FloatArray | None, blocks: Sequence[slice]
) -> tuple[IntArray, Design, FloatArray, FloatArray]:
    """Drop rows without weight and merge equal ones; returns the row number of each row that is left."""
    if weight is None or weight.all():
        return collapse(arranged(design, blocks), response, weight)
    members = np.flatnonzero(weight)
    design, response, weight = np.take(design, members, axis=0), response[members], weight[members]
    first, rows, response, weight = collapse(arranged(design, blocks), response, weight)
    return members[first], rows, response, weight


def _full(coef: FloatArray, kept: list[int], p: int) -> FloatArray:
    if len(kept) == p:
        return coef
    full = np.zeros((len(coef), p))
    full[:, kept] = coef
    return full
