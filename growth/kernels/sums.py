"""Sums and products with what they lose to rounding."""

from __future__ import annotations

from growth._types import FloatArray
from growth.kernels.compiler import inlined, inner

__all__ = ["add_to", "plus", "times"]

SPLITTER = 2.0**27 + 1.0
"""Splits a number into two halves whose products are exact (Dekker 1971)."""


@inlined
def plus(a: float, b: float) -> tuple[float, float]:
    """Return a sum and what it lost (Knuth's TwoSum)."""
    total = a + b
    added = total - a
    return total, (a - (total - added)) + (b - added)


@inlined
def times(a: float, b: float) -> tuple[float, float]:
    """Return a product and what it lost."""
    a_high, b_high = SPLITTER * a, SPLITTER * b
    a_high -= a_high - a
    b_high -= b_high - b
    a_low, b_low = a - a_high, b - b_high
    total = a * b
    return total, ((a_high * b_high - total) + a_high * b_low + a_low * b_high) + a_low * b_low


@inner
def add_to(row: FloatArray, factor: float, sum_out: FloatArray, lost_out: FloatArray) -> None:
    """Add a multiple of a row to a sum, and what the sum loses to another."""
    for a in range(row.shape[0]):
        sum_out[a], lost = plus(sum_out[a], factor * row[a])
        lost_out[a] += lost
