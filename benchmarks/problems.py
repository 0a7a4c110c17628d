"""Cohorts with known ingredients: scores of the current year explained by spline bases of earlier scores.

Ability follows an autoregression with skewed growth whose spread rises with ability; scores are ability plus
a measurement error that is largest at both ends of the scale, clipped to 2200-2800 and, for integer scores,
rounded. Flags are drawn independently with shares from 3 to 50 percent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from growth._types import FloatArray
from growth.quantile import SplineBasis, spline_design

TAUS = (np.arange(1, 101) - 0.5) / 100
LOWEST, HIGHEST, MIDDLE, POINTS_PER_SD = 2200.0, 2800.0, 2500.0, 80.0


@dataclass(frozen=True, slots=True)
class Problem:
    """What identifies one problem; its data follow from it."""

    n: int
    priors: int
    flags: int = 0
    integer: bool = True
    seed: int = 1

    @property
    def columns(self) -> int:
        """Columns of the design."""
        return 1 + 7 * self.priors + self.flags

    @property
    def name(self) -> str:
        """Short, unique, filename safe."""
        kind = "integer" if self.integer else "continuous"
        return f"n{self.n}_priors{self.priors}_flags{self.flags}_{kind}_seed{self.seed}"

    def with_rows(self, n: int) -> Problem:
        """Return the same problem in another size."""
        return replace(self, n=n)


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """The data of one problem."""

    priors: FloatArray  # (n, k) [scale-score points]
    score: FloatArray  # (n,)
    flags: FloatArray  # (n, q)
    bases: tuple[SplineBasis, ...]
    integer: bool

    @property
    def design(self) -> FloatArray:
        """Intercept, one basis per prior, flags; shape (n, p)."""
        return spline_design(self.priors, self.bases, self.flags)

    @property
    def blocks(self) -> list[slice]:
        """Columns of each prior's basis."""
        ends = np.cumsum([1, *(basis.n_columns for basis in self.bases)]).tolist()
        return [slice(start, stop) for start, stop in pairwise(ends)]

    def simex(self, lam: float, replicates: int, rng: np.random.Generator) -> Simex:
        """Add measurement error of variance lam csem^2 to the priors, replicate by replicate.

        As SIMEX does: what comes out is neither rounded nor clipped, and knots are placed on all replicates.
        """
        noise = rng.standard_normal((replicates, *self.priors.shape))
        priors = self.priors + np.sqrt(lam) * csem(self.priors) * noise
        bases = tuple(SplineBasis.from_scores(priors[:, :, j].ravel()) for j in range(priors.shape[2]))
        return Simex(priors, bases, self)


@dataclass(frozen=True, slots=True, eq=False)
class Simex:
    """Replicates of a cohort whose priors hold more measurement error."""

    priors: FloatArray  # (replicates, n, k) [scale-score points]
    bases: tuple[SplineBasis, ...]
    cohort: Cohort

    def design(self, replicate: int) -> FloatArray:
        """Design of one replicate, shape (n, p)."""
        return spline_design(self.priors[replicate], self.bases, self.cohort.flags)


def csem(score: FloatArray) -> FloatArray:
    """Conditional standard error of measurement [scale-score points]."""
    out: FloatArray = 18.0 * (1.0 + 0.3 * ((score - MIDDLE) / 85.0) ** 2)
    return out


def draw(problem: Problem) -> Cohort:
    """Draw the cohort of a problem; equal problems give equal cohorts."""
    rng = np.random.default_rng([problem.seed, problem.n, problem.priors, problem.flags, problem.integer])
    ability = rng.standard_normal(problem.n)
    scores = []
    for grade in range(problem.priors + 1):
        if grade:
            growth = (rng.gamma(6.0, 1.0, problem.n) - 6.0) / np.sqrt(6.0)
            ability = 0.92 * ability + (0.28 + 0.05 * np.tanh(ability)) * growth
        true = MIDDLE + POINTS_PER_SD * ability
        scores.append(_scores(true + csem(true) * rng.standard_normal(problem.n), problem.integer))
    priors = np.column_stack(scores[-2::-1])
    shares = np.linspace(0.03, 0.5, problem.flags)
    flags = (rng.random((problem.n, problem.flags)) < shares).astype(np.float64)
    bases = tuple(SplineBasis.from_scores(column) for column in priors.T)
    return Cohort(priors, scores[-1], flags, bases, problem.integer)


def grid(
    rows: list[int], priors: list[int], flags: list[int], kinds: list[str], seed: int = 1
) -> Iterator[Problem]:
    """Yield all combinations, smallest first."""
    for n in sorted(rows):
        for k in priors:
            for q in flags:
                for kind in kinds:
                    yield Problem(n, k, q, kind == "integer", seed)


def _scores(values: FloatArray, integer: bool) -> FloatArray:
    clipped = np.clip(values, LOWEST, HIGHEST)
    out: FloatArray = np.rint(clipped) if integer else clipped
    return out
