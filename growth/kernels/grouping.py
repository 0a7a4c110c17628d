"""Rows that are equal, found by hashing: duplicates of whole rows, and distinct values of column blocks."""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray, IntArray
from growth.kernels.compiler import kernel


@kernel
def group_equal(
    key: FloatArray,
    design: FloatArray,
    columns: IntArray,
    most: int,
    group_out: IntArray,
    first_out: IntArray,
) -> int:
    """Give groups of rows with equal keys numbers, in order of first appearance.

    Parameters
    ----------
    key : ndarray, shape (n,)
        Equal rows have equal keys.
    design : ndarray, shape (n, p)
    columns : ndarray, shape (q,)
        Columns of the design that must agree within a group.
    most : int
        Give up beyond this many groups.
    group_out : ndarray, shape (n,)
    first_out : ndarray, shape (most,)
        First row of each group.

    Returns
    -------
    int
        Number of groups; -1 if there are more than `most`, or if unequal rows share a key.
    """
    size = 16
    while size < 2 * most:
        size *= 2
    table = np.full(size, -1, np.int64)
    bits = key.view(np.uint64)
    groups = 0
    for i in range(key.shape[0]):
        h = bits[i] * np.uint64(0x9E3779B97F4A7C15)
        slot = np.int64((h ^ (h >> np.uint64(29))) & np.uint64(size - 1))
        while table[slot] >= 0 and bits[first_out[table[slot]]] != bits[i]:
            slot = (slot + 1) & (size - 1)
        g = table[slot]
        if g < 0:
            if groups == most:
                return -1
            table[slot] = groups
            first_out[groups] = i
            g = groups
            groups += 1
        else:
            f = first_out[g]
            for a in columns:
                if design[i, a] != design[f, a]:
                    return -1
        group_out[i] = g
    return groups
