"""Slow, obvious twins of what the package computes fast: for tests only.

Each function is the definition written down with the plainest tool at hand (scipy's LP solver, scipy's
B-splines, lists and loops): agreement means that the definition is met, not that the same code ran twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from scipy.interpolate import BSpline
from scipy.optimize import linprog, lsq_linear

from growth._types import FloatArray, IntArray

EPS = float(np.finfo(float).eps)
TIGHTEST = 1e-10
"""Feasibility tolerance of HiGHS: the smallest that it accepts."""


def check_loss(residual: FloatArray, tau: float, weights: FloatArray | None = None) -> float:
    """Return the sum of w rho_tau(r)."""
    loss = np.where(residual >= 0.0, tau * residual, (tau - 1.0) * residual)
    return float(loss.sum() if weights is None else weights @ loss)


@dataclass(frozen=True)
class LinearProgram:
    coef: FloatArray
    primal: float
    """Check loss at `coef`: an upper bound of the optimum."""
    dual: float
    """Value of the dual point: a lower bound of the optimum."""
    accuracy: float
    """By how much tolerances and rounding errors may have moved both [units of the objective]."""


def solve_lp(
    design: FloatArray, response: FloatArray, tau: float, weights: FloatArray | None = None
) -> LinearProgram:
    """Solve the quantile-regression LP with HiGHS on its dual: max y'd with X'd = 0 and d in its boxes."""
    weights = np.ones(response.size) if weights is None else weights
    sizes = np.abs(design).max(axis=0, initial=0.0)
    sizes[sizes == 0.0] = 1.0
    middle = float(np.median(response))
    unit = float(np.abs(response - middle).mean()) or 1.0
    # Units in which the solver's absolute tolerances mean something. Without an intercept a shift of the
    # response would change the solution: only the scale is taken out there.
    shift = middle if np.ptp(design[:, 0]) == 0.0 and design[0, 0] != 0.0 else 0.0
    y = (response - shift) / unit
    found = linprog(
        -y,
        A_eq=(design / sizes).T,
        b_eq=np.zeros(design.shape[1]),
        bounds=np.column_stack([(tau - 1.0) * weights, tau * weights]),
        method="highs",
        options={"primal_feasibility_tolerance": TIGHTEST, "dual_feasibility_tolerance": TIGHTEST},
    )
    assert found.success, found.message
    coef = -found.eqlin.marginals * unit / sizes
    if shift:
        coef[0] += shift / design[0, 0]
    accuracy = TIGHTEST * (unit + float(np.abs(coef) @ sizes)) + rounding(design, response, coef, weights)
    primal = check_loss(response - design @ coef, tau, weights)
    return LinearProgram(coef, primal, -float(found.fun) * unit, accuracy)


def best_vertex(
    design: FloatArray, response: FloatArray, tau: float, weights: FloatArray | None = None
) -> float:
    """Return the smallest check loss over all hyperplanes through p rows, one of which is optimal."""
    p = design.shape[1]
    best = np.inf
    for rows in combinations(range(response.size), p):
        square = design[list(rows)]
        if np.linalg.matrix_rank(square) == p:
            coef = np.linalg.solve(square, response[list(rows)])
            best = min(best, check_loss(response - design @ coef, tau, weights))
    return best


@dataclass(frozen=True)
class Proof:
    primal: float
    gap: float
    """primal - dual at the completed dual point [units of the objective]."""
    infeasible: float
    """|X'd| as a share of sum_i w_i |x_i|, largest over columns."""


def rounding(
    design: FloatArray, response: FloatArray, coef: FloatArray, weights: FloatArray | None = None
) -> float:
    """Return how large rounding errors of a check loss may be: residuals are differences of sums."""
    sizes = np.abs(response) + np.abs(design) @ np.abs(coef)
    return 8 * EPS * float(sizes.sum() if weights is None else weights @ sizes)


def prove(
    design: FloatArray,
    response: FloatArray,
    tau: float,
    coef: FloatArray,
    weights: FloatArray | None = None,
    *,
    zero: float,
) -> Proof:
    """Complete a dual point for `coef` from the definition.

    Rows off the hyperplane have the dual value w (tau - 1[r < 0]). Those on it (|r| <= `zero`) take whatever
    value in their boxes makes X'd = 0; a bounded least-squares solve looks for it.
    """
    weights = np.ones(response.size) if weights is None else weights
    design, response, weights = design[weights > 0], response[weights > 0], weights[weights > 0]
    sizes = np.abs(design).max(axis=0)
    sizes[sizes == 0.0] = 1.0
    scaled = design / sizes
    residual = response - design @ coef
    on = np.abs(residual) <= zero
    dual = weights * (tau - (residual < 0.0))
    boxes = ((tau - 1.0) * weights[on], tau * weights[on])
    if on.all():
        dual[:] = 0.0
    elif on.any():
        fitted = lsq_linear(
            scaled[on].T, -(dual[~on] @ scaled[~on]), boxes, method="bvls", tol=1e-15, max_iter=10_000
        )
        dual[on] = np.clip(fitted.x, *boxes)
    primal = check_loss(residual, tau, weights)
    infeasible = np.abs(dual @ scaled) / np.maximum(weights @ np.abs(scaled), 1e-300)
    return Proof(primal, primal - float(dual @ residual), float(infeasible.max()))


