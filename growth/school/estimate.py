"""What is ranked: effects as observed, or shrunk by what is known of how much schools differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from growth._types import BoolArray, FloatArray
from growth.school.aggregates import Aggregates
from growth.school.norms import LEAST_SCHOOLS
from growth.school.posterior import Observed, Posterior, shrunken
from growth.school.shrinkage import sgp_shrink
from growth.school.spread import Expected, Spread, known_spread, spread
from growth.school.towards import school_line
from growth.spec import School

__all__ = [
    "LEAST_FOR_VARIANCE",
    "Beside",
    "Estimate",
    "Prediction",
    "Prior",
    "Source",
    "estimate",
    "noise_left",
]

LEAST_FOR_VARIANCE = 10
"""Schools. A variance between fewer is mostly noise, and often 0, which would call them equal for certain."""

_LEAST_LEFT = 0.25
Source: TypeAlias = Literal["own", "all_students", "norm", "none"]


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """How true effects are distributed, and from where that is known."""

    spread: Spread
    source: Source
    shared: float = 0.0
    """Variance between schools that is explained by their other students."""

    @classmethod
    def known(cls, mean: float, tau2: float, source: Source) -> Prior:
        """Return a prior whose mean and variance are given."""
        return cls(known_spread(mean, tau2), source)

    @property
    def mean(self) -> float:
        """Mean of true effects."""
        return self.spread.mean

    @property
    def tau2(self) -> float:
        """Variance of true effects."""
        return self.spread.tau2_point + self.shared

    @property
    def q(self) -> float:
        """Heterogeneity; NaN where the prior is borrowed."""
        return self.spread.q if self.source == "own" else float("nan")

    def lent(self) -> Prior:
        """Return what groups in few schools take over from all students."""
        return Prior(self.spread, "all_students" if self.source == "own" else self.source)


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Effects that are to be ranked: shrunken, or as observed."""

    aggregates: Aggregates
    large: BoolArray
    usable: BoolArray
    """Large enough and with a standard error."""
    prior: Prior | None
    posterior: Posterior
    se: FloatArray
    """Standard errors that shrinkage weighs, shape (J,)."""
    response: FloatArray
    """By how much what is ranked moves with the school's own mean (or median, ...), shape (J,); NaN where it
    moves in steps."""

    @property
    def effect(self) -> FloatArray:
        """What is ranked, shape (J,)."""
        return self.posterior.mean


class Prediction(NamedTuple):
    """Predicted effects of J schools, each array of shape (J,); NaN where there is none."""

    effect: FloatArray
    error: FloatArray
    """Root mean squared errors."""
    response: FloatArray
    """By how much they move with the school's own mean."""


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """What else bears on a group's effects in J schools."""

    rest: Aggregates | None = None
    """The schools' other students, to shrink towards."""
    constant: float | None = None
    """Variance c of the R package's shrinkage."""
    predicted: Prediction | None = None
    """From all years, grades and subjects."""
    composed: FloatArray | None = None
    """Standard errors of what school composition took out of the effects."""


def estimate(
    aggregates: Aggregates, rules: School, least: int, fallback: Prior | None, beside: Beside | None = None
) -> Estimate:
    """Estimate the effects of one group in J schools.

    Parameters
    ----------
    least : int
        Fewest students of a result.
    fallback : Prior, optional
        Taken over where the group is in fewer than ten schools.
    beside : Beside, optional
    """
    beside = beside or Beside()
    effect, se, response = _predicted(aggregates, beside)
    large = aggregates.n >= least
    usable = large & (se > 0)
    prior, expected = fallback, Expected.alike(len(effect))
    if np.count_nonzero(usable) >= (LEAST_SCHOOLS if fallback is None else LEAST_FOR_VARIANCE):
        line = None
        if beside.rest is not None:
            line = school_line(aggregates, usable, beside.rest, least, rules.variance)
        if line is not None:
            prior, expected = Prior(line.spread, "own", line.shared), line.expected
        else:
            prior = Prior(
                spread(effect[usable], noise_left(se, beside.composed)[usable], rules.variance), "own"
            )
    posterior = _posterior(effect, se, usable, prior, expected, rules, beside)
    if rules.shrinkage == "sgp":
        response = np.full_like(effect, np.nan)  # whole percentiles
    elif posterior.observed is not None:
        response = response * posterior.observed.response
    return Estimate(aggregates, large, usable, prior, posterior, se, response)


def noise_left(se: FloatArray, composed: FloatArray | None) -> FloatArray:
    """Return the SE that goes with the spread of effects freed from an estimated line, shape (J,).

    They vary by tau^2 + SE^2 less the variance of what was taken out: the line follows its own schools. At
    least a quarter of SE^2 is left.
    """
    if composed is None:
        return se
    return np.asarray(np.sqrt(np.maximum(se**2 - composed**2, _LEAST_LEFT * se**2)))


def _predicted(aggregates: Aggregates, beside: Beside) -> Prediction:
    """Return effects and errors, those of predictions where there are any."""
    effect, se = aggregates.effect, aggregates.effect_se
    itself = np.ones_like(effect)
    if beside.predicted is None:
        return Prediction(effect, se, itself)
    better, error, response = beside.predicted
    known = np.isfinite(better) & np.isfinite(error)
    return Prediction(
        np.where(known, better, effect), np.where(known, error, se), np.where(known, response, itself)
    )


def _posterior(
    effect: FloatArray,
    se: FloatArray,
    usable: BoolArray,
    prior: Prior | None,
    expected: Expected,
    rules: School,
    beside: Beside,
) -> Posterior:
    composed = np.zeros_like(effect) if beside.composed is None else beside.composed
    if rules.shrinkage == "none":
        return Posterior(effect, np.hypot(se, composed))
    nothing = np.full_like(effect, np.nan)
    if rules.shrinkage == "sgp":
        return Posterior(
            nothing if beside.constant is None else sgp_shrink(effect, se, beside.constant), nothing
        )
    known = np.where(usable, se, np.nan)
    if beside.predicted is not None and rules.eblp.afterwards == "none":
        return Posterior(np.where(usable, effect, np.nan), np.hypot(known, composed))
    if prior is None:
        return Posterior(nothing, nothing)
    return shrunken(Observed(effect, known, expected, prior.spread, composed))
