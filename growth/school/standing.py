"""Where schools stand, in probabilities: levels, the bottom, the upper half, the expected percentile rank.

In each joint posterior draw every school has a percentile (its rank among that draw's reference schools, or
its place in their normal distribution), hence a level. A probability is the share of draws; all of them, the
band and the expected rank come from the same draws.

References
----------
.. [1] R. Lin, T. A. Louis, S. M. Paddock and G. Ridgeway (2006), Bayesian Analysis 1(4), 915-946.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from growth._types import CodeArray, FloatArray, IntArray
from growth.kernels.grouped import places
from growth.school.bands import TAIL

__all__ = ["BOTTOM", "LEVELS", "TENS", "Standing", "nowhere", "standing_of_percentiles", "standing_of_ranks"]

LEVELS = 10
TENS = np.arange(10.0, 100.0, 10.0)
BOTTOM = 5.0
"""The bottom 5 % are the growth percentiles below this."""
_MIDDLE = 50.0
_AT_ONCE = 128
"""Schools, or draws, that are counted at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """What the draws say of J schools; NaN where there are none."""

    low: FloatArray
    """Lower end of the 95 % band, shape (J,) [percentile, 0-100]."""
    high: FloatArray
    expected: FloatArray
    """Mean percentile over draws, shape (J,)."""
    levels: FloatArray
    """P(level 1), ..., P(level 10), shape (J, 10)."""
    bottom: FloatArray
    """P(percentile below 5), shape (J,)."""
    above: FloatArray
    """P(percentile above 50), half of P(50) included, shape (J,)."""


def nowhere(schools: int) -> Standing:
    """Return the standing of schools without draws."""
    nothing = np.full(schools, np.nan)
    return Standing(nothing, nothing, nothing, np.full((schools, LEVELS), np.nan), nothing, nothing)


def standing_of_ranks(draws: FloatArray, reference: FloatArray, cuts: FloatArray) -> Standing:
    """Return the standing by percentile ranks among reference schools.

    The ends of a band are ranks that were drawn, the outer ones where the quantile falls between two.

    Parameters
    ----------
    draws : ndarray, shape (D, J)
        Joint posterior draws of the ranked schools.
    reference : ndarray, shape (D, R)
        Those of the reference schools, R >= 1, each row ascending.
    cuts : ndarray, shape (9,)
        Lower bounds of levels 2, ..., 10 [percentile, 0-100].
    """
    ranks: CodeArray = np.empty(draws.shape, dtype=np.int32)
    for k in range(0, len(draws), _AT_ONCE):
        some = draws[k : k + _AT_ONCE]
        ranks[k : k + _AT_ONCE] = places(reference[k : k + _AT_ONCE], some, np.argsort(some, axis=1))
    # One division of whole numbers: a rank of exactly 10 is exactly 10, here and in the norm.
    percentile_of = 100.0 * np.arange(2 * reference.shape[1] + 1) / (2 * reference.shape[1])
    level_of = np.searchsorted(cuts, percentile_of, side="right")
    schools = draws.shape[1]
    parts = [
        _standing_of(np.ascontiguousarray(ranks[:, k : k + _AT_ONCE].T), percentile_of, level_of)
        for k in range(0, max(schools, 1), _AT_ONCE)
    ]
    names = [field.name for field in fields(Standing)]
    return Standing(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _standing_of(ranks: CodeArray, percentile_of: FloatArray, level_of: IntArray) -> Standing:
    """Return the standing of some schools; `ranks`, shape (schools, D), are put in another order."""
    levels = _shares(level_of[ranks])
    middle = percentile_of[ranks]
    bottom, above = _below_and_above(middle)
    expected = middle.mean(axis=1)
    count = ranks.shape[1]
    low, high = int(np.floor(TAIL * (count - 1))), int(np.ceil((1.0 - TAIL) * (count - 1)))
    ranks.partition((low, high), axis=1)
    return Standing(
        percentile_of[ranks[:, low]], percentile_of[ranks[:, high]], expected, levels, bottom, above
    )


def standing_of_percentiles(
    percentiles: FloatArray, band: tuple[FloatArray, FloatArray], cuts: FloatArray
) -> Standing:
    """Return the standing by given percentiles.

    Parameters
    ----------
    percentiles : ndarray, shape (D, J)
        Percentile of each school in each draw.
    band : (low, high)
        Each of shape (J,).
    cuts : ndarray, shape (9,)
    """
    by_school = np.ascontiguousarray(percentiles.T)
    levels = _shares(np.searchsorted(cuts, by_school, side="right"))
    return Standing(*band, by_school.mean(axis=1), levels, *_below_and_above(by_school))


def _shares(levels: IntArray) -> FloatArray:
    """Return the share of each level 0-9 in each row, shape (J, 10)."""
    schools, count = levels.shape
    flat = (levels + LEVELS * np.arange(schools)[:, None]).ravel()
    return np.asarray(np.bincount(flat, minlength=LEVELS * schools).reshape(schools, LEVELS) / count)


def _below_and_above(by_school: FloatArray) -> tuple[FloatArray, FloatArray]:
    bottom = (by_school < BOTTOM).mean(axis=1)
    above = (by_school > _MIDDLE).mean(axis=1) + 0.5 * (by_school == _MIDDLE).mean(axis=1)
    return np.asarray(bottom), np.asarray(above)
