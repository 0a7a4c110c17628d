r"""The distribution of a student's growth percentile when the score, the curves or both are uncertain.

With the student's ladder (`growth.student.ladders`) :math:`\mathrm{SGP}(y) = 1 + \#\{s : T_s < y\}`. The
R package redraws the current score, :math:`y^* \sim N(y, \mathrm{csem}^2)`, rounded to one decimal and held
within the lowest and highest obtainable score. The distribution of :math:`\mathrm{SGP}(y^*)` needs no draws:
:math:`G_s = P(\mathrm{SGP} \ge s) = P(y^* > T_s)` is one normal probability per rung, and

.. math:: E = 1 + \sum_s G_s, \quad E[\mathrm{SGP}^2] = 1 + \sum_s (2 s - 1) G_s,

and the quantile at *a* is the smallest *s* with :math:`G_{s+1} \le 1 - a`. With one ladder per refit of the
curves, b = 1..B, :math:`G_s` is averaged over them, and the variance is :math:`\overline{V_b}` plus the
sample variance (B - 1) of the :math:`E_b`. Scores that are not redrawn have :math:`G_s` 0 or 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from growth._types import FloatArray
from growth.kernels.redraw import rungs_below
from growth.student.ladders import RUNGS, Ladder

__all__ = ["Redraw", "Spread", "drawn_spread", "exact_spread"]

_CHUNK = 2_048
"""Students whose ladders are held at a time."""
_NEVER = 1e-9
"""A CSEM of 0 counts as this, and the redrawn score is the score [CSEM points]."""
_FUZZ = 1e-6
"""Rungs this share of a rounding step below a possible score lie on it."""
_TIE = 1e-12
"""Probabilities this near to each other are equal."""


@dataclass(frozen=True, slots=True, eq=False)
class Redraw:
    """How scores are redrawn: normal, rounded, held within bounds."""

    score: FloatArray
    """Shape (n,) [scale-score points]."""
    csem: FloatArray | None
    """Shape (n,) [CSEM points]; None if scores stay as they are."""
    digits: int
    """Decimals of a redrawn score."""
    bounds: tuple[float, float]
    """Lowest and highest score [scale-score points]."""

    def beyond(self, ladder: FloatArray, rows: slice) -> FloatArray:
        """Return the probability that a redrawn score lies above each rung of its ladder, shape (rows, m)."""
        from scipy.special import ndtr

        score = self.score[rows, None]
        if self.csem is None:
            return np.asarray(score > ladder, dtype=np.float64)
        steps, (low, high) = 10.0**self.digits, self.bounds
        # Rounding takes a score past the rung if it lies above the middle between two multiples of a step.
        edge = (np.floor(ladder * steps + _FUZZ) + 0.5) / steps
        chance = ndtr((score - edge) / np.maximum(self.csem[rows, None], _NEVER))
        return np.where(ladder < low, 1.0, np.where(ladder < high, chance, 0.0))

    def scores(self, normal: FloatArray, rows: slice) -> FloatArray:
        """Return the scores that standard normal numbers, shape (rows, k), stand for."""
        assert self.csem is not None
        drawn = self.score[rows, None] + self.csem[rows, None] * normal
        return np.clip(np.round(drawn, self.digits), *self.bounds)


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Standard deviation and two quantiles of each student's growth percentile."""

    se: FloatArray
    """Shape (n,) [percentile points]."""
    low: FloatArray
    """Shape (n,), whole numbers 1-99."""
    high: FloatArray
    """Likewise."""


def exact_spread(ladders: Iterator[Ladder], redraw: Redraw, ends: tuple[float, float]) -> Spread:
    """Compute the spread.

    Parameters
    ----------
    ladders : iterator of Ladder
        One, or one per refit of the curves.
    redraw : Redraw
    ends : (low, high)
        Probabilities of the quantiles.
    """
    n = len(redraw.score)
    above = np.zeros((n, len(RUNGS)))
    mean, square, within = np.zeros(n), np.zeros(n), np.zeros(n)
    count = 0
    for ladder in ladders:
        count += 1
        for rows in _chunks(n):
            chance = redraw.beyond(ladder(rows), rows)
            here = 1.0 + chance.sum(axis=1)
            above[rows] += chance
            mean[rows] += here
            square[rows] += here**2
            within[rows] += 1.0 + chance @ (2.0 * RUNGS - 1.0) - here**2
    between = np.maximum(square / count - (mean / count) ** 2, 0.0) * count / max(count - 1, 1)
    se = np.sqrt(np.maximum(within / count, 0.0) + between)
    above /= count
    low, high = (1.0 + np.count_nonzero(above > 1.0 - end + _TIE, axis=1) for end in ends)
    return Spread(se, low, high)


def drawn_spread(
    ladders: Iterator[Ladder],
    redraw: Redraw,
    ends: tuple[float, float],
    draws: int,
    seeds: Sequence[np.random.SeedSequence],
) -> Spread:
    """Estimate the spread from redrawn scores, as the R package does.

    Parameters
    ----------
    ladders : iterator of Ladder
        As many as `seeds`; draw number d is placed on ladder d modulo their number.
    redraw : Redraw
    ends : (low, high)
        Probabilities of the quantiles: R's type 7, rounded to whole numbers.
    draws : int
        Redrawn scores per student.
    seeds : sequence of SeedSequence
        One per ladder.
    """
    n, turns = len(redraw.score), len(seeds)
    found = np.empty((n, draws), np.int8)
    for turn, (ladder, seed) in enumerate(zip(ladders, seeds, strict=True)):
        rng = np.random.default_rng(seed)
        for rows in _chunks(n):
            mine = found[rows, turn::turns]
            scores = redraw.scores(rng.standard_normal(mine.shape), rows)
            mine[:] = 1 + rungs_below(np.ascontiguousarray(ladder(rows)), scores)
    low, high = np.rint(np.quantile(found, ends, axis=1))
    return Spread(found.std(axis=1, ddof=1, dtype=np.float64), low, high)


def _chunks(n: int) -> Iterator[slice]:
    yield from (slice(start, min(start + _CHUNK, n)) for start in range(0, n, _CHUNK))
