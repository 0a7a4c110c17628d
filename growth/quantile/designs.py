"""Two ways to hold a design, behind one face: dense rows, or codes into tables of distinct rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from growth._types import BoolArray, FloatArray, IntArray
from growth.kernels import design as dense
from growth.kernels import rows as kernel

CODE_FROM = 2048
"""Smaller designs stay dense."""
MOST_LINES = 4096
"""Most distinct rows of a column block."""
ROWS_PER_LINE = 6
"""Rows that there must be for each distinct row of a block, so that rebuilding tables pays."""


@dataclass(frozen=True, slots=True, eq=False)
class Totals:
    """Weighted sums over the rows of a design."""

    total: FloatArray  # (p,) sum of w_i x_i
    total_abs: FloatArray  # (p,) sum of w_i |x_i|
    largest: FloatArray  # (p,) largest |x_i|


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Weighted sums of products as well."""

    gram: FloatArray  # (p, p) X'WX
    totals: Totals

    def subset(self, kept: list[int]) -> Moments:
        """Moments of some of the columns."""
        t = self.totals
        return Moments(
            self.gram[np.ix_(kept, kept)], Totals(t.total[kept], t.total_abs[kept], t.largest[kept])
        )

    def rescaled(self, columns: FloatArray, weights: float) -> tuple[FloatArray, Totals]:
        """Return gram and totals after dividing columns and weights."""
        return self.gram / np.outer(columns, columns) / weights, rescaled(self.totals, columns, weights)


def plain(values: FloatArray) -> FloatArray:
    """Return values as kernels take them, copied only if they are not: contiguous, float64, writable.

    Kernels would be compiled once more for arrays that are read-only, as those of data frames are.
    """
    return np.require(values, np.float64, ["C", "W"])


def rescaled(totals: Totals, columns: FloatArray, weights: float) -> Totals:
    """Return totals after dividing columns and weights."""
    return Totals(
        totals.total / columns / weights, totals.total_abs / columns / weights, totals.largest / columns
    )


class Design(Protocol):
    """What a fit needs to know of its design, n rows and p columns."""

    @property
    def rows(self) -> kernel.Rows:
        """The rows for kernels."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n, p)."""

    def dense(self) -> FloatArray:
        """Return the matrix, shape (n, p)."""

    def take(self, members: IntArray) -> Self:
        """Return some of the rows."""

    def placed(self, order: IntArray, scale: FloatArray) -> Self:
        """Return the rows in another order, columns divided by `scale`."""

    def moments(self, weight: FloatArray) -> Moments:
        """Sum over the rows."""

    def totals(self, weight: FloatArray) -> Totals:
        """Sum over the rows, without products."""

    def total(self, values: FloatArray) -> FloatArray:
        """Return X'values, shape (p,)."""

    def residuals(self, response: FloatArray, coef: FloatArray) -> FloatArray:
        """Return response - X coef, shape (n,)."""

    def leverages(self, metric: FloatArray) -> NDArray[np.float32]:
        """Return |metric^-1 x_i|, rounded up, shape (n,)."""

    def tiles(self) -> NDArray[np.float32]:
        """Return the single-precision copy that is screened; empty if there are tables."""


