"""Prior scores with more measurement error than they have, replicate by replicate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from growth._types import FloatArray, IntArray
from growth.errors import ColumnError, problem
from growth.panel import Panel
from growth.panel.covariates import school_means
from growth.panel.panels import PRIOR_MEAN
from growth.spec import Simex

__all__ = ["Draws", "Perturbed", "moved_covariates", "sample_rows"]

Perturbed: TypeAlias = Callable[[int, int], FloatArray]
"""Called with the position of a lambda and a replicate; returns priors with added error, shape (n, k)."""

_SAMPLE = 1
"""Branch of a replicate's seed that chooses the students to refit on."""


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    r"""Prior scores :math:`w_i + \sqrt\lambda\, \sigma_i z_i`, :math:`z_i \sim N(0, 1)`, as they come.

    They are neither clipped nor rounded. Each (lambda, replicate) has a random stream of its own, spawned
    from the seed: nothing depends on what was drawn before, nor on the number of threads. Errors of different
    priors are independent.
    """

    priors: FloatArray
    """Shape (n, k) [scale-score points]."""
    csem: FloatArray
    """Their standard errors of measurement, shape (n, k) [CSEM points]."""
    rules: Simex
    sharing: tuple[tuple[IntArray, int], ...]
    """Per prior the draw of each student, shape (n,), and the number of draws."""

    @classmethod
    def of(cls, panel: Panel, rules: Simex) -> Draws:
        """Return the draws of a cohort.

        Raises
        ------
        ColumnError
            If the cohort has no CSEM.
        """
        if panel.csem is None:
            raise ColumnError(
                problem(
                    f"{panel.key}: the CSEM of prior scores is unknown",
                    rule="SIMEX adds measurement error of known size",
                    rows=len(panel),
                    fix="build the panels with a specification whose measurement.csem names its source",
                )
            )
        everyone = np.arange(len(panel)), len(panel)
        alone = rules.draws == "student"
        sharing = tuple(everyone if alone else _pairs(prior, panel.score) for prior in panel.priors.T)
        return cls(panel.priors, panel.csem, rules, sharing)

    def __call__(self, level: int, replicate: int) -> FloatArray:
        """Return the priors of a replicate at ``rules.lambdas[level]``, shape (n, k)."""
        random = np.random.default_rng(_seed(self.rules, level, replicate))
        size = np.sqrt(self.rules.lambdas[level])
        moved = np.empty_like(self.priors)
        for j, (draw, count) in enumerate(self.sharing):
            moved[:, j] = self.priors[:, j] + size * self.csem[:, j] * random.standard_normal(count)[draw]
        return moved


def sample_rows(rules: Simex, n: int, level: int, replicate: int) -> IntArray | None:
    """Return the rows that a replicate is refitted on, ascending; None for all."""
    if not 0 < rules.sample_size < n:
        return None
    random = np.random.default_rng(_seed(rules, level, replicate, _SAMPLE))
    return np.sort(random.choice(n, rules.sample_size, replace=False))


def moved_covariates(panel: Panel, priors: FloatArray) -> FloatArray:
    """Return the covariates of a cohort, shape (n, q), with those made of its first prior made of `priors`.

    These are the school's mean prior and the interactions with `prior`; the others have no measurement error.
    The prior is measured from the cohort's mean here: with the intercept and the flags among the columns that
    is the same model, and its columns do not nearly depend on each other.
    """
    names = panel.covariate_names
    partners = [_partner(name, names) for name in names]
    if PRIOR_MEAN not in names and not any(partners):
        return panel.covariates
    moved = panel.covariates.copy()
    prior = priors[:, 0] - panel.priors[:, 0].mean()
    for j, partner in enumerate(partners):
        if names[j] == PRIOR_MEAN:
            assert panel.school is not None
            moved[:, j] = school_means(panel.school, prior)
        elif partner is not None:
            moved[:, j] = panel.covariates[:, names.index(partner)] * prior
    return moved


def _partner(name: str, names: tuple[str, ...]) -> str | None:
    """Return the column that an interaction multiplies the prior with; None for other columns."""
    for partner in (name.removesuffix(":prior"), name.removeprefix("prior:")):
        if partner != name and partner in names:
            return partner
    return None


def _pairs(prior: FloatArray, score: FloatArray) -> tuple[IntArray, int]:
    """Return the number of each row's pair of scores, and how many pairs there are."""
    _, first = np.unique(prior, return_inverse=True)
    levels, second = np.unique(score, return_inverse=True)
    found, place = np.unique(first * np.int64(len(levels)) + second, return_inverse=True)
    return place.astype(np.int64), len(found)


def _seed(rules: Simex, *branch: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(rules.seed, spawn_key=branch)
