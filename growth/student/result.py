"""What every engine gives: each student's percentile, expected score and residual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from growth._types import FloatArray, IntArray

__all__ = ["EQUAL", "HUNDRED", "StudentGrowth", "percentile_ranks", "sgp_of"]

HUNDRED = (np.arange(100) + 0.5) / 100
"""Percentile m + 1 begins where the share of similar students below reaches `HUNDRED[m]`."""

EQUAL = 9
"""Residuals that agree to this many decimals of their SD are tied: they differ by rounding only."""


@dataclass(frozen=True, slots=True, eq=False)
class StudentGrowth:
    """Growth of the students of one cohort, in the order of its rows."""

    key: str
    """The cohort's key."""
    sgp: IntArray
    """Student growth percentile, shape (n,), 1-99."""
    percentile: FloatArray
    """Continuous percentile, shape (n,), in (0, 1)."""
    expected: FloatArray
    """Score expected of similar students, shape (n,) [scale-score points]: their median where quantiles are
    fitted, else their mean."""
    residual: FloatArray
    """Score minus expected score, shape (n,) [scale-score points]."""

    @property
    def diagnostics(self) -> dict[str, object]:
        """How the cohort was fitted, by column of the cells frame."""
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key}: {len(self.sgp):,} students)"


def sgp_of(percentile: FloatArray) -> IntArray:
    """Return the integers, 1-99, of continuous percentiles: the number of the 100 taus below each.

    The same rule as for fitted curves (a score earns SGP m above curve m), with a curve at every tau.
    """
    return np.clip(np.searchsorted(HUNDRED, percentile, side="left"), 1, 99).astype(np.int64)


def percentile_ranks(residual: FloatArray, spread: float) -> FloatArray:
    """Return, shape (n,), the share of the cohort with a smaller residual; oneself and ties count half."""
    from scipy.stats import rankdata

    ranks = rankdata(np.round(residual / spread, EQUAL), method="average")
    return np.asarray((ranks - 0.5) / len(residual), dtype=np.float64)
