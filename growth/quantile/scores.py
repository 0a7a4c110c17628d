"""Places of responses in their conditional distributions, chunk by chunk of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from growth._types import FloatArray, IntArray
from growth.errors import ColumnError, problem
from growth.kernels import scoring
from growth.quantile.designs import CodedDesign, DenseDesign, plain
from growth.quantile.threads import in_threads

__all__ = ["Reading", "Scores"]

CHUNK = 65_536
"""Rows that are coded and scored at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Places of responses in their conditional distributions."""

    below: IntArray
    """Number of curves below the response, shape (n,)."""
    upto: IntArray
    """Number of curves not above the response, shape (n,)."""
    percentile: FloatArray
    """Continuous percentile in (0, 1), shape (n,): interpolated, mid-p on ties."""
    median: FloatArray
    """Conditional median, shape (n,) [units of the response]."""
    crossing_share: float
    """Share of neighbouring pairs of curves that crossed before rearrangement."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """How the curves of a process are read off: what is summed in which order, sorted, rounded, clipped."""

    coef: FloatArray
    """Shape (m, p)."""
    taus: FloatArray
    """Shape (m,)."""
    blocks: tuple[slice, ...]
    """Columns that belong together."""
    rearrange: bool
    """Sort each row so that quantiles do not cross."""
    scale: float
    """Values are multiples of 1/scale; 0: not rounded."""
    bounds: tuple[float, float]
    """Range to which values are clipped."""

    def curves(self, design: FloatArray) -> FloatArray:
        """Return the values of all curves, shape (n, m)."""
        out = np.zeros((design.shape[0], len(self.taus)))
        self.add_curves(design, out)
        return out

    def add_curves(self, design: FloatArray, sums_out: FloatArray) -> None:
        """Add the values of all curves to `sums_out`, shape (n, m), without storing them."""
        curves = scoring.Curves.of(self.coef, *_groups(self.coef.shape[1], self.blocks))
        rows = plain(design)
        _require_finite(
            scoring.add_curve_values(rows, curves, self.rearrange, self.scale, *self.bounds, sums_out)
        )

    def scores(self, design: FloatArray, response: FloatArray, n_jobs: int | None) -> Scores:
        """Place each response, shape (n,), among the curves of its row."""
        n, m = design.shape[0], len(self.taus)
        below, upto = np.empty(n, np.int64), np.empty(n, np.int64)
        percentile, median = np.empty(n), np.empty(n)
        groups = _groups(self.coef.shape[1], self.blocks)

        def chunk(start: int) -> tuple[int, int]:
            some = slice(start, start + CHUNK)
            matrix = plain(design[some])
            coded = CodedDesign.of(matrix, self.blocks)
            rows = DenseDesign(matrix).rows if coded is None else coded.rows
            # A table of its own for the columns outside the blocks comes last; they are summed first.
            tables = len(rows.codes)
            lead = tables - 1 if tables > len(self.blocks) else 0
            return scoring.place(
                rows,
                lead,
                scoring.Curves.of(self.coef, *groups),
                response[some],
                plain(self.taus),
                self.rearrange,
                self.scale,
                *self.bounds,
                np.empty((*rows.tables.shape[:2], m)),
                below[some],
                upto[some],
                percentile[some],
                median[some],
            )

        counts = in_threads(chunk, [(start,) for start in range(0, n, CHUNK)], n_jobs or 1)
        _require_finite(sum(unknown for _, unknown in counts))
        crossings = sum(crossed for crossed, _ in counts)
        return Scores(below, upto, percentile, median, crossings / max(1, n * (m - 1)))


def _groups(p: int, blocks: Sequence[slice]) -> tuple[IntArray, IntArray]:
    """Columns group by group, and where each group ends: first those outside the blocks, then each block."""
    parts = [np.arange(p)[block] for block in blocks]
    outside = np.setdiff1d(np.arange(p), np.concatenate([np.empty(0, np.int64), *parts]))
    parts.insert(0, outside)
    return np.concatenate(parts), np.cumsum([part.size for part in parts])


def _require_finite(unknown: int) -> None:
    if unknown:
        raise ColumnError(
            problem(
                "The design gives quantiles that are not finite",
                rows=unknown,
                fix="drop rows with NaN or infinite values",
            )
        )
