r"""Designs: which combinations of levels are run.

*One at a time*: every level of every factor, the others as in the base. *Full*: all combinations. *Random*: a
Latin hypercube, so that every part of every range is visited; lists of levels are ranges in equal parts.

*Fractional*: `runs` different combinations of the full factorial, chosen D-optimally for main effects: of the
subsets that coordinate exchange (Meyer & Nachtsheim 1995) reaches from several random starts, that with the
largest :math:`|X'X|`, where :math:`X` has a constant and, per factor with :math:`k` levels, :math:`k - 1`
orthonormal contrasts. Where an orthogonal array of that size exists the optimum is one (two-level factors: a
regular fraction of resolution III or more), and its D-efficiency :math:`|X'X|^{1/p} / n` is 1. Mixed numbers
of levels need nothing special. Interactions are aliased with main effects, as in every such design.

References
----------
.. [1] R. K. Meyer and C. J. Nachtsheim (1995), The coordinate-exchange algorithm for constructing exact
   optimal experimental designs, Technometrics 37(1), 60-69.
.. [2] V. V. Fedorov (1972), Theory of optimal experiments, Academic Press.
.. [3] M. D. McKay, R. J. Beckman and W. J. Conover (1979), A comparison of three methods for selecting values
   of input variables, Technometrics 21(2), 239-245.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Literal, TypeAlias

import numpy as np

from growth._types import FloatArray, IntArray
from growth.errors import SpecError, problem
from growth.spec import GrowthSpec
from growth.study.factors import Factor, Level, Refusal, Variant, variant_of

__all__ = ["Design", "d_efficiency", "designed", "fraction", "main_effects"]

Design: TypeAlias = Literal["one_at_a_time", "full", "fractional", "random"]
Choice: TypeAlias = tuple[Level | None, ...]
"""One level per factor; None: as in the base."""

_MOST = 10_000
"""Combinations of a full factorial beyond which it is certainly a mistake."""
_STARTS = 10
"""Random starts of the coordinate exchange."""
_GAIN = 1e-6
"""Relative gain of the determinant below which an exchange is rounding."""
_RIDGE = 1e-8
"""Keeps the determinant positive while a start is still short of its rank."""


def designed(
    base: GrowthSpec, factors: Sequence[Factor], design: Design, runs: int | None, seed: int
) -> list[Variant | Refusal]:
    """Return the combinations of a design, each once, the base first.

    Parameters
    ----------
    base : GrowthSpec
    factors : sequence of Factor
    design : str
    runs : int or None
        Of the designs ``fractional`` (twice as many as effects if not given) and ``random`` (64).
    seed : int

    Raises
    ------
    SpecError
        If a range meets another design than ``random``, or `runs` cannot be.
    """
    _check(factors, design, runs)
    if design == "one_at_a_time":
        choices = _one_at_a_time(factors)
    elif design == "full":
        choices = list(product(*(factor.levels for factor in factors)))
    elif design == "fractional":
        sizes = [len(factor.levels) for factor in factors]
        rows = fraction(sizes, runs or _default_runs(sizes), seed)
        choices = [tuple(f.levels[i] for f, i in zip(factors, row, strict=True)) for row in rows]
    else:
        choices = _random(factors, runs or 64, seed)
    none: Choice = (None,) * len(factors)
    found: dict[object, Variant | Refusal] = {}
    for choice in (none, *choices):
        one = variant_of(base, factors, choice)
        found.setdefault(one.spec.digest if isinstance(one, Variant) else one.levels, one)
    return list(found.values())


def fraction(sizes: Sequence[int], runs: int, seed: int) -> IntArray:
    """Return a D-optimal fraction of a full factorial, shape (runs, factors), levels counted from 0.

    Equal arguments, equal fractions. Rows are in ascending order, and no two are equal.
    """
    rng = np.random.default_rng(seed)
    best, best_value = np.empty((0, len(sizes)), np.int64), -np.inf
    for _ in range(_STARTS):
        cells = rng.choice(prod(sizes), size=runs, replace=False)
        rows, value = _exchanged(np.stack(np.unravel_index(cells, tuple(sizes)), axis=1), sizes)
        if value > best_value + _GAIN:
            best, best_value = rows, value
    return np.asarray(best[np.lexsort(best.T[::-1])], dtype=np.int64)


def main_effects(rows: IntArray, sizes: Sequence[int]) -> FloatArray:
    """Return the columns of the model of main effects, shape (n, 1 + sum of sizes less one each).

    Over a balanced design each column has mean square 1.
    """
    columns = [np.ones((len(rows), 1))]
    columns += [_contrasts(size)[rows[:, factor]] for factor, size in enumerate(sizes)]
    return np.hstack(columns)


def d_efficiency(rows: IntArray, sizes: Sequence[int]) -> float:
    """Return the D-efficiency of a design for main effects, 1 for orthogonal arrays."""
    x = main_effects(rows, sizes)
    sign, value = np.linalg.slogdet(x.T @ x / len(x))
    return float(np.exp(value / x.shape[1])) if sign > 0 else 0.0


def _contrasts(size: int) -> FloatArray:
    """Return orthonormal contrasts of a factor, shape (size, size - 1), with mean square 1 per column."""
    q, _ = np.linalg.qr(np.hstack([np.ones((size, 1)), np.eye(size)[:, : size - 1]]))
    return np.asarray(q[:, 1:] * np.sqrt(size))


def _exchanged(rows: IntArray, sizes: Sequence[int]) -> tuple[IntArray, float]:
    """Exchange one coordinate after the other while the determinant grows.

    With :math:`D = (X'X)^{-1}` and :math:`d(a, b) = a'Db`, a row z in place of x multiplies :math:`|X'X|` by
    :math:`(1 - d(x, x))(1 + d(z, z)) + d(x, z)^2` (Fedorov 1972).
    """
    rows = rows.copy()
    x = main_effects(rows, sizes)
    tables = [_contrasts(size) for size in sizes]
    ends = np.cumsum([1, *(size - 1 for size in sizes)])
    inverse = _inverse(x)
    taken = set(map(tuple, rows.tolist()))
    improved = True
    while improved:
        improved = False
        for i, factor in product(range(len(rows)), range(len(sizes))):
            others = np.repeat(x[i][None, :], sizes[factor], axis=0)
            others[:, ends[factor] : ends[factor + 1]] = tables[factor]
            toward = others @ inverse
            own = x[i] @ inverse @ x[i]
            gain = (1 - own) * (1 + (toward * others).sum(axis=1)) + (toward @ x[i]) ** 2
            row = rows[i].tolist()
            for level in np.argsort(-gain, kind="stable"):
                new = (*row[:factor], int(level), *row[factor + 1 :])
                if gain[level] <= 1 + _GAIN:
                    break
                if new not in taken:
                    taken.remove(tuple(row))
                    taken.add(new)
                    rows[i, factor], x[i] = level, others[level]
                    inverse, improved = _inverse(x), True
                    break
    return rows, _log_det(x)


def _inverse(x: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.inv(x.T @ x + len(x) * _RIDGE * np.eye(x.shape[1])))


def _log_det(x: FloatArray) -> float:
    return float(np.linalg.slogdet(x.T @ x / len(x) + _RIDGE * np.eye(x.shape[1]))[1])


def _one_at_a_time(factors: Sequence[Factor]) -> list[Choice]:
    def alone(place: int, level: Level) -> Choice:
        return tuple(level if k == place else None for k in range(len(factors)))

    return [alone(place, level) for place, factor in enumerate(factors) for level in factor.levels]


def _random(factors: Sequence[Factor], runs: int, seed: int) -> list[Choice]:
    rng = np.random.default_rng(seed)
    strata = np.stack([rng.permutation(runs) for _ in factors], axis=1)
    shares = (strata + rng.random(strata.shape)) / runs
    return [
        tuple(factor.level_at(float(share)) for factor, share in zip(factors, row, strict=True))
        for row in shares
    ]


def _default_runs(sizes: Sequence[int]) -> int:
    effects = 1 + sum(size - 1 for size in sizes)
    return min(2 * effects, prod(sizes))


def _check(factors: Sequence[Factor], design: Design, runs: int | None) -> None:
    known = ("one_at_a_time", "full", "fractional", "random")
    if design not in known:
        raise SpecError(problem(f"There is no design {design!r}", rule=", ".join(known)))
    ranges = [factor.name for factor in factors if factor.range is not None]
    if ranges and design != "random":
        what = f"The design {design!r} needs levels, and {', '.join(ranges)} has a range"
        raise SpecError(problem(what, fix='list its values, or use design = "random"'))
    if runs is not None and design in ("one_at_a_time", "full"):
        raise SpecError(
            problem(f"The design {design!r} says itself how many runs it has", fix="leave out runs")
        )
    if design == "random":
        if runs is not None and runs < 1:
            raise SpecError(problem(f"runs = {runs}", rule="at least 1"))
        return
    sizes = [len(factor.levels) for factor in factors]
    if design == "full" and prod(sizes) > _MOST:
        what = f"The full factorial has {prod(sizes):,} combinations"
        raise SpecError(problem(what, rule=f"at most {_MOST:,}", fix='use design = "fractional" or "random"'))
    effects = 1 + sum(size - 1 for size in sizes)
    if design == "fractional" and runs is not None and not effects <= runs <= prod(sizes):
        what = f"A fraction of {runs} runs cannot be"
        raise SpecError(problem(what, rule=f"from {effects} (effects) to {prod(sizes):,} (full factorial)"))