@dataclass(frozen=True, slots=True, eq=False)
class DenseDesign:
    """A plain matrix."""

    matrix: FloatArray

    @property
    def rows(self) -> kernel.Rows:
        """The rows for kernels."""
        none = np.empty(0, np.int64)
        return kernel.Rows(self.matrix, np.empty((0, 0), np.uint16), np.empty((0, 0, 0)), none, none)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, p)."""
        return self.matrix.shape[0], self.matrix.shape[1]

    def dense(self) -> FloatArray:
        """Return the matrix, shape (n, p)."""
        return self.matrix

    def take(self, members: IntArray) -> DenseDesign:
        """Return some of the rows."""
        return DenseDesign(np.take(self.matrix, members, axis=0))  # an index would take five times as long

    def placed(self, order: IntArray, scale: FloatArray) -> DenseDesign:
        """Return the rows in another order, columns divided by `scale`."""
        out = np.empty(self.shape)
        dense.place(self.matrix, order, scale, out)
        return DenseDesign(out)

    def moments(self, weight: FloatArray) -> Moments:
        """Sum over the rows."""
        p = self.matrix.shape[1]
        gram, block, weighted = np.empty((p, p)), np.empty((p, dense.TILE)), np.empty((p, dense.TILE))
        dense.products(self.matrix, weight, block, weighted, gram)
        return Moments(gram, self.totals(weight))

    def totals(self, weight: FloatArray) -> Totals:
        """Sum over the rows, without products."""
        p = self.matrix.shape[1]
        sums = Totals(np.empty(p), np.empty(p), np.empty(p))
        dense.totals(self.matrix, weight, sums.total, sums.total_abs, sums.largest)
        return sums

    def total(self, values: FloatArray) -> FloatArray:
        """Return X'values, shape (p,)."""
        out: FloatArray = values @ self.matrix
        return out

    def residuals(self, response: FloatArray, coef: FloatArray) -> FloatArray:
        """Return response - X coef, shape (n,)."""
        out: FloatArray = response - self.matrix @ coef
        return out

    def leverages(self, metric: FloatArray) -> NDArray[np.float32]:
        """Return |metric^-1 x_i|, rounded up, shape (n,)."""
        out = np.empty(self.shape[0], np.float32)
        block = np.empty((self.shape[1] + 1, dense.TILE))
        dense.leverages(self.matrix, np.ascontiguousarray(metric), block, out)
        return out

    def tiles(self) -> NDArray[np.float32]:
        """Return the single-precision copy that is screened."""
        out = np.empty((-(-self.shape[0] // dense.TILE), self.matrix.shape[1], dense.TILE), np.float32)
        dense.build_tiles(self.matrix, out)
        return out


@dataclass(frozen=True, slots=True, eq=False)
class CodedDesign:
    """Codes into one table of distinct rows per block of columns."""

    rows: kernel.Rows
    n: int

    @classmethod
    def of(cls, matrix: FloatArray, blocks: Sequence[slice]) -> CodedDesign | None:
        """Code a matrix; None if a block has too many distinct rows, or the matrix too few for it to pay.

        Columns outside the blocks form a further block.
        """
        n, p = matrix.shape
        most = min(MOST_LINES, n // ROWS_PER_LINE)
        if not blocks or n < CODE_FROM:
            return None
        runs = _runs(p, blocks)
        parts = len(blocks) + int((runs.block == len(blocks)).any())
        codes, values = np.zeros((parts, _padded(n)), np.uint16), np.empty((parts, most, p))
        mix, count = np.cos(np.arange(1.0, p + 1.0) ** 2), np.empty(parts, np.int64)
        scratch = kernel.Coding.of(parts, most)
        if not kernel.code_blocks(matrix, runs, mix, scratch, codes, values, count):
            return None
        tables = np.zeros((parts, int(count.max()), p))
        for low, high, b in zip(*(ends.tolist() for ends in runs), strict=True):
            tables[b, : count[b], low:high] = values[b, : count[b], low:high]
        if not np.isfinite(tables).all():
            return None
        if parts > len(blocks) and count[-1] == 1:
            # One line for all rows, as with a lone intercept: part of the first block.
            rest = tables[-1, 0] != 0.0
            tables[0, :, rest] = tables[-1, 0, rest][:, None]
            tables, codes = tables[:-1], codes[:-1]
        return cls(kernel.Rows(np.empty((0, p)), codes, tables, *_extents(tables)), n)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, p)."""
        return self.n, self.rows.tables.shape[2]

    def dense(self) -> FloatArray:
        """Return the matrix, shape (n, p)."""
        out: FloatArray = np.take(self.rows.tables[0], self.rows.codes[0, : self.n], axis=0)
        for table, code in zip(self.rows.tables[1:], self.rows.codes[1:], strict=True):
            out += np.take(table, code[: self.n], axis=0)
        return out

    def take(self, members: IntArray) -> CodedDesign:
        """Return some of the rows."""
        codes = np.zeros((len(self.rows.codes), _padded(members.size)), np.uint16)
        codes[:, : members.size] = np.take(self.rows.codes, members, axis=1)
        return CodedDesign(self.rows._replace(codes=codes), members.size)

    def placed(self, order: IntArray, scale: FloatArray) -> CodedDesign:
        """Return the rows in another order, columns divided by `scale`."""
        rows = self.take(order).rows
        return CodedDesign(rows._replace(tables=rows.tables / scale), self.n)

    def moments(self, weight: FloatArray) -> Moments:
        """Sum over the rows."""
        tables = self.rows.tables
        mass = self._sums(weight)
        gram = np.empty((tables.shape[2], tables.shape[2]))
        kernel.coded_gram(self.rows, weight, mass, np.empty(tables.shape[1:]), gram)
        return Moments(gram, self._totals(mass))

    def totals(self, weight: FloatArray) -> Totals:
        """Sum over the rows, without products."""
        return self._totals(self._sums(weight))

    def total(self, values: FloatArray) -> FloatArray:
        """Return X'values, shape (p,)."""
        out: FloatArray = np.einsum("bv,bvp->p", self._sums(values), self.rows.tables)
        return out

    def residuals(self, response: FloatArray, coef: FloatArray) -> FloatArray:
        """Return response - X coef, shape (n,)."""
        out = np.empty(self.n)
        kernel.coded_product(self.rows, coef, response, np.empty(self.rows.tables.shape[:2]), out)
        return out

    def leverages(self, metric: FloatArray) -> NDArray[np.float32]:
        """Return |metric^-1 x_i|, rounded up, shape (n,)."""
        if len(self.rows.tables) == 1:
            lines = self.rows.tables.shape[1]
            if lines < self.n:  # of the distinct rows
                each = np.arange(lines, dtype=np.uint16)[None, :]
                distinct = CodedDesign(self.rows._replace(codes=each), lines)
                return distinct.leverages(metric)[self.rows.codes[0, : self.n]]
        out = np.empty(self.n, np.float32)
        turned = np.ascontiguousarray(self.rows.tables @ np.linalg.inv(metric).T)
        kernel.coded_leverages(self.rows, turned, dense.FENCE, dense.ALWAYS, np.empty(len(metric)), out)
        return out

    def tiles(self) -> NDArray[np.float32]:
        """Return none: there are tables."""
        return np.empty((0, self.shape[1], dense.TILE), np.float32)

    def _totals(self, mass: FloatArray) -> Totals:
        tables, sizes = self.rows.tables, np.abs(self.rows.tables)
        return Totals(
            np.einsum("bv,bvp->p", mass, tables),
            np.einsum("bv,bvp->p", mass, sizes),
            sizes.max(axis=(0, 1)),
        )

    def _sums(self, values: FloatArray) -> FloatArray:
        out = np.empty(self.rows.tables.shape[:2])
        kernel.coded_sums(self.rows, values, out)
        return out


def _padded(n: int) -> int:
    return -(-n // dense.TILE) * dense.TILE


def _runs(p: int, blocks: Sequence[slice]) -> kernel.Runs:
    """Find runs of neighbouring columns of one block; those outside all blocks form a further block."""
    block = np.full(p, len(blocks))
    for b, part in enumerate(blocks):
        block[part] = b
    ends = np.flatnonzero(np.diff(block)) + 1
    first = np.concatenate(([0], ends))
    return kernel.Runs(first, np.concatenate((ends, [p])), block[first])


def _extents(tables: FloatArray) -> tuple[IntArray, IntArray]:
    """First column of each table, and one beyond its last, that is not zero throughout."""
    used: BoolArray = np.any(tables != 0.0, axis=1)
    p = used.shape[1]
    first = np.argmax(used, axis=1)
    return first, np.maximum(p - np.argmax(used[:, ::-1], axis=1), first)
