"""The rows of a design as kernels read them, dense or coded.

Blocks of columns (the spline basis of one prior, the flags) often take few distinct values. Then a row is a
few *codes*: line numbers into one small table per block. Sums and products over all rows come from the
tables, which stay in the processor's cache, and a row costs one look-up per block.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.kernels.compiler import inlined, inner, kernel, search

__all__ = [
    "Coding",
    "Rows",
    "Runs",
    "add_row",
    "code_blocks",
    "coded_gram",
    "coded_leverages",
    "coded_product",
    "coded_sums",
    "read_row",
]


CHUNK = 256
"""Rows that are coded together."""


class Rows(NamedTuple):
    """The rows of a design: dense, or coded."""

    design: FloatArray  # (n, p); no rows if coded
    codes: NDArray[np.uint16]  # (blocks, at least n) line of each row in each block's table; none if dense
    tables: FloatArray  # (blocks, lines, p) distinct rows of each block of columns, zero elsewhere
    first: IntArray  # (blocks,) columns outside first..last-1 are zero in the block's table
    last: IntArray  # (blocks,)


@inlined
def read_row(rows: Rows, i: int, row_out: FloatArray) -> None:
    """Write row i."""
    design, codes, tables = rows.design, rows.codes, rows.tables
    first, last = rows.first, rows.last
    p = row_out.shape[0]
    if codes.shape[0] == 0:
        for a in range(p):
            row_out[a] = design[i, a]
    else:
        line = tables[0, codes[0, i]]
        for a in range(p):
            row_out[a] = line[a]
        for b in range(1, codes.shape[0]):
            line = tables[b, codes[b, i]]
            for a in range(first[b], last[b]):
                row_out[a] += line[a]


@inlined
def add_row(rows: Rows, i: int, factor: float, sum_out: FloatArray) -> None:
    """Add a multiple of row i to the first entries of a sum."""
    design, codes, tables = rows.design, rows.codes, rows.tables
    first, last = rows.first, rows.last
    if codes.shape[0] == 0:
        for a in range(design.shape[1]):
            sum_out[a] += factor * design[i, a]
    else:
        for b in range(codes.shape[0]):
            c = codes[b, i]
            for a in range(first[b], last[b]):
                sum_out[a] += factor * tables[b, c, a]


class Runs(NamedTuple):
    """Runs of neighbouring columns, each part of one block."""

    first: IntArray  # (runs,)
    last: IntArray  # (runs,) one beyond
    block: IntArray  # (runs,)


class Coding(NamedTuple):
    """Scratch of `code_blocks`."""

    slots: NDArray[np.int32]  # (blocks, a power of two) hash tables of lines, -1 where there is none
    keys: NDArray[np.uint64]  # (blocks, most) keys of the lines
    key: FloatArray  # (CHUNK,)
    bits: NDArray[np.uint64]  # (CHUNK,) the same memory

    @classmethod
    def of(cls, blocks: int, most: int) -> Coding:
        """Return scratch for up to `most` lines in each block."""
        slots = np.full((blocks, max(16, 1 << (4 * most - 1).bit_length())), -1, np.int32)
        key = np.empty(CHUNK)
        return cls(slots, np.empty((blocks, most), np.uint64), key, key.view(np.uint64))


@inner
def _as_coded(rows: FloatArray, runs: Runs, b: int, values: FloatArray, code: NDArray[np.uint16]) -> bool:
    """Whether all rows equal, in block b, the lines that their codes name."""
    unlike = 0
    for r in range(runs.first.shape[0]):
        if runs.block[r] == b:
            part, lines = rows[:, runs.first[r] : runs.last[r]], values[:, runs.first[r] : runs.last[r]]
            for i in range(part.shape[0]):
                line = lines[code[i]]
                for s in range(part.shape[1]):
                    unlike += part[i, s] != line[s]
    return unlike == 0


@inlined
def _write_keys(rows: FloatArray, runs: Runs, b: int, mix: FloatArray, key_out: FloatArray) -> None:
    """Write a sum over the columns of block b for every row."""
    key_out[:] = 0.0
    for r in range(runs.first.shape[0]):
        if runs.block[r] == b:
            part, factor = rows[:, runs.first[r] : runs.last[r]], mix[runs.first[r] : runs.last[r]]
            for i in range(part.shape[0]):
                total = 0.0
                for s in range(part.shape[1]):
                    total += part[i, s] * factor[s]
                key_out[i] += total


@inlined
def _code(
    rows: FloatArray,
    bits: NDArray[np.uint64],
    slots: NDArray[np.int32],
    keys: NDArray[np.uint64],
    values: FloatArray,
    count: int,
    code_out: NDArray[np.uint16],
) -> int:
    """Code rows, adding lines where keys are new; return the number of lines, -1 if too many."""
    last = np.uint64(slots.shape[0] - 1)
    for i in range(rows.shape[0]):
        h = bits[i] * np.uint64(0x9E3779B97F4A7C15)
        slot = (h ^ (h >> np.uint64(29))) & last
        g = slots[slot]
        while g >= 0 and keys[np.uint64(g)] != bits[i]:
            slot = (slot + np.uint64(1)) & last
            g = slots[slot]
        if g < 0:
            if count == keys.shape[0]:
                return -1
            g = np.int32(count)
            slots[slot] = g
            keys[count] = bits[i]
            for a in range(rows.shape[1]):
                values[count, a] = rows[i, a]
            count += 1
        code_out[i] = g
    return count


@kernel
def code_blocks(
    design: FloatArray,
    runs: Runs,
    mix: FloatArray,
    work: Coding,
    codes_out: NDArray[np.uint16],
    values_out: FloatArray,
    count_out: IntArray,
) -> bool:
    """Code the distinct rows of each block of columns, in order of first appearance.

    Parameters
    ----------
    design : ndarray, shape (n, p)
    runs : Runs
        Where the blocks' columns are.
    mix : ndarray, shape (p,)
        Factors of the sums by which rows are found; different rows practically never have the same.
    work : Coding
        Made for this pass.
    codes_out : ndarray, shape (blocks, at least n)
        Zeros.
    values_out : ndarray, shape (blocks, most, p)
        The distinct rows in the block's columns, anything in others.
    count_out : ndarray, shape (blocks,)
        Number of distinct rows.

    Returns
    -------
    bool
        False if there are too many distinct rows (a NaN equals nothing), or if two of them share a sum.
    """
    n = design.shape[0]
    blocks = codes_out.shape[0]
    key, bits, slots, keys = work.key, work.bits, work.slots, work.keys
    count_out[:] = 0
    # Chunk by chunk and step by step: rows do not wait for each other, and indices into slices need no check.
    for start in range(0, n, CHUNK):
        part = design[start : min(start + CHUNK, n)]
        for b in range(blocks):
            code, values = codes_out[b, start : start + part.shape[0]], values_out[b]
            if count_out[b] == 1 and _as_coded(part, runs, b, values, code):
                continue
            _write_keys(part, runs, b, mix, key)
            count_out[b] = _code(part, bits, slots[b], keys[b], values, count_out[b], code)
            if count_out[b] < 0 or not _as_coded(part, runs, b, values, code):
                return False
    return True


@kernel
def coded_sums(rows: Rows, values: FloatArray, line_out: FloatArray) -> None:
    """Write the sum of `values`, shape (n,), over the rows of each table line, shape (blocks, lines)."""
    line_out[:, :] = 0.0
    for b in range(rows.codes.shape[0]):
        for i in range(values.shape[0]):
            line_out[b, rows.codes[b, i]] += values[i]


@kernel
def coded_product(
    rows: Rows, coef: FloatArray, start: FloatArray, value: FloatArray, product_out: FloatArray
) -> None:
    """Write start_i - x_i'coef for every row; `value`, shape (blocks, lines), holds x_i'coef of the lines."""
    blocks, lines = value.shape
    for b in range(blocks):
        for c in range(lines):
            value[b, c] = 0.0
            for a in range(rows.first[b], rows.last[b]):
                value[b, c] += rows.tables[b, c, a] * coef[a]
    for i in range(start.shape[0]):
        s = 0.0
        for b in range(blocks):
            s += value[b, rows.codes[b, i]]
        product_out[i] = start[i] - s


@kernel
def coded_gram(
    rows: Rows, weight: FloatArray, mass: FloatArray, sums: FloatArray, gram_out: FloatArray
) -> None:
    """Write X'WX; `mass` holds the weight of every line (`coded_sums` of the weights).

    `sums`, shape (lines, p), is scratch.
    """
    blocks, lines = mass.shape
    gram_out[:, :] = 0.0
    for b in range(blocks):
        for c in range(b + 1):
            sums[:, :] = 0.0
            table, code, other = rows.tables[c], rows.codes[b], rows.codes[c]
            low, high = rows.first[c], rows.last[c]
            if b == c:
                for v in range(lines):
                    for d in range(low, high):
                        sums[v, d] = mass[b, v] * table[v, d]
            else:
                for i in range(weight.shape[0]):
                    u, v, w = code[i], other[i], weight[i]
                    for d in range(low, high):
                        sums[u, d] += w * table[v, d]
            for v in range(lines):
                for a in range(rows.first[b], rows.last[b]):
                    f = rows.tables[b, v, a]
                    for d in range(low, high):
                        gram_out[a, d] += f * sums[v, d]
                        if b != c:
                            gram_out[d, a] += f * sums[v, d]


@search
def _write_lengths(
    codes: NDArray[np.uint16], turned: FloatArray, row: FloatArray, length_out: NDArray[np.float32]
) -> None:
    """Write |sum of turned lines| of every row."""
    for i in range(length_out.shape[0]):
        s = 0.0
        line = turned[0, codes[0, i]]
        if codes.shape[0] == 2:
            other = turned[1, codes[1, i]]
            for a in range(line.shape[0]):
                part = line[a] + other[a]
                s += part * part
        else:
            for a in range(line.shape[0]):
                row[a] = line[a]
            for b in range(1, codes.shape[0]):
                other = turned[b, codes[b, i]]
                for a in range(line.shape[0]):
                    row[a] += other[a]
            for a in range(line.shape[0]):
                s += row[a] * row[a]
        length_out[i] = np.float32(np.sqrt(s))


@kernel
def coded_leverages(
    rows: Rows,
    turned: FloatArray,
    fence: float,
    always: float,
    row: FloatArray,
    leverage_out: NDArray[np.float32],
) -> None:
    """Write |sum of turned lines| of every row, rounded up; `always` beyond `fence`.

    Parameters
    ----------
    turned : ndarray, shape (blocks, lines, p)
        Table lines times the inverse of the metric.
    row : ndarray, shape (p,)
        Scratch.
    """
    _write_lengths(rows.codes, turned, row, leverage_out)
    for i in range(leverage_out.shape[0]):
        h = np.float64(leverage_out[i])
        leverage_out[i] = np.float32(h * 1.000001 + 1e-30) if h < fence else np.float32(always)