def spline_columns(
    x: FloatArray, knots: tuple[float, ...], boundaries: tuple[float, float], degree: int
) -> FloatArray:
    """Return the clamped B-spline basis without its first function, end polynomials continued."""
    ends = degree + 1
    full = np.array([boundaries[0]] * ends + list(knots) + [boundaries[1]] * ends, float)
    return np.asarray(BSpline.design_matrix(x, full, degree, extrapolate=True).toarray())[:, 1:]


def curves(
    design: FloatArray, coef: FloatArray, *, digits: int | None, bounds: tuple[float, float] | None = None
) -> FloatArray:
    """Return all conditional quantiles, clipped, sorted, rounded: shape (n, m)."""
    values = design @ coef.T
    if bounds is not None:
        values = np.clip(values, *bounds)
    values = np.sort(values, axis=1)
    return values if digits is None else np.round(values, digits)


def count_below(values: FloatArray, score: FloatArray) -> IntArray:
    return np.array([sum(v < y for v in row) for row, y in zip(values, score, strict=True)])


def count_upto(values: FloatArray, score: FloatArray) -> IntArray:
    return np.array([sum(v <= y for v in row) for row, y in zip(values, score, strict=True)])


def sgp(values: FloatArray, score: FloatArray) -> IntArray:
    """Return the number of curves strictly below the score; 0 becomes 1 and 100 becomes 99."""
    return np.array([min(max(sum(v < y for v in row), 1), 99) for row, y in zip(values, score, strict=True)])


def percentile(row: FloatArray, taus: FloatArray, y: float) -> float:
    """Return the continuous percentile of one score given its sorted curves."""
    on = [t for v, t in zip(row, taus, strict=True) if v == y]
    if on:
        return float(on[0] + on[-1]) / 2
    if y < row[0]:
        return float(taus[0]) / 2
    if y > row[-1]:
        return (1 + float(taus[-1])) / 2
    return float(np.interp(y, row, taus))


def simex_curves(
    priors: FloatArray,
    perturbed: list[list[FloatArray]],
    lambdas: tuple[float, ...],
    score: FloatArray,
    taus: FloatArray,
    degree: int,
) -> FloatArray:
    """Return curves at lambda = -1 by their definition, sorted, shape (n, m): a linear program per fit.

    `perturbed` has, per lambda and replicate, priors of shape (n, k).
    """
    means = []
    for replicates in [[priors], *perturbed]:
        pooled = np.concatenate(replicates)
        lines = [simex_knots(column) for column in pooled.T]
        total = np.zeros((len(score), len(taus)))
        for moved in replicates:
            parts = [spline_columns(column, *line, 3) for column, line in zip(moved.T, lines, strict=True)]
            design = np.column_stack([np.ones(len(score)), *parts])
            coef = np.array([solve_lp(design, score, float(tau)).coef for tau in taus])
            total += curves(design, coef, digits=5)
        means.append(total / len(replicates))
    at_minus_one = np.empty_like(means[0])
    for i in range(len(score)):
        for t in range(len(taus)):
            course = np.polyfit([0.0, *lambdas], [mean[i, t] for mean in means], degree)
            at_minus_one[i, t] = np.polyval(course, -1.0)
    return np.sort(at_minus_one, axis=1)


def simex_knots(scores: FloatArray) -> tuple[tuple[float, ...], tuple[float, float]]:
    """Return knots at the quintiles, and boundaries a tenth of the range beyond its ends; three decimals."""
    low, high = float(min(scores)), float(max(scores))
    knots = tuple(round(float(np.quantile(scores, q)), 3) for q in (0.2, 0.4, 0.6, 0.8))
    return knots, (round(low - (high - low) / 10, 3), round(high + (high - low) / 10, 3))


def eighths(row: FloatArray, y: float) -> float:
    """Return the place of a score among its curves and the midpoints between them, three times over."""
    points = [float(v) for v in row]
    for _ in range(3):
        middles = [(a + b) / 2 for a, b in pairwise(points)]
        points = sorted([*points, *middles])
    place = sum(v < y for v in points) / 8
    return {0.0: 1.0, 100.0: 99.0}.get(place, place)


def ranked(places: list[float]) -> list[int]:
    """Return ranks in percent, ties at their mean rank, half to even, within 1-99."""
    out = []
    for place in places:
        below, equal = sum(p < place for p in places), sum(p == place for p in places)
        out.append(min(max(round(100 * (below + (equal + 1) / 2) / len(places)), 1), 99))
    return out
