"""Rows of design and response that are equal, found by hashing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.kernels.compiler import allocating, kernel


@allocating
def group_equal(
    key: FloatArray,
    design: FloatArray,
    response: FloatArray,
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
    response : ndarray, shape (n,)
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
            if response[i] != response[f]:
                return -1
            for a in range(design.shape[1]):
                if design[i, a] != design[f, a]:
                    return -1
        group_out[i] = g
    return groups


@allocating
def group_coded(
    codes: NDArray[np.uint16], response: FloatArray, most: int, group_out: IntArray, first_out: IntArray
) -> int:
    """Give groups of rows with equal codes and response numbers, for at most four blocks of codes."""
    blocks = codes.shape[0]
    if blocks > 4:
        return -1
    size = 16
    while size < 2 * most:
        size *= 2
    table = np.full(size, -1, np.int32)
    packs = np.empty(most, np.int64)
    values = np.empty(most)
    bits = response.view(np.uint64)
    groups = 0
    for i in range(response.shape[0]):
        pack = np.int64(0)
        for b in range(blocks):
            pack = pack * 65536 + codes[b, i]
        h = (bits[i] ^ (np.uint64(pack) * np.uint64(0xC2B2AE3D27D4EB4F))) * np.uint64(0x9E3779B97F4A7C15)
        slot = np.int64((h ^ (h >> np.uint64(29))) & np.uint64(size - 1))
        g = np.int64(table[slot])
        while g >= 0 and (packs[g] != pack or values[g] != response[i]):
            slot = (slot + 1) & (size - 1)
            g = np.int64(table[slot])
        if g >= 0:
            group_out[i] = g
            continue
        if groups == most:
            return -1
        table[slot] = groups
        packs[groups] = pack
        values[groups] = response[i]
        first_out[groups] = i
        group_out[i] = groups
        groups += 1
    return groups


@kernel
def merge_cells(
    code: NDArray[np.uint16],
    response: FloatArray,
    weight: FloatArray,
    low: float,
    cells: NDArray[np.int32],
    first_out: IntArray,
    weight_out: FloatArray,
) -> int:
    """Merge rows of equal code and response into groups, in order of first appearance, by a table of both.

    Parameters
    ----------
    code : ndarray, shape (at least n,)
    response : ndarray, shape (n,)
    weight : ndarray, shape (n,) or (0,)
        None stand for weights of 1.
    low : float
        Smallest response.
    cells : ndarray, shape (codes, largest response - low + 1)
        Zeros; receives the number of each cell's group, counted from 1.
    first_out : ndarray, shape (at least the number of groups,)
        First row of each group.
    weight_out : ndarray, shape (at least the number of groups,)
        Sum of the weights of its rows.

    Returns
    -------
    int
        Number of groups; -1 if responses are no whole numbers above `low`.
    """
    groups = 0
    for i in range(response.shape[0]):
        place = np.uint64(response[i] - low)
        if low + np.float64(place) != response[i]:
            return -1
        w = weight[i] if weight.shape[0] > 0 else 1.0
        g = np.uint64(cells[code[i], place])
        if g > 0:
            weight_out[g - np.uint64(1)] += w
        else:
            first_out[groups] = i
            weight_out[groups] = w
            groups += 1
            cells[code[i], place] = groups
    return groups
