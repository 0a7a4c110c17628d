"""One column: every solution is a weighted quantile of the same ratios, so one sort serves all taus.

With one column x the residual y - x b has the sign of x times that of y / x - b, and

    sum of w rho_tau(y - x b) = sum of w |x| rho(y / x - b),    rho = rho_tau where x > 0, else rho_(1 - tau).

Its slope in b is zero where the w |x| of the rows with y / x below b reach

    tau (sum of w x) + (sum of w |x| over rows with x < 0).

Where sum of w x is negative, -x and -b take the place of x and b, so that solutions rise with tau.
"""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray, IntArray
from growth.quantile.prepare import Prepared
from growth.quantile.walk import COUNTERS, Walked

__all__ = ["weighted_quantiles"]

EDGE = 2e-15
"""Sums of weights that differ by this share of all are equal up to rounding, as in the pivoting."""
IN_BOX = 5e-10
"""A dual value may leave its box by this share of the box, half of what a proof allows."""
TIED = 8 * 2.0**-52
"""Ratios that differ by this share are equal up to rounding."""


def weighted_quantiles(prepared: Prepared, taus: FloatArray) -> Walked:
    """Solve all taus of a problem with one column that is not zero throughout."""
    x, y, weight = prepared.design.dense()[:, 0], prepared.problem.response, prepared.weight
    if weight @ x < 0.0:
        x = -x
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = y / x
    order = np.argsort(ratio)
    order = order[: np.searchsorted(ratio[order], np.inf)]  # the others have no weight
    ratio, pull = ratio[order], (weight * np.abs(x))[order]
    reached = np.cumsum(pull, dtype=np.longdouble)
    negative = pull[x[order] < 0.0].sum(dtype=np.longdouble)
    target = taus * (reached[-1] - 2 * negative) + negative
    place = np.minimum(np.searchsorted(reached, target), order.size - 1)
    # On the edge of its box the value before is optimal as well: the limit from smaller taus.
    before = np.maximum(place - 1, 0)
    missing = target - reached[before]
    tolerance = np.minimum(IN_BOX * np.minimum(taus, 1.0 - taus) * pull[before], EDGE * reached[-1])
    place = np.where(missing <= tolerance, before, place)
    ties = _ties(ratio, place, np.sign(x)[order])
    ties[:, 1] = order[ties[:, 1]]
    counters = {name: np.zeros(taus.size, np.int64) for name in COUNTERS}
    counters["passes"][0] = 1
    counters["band"] = np.bincount(ties[:, 0], minlength=taus.size) + 1
    return Walked(order[place][:, None], ties, counters, [False] * taus.size)


def _ties(ratio: FloatArray, place: IntArray, sign: FloatArray) -> IntArray:
    """Give the rows with the ratio of a basic row, as (position of tau, place, side), sides by their order."""
    margin = TIED * np.abs(ratio[place])
    first = np.searchsorted(ratio, ratio[place] - margin)
    size = np.searchsorted(ratio, ratio[place] + margin, side="right") - first
    tau = np.repeat(np.arange(place.size), size)
    tied = np.arange(tau.size) + np.repeat(first - np.cumsum(size) + size, size)
    beyond = np.sign(tied - place[tau])
    ties = np.column_stack([tau, tied, beyond * sign[tied].astype(np.int64)])
    return ties[beyond != 0]
