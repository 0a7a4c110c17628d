"""What sums and products lose to rounding is found to the last digit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numba import njit

from growth._types import FloatArray
from growth.kernels.sums import add_to, plus, times


@njit
def _add_often(row: FloatArray, times: int, total: FloatArray, lost: FloatArray) -> None:
    for _ in range(times):
        add_to(row, 1.0, total, lost)  # only other kernels call it


def test_nothing_is_lost() -> None:
    rng = np.random.default_rng(0)
    for a, b in (rng.standard_normal((200, 2)) * 10.0 ** rng.integers(-9, 9, (200, 2))).tolist():
        total, lost = plus(a, b)
        assert Fraction(total) + Fraction(lost) == Fraction(a) + Fraction(b)
        total, lost = times(a, b)
        assert Fraction(total) + Fraction(lost) == Fraction(a) * Fraction(b)


def test_long_sums_keep_their_digits() -> None:
    row, total, lost = np.array([0.1, 1e9]), np.zeros(2), np.zeros(2)
    _add_often(row, 10_000, total, lost)
    exact = [float(10_000 * Fraction(0.1)), 1e13]
    np.testing.assert_array_equal(total + lost, exact)
