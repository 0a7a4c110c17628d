"""What is known of the true effects of schools, and draws from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from growth._types import BoolArray, FloatArray
from growth.school.shrinkage import reliability, shrink
from growth.school.spread import Expected, Spread

__all__ = ["Observed", "Posterior", "posterior_draws", "shrunken"]


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Effects of J schools, what was expected of them, and how much true effects spread around that."""

    effect: FloatArray
    """Shape (J,)."""
    se: FloatArray
    """Shape (J,)."""
    expected: Expected
    spread: Spread
    composed: FloatArray | None = None
    """Standard errors of what school composition took out of the effects, shape (J,)."""

    def given(self, k: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return posterior means and SDs given the k-th tau and its line, and what a unit of the line adds.

        Shapes (J,), (J,), (J, p). An error of what composition took out moves an effect, of which shrinkage
        lets through its share: the variance of best linear prediction when slopes are estimated [1]_.

        References
        ----------
        .. [1] R. N. Kackar and D. A. Harville (1984), J. of the American Statistical Association 79, 853-862.
        """
        x = self.expected.design
        mean, sd = shrink(self.effect, self.se, x @ self.spread.line[k], self._variance(k))
        noise = self.se**2
        rest = noise / (self._variance(k) + noise)
        if self.composed is not None:
            sd = np.hypot(sd, (1.0 - rest) * self.composed)
        return mean, sd, x * rest[:, None]

    @property
    def response(self) -> FloatArray:
        """By how much each posterior mean moves with the school's own effect, shape (J,).

        What one school's effect does to the spread of all is left out.
        """
        shares = [reliability(self.se, self._variance(k)) for k in range(len(self.spread.weight))]
        return np.asarray(self.spread.weight @ np.stack(shares))

    def at(self, which: BoolArray) -> Observed:
        """Return the schools marked in `which`, shape (J,)."""
        composed = None if self.composed is None else self.composed[which]
        return Observed(self.effect[which], self.se[which], self.expected.at(which), self.spread, composed)

    def _variance(self, k: int) -> FloatArray:
        return np.asarray(self.spread.tau2[k] + self.expected.extra)


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Posterior of the true effects of J schools; NaN where there is none."""

    mean: FloatArray
    """Shape (J,)."""
    sd: FloatArray
    """Shape (J,)."""
    observed: Observed | None = None
    """What the effects were shrunk from; None: independent normal posteriors."""

    def at(self, which: BoolArray) -> Posterior:
        """Return the posterior of the schools marked in `which`, shape (J,)."""
        observed = None if self.observed is None else self.observed.at(which)
        return Posterior(self.mean[which], self.sd[which], observed)

    @property
    def known(self) -> BoolArray:
        """Schools that have a posterior, shape (J,)."""
        return np.asarray(np.isfinite(self.mean) & np.isfinite(self.sd))


def shrunken(observed: Observed) -> Posterior:
    """Return posterior means and SDs, averaged over what is not known of the spread.

    Given each tau, the mean is the shrunken effect and the variance ``tau^2 (1 - B)`` plus what the line's
    own uncertainty adds; over all of them the variance is the mean variance plus the variance of the means.
    """
    spread = observed.spread
    first, second = np.zeros_like(observed.effect), np.zeros_like(observed.effect)
    centre = observed.expected.design @ (spread.weight @ spread.line)
    for k, weight in enumerate(spread.weight):
        mean, sd, leverage = observed.given(k)
        first += weight * (mean - centre)
        second += weight * (sd**2 + ((leverage @ spread.root[k]) ** 2).sum(axis=1) + (mean - centre) ** 2)
    if len(spread.weight) == 1 and not spread.root.any():
        return Posterior(*observed.given(0)[:2], observed)
    return Posterior(centre + first, np.sqrt(np.maximum(second - first**2, 0.0)), observed)


def posterior_draws(posterior: Posterior, count: int, stream: np.random.Generator) -> FloatArray:
    """Return joint draws of true effects, shape (count, J).

    Row d is one draw of the whole system: the spread and the line that schools are shrunk to are the same
    within a row, and differ between rows as far as they are not known. Ranks, levels and their probabilities
    are computed row by row.

    Parameters
    ----------
    posterior : Posterior
        Of J schools, all with a mean and an SD.
    count : int
        Number of draws.
    stream : numpy.random.Generator
        See `growth.school.bands.DrawRule.stream`.
    """
    values: FloatArray = stream.standard_normal((count, len(posterior.mean)))
    observed = posterior.observed
    if observed is None:
        values *= posterior.sd
        values += posterior.mean
        return values
    spread = observed.spread
    chosen = np.searchsorted(np.cumsum(spread.weight)[:-1], stream.random(count), side="right")
    shifts = stream.standard_normal((count, spread.line.shape[1]))
    for k in np.unique(chosen):
        rows = np.flatnonzero(chosen == k)
        mean, sd, leverage = observed.given(int(k))
        values[rows] = values[rows] * sd + mean + shifts[rows] @ (leverage @ spread.root[k]).T
    return values
