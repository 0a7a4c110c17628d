r"""Which decision matters: the share of the variance of school ranks that is due to each factor.

Of each school :math:`j` a study has a rank :math:`Y_j` per variant: its percentile rank among the schools
with results in every variant. All variance below is over variants, school by school, and added up.

*Main effect* of factor :math:`i`: :math:`\sum_j \mathrm{Var}(E[Y_j | X_i]) / \sum_j \mathrm{Var}(Y_j)`, what
would go if the factor alone were settled. *Total effect*: :math:`\sum_j E[\mathrm{Var}(Y_j | X_{-i})] /
\sum_j \mathrm{Var}(Y_j)`, what would be left if all others were (Sobol; Saltelli et al. 2010); main and total
differ by interactions.

- Full design: both are exact, by analysis of variance over the combinations. Combinations that were refused
  leave it unbalanced; it is then read as a fraction.
- Fractional and random designs: least squares on main effects (levels as they are, numbers from a range as a
  straight line); the main effect is the drop of the explained sum of squares when the factor is left out
  (type II). Total effects cannot be had.
- One at a time: the variance among the factor's own variants and the base; shares are of the sum over
  factors, as if there were no interactions.

References
----------
.. [1] A. Saltelli, P. Annoni, I. Azzini, F. Campolongo, M. Ratto and S. Tarantola (2010), Variance based
   sensitivity analysis of model output, Computer Physics Communications 181(2), 259-270.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from growth._types import FloatArray, IntArray

__all__ = ["Shares", "alone", "crossed", "percent_ranks", "regressed"]


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Of f factors; arrays of shape (f,)."""

    main: FloatArray
    total: FloatArray
    """NaN where the design does not tell."""
    sd: FloatArray
    """SD over variants that the main effect alone makes in a school's rank, root mean square over schools
    [percentile points]."""
    variance: float
    """Mean over schools of the variance over variants (one at a time: sum of the factors' own)."""


def percent_ranks(values: FloatArray) -> FloatArray:
    """Return 100 (rank - 1/2) / J within each row, ties at their mean; shape (variants, J)."""
    from scipy.stats import rankdata

    return np.asarray(100 * (rankdata(values, axis=1) - 0.5) / values.shape[1])


def crossed(ranks: FloatArray, codes: IntArray) -> Shares:
    """Return the shares of a full factorial.

    Parameters
    ----------
    ranks : ndarray, shape (v, J)
        One row per combination.
    codes : ndarray of int, shape (v, f)
        Levels, counted from 0; every combination once.
    """
    sizes = codes.max(axis=0) + 1
    cube = np.empty((*sizes, ranks.shape[1]))
    cube[tuple(codes.T)] = ranks
    axes = tuple(range(len(sizes)))
    variance = float(cube.var(axis=axes).mean())
    main = np.array([cube.mean(axis=tuple(a for a in axes if a != i)).var(axis=0).mean() for i in axes])
    total = np.array([cube.var(axis=i).mean() for i in axes])
    return Shares(_share(main, variance), _share(total, variance), np.sqrt(main), variance)


def regressed(ranks: FloatArray, columns: Sequence[FloatArray]) -> Shares:
    """Return the shares by least squares on main effects.

    Parameters
    ----------
    ranks : ndarray, shape (v, J)
    columns : sequence of ndarray, each of shape (v, levels - 1)
        Of each factor.
    """
    variance = float(ranks.var(axis=0).mean())
    whole = _explained(ranks, columns)
    left_out = [_explained(ranks, [*columns[:i], *columns[i + 1 :]]) for i in range(len(columns))]
    main = np.maximum(whole - np.array(left_out), 0.0)
    return Shares(_share(main, variance), np.full(len(columns), np.nan), np.sqrt(main), variance)


def alone(ranks: FloatArray, members: Sequence[IntArray]) -> Shares:
    """Return the shares of factors that were varied one at a time.

    Parameters
    ----------
    ranks : ndarray, shape (v, J)
    members : sequence of ndarray of int
        Rows of each factor's own variants, the base among them.
    """
    own = np.array([ranks[rows].var(axis=0).mean() for rows in members])
    return Shares(_share(own, float(own.sum())), np.full(len(own), np.nan), np.sqrt(own), float(own.sum()))


def _explained(ranks: FloatArray, columns: Sequence[FloatArray]) -> float:
    """Return the mean over schools of the variance of fitted values."""
    x = np.hstack([np.ones((len(ranks), 1)), *columns])
    fitted = x @ np.linalg.lstsq(x, ranks, rcond=None)[0]
    return float(fitted.var(axis=0).mean())


def _share(part: FloatArray, whole: float) -> FloatArray:
    return part / whole if whole > 0 else np.zeros_like(part)
