r"""How far two sets of school results agree: the numbers of published sensitivity studies.

Classification indices of levels use each school's posterior probabilities :math:`p_{jk}` of levels
:math:`k`: *accuracy* :math:`\frac1J \sum_j p_{j k_j}` with the level :math:`k_j` that was given;
*consistency*, the chance that two draws from what is known agree, :math:`\phi = \frac1J \sum_{jk} p_{jk}^2`;
*kappa* :math:`(\phi - \phi_c)/(1 - \phi_c)`, :math:`\phi_c = \sum_k \bar p_k^2`.

References
----------
.. [1] W.-C. Lee (2010), Classification consistency and accuracy for complex assessments using item response
   theory, Journal of Educational Measurement 47(1), 1-17.
.. [2] J. Cohen (1968), Weighted kappa, Psychological Bulletin 70(4), 213-220.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from growth._types import FloatArray, IntArray

__all__ = [
    "Agreement",
    "Sides",
    "agreement",
    "classification",
    "correlation",
    "reliability_at",
    "split_half",
    "weighted_kappa",
]

_QUINTILE = 20.0
_BOTTOM, _TOP = 0.05, 0.10
LEVELS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """Results of the same J schools in two variants, each array of shape (J,)."""

    value: tuple[FloatArray, FloatArray]
    """What is ranked [units of the measure]."""
    percentile: tuple[FloatArray, FloatArray]
    """School growth percentile [0-100]."""
    level: tuple[IntArray, IntArray]
    """1-10."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a variant agrees with the base; None where it is not defined."""

    schools: int
    """With results in both."""
    pearson: float | None
    """Of what is ranked, like the next two."""
    spearman: float | None
    kendall: float | None
    level_changed: float
    """Schools with another level [%]."""
    level_changed_by_more: float
    """Schools whose level changes by two or more [%]."""
    quintile_changed: float
    """Schools in another fifth of the growth percentiles [%]."""
    bottom_turnover: float
    """Of the base's lowest 5 % of schools, those that are not in the variant's [%]."""
    top_turnover: float
    """Of the base's highest tenth of schools, those that are not in the variant's [%]."""
    rmse: float
    """Root mean square change of the growth percentile [percentile points]."""
    kappa: float | None
    """Cohen's kappa of the levels, quadratic weights."""


def agreement(sides: Sides) -> Agreement:
    """Compare a variant (second) with the base (first). At least one school."""
    from scipy.stats import kendalltau, rankdata

    base, other = sides.value
    level = np.abs(np.diff(sides.level, axis=0)[0])
    fifth = np.minimum(np.asarray(sides.percentile) // _QUINTILE, 4)
    varied = len(base) > 1 and np.ptp(base) > 0 and np.ptp(other) > 0
    return Agreement(
        schools=len(base),
        pearson=correlation(base, other),
        spearman=correlation(rankdata(base), rankdata(other)),
        kendall=float(kendalltau(base, other).statistic) if varied else None,
        level_changed=float(100 * np.mean(level > 0)),
        level_changed_by_more=float(100 * np.mean(level > 1)),
        quintile_changed=float(100 * np.mean(fifth[0] != fifth[1])),
        bottom_turnover=_turnover(base, other, _BOTTOM),
        top_turnover=_turnover(-base, -other, _TOP),
        rmse=float(np.sqrt(np.mean(np.diff(sides.percentile, axis=0) ** 2))),
        kappa=weighted_kappa(*sides.level),
    )


def correlation(a: FloatArray, b: FloatArray) -> float | None:
    """Return Pearson's r; None if either does not vary."""
    if len(a) < 2 or not np.ptp(a) > 0 or not np.ptp(b) > 0:
        return None
    return float(np.clip(np.corrcoef(a, b)[0, 1], -1.0, 1.0))


def weighted_kappa(a: IntArray, b: IntArray) -> float | None:
    """Return Cohen's kappa of two sets of levels with quadratic weights; None if both are one same level."""
    seen = np.mean((a - b) ** 2.0)
    by_chance = np.mean((a[:, None] - b[None, :]) ** 2.0)
    return None if by_chance == 0 else float(1 - seen / by_chance)


def classification(probability: FloatArray, level: IntArray) -> tuple[float, float, float | None]:
    """Return accuracy, consistency and kappa of levels.

    Parameters
    ----------
    probability : ndarray, shape (J, 10)
        Posterior probabilities of the levels.
    level : ndarray, shape (J,)
        Levels given, 1-10.
    """
    accuracy = float(probability[np.arange(len(level)), level - 1].mean())
    consistency = float((probability**2).sum(axis=1).mean())
    chance = float((probability.mean(axis=0) ** 2).sum())
    return accuracy, consistency, None if chance == 1 else (consistency - chance) / (1 - chance)


def reliability_at(icc: float, n: int) -> float:
    """Return the reliability of a mean of n students, n ICC / (1 + (n - 1) ICC) (Spearman-Brown)."""
    return n * icc / (1 + (n - 1) * icc)


def split_half(first: FloatArray, second: FloatArray) -> float | None:
    """Return the reliability of whole schools, from results of halves (Spearman-Brown)."""
    r = correlation(first, second)
    return None if r is None else 2 * r / (1 + r) if r > -1 else -1.0


def _turnover(base: FloatArray, other: FloatArray, share: float) -> float:
    """Return the percentage of the base's lowest that are not the other's lowest."""
    count = max(round(share * len(base)), 1)
    # Among equals a school that was lowest stays: turnover is not to come from ties.
    lowest = np.argsort(base, kind="stable")[:count]
    was = np.zeros(len(base), np.bool_)
    was[lowest] = True
    now = np.lexsort((~was, other))[:count]
    return float(100 * np.mean(~was[now]))
