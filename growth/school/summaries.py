r"""Means, medians and trimmed means per unit, with what their standard errors need.

Results of one student in one unit (two subjects, several years) are not independent. Their values have the
variance :math:`s^2` and, if of one student, the covariance :math:`c`. With weights :math:`w_i` and the sum
:math:`S_i` of those of the student's results in the unit, a weighted mean has

.. math::
    \mathrm{var}(\bar x) = \frac{s^2 A + c\,(C - A)}{W^2}, \quad
    W = \sum w_i, \; A = \sum w_i^2, \; C = \sum w_i S_i .

:math:`s^2` and :math:`c` are pooled over units by moments: the sum of weighted squares and the sum of
products between results of one student are set equal to their expectations,

.. math::
    \mathrm{E} \sum w_i d_i^2 = s^2 (W - A/W) - c\,(C - A)/W, \quad
    \mathrm{E} \sum_{i \ne k} w_i w_k d_i d_k = s^2 \Big(\frac{A (C-A)}{W^2} - \frac{2 D_1}{W}\Big)
    + c \Big(C - A + \frac{(C-A)^2}{W^2} - \frac{2 D_2}{W}\Big),

with deviations :math:`d_i` from the unit's mean, :math:`D_1 = \sum w_i^2 (S_i - w_i)` and
:math:`D_2 = \sum w_i (S_i - w_i)^2`. With one result per student and no weights this is the pooled
within-school variance and :math:`s^2 / n`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from growth._types import BoolArray, FloatArray, IntArray
from growth.kernels.weighted import (
    ClusterSums,
    WeightedSummaries,
    cluster_products,
    cluster_sums,
    weighted_summaries,
)
from growth.spec import School

__all__ = ["Moments", "Pooled", "Rows", "Summaries", "pooled", "statistics", "summarise_rows", "unweighted"]

_LEAST_LEFT = 0.5
"""Negative correlation between results of one student lowers the variance of a mean to this share at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """R rows of U units: unit after unit, and within a unit student after student."""

    percentile: FloatArray
    """Shape (R,) [percentile, 0-100]."""
    value: FloatArray
    """What the effect is made from: the percentile or a residual, shape (R,)."""
    weight: FloatArray
    student: IntArray
    start: IntArray
    """Shape (U + 1,)."""

    @property
    def unit(self) -> IntArray:
        """Unit of each row, shape (R,)."""
        return np.asarray(np.repeat(np.arange(len(self.start) - 1), np.diff(self.start)))

    def part(self, units: slice) -> Rows:
        """Return the rows of some units."""
        first, last = int(self.start[units.start]), int(self.start[units.stop])
        rows = slice(first, last)
        return Rows(
            self.percentile[rows],
            self.value[rows],
            self.weight[rows],
            self.student[rows],
            self.start[units.start : units.stop + 1] - first,
        )

    def keep(self, members: BoolArray) -> Rows:
        """Return the rows marked in `members`, shape (R,); every unit stays, with or without rows."""
        before = np.concatenate([[0], np.cumsum(members)])
        return Rows(
            self.percentile[members],
            self.value[members],
            self.weight[members],
            self.student[members],
            np.ascontiguousarray(before[self.start]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Weighted squares of deviations, and products between results of one student; shape (U,) each."""

    squares: FloatArray
    products: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Summaries:
    """What is known of U units, each array of shape (U,); NaN where there is no result."""

    sums: ClusterSums
    mean: FloatArray
    median: FloatArray
    effect: FloatArray
    """The aggregate that the specification asks for."""
    of_mean: Moments
    of_effect: Moments
    """Of the effect's influence values: deviations from the mean, winsorised for a trimmed mean; for a median
    as `of_mean`."""
    of_sign: Moments
    """Of +1/2 above and -1/2 below the median."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """Variance of one result within units, and the correlation of two results of one student."""

    variance: float
    correlation: float

    def variance_of_mean(self, sums: ClusterSums) -> FloatArray:
        """Return the variance of each unit's weighted mean of results of variance 1, shape (U,)."""
        return np.asarray(self.spread(sums) / np.where(sums.weight > 0, sums.weight, np.nan) ** 2)

    def spread(self, sums: ClusterSums) -> FloatArray:
        """Return A + correlation (C - A), shape (U,)."""
        return np.asarray(sums.squares + self.correlation * (sums.together - sums.squares))


def statistics(rows: Rows, weight: FloatArray, rules: School) -> FloatArray:
    """Return mean, median and effect of every unit under other weights, shape (3, U)."""
    found, effects = _summaries(rows, weight, rules)
    return np.stack([found.mean, found.median, _effect(found, effects, rules)])


def unweighted(values: FloatArray, unit: IntArray, units: int) -> WeightedSummaries:
    """Return summaries of values that count alike, by unit.

    Parameters
    ----------
    values : ndarray, shape (n,)
    unit : ndarray, shape (n,)
        Codes below `units`; rows with a negative code are left out.
    units : int
    """
    order = np.argsort(unit, kind="stable")
    start = np.searchsorted(unit[order], np.arange(units + 1))
    return weighted_summaries(values[order], np.ones(len(values)), start.astype(np.int64), 0.0)


def _summaries(rows: Rows, weight: FloatArray, rules: School) -> tuple[WeightedSummaries, WeightedSummaries]:
    """Return summaries of percentiles, and of what the effect is made from."""
    found = weighted_summaries(rows.percentile, weight, rows.start, rules.trim)
    if rules.aggregate != "mean_residual":
        return found, found
    return found, weighted_summaries(rows.value, weight, rows.start, rules.trim)


def _effect(found: WeightedSummaries, effects: WeightedSummaries, rules: School) -> FloatArray:
    if rules.aggregate == "median":
        return found.median
    return effects.trimmed if rules.aggregate == "trimmed_mean" else effects.mean


def summarise_rows(rows: Rows, rules: School) -> Summaries:
    """Return summaries of every unit."""
    found, effects = _summaries(rows, rows.weight, rules)
    unit = rows.unit
    moments = _moments(rows, rows.percentile - found.mean[unit])
    of_effect = moments
    if rules.aggregate == "mean_residual":
        of_effect = _moments(rows, rows.value - effects.mean[unit])
    elif rules.aggregate == "trimmed_mean":
        inside = np.clip(rows.value, found.low[unit], found.high[unit])
        sums = np.bincount(unit, weights=rows.weight * inside, minlength=len(found.mean))
        total = np.bincount(unit, weights=rows.weight, minlength=len(found.mean))
        with np.errstate(invalid="ignore"):
            middle = sums / total
        of_effect = _moments(rows, (inside - middle[unit]) / (1.0 - 2.0 * rules.trim))
    return Summaries(
        sums=cluster_sums(rows.weight, rows.student, rows.start),
        mean=found.mean,
        median=found.median,
        effect=_effect(found, effects, rules),
        of_mean=moments,
        of_effect=of_effect,
        of_sign=_moments(rows, 0.5 * np.sign(rows.percentile - found.median[unit])),
    )


def _moments(rows: Rows, deviations: FloatArray) -> Moments:
    return Moments(*cluster_products(deviations, rows.weight, rows.student, rows.start))


def pooled(sums: ClusterSums, moments: Moments) -> Pooled:
    """Return variance and correlation pooled over units; the variance is NaN without degrees of freedom."""
    some = sums.weight > 0
    w, a = sums.weight[some], sums.squares[some]
    pairs = sums.together[some] - a
    squares, products = float(moments.squares[some].sum()), float(moments.products[some].sum())
    freedom = float((w - a / w).sum())
    if freedom <= 1e-9:
        return Pooled(float("nan"), 0.0)
    if not pairs.any():
        return Pooled(squares / freedom, 0.0)
    system = np.array(
        [
            [freedom, -(pairs / w).sum()],
            [
                (a * pairs / w**2 - 2.0 * sums.first[some] / w).sum(),
                (pairs + (pairs / w) ** 2 - 2.0 * sums.second[some] / w).sum(),
            ],
        ]
    )
    if abs(np.linalg.det(system)) <= 1e-9 * np.abs(system).max() ** 2:
        # every unit holds one student: nothing tells variance from covariance
        return Pooled(float("nan"), 0.0)
    variance, covariance = np.linalg.solve(system, [squares, products])
    if variance <= 0:
        return Pooled(squares / freedom, 0.0)
    lowest = -_LEAST_LEFT / (int(sums.most.max()) - 1)
    return Pooled(float(variance), float(np.clip(covariance / variance, lowest, 1.0)))
