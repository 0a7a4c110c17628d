"""Random quantile-regression problems of every awkward kind, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from growth._types import FloatArray
from growth.quantile import SplineBasis

EPS = float(np.finfo(float).eps)


class Problem(NamedTuple):
    design: FloatArray
    """Shape (n, p); the first column is 1 unless the kind says otherwise."""
    response: FloatArray
    weights: FloatArray | None = None

    @property
    def zero(self) -> float:
        """Residuals up to this are zero but for rounding; real ones of these problems are larger."""
        deviation = np.abs(self.response - np.median(self.response))
        return float(1e-9 * np.median(deviation) + 256 * EPS * np.abs(self.response).max())


def _line(rng: np.random.Generator, n: int, p: int) -> FloatArray:
    return np.column_stack([np.ones(n), rng.standard_normal((n, p - 1))])


def gaussian(rng: np.random.Generator, n: int, p: int) -> Problem:
    design = _line(rng, n, p)
    return Problem(design, 2500 + design @ rng.normal(0, 50, p) + 80 * rng.standard_normal(n))


def heavy_tails(rng: np.random.Generator, n: int, p: int) -> Problem:
    design = _line(rng, n, p)
    return Problem(
        design, design @ rng.standard_normal(p) + (1 + np.abs(design[:, -1])) * rng.standard_t(1.5, n)
    )


def skewed(rng: np.random.Generator, n: int, p: int) -> Problem:
    design = _line(rng, n, p)
    return Problem(design, rng.exponential(1.0, n) ** 3)


def integer_ties(rng: np.random.Generator, n: int, p: int) -> Problem:
    design = np.column_stack([np.ones(n), rng.integers(-2, 3, (n, p - 1))])
    return Problem(design.astype(float), rng.integers(-3, 4, n).astype(float))


def flags(rng: np.random.Generator, n: int, p: int) -> Problem:
    share = rng.uniform(0.03, 0.5, p - 1)
    design = np.column_stack([np.ones(n), rng.random((n, p - 1)) < share]).astype(float)
    return Problem(design, np.round(500 + design @ rng.normal(0, 20, p) + 30 * rng.standard_normal(n)))


def splines(rng: np.random.Generator, n: int, p: int) -> Problem:
    """Heaped priors and whole scores, as cohorts have them; p is rounded to 1 + 7 per prior."""
    ability = rng.standard_normal(n)
    columns = [np.ones((n, 1))]
    for _ in range(max(1, (p - 1) // 7)):
        prior = 10 * np.round(250 + 8 * ability + 4 * rng.standard_normal(n))
        columns.append(SplineBasis.from_scores(prior).design(prior))
    return Problem(np.column_stack(columns), np.round(2550 + 75 * ability + 40 * rng.standard_normal(n)))


def weighted(rng: np.random.Generator, n: int, p: int) -> Problem:
    plain = gaussian(rng, n, p)
    return plain._replace(weights=np.where(rng.random(n) < 0.3, 0.0, rng.gamma(0.5, 1.0, n)))


def counted(rng: np.random.Generator, n: int, p: int) -> Problem:
    return integer_ties(rng, n, p)._replace(weights=rng.integers(0, 4, n).astype(float))


def far_weights(rng: np.random.Generator, n: int, p: int) -> Problem:
    return gaussian(rng, n, p)._replace(weights=10.0 ** rng.uniform(-6, 6, n))


def duplicates(rng: np.random.Generator, n: int, p: int) -> Problem:
    few = gaussian(rng, max(2, n // 6), p)
    member = rng.integers(few.response.size, size=n)
    return Problem(few.design[member], few.response[member])


def badly_scaled(rng: np.random.Generator, n: int, p: int) -> Problem:
    plain = gaussian(rng, n, p)
    scales = 10.0 ** rng.uniform(-6, 6, p)
    scales[0] = 1.0
    return plain._replace(design=plain.design * scales)


def far_columns(rng: np.random.Generator, n: int, p: int) -> Problem:
    """Columns far from zero: nearly parallel to the intercept."""
    plain = gaussian(rng, n, p)
    return plain._replace(design=plain.design + np.r_[0.0, np.full(p - 1, 300.0)])


def far_response(rng: np.random.Generator, n: int, p: int) -> Problem:
    design = _line(rng, n, p)
    return Problem(design, 1e7 + rng.standard_normal(n))


def tiny_response(rng: np.random.Generator, n: int, p: int) -> Problem:
    plain = heavy_tails(rng, n, p)
    return plain._replace(response=1e-9 * plain.response)


def leverage(rng: np.random.Generator, n: int, p: int) -> Problem:
    plain = gaussian(rng, n, p)
    plain.design[:2, 1:] *= 1e4
    return plain


def no_intercept(rng: np.random.Generator, n: int, p: int) -> Problem:
    return Problem(rng.standard_normal((n, p)), 3 + rng.standard_normal(n))


def constant_response(rng: np.random.Generator, n: int, p: int) -> Problem:
    return Problem(_line(rng, n, p), np.full(n, 500.0))


def perfect(rng: np.random.Generator, n: int, p: int) -> Problem:
    design = _line(rng, n, p)
    return Problem(design, design @ rng.normal(0, 10, p))


def nearly_perfect(rng: np.random.Generator, n: int, p: int) -> Problem:
    """Most rows on one hyperplane, a tenth off it: the vertex is met by many more rows than columns."""
    plain = perfect(rng, n, p)
    off = rng.random(n) < 0.1
    return plain._replace(response=plain.response + np.where(off, rng.normal(0, 100, n), 0.0))


def mostly_equal(rng: np.random.Generator, n: int, p: int) -> Problem:
    """A floor effect: two thirds of the responses are the same number."""
    plain = gaussian(rng, n, p)
    return plain._replace(
        response=np.maximum(np.round(plain.response), np.quantile(plain.response, 0.67).round())
    )


def collinear(rng: np.random.Generator, n: int, p: int) -> Problem:
    plain = gaussian(rng, n, p)
    return plain._replace(design=np.column_stack([plain.design, plain.design @ rng.integers(-2, 3, p)]))


def constant_column(rng: np.random.Generator, n: int, p: int) -> Problem:
    plain = flags(rng, n, p)
    return plain._replace(design=np.column_stack([plain.design, np.ones(n), np.zeros(n)]))


FULL_RANK: dict[str, Callable[[np.random.Generator, int, int], Problem]] = {
    kind.__name__: kind
    for kind in (
        gaussian,
        heavy_tails,
        skewed,
        integer_ties,
        flags,
        splines,
        weighted,
        counted,
        far_weights,
        duplicates,
        badly_scaled,
        far_columns,
        far_response,
        tiny_response,
        leverage,
        no_intercept,
        constant_response,
        perfect,
        nearly_perfect,
        mostly_equal,
    )
}
DEFICIENT = {"collinear": collinear, "constant_column": constant_column}
KINDS = FULL_RANK | DEFICIENT


def make(kind: str, n: int, p: int, seed: int) -> Problem:
    """Return problem number `seed` of a kind."""
    return KINDS[kind](np.random.default_rng([seed, n, p]), n, p)
