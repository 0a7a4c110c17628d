"""Summaries of a design matrix that every fit needs once: moments, leverages, a single-precision copy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.kernels.compiler import kernel, search

TILE = 64
"""Rows per tile of the single-precision copy of the design."""

FENCE = 0.3
"""Rows with a larger leverage h_i are always in the band: coefficients of rare columns and spline tails hang
on them. There are at most p / FENCE^2 of them."""
ALWAYS = 1e25

SINGLE = 1.2e-7
"""Twice the unit round-off of single precision: bounds the error of single-precision residuals."""


@search
def _add_products(block: FloatArray, weighted: FloatArray, gram_out: FloatArray) -> None:
    """Add the products of all pairs of columns, each a row of the block."""
    for a in range(block.shape[0]):
        column = weighted[a]
        for b in range(a + 1):
            other = block[b]
            s = 0.0
            for i in range(TILE):
                s += column[i] * other[i]
            gram_out[a, b] += s


@kernel
def products(
    design: FloatArray, weight: FloatArray, block: FloatArray, weighted: FloatArray, gram_out: FloatArray
) -> None:
    """Write X'WX. `block` and `weighted`, shape (p, TILE), are scratch."""
    n, p = design.shape
    gram_out[:, :] = 0.0
    for start in range(0, n, TILE):
        stop = min(TILE, n - start)
        for i in range(stop):
            for a in range(p):
                block[a, i] = design[start + i, a]
                weighted[a, i] = weight[start + i] * block[a, i]
        for i in range(stop, TILE):
            for a in range(p):
                block[a, i] = 0.0
                weighted[a, i] = 0.0
        _add_products(block, weighted, gram_out)
    for a in range(p):
        for b in range(a):
            gram_out[b, a] = gram_out[a, b]


@kernel
def totals(
    design: FloatArray, weight: FloatArray, total_out: FloatArray, abs_out: FloatArray, max_out: FloatArray
) -> None:
    """Write the weighted column sums, those of absolute values, and the largest absolute values."""
    n, p = design.shape
    total_out[:] = 0.0
    abs_out[:] = 0.0
    max_out[:] = 0.0
    for i in range(n):
        w = weight[i]
        for a in range(p):
            v = design[i, a]
            total_out[a] += w * v
            abs_out[a] += w * abs(v)
            max_out[a] = max(max_out[a], abs(v))


@kernel
def place(design: FloatArray, order: IntArray, scale: FloatArray, design_out: FloatArray) -> None:
    """Write the rows in another order, columns divided by `scale`."""
    n, p = design_out.shape
    for i in range(n):
        row, line = design[order[i]], design_out[i]
        for a in range(p):
            line[a] = row[a] / scale[a]


@kernel
def build_tiles(design: FloatArray, tiles_out: NDArray[np.float32]) -> None:
    """Write the tiled single-precision copy, zero rows at the end."""
    n, p = design.shape
    for k in range(tiles_out.shape[0]):
        start = k * TILE
        stop = min(TILE, n - start)
        for a in range(p):
            for i in range(TILE):
                tiles_out[k, a, i] = np.float32(design[start + i, a]) if i < stop else np.float32(0.0)


@kernel
def leverages(
    design: FloatArray, metric: FloatArray, block: FloatArray, leverage_out: NDArray[np.float32]
) -> None:
    """Write |metric^-1 x_i|, rounded up; ALWAYS beyond FENCE. `block`, shape (p + 1, TILE), is scratch."""
    n, p = design.shape
    square = block[p]
    for start in range(0, n, TILE):
        stop = min(TILE, n - start)
        for i in range(TILE):
            square[i] = 0.0
        for a in range(p):
            for i in range(TILE):
                block[a, i] = design[start + i, a] if i < stop else 0.0
            for b in range(a):
                f = metric[a, b]
                if f != 0.0:
                    for i in range(TILE):
                        block[a, i] -= f * block[b, i]
            f = 1.0 / metric[a, a]
            for i in range(TILE):
                block[a, i] *= f
                square[i] += block[a, i] * block[a, i]
        for i in range(stop):
            h = np.sqrt(square[i])
            leverage_out[start + i] = np.float32(h * 1.000001 + 1e-30) if h < FENCE else np.float32(ALWAYS)


@kernel
def dithered(
    response: FloatArray, amplitude: float, crowds: FloatArray, further: float, moved_out: FloatArray
) -> None:
    """Write responses moved by up to `amplitude`, by a hash of the row number (Steele et al. 2014).

    Those equal to one of the two `crowds` are moved by up to `further`.
    """
    for i in range(response.shape[0]):
        z = np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        crowded = response[i] == crowds[0] or response[i] == crowds[1]
        move = np.int64(z >> np.uint64(11)) * 2.0**-52 - 1.0
        moved_out[i] = response[i] + (further if crowded else amplitude) * move
