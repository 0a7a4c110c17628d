"""What is kept of a fitted cohort, engine by engine: all that its data decided, and nothing of its students.

The linear engines place residuals in the base year's distribution of residuals, kept as up to a thousand
quantiles: exact ranks in cohorts up to that size, within .0005 above it, and no list of students' residuals.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from growth._types import FloatArray
from growth.quantile import QuantileProcess, SplineBasis
from growth.student.result import EQUAL

__all__ = [
    "CohortModel",
    "FrozenLine",
    "LinearModel",
    "Makeup",
    "NormalModel",
    "QuantileModel",
    "residual_quantiles",
]

RESIDUALS_KEPT = 1000


@dataclass(frozen=True, slots=True, eq=False)
class QuantileModel:
    """Curves of the quantile engine, with their certificates."""

    bases: tuple[SplineBasis, ...]
    """Spline basis per prior."""
    names: tuple[str, ...]
    """Columns, length p."""
    taus: FloatArray
    """Shape (m,)."""
    coef: FloatArray
    """Shape (m, p); 0 for dropped columns."""
    dropped: tuple[int, ...]
    """Columns that depended on earlier ones in the base year."""
    objective: FloatArray
    """Sum of check losses in the base year, shape (m,) [scale-score points]."""
    relative_gap: FloatArray
    """Proven distance from optimality in the base year, shape (m,)."""
    fallback: tuple[int, ...]
    """Numbers of the taus that only the simplex on all rows solved."""

    @classmethod
    def of(cls, process: QuantileProcess, bases: tuple[SplineBasis, ...]) -> QuantileModel:
        """Keep what a later year needs of a fitted process."""
        fallback = tuple(t for t, status in enumerate(process.status) if status == "fallback")
        return cls(
            bases,
            process.names,
            process.taus,
            process.coef,
            process.dropped,
            process.objective,
            process.relative_gap,
            fallback,
        )

    def process(self, n: int) -> QuantileProcess:
        """Return the curves as a process; its basic rows and duals belonged to the base year's `n` rows."""
        m = len(self.taus)
        ends = np.cumsum([1, *(basis.n_columns for basis in self.bases)]).tolist()
        return QuantileProcess(
            taus=self.taus,
            coef=self.coef,
            objective=self.objective,
            relative_gap=self.relative_gap,
            dual=np.empty((m, 0)),
            basis=np.empty((m, 0), dtype=np.int64),
            status=tuple("fallback" if t in self.fallback else "certified" for t in range(m)),
            counters={},
            names=self.names,
            dropped=self.dropped,
            n=n,
            blocks=tuple(slice(a, b) for a, b in pairwise(ends)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class NormalModel:
    """Mean and spread of the normal-theory engine."""

    bases: tuple[SplineBasis, ...]
    """Spline basis per prior."""
    names: tuple[str, ...]
    """Columns, length p."""
    coef: FloatArray
    """Of the conditional mean, shape (p,)."""
    dropped: tuple[str, ...]
    residual_sd: float
    """[scale-score points]."""
    r2: float
    knots: FloatArray
    """Of the spread's spline, increasing, shape (k,) [scale-score points]."""
    log_variance: FloatArray
    """Log of the variance over `residual_sd` squared at the knots, shape (k,)."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearModel:
    """Prediction of the engines `eiv` and `residual_gain`, and the distribution of its residuals."""

    names: tuple[str, ...]
    """Columns, length p."""
    coef: FloatArray
    """Shape (p,)."""
    centres: FloatArray
    """Means that the priors are measured from, shape (k,) [scale-score points]."""
    dropped: tuple[str, ...]
    residual_sd: float
    """[scale-score points]."""
    r2: float
    least_reliability: float
    capped: int
    residuals: FloatArray
    """Quantiles (j + 1/2) / q of the residuals, ascending, shape (q,) [scale-score points]."""

    def percentile(self, residual: FloatArray) -> FloatArray:
        """Return the place of residuals among the base year's, shape (n,), in (0, 1); ties in the middle."""
        kept, given = (np.round(x / self.residual_sd, EQUAL) for x in (self.residuals, residual))
        values, place = np.unique(kept, return_index=True)
        count = np.diff([*place, len(kept)])
        return np.asarray(np.interp(given, values, (place + count / 2) / len(kept)))


CohortModel: TypeAlias = QuantileModel | NormalModel | LinearModel


@dataclass(frozen=True, slots=True, eq=False)
class Makeup:
    """What two-step composition needs of a cohort."""

    prior_sd: float
    """SD of the most recent own prior [scale-score points]."""
    means: FloatArray
    """Means of the traits that schools are measured from, shape (q,)."""
    spread: float
    """Residual SD within schools; 0 where the cohort was too small for its own slopes."""


@dataclass(frozen=True, slots=True, eq=False)
class FrozenLine:
    """Effects of schools on their traits, of one subject."""

    year: int
    subject: str
    traits: tuple[str, ...]
    slopes: FloatArray
    """Shape (q,) [SDs of students within schools]; 0 where not estimated."""
    standard_error: FloatArray
    """Shape (q,); NaN where not estimated."""
    status: tuple[str, ...]
    schools: int
    covariance: FloatArray | None = None
    """Of the slopes, shape (q, q); 0 where not estimated. None in bundles of the first versions."""


def residual_quantiles(residual: FloatArray) -> FloatArray:
    """Return what is kept of residuals: all of up to a thousand, else a thousand quantiles; ascending."""
    kept = min(len(residual), RESIDUALS_KEPT)
    return np.asarray(np.quantile(residual, (np.arange(kept) + 0.5) / kept, method="hazen"))
