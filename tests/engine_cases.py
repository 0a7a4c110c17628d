"""Cohorts with known slopes and known errors of measurement, and slow twins of the linear engines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from growth._types import FloatArray, IntArray
from growth.panel import Panel, Pattern, Prior
from growth.panel.panels import PRIOR_MEAN

SLOPE, FLAG, CONTEXT = 0.85, -12.0, 0.10
"""True coefficients: prior, flag, school mean of the prior [points per unit of the column]."""


@dataclass(frozen=True)
class Case:
    """A cohort with its truth."""

    panel: Panel
    true_prior: FloatArray
    """Shape (n, k) [scale-score points]."""
    effect: FloatArray
    """School effects, shape (J,) [scale-score points]."""
    intake: FloatArray
    """School means of true priors over all possible students, shape (J,)."""


def simulated(
    n: int,
    schools: int,
    seed: int,
    *,
    priors: int = 1,
    csem: float = 30.0,
    intake_sd: float = 40.0,
    effect_sd: float = 8.0,
    curve: float = 0.0,
    context: bool = False,
) -> Case:
    """Draw a cohort; CSEMs rise from `csem` in the middle of the scale to its ends."""
    rng = np.random.default_rng(seed)
    school = rng.integers(schools, size=n)
    intake, effect = intake_sd * rng.standard_normal(schools), effect_sd * rng.standard_normal(schools)
    first = 2500 + intake[school] + 80 * rng.standard_normal(n)
    true = np.column_stack([first] + [first + 50 * rng.standard_normal(n) for _ in range(priors - 1)])
    errors = csem * (1 + ((true - 2500) / 250) ** 2)
    observed = true + errors * rng.standard_normal(true.shape)
    flag = (rng.random(n) < 0.3).astype(float)
    slopes = SLOPE if priors == 1 else np.array([SLOPE - 0.25, 0.25])
    score = 2520 + (true - 2500) @ np.atleast_1d(slopes) + curve * (true[:, 0] - 2500) ** 2 + FLAG * flag
    score = score + effect[school] + 40 * rng.standard_normal(n)
    covariates, names = flag[:, None], ("flag",)
    if context:
        score = score + CONTEXT * (means(true[:, 0], school) - 2500)
        covariates = np.column_stack([flag, means(observed[:, 0], school), means(flag, school)])
        names = ("flag", PRIOR_MEAN, "school_mean:flag")
    panel = Panel(
        subject="MATH",
        grade=8,
        year=2025,
        pattern=Pattern(tuple(Prior(("MATH", "ELA")[j], 1, 7) for j in range(priors))),
        row=np.arange(n),
        score=score,
        priors=observed,
        covariates=covariates,
        covariate_names=names,
        knot_scores=tuple(observed.T),
        bounds=None,
        norm_group="2024/MATH_7; 2025/MATH_8",
        school=school,
        csem=errors,
    )
    return Case(panel, true, effect, intake)


def means(values: FloatArray, school: IntArray) -> FloatArray:
    """Return each student's school mean, shape (n,)."""
    return (np.bincount(school, weights=values) / np.bincount(school))[school]


def columns(panel: Panel, priors: FloatArray, centre: FloatArray, quadratic: bool) -> FloatArray:
    """Return the linear engines' columns at any priors, without the correction of squares: plain powers."""
    assert panel.school is not None
    out = [np.ones(len(panel))]
    for j in range(priors.shape[1]):
        out.append(priors[:, j] - centre[j])
        if quadratic:
            out.append((priors[:, j] - centre[j]) ** 2)
    for name, values in zip(panel.covariate_names, panel.covariates.T, strict=True):
        out.append(means(priors[:, 0], panel.school) - centre[0] if name == PRIOR_MEAN else values)
    return np.column_stack(out)


def omega(panel: Panel) -> FloatArray:
    """Return every student's error variances and covariances for linear terms, shape (n, p, p), by their
    definition: errors of different students are independent, and a school mean averages its students'."""
    assert panel.school is not None
    assert panel.csem is not None
    n, k = panel.priors.shape
    names = ["", *("prior" for _ in range(k)), *panel.covariate_names]
    out = np.zeros((n, len(names), len(names)))
    for i in range(n):
        mates = np.flatnonzero(panel.school == panel.school[i])
        for j in range(k):
            out[i, j + 1, j + 1] = panel.csem[i, j] ** 2
        if PRIOR_MEAN in names:
            at = names.index(PRIOR_MEAN)
            out[i, 1, at] = out[i, at, 1] = panel.csem[i, 0] ** 2 / len(mates)
            out[i, at, at] = np.sum(panel.csem[mates, 0] ** 2) / len(mates) ** 2
    return out


def extrapolated(panel: Panel, quadratic: bool, draws: int, seed: int) -> FloatArray:
    """Return coefficients by simulation and extrapolation (Cook & Stefanski 1994).

    More and more error is added to the priors, the moments of columns and score are averaged over draws, and
    their course in lambda, a polynomial, is followed back to lambda = -1, where there is no error.
    """
    assert panel.csem is not None
    rng = np.random.default_rng(seed)
    centre = panel.priors.mean(axis=0)
    lambdas = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
    moments = []
    for amount in lambdas:
        total = 0.0
        for _ in range(draws if amount else 1):
            noise = rng.standard_normal(panel.priors.shape)
            x = columns(panel, panel.priors + np.sqrt(amount) * panel.csem * noise, centre, quadratic)
            total = total + x.T @ np.column_stack([x, panel.score])
        moments.append(total / (draws if amount else 1))
    shape = moments[0].shape
    course = np.polyfit(lambdas, np.array([m.ravel() for m in moments]), 2 if quadratic else 1)
    at = np.array([1.0, -1.0, 1.0])[3 - len(course) :] @ course
    found = at.reshape(shape)
    return np.linalg.solve(found[:, :-1], found[:, -1])
