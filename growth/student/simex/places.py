"""Places of scores among corrected curves, and the ranks of those places.

Corrected percentiles are not uniform: the curves at true priors are nearer to each other than scores given
observed priors. Ranking them within the cohort makes them uniform again (Castellano & McCaffrey 2017).

References
----------
.. [1] K. E. Castellano and D. F. McCaffrey (2017), The accuracy of aggregate student growth percentiles as
   indicators of educator performance, EM:IP 36(1), 14-27.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from growth._types import FloatArray, IntArray

__all__ = ["Places", "SimexGrowth", "place_in", "ranked"]

_PARTS = 8
"""Midpoints three times: eight parts between neighbouring curves."""


@dataclass(frozen=True, slots=True, eq=False)
class SimexGrowth:
    """Percentiles corrected for measurement error in the priors, in the order of the cohort's rows.

    They serve aggregates: the error of one student's corrected percentile is larger than that of the
    uncorrected one.
    """

    sgp: IntArray
    """SIMEX, shape (n,), 1-99."""
    percentile: FloatArray
    """Its continuous version, shape (n,), in (0, 1)."""
    sgp_ranked: IntArray
    """Ranked SIMEX, shape (n,), 1-99."""
    percentile_ranked: FloatArray
    """Its continuous version, shape (n,), in (0, 1): (rank - 1/2) / n of `percentile`, ties at their mean."""
    place: FloatArray
    """What `sgp_ranked` ranks, shape (n,): place among the curves in eighths. Kept as a later cohort's
    reference (see `ranked`)."""


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where each score lies among its row's curves."""

    below: IntArray
    """Number of curves below the score, shape (n,)."""
    percentile: FloatArray
    """Interpolated between curves; the middle on a curve and beyond the outermost ones; shape (n,)."""
    eighths: FloatArray
    """Place among curves and the midpoints between them, shape (n,) [percentile points]."""


def place_in(curves: FloatArray, score: FloatArray, taus: FloatArray) -> Places:
    """Place each score among ascending curves.

    Parameters
    ----------
    curves : ndarray, shape (n, m)
        Ascending in each row [scale-score points].
    score : ndarray, shape (n,)
    taus : ndarray, shape (m,)

    Returns
    -------
    Places
        `eighths` is the number of points strictly below the score, over 8, with midpoints inserted between
        neighbouring curves three times (100 curves: 793 points); 0 becomes 1 and 100 becomes 99, as in the R
        package, where scores below every curve therefore tie with those one curve up.
    """
    m = curves.shape[1]
    below = np.count_nonzero(curves < score[:, None], axis=1)
    upto = np.count_nonzero(curves <= score[:, None], axis=1)
    under = np.take_along_axis(curves, np.maximum(below - 1, 0)[:, None], axis=1)[:, 0]
    over = np.take_along_axis(curves, np.minimum(below, m - 1)[:, None], axis=1)[:, 0]
    left, right = taus[np.maximum(below - 1, 0)], taus[np.minimum(below, m - 1)]
    between = (upto == below) & (below > 0) & (below < m)
    share = np.divide(score - under, over - under, out=np.zeros(len(score)), where=between)
    percentile = left + share * (right - left)
    on = upto > below
    percentile = np.where(on, 0.5 * (right + taus[np.maximum(upto - 1, 0)]), percentile)
    percentile = np.where((below == 0) & ~on, 0.5 * taus[0], percentile)
    percentile = np.where((below == m) & ~on, 0.5 * (1.0 + taus[-1]), percentile)
    return Places(below, percentile, _eighths(below, under, over, score, m))


def ranked(place: FloatArray, reference: FloatArray | None = None) -> IntArray:
    """Return ranked SIMEX percentiles, shape (n,), 1-99.

    Parameters
    ----------
    place : ndarray, shape (n,)
        `Places.eighths` of the cohort.
    reference : ndarray, shape (r,), optional
        Those of an earlier cohort to be ranked in; without it the cohort is ranked in itself.

    Returns
    -------
    ndarray
        100 rank / n, ties at their mean rank, half to even; 0 becomes 1 and 100 becomes 99.
    """
    among = np.sort(place if reference is None else reference)
    rank = 0.5 * (np.searchsorted(among, place, "left") + np.searchsorted(among, place, "right") + 1)
    return np.clip(np.rint(100.0 * rank / len(among)), 1, 99).astype(np.int64)


def _eighths(below: IntArray, under: FloatArray, over: FloatArray, score: FloatArray, m: int) -> FloatArray:
    points = np.column_stack([under, over])
    for _ in range(3):
        finer = np.empty((len(points), 2 * points.shape[1] - 1))
        finer[:, ::2] = points
        finer[:, 1::2] = (points[:, 1:] + points[:, :-1]) / 2
        points = finer
    inside = np.count_nonzero(points[:, 1:-1] < score[:, None], axis=1)
    count = np.where(below == 0, 0, _PARTS * (below - 1) + 1 + np.where(below < m, inside, 0))
    place = count / _PARTS
    return np.where(place == 0.0, 1.0, np.where(place == 100.0, 99.0, place))
