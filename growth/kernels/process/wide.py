"""Looks at all rows: their residuals, and their lengths in the metric of the curvature."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray
from growth.kernels.compiler import inlined, search
from growth.kernels.design import SINGLE
from growth.kernels.process.algebra import cholesky, dot
from growth.kernels.process.data import TILE, Problem, State, Work
from growth.kernels.process.screen import look_at
from growth.kernels.rows import read_row

STIRRED = 2.0**-13
"""Share of their dither by which rows on a crowded end are set apart: less than moves them past others."""


class Wide(NamedTuple):
    """Scratch for all rows."""

    now: NDArray[np.float32]  # (tiles * TILE,) residuals
    then: NDArray[np.float32]  # (tiles * TILE,) residuals after a full step
    length: NDArray[np.float32]  # (tiles * TILE,) h_i
    inverse: FloatArray  # (p, p) of the factor of the curvature
    turned: NDArray[np.float32]  # (blocks, lines, p and more) table lines in its metric
    row: NDArray[np.float32]  # (p and more,)
    block: NDArray[np.float32]  # (p, p) the inverse in single precision


@inlined
def apart(problem: Problem, searched: float, exact: float) -> float:
    """Return the response set apart from others by little, on a crowded end as elsewhere."""
    move = searched - exact
    return exact + (move if abs(move) <= problem.near else STIRRED * move)


@search
def all_residuals(
    problem: Problem,
    work: Work,
    coef: FloatArray,
    beta: NDArray[np.float32],
    shift: FloatArray,
    residual_out: NDArray[np.float32],
) -> None:
    """Write the residuals of all rows, those near zero without the rounding of single precision."""
    rows = problem.rows
    size = problem.offset_max
    p = coef.shape[0]
    for a in range(p):
        shift[a] = coef[a] - problem.center[a]
        beta[a] = np.float32(shift[a])
        size += (p + 3) * problem.column_max[a] * abs(beta[a])
    for b in range(rows.codes.shape[0]):
        low, high = rows.first[b], rows.last[b]
        for c in range(rows.tables.shape[1]):
            work.sums[b, c] = np.float32(dot(rows.tables[b, c, low:high], shift[low:high]))
    tile, response, searched = work.tile, problem.response, problem.searched
    n = response.shape[0]
    for k in range(problem.tile_lever.shape[0]):
        look_at(problem, work, beta, k, tile)
        start = k * TILE
        for i in range(min(TILE, n - start)):
            residual_out[start + i] = tile[i] - np.float32(searched[start + i] - response[start + i])
    slack = np.float32(2.0 * SINGLE * size)
    row = work.vec[1]
    for i in range(n):
        if abs(residual_out[i]) < slack:
            read_row(rows, i, row)
            r = apart(problem, searched[i], response[i])
            for a in range(p):
                r -= row[a] * coef[a]
            residual_out[i] = np.float32(r)


@inlined
def _invert(factor: FloatArray, inverse_out: FloatArray) -> None:
    """Invert a lower triangular matrix."""
    for a in range(factor.shape[0]):
        for b in range(a):
            s = 0.0
            for k in range(b, a):
                s -= factor[a, k] * inverse_out[k, b]
            inverse_out[a, b] = s / factor[a, a]
        inverse_out[a, a] = 1.0 / factor[a, a]


@search
def _coded_lengths(problem: Problem, wide: Wide, n: int) -> None:
    rows, inverse, turned, row, length = problem.rows, wide.inverse, wide.turned, wide.row, wide.length
    codes = rows.codes
    p, padded = inverse.shape[0], row.shape[0]
    for b in range(codes.shape[0]):
        low, high = rows.first[b], rows.last[b]
        for c in range(rows.tables.shape[1]):
            for a in range(low, p):
                s = 0.0
                for j in range(low, min(high, a + 1)):
                    s += inverse[a, j] * rows.tables[b, c, j]
                turned[b, c, a] = np.float32(s)
    for i in range(n):
        line = turned[0, codes[0, i]]
        for a in range(padded):
            row[a] = line[a]
        for b in range(1, codes.shape[0]):
            line = turned[b, codes[b, i]]
            for a in range(rows.first[b] // 8 * 8, padded):
                row[a] += line[a]
        square = np.float32(0.0)
        for a in range(padded):
            square += row[a] * row[a]
        length[i] = np.sqrt(square) + np.float32(1e-30)


@search
def _dense_lengths(problem: Problem, work: Work, wide: Wide) -> None:
    tiles, block, part, length = problem.tiles, wide.block, work.tile, wide.length
    p = block.shape[0]
    for a in range(p):
        for b in range(p):
            block[a, b] = np.float32(wide.inverse[a, b]) if b <= a else np.float32(0.0)
    for k in range(tiles.shape[0]):
        square = length[k * TILE : (k + 1) * TILE]
        for i in range(TILE):
            square[i] = np.float32(0.0)
        for a in range(p):
            for i in range(TILE):
                part[i] = np.float32(0.0)
            even = (a + 1) - (a + 1) % 4
            for b in range(0, even, 4):
                c0, c1, c2, c3 = block[a, b], block[a, b + 1], block[a, b + 2], block[a, b + 3]
                for i in range(TILE):
                    part[i] += (
                        tiles[k, b, i] * c0
                        + tiles[k, b + 1, i] * c1
                        + tiles[k, b + 2, i] * c2
                        + tiles[k, b + 3, i] * c3
                    )
            for b in range(even, a + 1):
                c0 = block[a, b]
                for i in range(TILE):
                    part[i] += tiles[k, b, i] * c0
            for i in range(TILE):
                square[i] += part[i] * part[i]
        for i in range(TILE):
            square[i] = np.sqrt(square[i]) + np.float32(1e-30)


@inlined
def measure(problem: Problem, state: State, work: Work, wide: Wide) -> bool:
    """Find the lengths of all rows in the metric of the curvature; False if that is singular."""
    if not cholesky(state.curvature, work.factor):
        return False
    _invert(work.factor, wide.inverse)
    if problem.rows.codes.shape[0] > 0:
        _coded_lengths(problem, wide, problem.response.shape[0])
    else:
        _dense_lengths(problem, work, wide)
    return True
