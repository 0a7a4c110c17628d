"""Posterior draws behind ranks: how many, from which stream, and those of the reference schools.

In each draw every reference school and every ranked school gets a value from its posterior
(`growth.school.posterior`), and the school its percentile rank among the reference (Goldstein &
Spiegelhalter 1996). `growth.school.standing` reads bands and probabilities off these ranks.

Streams of random numbers are keyed by seed, year, subject and group: what else is in the run changes nothing.

References
----------
.. [1] H. Goldstein and D. J. Spiegelhalter (1996), J. of the Royal Statistical Society A 159(3), 385-443.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from growth._types import FloatArray
from growth.school.norms import ReferenceNorm
from growth.school.posterior import Posterior, posterior_draws

__all__ = ["TAIL", "DrawRule", "Z", "reference_draws", "stream_key"]

TAIL = 0.025
"""Share outside a 95 % band at each end."""
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
