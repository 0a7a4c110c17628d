"""Means, medians and effects of schools with their standard errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from growth._types import FloatArray, IntArray
from growth.school.summaries import Moments, Pooled, Summaries, pooled
from growth.spec import School

__all__ = ["Aggregates", "Errors", "aggregate"]

UNIFORM_MEDIAN_SD = 50.0
"""SE(median) = 1 / (2 f sqrt(n)), and uniform percentiles have the density f = 1/100 [percentile points]."""
NORMAL_MEDIAN_RATIO = 1.253
"""sqrt(pi / 2): SE of a median over that of a mean for normal data, which percentiles are not."""


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """Standard errors of U units from samples drawn again, each of shape (U,); NaN where undefined."""

    mean: FloatArray
    median: FloatArray
    effect: FloatArray

    def part(self, units: slice) -> Errors:
        """Return those of some units."""
        return Errors(self.mean[units], self.median[units], self.effect[units])


@dataclass(frozen=True, slots=True, eq=False)
class Aggregates:
    """Results of J schools, each array of shape (J,); NaN where undefined."""

    n: IntArray
    """Students."""
    n_effective: FloatArray
    """Independent results of equal weight that would make the effect as sure."""
    mean: FloatArray
    """[percentile points, 0-100]"""
    mean_se: FloatArray
    median: FloatArray
    """[percentile points, 0-100]"""
    median_se: FloatArray
    effect: FloatArray
    """The aggregate that the specification asks for [percentile points, or points of its residuals]."""
    effect_se: FloatArray
    within_sd: float
    """Pooled within-school SD of what the effect averages; NaN if no school has two students."""


def aggregate(found: Summaries, rules: School, errors: Errors | None = None) -> Aggregates:
    """Return means, medians and effects with their standard errors.

    ``pooled``: mean s_w / sqrt(n) with the pooled within-school SD, median 50 / sqrt(n), where n is the
    effective number of results. ``own``: the school's own SD for the mean. ``sgp``: SD / sqrt(n) and 1.253
    times that; for the median of uniform percentiles this is 36 / sqrt(n) instead of 50 / sqrt(n), hence too
    small, and kept for comparison only. A trimmed mean has the error of its winsorised values (Tukey &
    McLaughlin 1963).

    Parameters
    ----------
    found : Summaries
        Of the students of each school.
    rules : School
        Aggregate and standard-error rule.
    errors : Errors, optional
        For the rules ``bootstrap`` and ``refit``: what the samples gave.

    References
    ----------
    .. [1] J. W. Tukey and D. H. McLaughlin (1963), Sankhya A 25(3), 331-352.
    """
    sums = found.sums
    of_mean, of_effect = pooled(sums, found.of_mean), pooled(sums, found.of_effect)
    of_sign = pooled(sums, found.of_sign)
    median_se = UNIFORM_MEDIAN_SD * np.sqrt(of_sign.variance_of_mean(sums))
    mean_se = _error(found.of_mean, of_mean, found, rules)
    if rules.standard_error == "sgp":
        median_se = NORMAL_MEDIAN_RATIO * mean_se
    of_medians = rules.aggregate == "median"
    effect_se = median_se if of_medians else _error(found.of_effect, of_effect, found, rules)
    if errors is not None:
        mean_se, median_se, effect_se = errors.mean, errors.median, errors.effect
    chosen = of_sign if of_medians else of_effect
    return Aggregates(
        n=sums.students,
        n_effective=1.0 / chosen.variance_of_mean(sums),
        mean=found.mean,
        mean_se=mean_se,
        median=found.median,
        median_se=median_se,
        effect=found.effect,
        effect_se=effect_se,
        within_sd=float(np.sqrt(of_effect.variance)),
    )


def _error(moments: Moments, common: Pooled, found: Summaries, rules: School) -> FloatArray:
    """Return the SE of a weighted mean with the pooled or the unit's own variance."""
    sums = found.sums
    unit = np.sqrt(common.variance_of_mean(sums))
    if rules.standard_error in ("own", "sgp"):
        with np.errstate(invalid="ignore", divide="ignore"):
            freedom = sums.weight - common.spread(sums) / sums.weight
            own = np.sqrt(moments.squares / np.where(freedom > 1e-9, freedom, np.nan))
        return np.asarray(own * unit)
    return np.asarray(np.sqrt(common.variance) * unit)
