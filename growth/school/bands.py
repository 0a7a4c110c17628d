"""95 % bands of percentile ranks from posterior draws.

In each draw every reference school and every ranked school gets a value from its posterior
(`growth.school.posterior`), and the school its percentile rank among the reference. The band runs from the
2.5 % to the 97.5 % quantile of these ranks (Goldstein & Spiegelhalter 1996; Lin et al. 2006).

Streams of random numbers are keyed by seed, year, subject and group: what else is in the run changes nothing.

References
----------
.. [1] H. Goldstein and D. J. Spiegelhalter (1996), J. of the Royal Statistical Society A 159(3), 385-443.
.. [2] R. Lin, T. A. Louis, S. M. Paddock and G. Ridgeway (2006), Bayesian Analysis 1(4), 915-946.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from growth._types import FloatArray
from growth.kernels.grouped import places
from growth.school.norms import ReferenceNorm
from growth.school.posterior import Posterior, posterior_draws

__all__ = ["DrawRule", "Z", "rank_band", "reference_draws", "stream_key"]

TAIL = 0.025
Z = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""


@dataclass(frozen=True, slots=True)
class DrawRule:
    """How many posterior draws, from which seed."""

    count: int
    seed: int

    def stream(self, *key: object) -> np.random.Generator:
        """Return the generator that belongs to `key`, the same in every process."""
        digest = hashlib.sha256("|".join(str(part) for part in key).encode()).digest()
        return np.random.default_rng([self.seed, *np.frombuffer(digest, dtype="<u4").tolist()])


def stream_key(block: tuple[int, str, str], group: str) -> tuple[object, ...]:
    """Return what keys the random numbers of a group in a (year, subject, span)."""
    year, subject, span = block
    return (year, subject, group, span) if span else (year, subject, group)


def reference_draws(norm: ReferenceNorm, rule: DrawRule) -> FloatArray:
    """Return draws of a norm's schools with an SE, each row ascending, shape (count, R)."""
    posterior = Posterior(norm.effects, norm.se)
    stream = rule.stream("reference", *stream_key((norm.year, norm.subject, norm.span), norm.group))
    draws = posterior_draws(posterior.at(posterior.known), rule.count, stream)
    draws.sort(axis=1)
    return draws


def rank_band(draws: FloatArray, reference: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return lower and upper ends of percentile-rank bands, each of shape (J,), in 0-100.

    The ends are ranks that were drawn, the outer ones where the quantile falls between two.

    Parameters
    ----------
    draws : ndarray, shape (D, J)
        Posterior draws of the ranked schools.
    reference : ndarray, shape (D, R)
        Draws of the reference schools, each row ascending.
    """
    count = len(draws)
    ranks = np.ascontiguousarray(places(reference, draws, np.argsort(draws, axis=1)).T)
    low, high = int(np.floor(TAIL * (count - 1))), int(np.ceil((1.0 - TAIL) * (count - 1)))
    ranks.partition((low, high), axis=1)
    most = 2 * reference.shape[1]
    return 100.0 * ranks[:, low] / most, 100.0 * ranks[:, high] / most
