"""What is ranked: effects as observed, or shrunk by what is known of how much schools differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from growth._types import BoolArray, FloatArray
from growth.school.aggregates import Aggregates
from growth.school.norms import LEAST_SCHOOLS
from growth.school.posterior import Observed, Posterior, shrunken
from growth.school.spread import Expected, Spread, known_spread, spread
from growth.spec import School

__all__ = ["LEAST_FOR_VARIANCE", "Estimate", "Prior", "Source", "estimate"]

LEAST_FOR_VARIANCE = 10
"""Schools. A variance between fewer is mostly noise, and often 0, which would call them equal for certain."""

Source: TypeAlias = Literal["own", "all_students", "norm", "none"]


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """How true effects are distributed, and from where that is known."""

    spread: Spread
    source: Source

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
        return self.spread.tau2_point

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

    @property
    def effect(self) -> FloatArray:
        """What is ranked, shape (J,)."""
        return self.posterior.mean


def estimate(aggregates: Aggregates, rules: School, least: int, fallback: Prior | None) -> Estimate:
    """Estimate the effects of one group in J schools.

    Parameters
    ----------
    least : int
        Fewest students of a result.
    fallback : Prior, optional
        Taken over where the group is in fewer than ten schools.
    """
    effect, se = aggregates.effect, aggregates.effect_se
    large = aggregates.n >= least
    usable = large & (se > 0)
    prior = fallback
    if np.count_nonzero(usable) >= (LEAST_SCHOOLS if fallback is None else LEAST_FOR_VARIANCE):
        prior = Prior(spread(effect[usable], se[usable], rules.variance), "own")
    if rules.shrinkage == "none":
        posterior = Posterior(effect, se)
    elif prior is None:
        nothing = np.full_like(effect, np.nan)
        posterior = Posterior(nothing, nothing)
    else:
        known = np.where(usable, se, np.nan)
        posterior = shrunken(Observed(effect, known, Expected.alike(len(effect)), prior.spread))
    return Estimate(aggregates, large, usable, prior, posterior)
