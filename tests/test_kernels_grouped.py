"""The grouped kernels against their slow twins, compiled and as plain Python."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from growth._types import FloatArray, IntArray
from growth.kernels.grouped import gather, places, summarise

Kernel: TypeAlias = Callable[..., Any]

SAME_SUM = 1e-12
"""Relative; the twin sums in another order."""


def plain(kernel: Kernel) -> Kernel:
    """Return the kernel as Python runs it with NUMBA_DISABLE_JIT=1."""
    return getattr(kernel, "py_func", kernel)


def twin_summaries(values: FloatArray, codes: IntArray, groups: int) -> list[tuple[float, ...]]:
    found: list[tuple[float, ...]] = []
    for g in range(groups):
        own = [v for v, c in zip(values.tolist(), codes.tolist(), strict=True) if c == g]
        mean = float(np.mean(own)) if own else np.nan
        sd = float(np.std(own, ddof=1)) if len(own) > 1 else np.nan
        found.append((len(own), mean, sd, float(np.median(own)) if own else np.nan))
    return found


def twin_places(reference: FloatArray, draws: FloatArray) -> IntArray:
    below = (reference[:, None, :] < draws[:, :, None]).sum(axis=2)
    equal = (reference[:, None, :] == draws[:, :, None]).sum(axis=2)
    return np.asarray(2 * below + equal)


@pytest.fixture(params=["compiled", "plain"])
def run(request: pytest.FixtureRequest) -> Callable[[Kernel], Kernel]:
    return plain if request.param == "plain" else lambda kernel: kernel


@pytest.mark.parametrize(("n", "groups"), [(0, 1), (0, 3), (1, 1), (7, 10), (200, 9)])
def test_summaries_match_the_twin(run: Callable[[Kernel], Kernel], n: int, groups: int) -> None:
    rng = np.random.default_rng(n + groups)
    values = np.round(100 * rng.random(n), 1)
    codes = rng.integers(-1, groups, size=n)
    got = np.column_stack(run(summarise)(values, codes, groups))
    np.testing.assert_allclose(got, np.reshape(twin_summaries(values, codes, groups), (groups, 4)), SAME_SUM)


def test_summaries_of_a_case_done_by_hand(run: Callable[[Kernel], Kernel]) -> None:
    values = np.array([10.0, 30.0, 20.0, 60.0, 7.0, 99.0])
    got = run(summarise)(values, np.array([0, 0, 0, 0, 2, -1]), 3)
    assert got.size.tolist() == [4, 0, 1]
    np.testing.assert_array_equal(got.mean, [30.0, np.nan, 7.0])
    np.testing.assert_array_equal(got.median, [25.0, np.nan, 7.0])
    # Squared deviations 400 + 0 + 100 + 900 over 3 degrees of freedom.
    np.testing.assert_array_equal(got.sd, [np.sqrt(1400 / 3), np.nan, np.nan])


@given(st.randoms(use_true_random=False))
def test_summaries_do_not_depend_on_the_order_of_rows(random: Random) -> None:
    rng = np.random.default_rng(5)
    values, codes = rng.random(60), rng.integers(4, size=60)
    order = list(range(60))
    random.shuffle(order)
    for a, b in zip(summarise(values, codes, 4), summarise(values[order], codes[order], 4), strict=True):
        np.testing.assert_array_equal(a, b)


def test_gather_orders_each_group(run: Callable[[Kernel], Kernel]) -> None:
    values, codes = np.array([3.0, 1.0, 2.0, 5.0, 4.0]), np.array([1, 1, 0, -1, 1])
    ordered, start = run(gather)(values, codes, 3)
    assert ordered.tolist() == [2.0, 1.0, 3.0, 4.0]
    assert start.tolist() == [0, 1, 4, 4]


@pytest.mark.parametrize("shape", [(1, 1, 1), (6, 5, 9), (4, 12, 3), (3, 2, 0)])
def test_places_match_the_twin(run: Callable[[Kernel], Kernel], shape: tuple[int, int, int]) -> None:
    rows, schools, size = shape
    rng = np.random.default_rng(sum(shape))
    reference = np.sort(rng.integers(6, size=(rows, size)).astype(np.float64), axis=1)
    draws = rng.integers(-1, 7, size=(rows, schools)).astype(np.float64)
    got = run(places)(reference, draws, np.argsort(draws, axis=1))
    np.testing.assert_array_equal(got, twin_places(reference, draws))
