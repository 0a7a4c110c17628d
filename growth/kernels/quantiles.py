"""Quantile regression on one column: weighted quantiles of its ratios to the response."""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray, IntArray
from growth.kernels.compiler import kernel
from growth.kernels.sums import plus, times

__all__ = ["one_column"]

EDGE = 2e-15
"""Sums of weights that differ by this share of all are equal up to rounding, as in the pivoting."""
IN_BOX = 5e-10
"""A dual value may leave its box by this share of the box, half of what a proof allows."""
TIED = 8 * 2.0**-52
"""Ratios that differ by this share are equal up to rounding."""


@kernel
def one_column(
    ratio: FloatArray,
    order: IntArray,
    column: FloatArray,
    weight: FloatArray,
    taus: FloatArray,
    place_out: IntArray,
    first_out: IntArray,
    last_out: IntArray,
) -> None:
    """Find the rows at which the running sums of |w x| reach tau (sum of w x) + (sum of |w x| over x < 0).

    Where such a sum is met exactly the next ratio is optimal as well: the smaller one is taken.

    Parameters
    ----------
    ratio, column, weight : ndarray, shape (n,)
        The sum of weight times column is positive. Rows whose ratio is not finite have no weight.
    order : ndarray, shape (n,)
        Sorts the ratios.
    taus : ndarray, shape (m,)
    place_out : ndarray, shape (m,)
        Places in `order`.
    first_out, last_out : ndarray, shape (m,)
        The first place with the same ratio, and one beyond the last.
    """
    n, m = ratio.shape[0], taus.shape[0]
    whole, whole_lost, negative, negative_lost = 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        pull = weight[i] * column[i]
        whole, lost = plus(whole, pull)
        whole_lost += lost
        if pull < 0.0:
            negative, lost = plus(negative, -pull)
            negative_lost += lost
    largest = EDGE * (whole + 2.0 * negative)
    k, place = 0, 0
    reached, reached_lost = 0.0, 0.0
    for s in range(n):
        i = order[s]
        pull = weight[i] * abs(column[i])
        if pull == 0.0 or not abs(ratio[i]) < np.inf:
            continue
        place = s
        reached, lost = plus(reached, pull)
        reached_lost += lost
        while k < m:
            goal, goal_lost = times(taus[k], whole)
            goal, lost = plus(goal, negative)
            goal_lost += lost + negative_lost + taus[k] * whole_lost
            missing = (goal - reached) + (goal_lost - reached_lost)
            if missing > min(largest, IN_BOX * min(taus[k], 1.0 - taus[k]) * pull):
                break
            place_out[k] = s
            k += 1
        if k == m:
            break
    place_out[k:] = place
    for k in range(m):
        value = ratio[order[place_out[k]]]
        margin = TIED * abs(value)
        first, last = place_out[k], place_out[k] + 1
        while first > 0 and ratio[order[first - 1]] >= value - margin:
            first -= 1
        while last < n and ratio[order[last]] <= value + margin:
            last += 1
        first_out[k], last_out[k] = first, last
