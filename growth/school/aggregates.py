"""Means and medians of student percentiles with their standard errors, per school."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from growth._types import FloatArray, IntArray
from growth.kernels.grouped import GroupSummaries
from growth.spec import School

__all__ = ["Aggregates", "aggregate", "pooled_sd"]

UNIFORM_MEDIAN_SD = 50.0
"""SE(median) = 1 / (2 f sqrt(n)), and uniform percentiles have the density f = 1/100 [percentile points]."""
NORMAL_MEDIAN_RATIO = 1.253
"""sqrt(pi / 2): SE of a median over that of a mean for normal data, which percentiles are not."""


@dataclass(frozen=True, slots=True, eq=False)
class Aggregates:
    """Results of J schools, each array of shape (J,), on the 0-100 scale; NaN where undefined."""

    n: IntArray
    mean: FloatArray
    mean_se: FloatArray
    median: FloatArray
    median_se: FloatArray
    effect: FloatArray
    """The mean or the median, as the specification says."""
    effect_se: FloatArray
    within_sd: float
    """Pooled within-school SD; NaN if no school has two students."""


def pooled_sd(n: IntArray, sd: FloatArray) -> float:
    """Return the within-school SD pooled over schools, NaN without degrees of freedom."""
    many = n > 1
    freedom = n[many] - 1
    return float(np.sqrt(freedom @ sd[many] ** 2 / freedom.sum())) if many.any() else float("nan")


def aggregate(summaries: GroupSummaries, rules: School) -> Aggregates:
    """Return means, medians and standard errors.

    ``pooled``: mean s_w / sqrt(n) with the pooled within-school SD, median 50 / sqrt(n). ``own``: the
    school's own SD for the mean. ``sgp``: SD / sqrt(n) and 1.253 times that; for the median of uniform
    percentiles this is 36 / sqrt(n) instead of 50 / sqrt(n), hence too small, and kept for comparison only.

    Parameters
    ----------
    summaries : GroupSummaries
        Of the student percentiles of each school [percentile, 0-100].
    rules : School
        Aggregate and standard-error rule.
    """
    n, sd = summaries.size, summaries.sd
    within = pooled_sd(n, sd)
    root = np.where(n > 0, np.sqrt(n), np.nan)
    mean_se = (within if rules.standard_error == "pooled" else sd) / root
    median_se = NORMAL_MEDIAN_RATIO * mean_se if rules.standard_error == "sgp" else UNIFORM_MEDIAN_SD / root
    of_means = rules.aggregate == "mean"
    return Aggregates(
        n=n,
        mean=summaries.mean,
        mean_se=mean_se,
        median=summaries.median,
        median_se=median_se,
        effect=summaries.mean if of_means else summaries.median,
        effect_se=mean_se if of_means else median_se,
        within_sd=within,
    )
