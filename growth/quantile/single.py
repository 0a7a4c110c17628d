"""One column: every solution is a weighted quantile of the same ratios, so one sort serves all taus.

With one column x the residual y - x b has the sign of x times that of y / x - b, and

    sum of w rho_tau(y - x b) = sum of w |x| rho(y / x - b),    rho = rho_tau where x > 0, else rho_(1 - tau).

Its slope in b is zero where the w |x| of the rows with y / x below b reach

    tau (sum of w x) + (sum of w |x| over rows with x < 0).

Where the sum of w x is negative, -x and -b take the place of x and b, so that solutions rise with tau.
"""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray
from growth.kernels.quantiles import one_column
from growth.quantile.prepare import Prepared
from growth.quantile.walk import COUNTERS, Walked

__all__ = ["weighted_quantiles"]


def weighted_quantiles(prepared: Prepared, taus: FloatArray) -> Walked:
    """Solve all taus of a problem with one column that is not zero throughout."""
    column, weight, m = prepared.design.dense()[:, 0], prepared.weight, taus.size
    column = np.ascontiguousarray(column if weight @ column >= 0.0 else -column)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = prepared.problem.response / column
    order = np.argsort(ratio)
    place, first, last = np.empty((3, m), np.int64)
    one_column(ratio, order, column, weight, taus, place, first, last)
    # Rows with the same ratio lie on the hyperplane: their order tells their sides.
    size = last - first
    tau = np.repeat(np.arange(m), size)
    tied = np.arange(tau.size) + np.repeat(last - np.cumsum(size), size)
    rows = order[tied]
    side = np.sign(tied - place[tau]) * np.sign(column[rows])
    ties = np.column_stack([tau, rows, side]).astype(np.int32)
    counters = {name: np.zeros(m, np.int64) for name in COUNTERS}
    counters["passes"][0] = 1
    counters["band"] = size
    return Walked(order[place][:, None], ties, counters, [False] * m)
