"""Summaries of values within groups, and places of draws within rows of reference draws.

Groups are integer codes 0..G-1. Values are ordered within their group before anything is summed, so that
results do not depend on the order of the rows, not even in the last digit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from growth._types import FloatArray, IntArray
from growth.kernels.compiler import allocating

__all__ = ["GroupSummaries", "gather", "places", "summarise"]


class GroupSummaries(NamedTuple):
    """One entry per group, each of shape (G,)."""

    size: IntArray
    """Number of values."""
    mean: FloatArray
    """NaN for empty groups."""
    sd: FloatArray
    """Sample SD (n - 1); NaN below two values."""
    median: FloatArray
    """Mean of the two middle values for even counts; NaN for empty groups."""


@allocating
def gather(values: FloatArray, codes: IntArray, groups: int) -> tuple[FloatArray, IntArray]:
    """Bring values together by group, ascending within each.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Without NaN.
    codes : ndarray, shape (n,)
        Group of each value; rows with a negative code are left out.
    groups : int
        Number of groups, G; larger than every code.

    Returns
    -------
    ordered : ndarray, shape (m,)
        The m values that have a group.
    start : ndarray, shape (G + 1,)
        Group g holds ``ordered[start[g]:start[g + 1]]``.
    """
    start = np.zeros(groups + 1, np.int64)
    for i in range(codes.shape[0]):
        if codes[i] >= 0:
            start[codes[i] + 1] += 1
    for g in range(groups):
        start[g + 1] += start[g]
    free = start[:groups].copy()
    ordered = np.empty(start[groups], np.float64)
    for i in range(codes.shape[0]):
        g = codes[i]
        if g >= 0:
            ordered[free[g]] = values[i]
            free[g] += 1
    for g in range(groups):
        ordered[start[g] : start[g + 1]].sort()
    return ordered, start


@allocating
def summarise(values: FloatArray, codes: IntArray, groups: int) -> GroupSummaries:
    """Return count, mean, SD and median of each group; parameters as in `gather`."""
    ordered, start = gather(values, codes, groups)
    count = np.zeros(groups, np.int64)
    mean = np.full(groups, np.nan)
    sd = np.full(groups, np.nan)
    median = np.full(groups, np.nan)
    for g in range(groups):
        low, high = start[g], start[g + 1]
        n = high - low
        count[g] = n
        if n == 0:
            continue
        total = 0.0
        for i in range(low, high):
            total += ordered[i]
        mean[g] = total / n
        median[g] = 0.5 * (ordered[low + (n - 1) // 2] + ordered[low + n // 2])
        if n > 1:
            squares = 0.0
            for i in range(low, high):
                squares += (ordered[i] - mean[g]) ** 2
            sd[g] = np.sqrt(squares / (n - 1))
    return GroupSummaries(count, mean, sd, median)


@allocating
def places(reference: FloatArray, draws: FloatArray, order: IntArray) -> IntArray:
    """Count, draw by draw, the reference values below each value twice and the equal ones once.

    A merge of two ordered rows: D (J + R) steps.

    Parameters
    ----------
    reference : ndarray, shape (D, R)
        Each row ascending.
    draws : ndarray, shape (D, J)
    order : ndarray, shape (D, J)
        ``argsort`` of each row of `draws`.

    Returns
    -------
    ndarray, shape (D, J)
        2 x number below + number equal, 0..2R; half of it over R is the mid-rank share.
    """
    rows, schools = draws.shape
    size = reference.shape[1]
    out = np.empty((rows, schools), np.int64)
    for d in range(rows):
        below = 0
        upto = 0
        for k in range(schools):
            j = order[d, k]
            v = draws[d, j]
            while below < size and reference[d, below] < v:
                below += 1
            upto = max(upto, below)
            while upto < size and reference[d, upto] <= v:
                upto += 1
            out[d, j] = below + upto
    return out
