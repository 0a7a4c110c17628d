"""What is known of the true effects of schools, and draws from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from growth._types import BoolArray, FloatArray

__all__ = ["Posterior", "posterior_draws"]


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Posterior of the true effects of J schools; NaN where there is none."""

    mean: FloatArray
    """Shape (J,)."""
    sd: FloatArray
    """Shape (J,)."""

    def at(self, which: BoolArray) -> Posterior:
        """Return the posterior of the schools marked in `which`, shape (J,)."""
        return Posterior(self.mean[which], self.sd[which])

    @property
    def known(self) -> BoolArray:
        """Schools that have a posterior, shape (J,)."""
        return np.asarray(np.isfinite(self.mean) & np.isfinite(self.sd))


def posterior_draws(posterior: Posterior, count: int, stream: np.random.Generator) -> FloatArray:
    """Return joint draws of true effects, shape (count, J).

    Row d is one draw of the whole system: whatever the schools share (the mean and the spread that they are
    shrunk to, where these are not taken as known) is the same within a row. Ranks, levels and their
    probabilities are computed row by row.

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
    values *= posterior.sd
    values += posterior.mean
    return values
