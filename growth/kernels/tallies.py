"""The residuals of one row for all taus, counted.

The ways in which most rows are kept have a tally each that does not store the residuals. Sums may be
reassociated: counts are whole numbers, and residuals within their error bound are computed again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.kernels.compiler import search
from growth.kernels.rows import Rows

__all__ = [
    "Tally",
    "coded_residuals",
    "dense_residuals",
    "tally",
    "tally_plane",
    "tally_three",
    "tally_two",
]


class Tally(NamedTuple):
    """The residuals of one row for all taus, counted (integers, held in single precision)."""

    unsettled: np.float32
    """How many are within their error bound."""
    negative: np.float32
    """How many are negative."""
    places: np.float32
    """Sum of the places of those: for a row that turns negative once and stays so, those of the last ones."""


@search
def dense_residuals(
    base: np.float32, row: FloatArray, turned: NDArray[np.float32], used: IntArray, r_out: NDArray[np.float32]
) -> None:
    """Residuals of one row for all taus; zeros in the row cost nothing."""
    m = r_out.shape[0]
    q = 0
    for a in range(row.shape[0]):
        used[q] = a
        q += row[a] != 0.0
    for k in range(m):
        r_out[k] = base
    s = 0
    while s + 3 < q:
        a0, a1, a2, a3 = used[s], used[s + 1], used[s + 2], used[s + 3]
        v0, v1, v2, v3 = np.float32(row[a0]), np.float32(row[a1]), np.float32(row[a2]), np.float32(row[a3])
        for k in range(m):
            r_out[k] -= v0 * turned[a0, k] + v1 * turned[a1, k] + v2 * turned[a2, k] + v3 * turned[a3, k]
        s += 4
    while s < q:
        a0 = used[s]
        v0 = np.float32(row[a0])
        for k in range(m):
            r_out[k] -= v0 * turned[a0, k]
        s += 1


@search
def coded_residuals(
    base: np.float32, rows: Rows, i: int, tables: NDArray[np.float32], r_out: NDArray[np.float32]
) -> None:
    """Residuals of one row for all taus, from tables of fitted values."""
    for k in range(r_out.shape[0]):
        r_out[k] = base
    for b in range(rows.codes.shape[0]):
        line = tables[b, rows.codes[b, i]]
        for k in range(r_out.shape[0]):
            r_out[k] -= line[k]


@search
def tally(r: NDArray[np.float32], slack: NDArray[np.float32], place: NDArray[np.float32]) -> Tally:
    """Tally of residuals."""
    unsettled, negative, places = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    one, zero = np.float32(1.0), np.float32(0.0)
    for k in range(r.shape[0]):
        unsettled += one if abs(r[k]) <= slack[k] else zero
        negative += one if r[k] < zero else zero
        places += place[k] if r[k] < zero else zero
    return Tally(unsettled, negative, places)


@search
def tally_two(
    base: np.float32,
    one_line: NDArray[np.float32],
    other: NDArray[np.float32],
    slack: NDArray[np.float32],
    place: NDArray[np.float32],
) -> Tally:
    """Tally of base - one_line - other, without storing it."""
    unsettled, negative, places = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    one, zero = np.float32(1.0), np.float32(0.0)
    for k in range(one_line.shape[0]):
        r = base - (one_line[k] + other[k])
        unsettled += one if abs(r) <= slack[k] else zero
        negative += one if r < zero else zero
        places += place[k] if r < zero else zero
    return Tally(unsettled, negative, places)


@search
def tally_three(
    base: np.float32,
    one_line: NDArray[np.float32],
    other: NDArray[np.float32],
    third: NDArray[np.float32],
    slack: NDArray[np.float32],
    place: NDArray[np.float32],
) -> Tally:
    """Tally of base - one_line - other - third, without storing it."""
    unsettled, negative, places = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    one, zero = np.float32(1.0), np.float32(0.0)
    for k in range(one_line.shape[0]):
        r = base - (one_line[k] + other[k] + third[k])
        unsettled += one if abs(r) <= slack[k] else zero
        negative += one if r < zero else zero
        places += place[k] if r < zero else zero
    return Tally(unsettled, negative, places)


@search
def tally_plane(
    base: np.float32,
    x0: np.float32,
    line0: NDArray[np.float32],
    x1: np.float32,
    line1: NDArray[np.float32],
    slack: NDArray[np.float32],
    place: NDArray[np.float32],
) -> Tally:
    """Tally of a row of at most two columns, without storing it."""
    unsettled, negative, places = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    one, zero = np.float32(1.0), np.float32(0.0)
    for k in range(line0.shape[0]):
        r = base - (x0 * line0[k] + x1 * line1[k])
        unsettled += one if abs(r) <= slack[k] else zero
        negative += one if r < zero else zero
        places += place[k] if r < zero else zero
    return Tally(unsettled, negative, places)
