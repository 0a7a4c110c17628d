"""The weighted kernels against slow twins, compiled and as plain Python; weights as repeats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import trim_mean

from growth._types import FloatArray, IntArray
from growth.kernels.weighted import cluster_products, cluster_sums, weighted_summaries
from growth.school.summaries import unweighted

Kernel: TypeAlias = Callable[..., Any]

SAME_SUM = 1e-12
"""Relative; the twin sums in another order."""


@pytest.fixture(params=["compiled", "plain"])
def run(request: pytest.FixtureRequest) -> Callable[[Kernel], Kernel]:
    return (lambda k: getattr(k, "py_func", k)) if request.param == "plain" else lambda k: k


def drawn(seed: int) -> tuple[FloatArray, FloatArray, IntArray, IntArray]:
    """Return values, weights, students and starts of 6 groups, the third of them empty."""
    rng = np.random.default_rng(seed)
    sizes = np.array([1, 4, 0, 9, 2, 30])
    n = int(sizes.sum())
    values = np.round(100 * rng.random(n), 1)
    weights = rng.choice([0.0, 0.2, 0.5, 1.0], size=n)
    student = np.concatenate([np.sort(rng.integers(0, 1 + size // 2, size)) for size in sizes])
    return values, weights, student, np.concatenate([[0], np.cumsum(sizes)])


def test_summaries_match_the_twin(run: Callable[[Kernel], Kernel]) -> None:
    values, weights, _, start = drawn(1)
    got = run(weighted_summaries)(values, weights, start, 0.1)
    for g in range(len(start) - 1):
        v, w = values[start[g] : start[g + 1]], weights[start[g] : start[g + 1]]
        order = np.argsort(v, kind="stable")
        v, w = v[order][w[order] > 0], w[order][w[order] > 0]
        if not len(v):
            assert np.isnan([column[g] for column in got]).all()
            continue
        edges = np.concatenate([[0.0], np.cumsum(w)]) / w.sum()
        inside = np.clip(np.minimum(edges[1:], 0.9) - np.maximum(edges[:-1], 0.1), 0, None)
        half = [v[np.searchsorted(edges[1:], 0.5 + side)] for side in (-1e-9, 1e-9)]
        expected = [v @ w / w.sum(), np.mean(half), v @ inside / 0.8]
        np.testing.assert_allclose([got.mean[g], got.median[g], got.trimmed[g]], expected, SAME_SUM)


def test_cluster_sums_match_the_twin(run: Callable[[Kernel], Kernel]) -> None:
    values, weights, student, start = drawn(2)
    sums = run(cluster_sums)(weights, student, start)
    squares, products = run(cluster_products)(values, weights, student, start)
    for g in range(len(start) - 1):
        here = range(start[g], start[g + 1])
        pairs = [(i, k) for i in here for k in here if student[i] == student[k]]
        w = {i: float(weights[i]) for i in here}
        total = {i: sum(w[k] for a, k in pairs if a == i) for i in here}
        rows = [sum(w[i] > 0 for i in here if student[i] == s) for s in {student[i] for i in here}]
        expected = [
            sum(r > 0 for r in rows),
            max(rows, default=0),
            sum(w.values()),
            sum(x * x for x in w.values()),
            sum(w[i] * total[i] for i in here),
            sum(w[i] ** 2 * (total[i] - w[i]) for i in here),
            sum(w[i] * (total[i] - w[i]) ** 2 for i in here),
            sum(w[i] * values[i] ** 2 for i in here),
            sum(w[i] * w[k] * values[i] * values[k] for i, k in pairs if i != k),
        ]
        got = [float(column[g]) for column in (*sums, squares, products)]
        np.testing.assert_allclose(got, expected, 1e-9, 1e-9)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 4)), min_size=1, max_size=20))
def test_whole_weights_are_repeats(rows: list[tuple[int, int]]) -> None:
    values, weights = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    repeated = np.repeat(values, weights.astype(np.int64))
    some = weighted_summaries(values, weights, np.array([0, len(values)]), 0.2)
    same = weighted_summaries(repeated, np.ones(len(repeated)), np.array([0, len(repeated)]), 0.2)
    for a, b in zip(some, same, strict=True):
        np.testing.assert_allclose(a, b, 1e-9, 1e-9)
    if len(repeated):
        np.testing.assert_allclose(some.median, np.median(repeated))


def test_trimming_whole_students_is_the_usual_trimmed_mean() -> None:
    values = np.random.default_rng(3).random(40)
    found = weighted_summaries(values, np.ones(40), np.array([0, 40]), 0.1)
    np.testing.assert_allclose(found.trimmed, trim_mean(values, 0.1), SAME_SUM)
    np.testing.assert_array_equal([found.low[0], found.high[0]], np.sort(values)[[4, 35]])


def test_shares_that_add_up_within_rounding_are_halves() -> None:
    weights = np.array([0.1, 0.2, 0.3])  # .1 + .2 is not .3 in binary
    found = weighted_summaries(np.array([1.0, 2.0, 4.0]), weights, np.array([0, 3]), 0.0)
    assert found.median[0] == 3.0


@pytest.mark.parametrize(("n", "groups"), [(0, 1), (0, 3), (1, 1), (7, 10), (200, 9)])
def test_values_that_count_alike_match_the_twin(n: int, groups: int) -> None:
    rng = np.random.default_rng(n + groups)
    values = np.round(100 * rng.random(n), 1)
    codes = rng.integers(-1, groups, size=n)
    found = unweighted(values, codes, groups)
    for g in range(groups):
        own = values[codes == g]
        expected = [np.mean(own), np.median(own)] if len(own) else [np.nan, np.nan]
        np.testing.assert_allclose([found.mean[g], found.median[g]], expected, SAME_SUM)
    again = rng.permutation(n)
    for a, b in zip(found, unweighted(values[again], codes[again], groups), strict=True):
        np.testing.assert_array_equal(a, b)
