"""The simulated test: bounds of the scale, score points per ability SD, measurement error.

The bounds are the lowest and highest obtainable scores of the Smarter Balanced tests in California from
2020-21 on. Everything else here is invented: no table of conditional standard errors was at hand.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from growth._types import FloatArray, IntArray

__all__ = ["ABILITY_RANGE", "SCORE_BOUNDS", "SUBJECTS", "TESTED_GRADES", "ScoreScale", "csem", "score_scale"]

SUBJECTS = ("ELA", "MATH")
TESTED_GRADES = (3, 4, 5, 6, 7, 8, 11)

SCORE_BOUNDS: dict[str, dict[int, tuple[float, float]]] = {
    "ELA": {
        3: (2115.0, 2650.0),
        4: (2140.0, 2690.0),
        5: (2200.0, 2730.0),
        6: (2230.0, 2770.0),
        7: (2260.0, 2810.0),
        8: (2290.0, 2850.0),
        11: (2300.0, 2900.0),
    },
    "MATH": {
        3: (2190.0, 2660.0),
        4: (2205.0, 2700.0),
        5: (2220.0, 2740.0),
        6: (2235.0, 2780.0),
        7: (2250.0, 2820.0),
        8: (2265.0, 2860.0),
        11: (2280.0, 2900.0),
    },
}
"""subject -> grade -> (LOSS, HOSS) [scale-score points]; fits `GrowthSpec.scale.bounds` as it is."""

ABILITY_RANGE = 3.0
"""LOSS and HOSS lie this many ability SDs below and above the middle of the scale."""
CSEM_CENTRE = 0.22
CSEM_RISE = 0.50

ScoreScale: TypeAlias = tuple[FloatArray, FloatArray]
"""(middle, points per ability SD), each of the shape of the grades asked for [scale-score points]."""


def score_scale(subject: str, grade: IntArray) -> ScoreScale:
    """Return the middle of the scale and the size of one ability SD.

    Parameters
    ----------
    subject : str
        ``"ELA"`` or ``"MATH"``.
    grade : IntArray, shape (n,)
        Tested grades.

    Returns
    -------
    tuple of FloatArray, each shape (n,)
        ``(LOSS + HOSS) / 2`` and ``(HOSS - LOSS) / 6`` [scale-score points].
    """
    low, high = (np.full(max(TESTED_GRADES) + 1, np.nan) for _ in range(2))
    for tested, (loss, hoss) in SCORE_BOUNDS[subject].items():
        low[tested], high[tested] = loss, hoss
    return (low[grade] + high[grade]) / 2, (high[grade] - low[grade]) / (2 * ABILITY_RANGE)


def csem(score: FloatArray, scale: ScoreScale) -> FloatArray:
    r"""Return the conditional standard error of measurement, a U over the scale (invented).

    With *u* the distance from the middle as a share of half the scale,

    .. math:: \mathrm{csem} = \sigma\,(0.22 + 0.50\,u^2),

    about 20 points in the middle and 65 at either end, for a reliability near .93.

    Parameters
    ----------
    score : FloatArray, shape (n,)
        Scores [scale-score points].
    scale : ScoreScale
        From :func:`score_scale`, for the same rows.

    Returns
    -------
    FloatArray, shape (n,)
        [CSEM points].
    """
    middle, points = scale
    share = (score - middle) / (ABILITY_RANGE * points)
    return np.asarray(points * (CSEM_CENTRE + CSEM_RISE * share**2), dtype=np.float64)
