r"""Weighted summaries of values within groups, and the moments that a clustered standard error needs.

Rows lie group after group; within a group those of one student lie together. Values are ordered within their
group before anything is summed, so that results do not depend on the order of the rows, not even in the last
digit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from growth._types import FloatArray, IntArray
from growth.kernels.compiler import allocating

__all__ = ["ClusterSums", "WeightedSummaries", "cluster_products", "cluster_sums", "weighted_summaries"]

ROUNDING = 1e-12
"""Relative to the total weight: shares such as .3 + .7 add up to 1 within rounding only."""


class WeightedSummaries(NamedTuple):
    """One entry per group, each of shape (G,); NaN for groups without weight."""

    mean: FloatArray
    median: FloatArray
    """Where the weight up to it passes one half; between two values with half the weight each, their mean."""
    trimmed: FloatArray
    """Mean of the weight between the two trimming quantiles; values on these count by the part inside."""
    low: FloatArray
    """Lower trimming quantile."""
    high: FloatArray
    """Upper trimming quantile."""


class ClusterSums(NamedTuple):
    r"""Sums of the weights w_i, with S_i that of the student's rows in the group; each of shape (G,)."""

    students: IntArray
    """Students with positive weight."""
    most: IntArray
    """Rows of the student with the most."""
    weight: FloatArray
    """:math:`\\sum w_i`."""
    squares: FloatArray
    """:math:`\\sum w_i^2`."""
    together: FloatArray
    """:math:`\\sum w_i S_i`: the squares, and the products of the rows of one student."""
    first: FloatArray
    """:math:`\\sum w_i^2 (S_i - w_i)`."""
    second: FloatArray
    """:math:`\\sum w_i (S_i - w_i)^2`."""


@allocating
def weighted_summaries(
    values: FloatArray, weights: FloatArray, start: IntArray, trim: float
) -> WeightedSummaries:
    """Return mean, median and trimmed mean of each group.

    Parameters
    ----------
    values, weights : ndarray, shape (n,)
        Weights of 0 leave a row out.
    start : ndarray, shape (G + 1,)
        Group g holds rows ``start[g]:start[g + 1]``.
    trim : float
        Share of the weight that is trimmed at each end, below one half.
    """
    groups = start.shape[0] - 1
    mean = np.full(groups, np.nan)
    median = np.full(groups, np.nan)
    trimmed = np.full(groups, np.nan)
    lower = np.full(groups, np.nan)
    upper = np.full(groups, np.nan)
    for g in range(groups):
        first, last = start[g], start[g + 1]
        order = first + np.argsort(values[first:last])
        weight = 0.0
        total = 0.0
        for i in order:
            weight += weights[i]
            total += weights[i] * values[i]
        if not weight > 0.0:
            continue
        mean[g] = total / weight
        slack = ROUNDING * weight
        half, bottom, top = 0.5 * weight, trim * weight, (1.0 - trim) * weight
        below = 0.0
        inside = 0.0
        middle = np.nan
        for i in order:
            w, v = weights[i], values[i]
            if w <= 0.0:
                continue
            upto = below + w
            if np.isnan(median[g]):
                if not np.isnan(middle):
                    median[g] = 0.5 * (middle + v)
                elif upto > half + slack:
                    median[g] = v
                elif upto >= half - slack:
                    middle = v
            inside += v * max(min(upto, top) - max(below, bottom), 0.0)
            if np.isnan(lower[g]) and upto > bottom + slack:
                lower[g] = v
            if np.isnan(upper[g]) and upto >= top - slack:
                upper[g] = v
            below = upto
        trimmed[g] = inside / (top - bottom)
    return WeightedSummaries(mean, median, trimmed, lower, upper)


@allocating
def cluster_sums(weights: FloatArray, student: IntArray, start: IntArray) -> ClusterSums:
    """Return the sums of weights of each group.

    Parameters
    ----------
    weights : ndarray, shape (n,)
    student : ndarray, shape (n,)
        Code of the student; within a group equal codes lie together.
    start : ndarray, shape (G + 1,)
    """
    groups = start.shape[0] - 1
    students = np.zeros(groups, np.int64)
    most = np.zeros(groups, np.int64)
    sums = np.zeros((5, groups))
    for g in range(groups):
        i = start[g]
        while i < start[g + 1]:
            end = i
            own = 0.0
            rows = 0
            while end < start[g + 1] and student[end] == student[i]:
                own += weights[end]
                rows += weights[end] > 0.0
                end += 1
            students[g] += own > 0.0
            most[g] = max(most[g], rows)
            for k in range(i, end):
                w = weights[k]
                other = own - w
                sums[0, g] += w
                sums[1, g] += w * w
                sums[2, g] += w * own
                sums[3, g] += w * w * other
                sums[4, g] += w * other * other
            i = end
    return ClusterSums(students, most, sums[0], sums[1], sums[2], sums[3], sums[4])


@allocating
def cluster_products(
    deviations: FloatArray, weights: FloatArray, student: IntArray, start: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return, per group, the weighted squares of deviations and their products between rows of one student.

    Parameters
    ----------
    deviations : ndarray, shape (n,)
        From the group's centre.
    weights, student, start
        As in `cluster_sums`.

    Returns
    -------
    squares, products : ndarray, shape (G,)
        Sums of w_i d_i^2, and of w_i w_k d_i d_k over ordered pairs of different rows of one student.
    """
    groups = start.shape[0] - 1
    squares = np.zeros(groups)
    products = np.zeros(groups)
    for g in range(groups):
        i = start[g]
        while i < start[g + 1]:
            end = i
            own = 0.0
            alone = 0.0
            while end < start[g + 1] and student[end] == student[i]:
                part = weights[end] * deviations[end]
                own += part
                alone += part * part
                squares[g] += part * deviations[end]
                end += 1
            if end - i > 1:
                products[g] += own * own - alone
            i = end
    return squares, products
