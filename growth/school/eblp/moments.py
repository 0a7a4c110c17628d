"""What the model takes from the data: cell effects, and the covariance R of a student's results."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from growth._types import BoolArray, FloatArray, IntArray
from growth.errors import ColumnError, problem
from growth.school.eblp.data import Layout

__all__ = ["cell_effects", "residual_covariance"]


def cell_effects(rows: Layout) -> FloatArray:
    """Return least-squares effects of the cells beside fixed effects of schools, shape (C,).

    They sum to zero over all cells. Where schools fall into sets that share no cell, effects of one set
    cannot be compared with those of another and sum to zero within each.
    """
    schools = rows.size.shape[0]
    n = sparse.csr_matrix(
        (rows.unit_size.astype(np.float64), (rows.unit_school, rows.unit_cell)), (schools, rows.cells)
    )
    total = np.asarray(n.sum(axis=1)).ravel()
    inverse = np.divide(1.0, total, out=np.zeros(schools), where=total > 0)
    gram = np.diag(np.asarray(n.sum(axis=0)).ravel()) - (n.T @ n.multiply(inverse[:, None])).toarray()
    by_school = np.bincount(rows.school, rows.value, schools)
    right = np.bincount(rows.cell, rows.value, rows.cells) - n.T @ (inverse * by_school)
    sets, member = sparse.csgraph.connected_components(n.T @ n, directed=False)
    scale = float(np.diag(gram).mean()) or 1.0
    for k in range(sets):
        inside = (member == k).astype(np.float64)
        gram += scale / inside.sum() * np.outer(inside, inside)
        right -= inside * (inside @ right) / inside.sum()
    return np.asarray(cho_solve(cho_factor(gram), right))


def residual_covariance(rows: Layout, min_pair: int) -> tuple[FloatArray, BoolArray]:
    """Return R, shape (B, B), by moments of deviations from the means of units, and where it is set to 0.

    The variance of a block is the sum of squares over rows minus units. The covariance of two blocks is the
    mean product of deviations of common students, times ``n0 n1 / (n0 n1 - n0 - n1 + n01)`` for each pair of
    units, which makes up for the estimated means. Pairs with fewer than `min_pair` students are set to 0.

    Raises
    ------
    ColumnError
        If no unit of a block has two students.
    """
    blocks = rows.size.shape[1]
    mean = np.bincount(rows.unit, rows.value, len(rows.unit_size)) / rows.unit_size
    deviation = rows.value - mean[rows.unit]
    unit_block = rows.cell_block[rows.unit_cell]
    freedom = np.bincount(unit_block, rows.unit_size - 1, blocks)
    if not freedom.all():
        raise ColumnError(
            problem(
                "A block has no two students of the same pattern in one school",
                rule="the variance of student results is estimated within schools",
                fix="leave out the block, or give R",
            )
        )
    r = np.diag(np.bincount(rows.block, deviation**2, blocks) / freedom)
    pair, products, common = _products(rows, deviation, unit_block)
    total = _float(np.bincount(pair, products, blocks * blocks)).reshape(blocks, blocks)
    weight = _float(np.bincount(pair, common, blocks * blocks)).reshape(blocks, blocks)
    few = weight < min_pair
    above = np.divide(total, weight, out=np.zeros_like(total), where=~few & (weight > 0))
    zero = few & few.T
    np.fill_diagonal(zero, False)
    return r + above + above.T, zero


def _products(
    rows: Layout, deviation: FloatArray, unit_block: IntArray
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return, per pair of units, its pair of blocks, corrected sum of products, and common students."""
    blocks, units = rows.size.shape[1], len(rows.unit_size)
    kept: list[tuple[IntArray, FloatArray, FloatArray]] = []
    for i, j in rows.pairs():
        a, b = rows.unit[i], rows.unit[j]
        usable = (rows.unit_size[a] > 1) & (rows.unit_size[b] > 1)
        key = a[usable] * units + b[usable]
        kept.append(_gathered(key, deviation[i[usable]] * deviation[j[usable]], np.ones(len(key))))
    if not kept:
        nothing = np.zeros(0)
        return np.zeros(0, np.int64), nothing, nothing
    key, products, common = _gathered(*(np.concatenate(part) for part in zip(*kept, strict=True)))
    a, b = key // units, key % units
    n0, n1 = rows.unit_size[a], rows.unit_size[b]
    factor = n0 * n1 / (n0 * n1 - n0 - n1 + common)
    return unit_block[a] * blocks + unit_block[b], factor * products, common


def _gathered(
    key: IntArray, products: FloatArray, count: FloatArray
) -> tuple[IntArray, FloatArray, FloatArray]:
    found, place = np.unique(key, return_inverse=True)
    size = len(found)
    return found, _float(np.bincount(place, products, size)), _float(np.bincount(place, count, size))


def _float(values: NDArray[Any]) -> FloatArray:
    """Return floats also where there is nothing to count, which `bincount` answers with integers."""
    return values.astype(np.float64, copy=False)
