"""Prepare a fit: check the input, merge equal rows, drop dependent columns, choose coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.errors import ColumnError, SpecError, problem
from growth.kernels import design as summary
from growth.kernels import grouping
from growth.kernels import process as kernel

RANK_TOLERANCE = 1e-7
"""A column whose part orthogonal to earlier columns is a smaller share of its length is dropped."""
SAFE_PIVOT = 1e-6
"""Smallest squared pivot of the normalised Gram matrix that needs no closer look at the rank."""
PERTURBATION = 2.0**-34
"""Size of the response perturbation that breaks ties, as a share of the typical deviation of the response."""
TIE = 2.0**-36
"""Residuals up to this share of the typical deviation are zero up to rounding."""
NEAR = 2.0**-26
"""Rows nearer to a hyperplane than this share are proven with the side that the solver gave them."""
COLLAPSE_FROM = 8192
"""Fewer rows are not searched for duplicates."""
LOOK_UP_FROM = 50_000
"""Fewer rows are not worth coding."""
LOOK_UP_VALUES = 4096
"""Most distinct values of a column block."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Weighted sums over the rows of a design."""

    gram: FloatArray  # (p, p) X'WX
    total: FloatArray  # (p,) sum of w_i x_i
    total_abs: FloatArray  # (p,) sum of w_i |x_i|
    largest: FloatArray  # (p,) largest |x_i|

    @classmethod
    def of(cls, design: FloatArray, weight: FloatArray) -> Moments:
        """Compute the moments in one pass."""
        p = design.shape[1]
        out = cls(np.empty((p, p)), np.empty(p), np.empty(p), np.empty(p))
        summary.moments(design, weight, out.gram, out.total, out.total_abs, out.largest)
        return out

    def subset(self, kept: list[int]) -> Moments:
        """Moments of some of the columns."""
        return Moments(
            self.gram[np.ix_(kept, kept)], self.total[kept], self.total_abs[kept], self.largest[kept]
        )

    def rescaled(self, columns: FloatArray, weights: float) -> Moments:
        """Moments after dividing columns and weights."""
        return Moments(
            self.gram / np.outer(columns, columns) / weights,
            self.total / columns / weights,
            self.total_abs / columns / weights,
            self.largest / columns,
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """One fit in the coordinates in which solutions are sought and proven.

    They are the caller's columns divided by powers of two, which is exact, or orthogonal columns where the
    caller's are nearly dependent.
    """

    problem: kernel.Problem
    weight: FloatArray  # (n,) as given; those of the problem have mean 1
    scale: float  # typical deviation of the response
    column_scale: FloatArray  # (r,) powers of two
    rotation: FloatArray | None  # (r, r) from orthogonal to scaled columns

    def original(self, coef: FloatArray) -> FloatArray:
        """Return coefficients, shape (m, r), of the caller's columns."""
        scaled = coef if self.rotation is None else coef @ self.rotation.T
        return scaled / self.column_scale


def checked(
    design: FloatArray,
    response: FloatArray,
    taus: Sequence[float] | FloatArray,
    weights: FloatArray | None,
    names: Sequence[str],
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, tuple[str, ...]]:
    """Return contiguous float arrays, the grid and the labels, or raise with what is wrong."""
    design = np.ascontiguousarray(design, dtype=np.float64)
    response = np.ascontiguousarray(response, dtype=np.float64)
    grid = np.array(taus, dtype=np.float64, ndmin=1)
    if design.ndim != 2 or response.shape != (design.shape[0],):
        raise ColumnError(f"The design has shape {design.shape} but the response has shape {response.shape}.")
    weight = np.ones(response.size) if weights is None else np.ascontiguousarray(weights, dtype=np.float64)
    if weight.shape != response.shape:
        raise ColumnError(
            f"The weights have shape {weight.shape} but the response has shape {response.shape}."
        )
    for what, values in (("design", design), ("response", response), ("weights", weight)):
        bad = ~np.isfinite(values)
        if bad.any():
            rows = int(np.count_nonzero(bad.any(axis=1) if values.ndim == 2 else bad))
            raise ColumnError(
                problem(f"The {what} holds NaN or infinite values", rows=rows, fix="drop those rows")
            )
    if (weight < 0.0).any():
        raise ColumnError(problem("Weights are negative", rows=int(np.count_nonzero(weight < 0.0))))
    if not (weight > 0.0).any() or design.shape[1] == 0:
        raise ColumnError("A fit needs at least one column and one row of positive weight.")
    if grid.ndim != 1 or grid.size == 0 or not ((grid > 0) & (grid < 1)).all() or (np.diff(grid) <= 0).any():
        raise SpecError("taus must increase and lie strictly between 0 and 1.")
    labels = tuple(str(name) for name in names)
    if labels and len(labels) != design.shape[1]:
        raise SpecError(f"{len(labels)} names for {design.shape[1]} columns.")
    return design, response, weight, grid, labels


def independent_columns(design: FloatArray, gram: FloatArray) -> tuple[list[int], list[int]]:
    """Split columns into a full-rank set and those that depend on earlier columns."""
    p = design.shape[1]
    length = np.sqrt(np.diag(gram))
    if (length > 0.0).all() and design.shape[0] >= p:
        try:
            pivots = np.diag(np.linalg.cholesky(gram / np.outer(length, length))) ** 2
            if pivots.min() > SAFE_PIVOT:
                return list(range(p)), []
        except np.linalg.LinAlgError:
            pass
    # The triangular factor has the same dependencies between columns as the design, without squaring them.
    scaled = design / np.where(length > 0.0, np.abs(design).max(axis=0, initial=0.0) + (length == 0.0), 1.0)
    factor: FloatArray = np.asarray(np.linalg.qr(scaled, mode="r"), dtype=np.float64)
    kept: list[int] = []
    dropped: list[int] = []
    directions: list[FloatArray] = []
    for j in range(p):
        column = factor[:, j].copy()
        size = float(np.linalg.norm(column))
        for _ in range(2):
            for q in directions:
                column -= (q @ column) * q
        rest = float(np.linalg.norm(column))
        if size > 0.0 and rest > RANK_TOLERANCE * size:
            directions.append(column / rest)
            kept.append(j)
        else:
            dropped.append(j)
    if not kept:
        raise ColumnError("All columns of the design are zero.")
    return kept, dropped


def collapse(
    design: FloatArray, response: FloatArray, weight: FloatArray
) -> tuple[IntArray, FloatArray, FloatArray, FloatArray]:
    """Merge equal rows into one of their total weight where a sample says that this halves the problem.

    Returns the row number of each merged row's first member, and the merged arrays.
    """
    n, p = design.shape
    everyone = np.arange(n)
    if n < COLLAPSE_FROM:
        return everyone, design, response, weight
    mix = np.cos(np.arange(1.0, p + 2.0) ** 2)  # equal rows give equal sums; others practically never do
    sample = everyone[:: max(1, n // 4096)]
    key = design[sample] @ mix[:-1] + mix[-1] * response[sample]
    pairs = sample.size - np.unique(key).size
    distinct = sample.size**2 / (2 * max(pairs, 1))
    if pairs == 0 or distinct > 0.5 * n:
        return everyone, design, response, weight
    key = design @ mix[:-1] + mix[-1] * response
    most = min(int(0.7 * n), int(4 * distinct) + 4096)
    group, first = np.empty(n, np.int64), np.empty(most, np.int64)
    groups = grouping.group_equal(key, design, np.arange(p), most, group, first)
    if groups < 0:
        return everyone, design, response, weight
    rows = first[:groups]
    # Next to large design values the sum does not show the response to the last bit.
    if not np.array_equal(response[rows][group], response):
        return everyone, design, response, weight
    return (
        rows,
        design[rows],
        response[rows],
        np.bincount(group, weights=weight, minlength=groups).astype(np.float64),
    )


def _look_up_tables(
    search: FloatArray, blocks: Sequence[slice], padded: int
) -> tuple[NDArray[np.uint16], FloatArray]:
    """Code the rows of each column block where blocks take few distinct values (discrete scores, flags).

    Returns codes, shape (blocks, padded), and tables, shape (blocks, values, p), zero outside the block's
    columns; empty arrays if the design does not split into such blocks or is too small for it to pay.
    """
    n, p = search.shape
    none = np.empty((0, 0), np.uint16), np.empty((0, 0, 0))
    if not blocks or n < LOOK_UP_FROM:
        return none
    inside = np.zeros(p, bool)
    for block in blocks:
        inside[block] = True
    rest = np.flatnonzero(~inside)
    columns = [np.arange(p)[block] for block in blocks] + ([rest] if rest.size else [])
    mix = np.zeros((len(columns), p))
    for b, chosen in enumerate(columns):
        mix[b, chosen] = np.cos(np.arange(1.0, chosen.size + 1.0) ** 2)
    keys = mix @ search.T
    codes = np.zeros((len(columns), padded), np.uint16)
    found = []
    group, first = np.empty(n, np.int64), np.empty(LOOK_UP_VALUES, np.int64)
    for b, chosen in enumerate(columns):
        values = grouping.group_equal(keys[b], search, chosen, LOOK_UP_VALUES, group, first)
        if values < 0:
            return none
        codes[b, :n] = group
        found.append(search[np.ix_(first[:values], chosen)])
    tables = np.zeros((len(columns), max(len(part) for part in found), p))
    for b, (chosen, part) in enumerate(zip(columns, found, strict=True)):
        tables[b, : len(part), chosen] = part.T
    return codes, tables


def prepare(
    design: FloatArray, response: FloatArray, weight: FloatArray, moments: Moments, blocks: Sequence[slice]
) -> Prepared:
    """Scale or rotate the design, find leverages, and gather all that the walk over the taus reads."""
    n, p = design.shape
    mean_weight = float(weight.mean())
    relative = weight / mean_weight
    scale = 2.0 ** np.round(np.log2(np.sqrt(np.diag(moments.gram) / weight.sum())))
    search = design / scale
    moments = moments.rescaled(scale, mean_weight)
    try:
        metric = np.linalg.cholesky(moments.gram)
        safe = bool((np.diag(metric) ** 2 / np.diag(moments.gram)).min() > SAFE_PIVOT)
    except np.linalg.LinAlgError:
        safe = False
    rotation = None
    if not safe:
        # Nearly dependent columns: search in orthogonal coordinates, where all products are well conditioned.
        factor = np.linalg.qr(search * np.sqrt(relative)[:, None], mode="r")
        rotation = np.linalg.inv(factor) * np.sqrt(n)
        search = np.ascontiguousarray(search @ rotation)
        blocks = ()
        moments = Moments.of(search, relative)
        metric = np.linalg.cholesky(moments.gram)
    center = np.linalg.solve(metric.T, np.linalg.solve(metric, search.T @ (relative * response)))
    offset = response - search @ center
    spread = _typical_deviation(response)
    padded = -(-n // kernel.TILE) * kernel.TILE
    leverage = np.empty(padded, np.float32)
    summary.leverages(search, np.ascontiguousarray(metric), leverage)
    codes, tables = _look_up_tables(search, blocks, padded)
    tiles = np.empty((0 if len(codes) else padded // kernel.TILE, p, kernel.TILE), np.float32)
    summary.build_tiles(search, tiles)
    offset32 = np.full(leverage.size, 1e30, np.float32)
    offset32[:n] = offset
    data = kernel.Problem(
        design=search,
        response=response,
        perturbed=response + spread * PERTURBATION * _jitter(n),
        tie=spread * TIE,
        near=4.0 * spread * NEAR,
        weight=relative,
        tiles=tiles,
        codes=codes,
        tables=tables,
        offset32=offset32,
        leverage32=leverage,
        center=center,
        column_max=moments.largest,
        offset_max=float(np.abs(offset).max()),
        gram=moments.gram,
        metric=np.ascontiguousarray(metric),
        total=moments.total,
        total_abs=moments.total_abs,
    )
    return Prepared(data, weight, spread, scale, rotation)


def _typical_deviation(response: FloatArray) -> float:
    """Return a scale of the response that neither outliers nor heavy ties distort."""
    deviation = np.abs(response - np.median(response))
    typical = float(np.median(deviation)) or float(deviation.mean())
    rounding = 2.0**-8 * float(np.median(np.abs(response)))
    return max(typical, rounding) or 1.0


def _jitter(n: int) -> FloatArray:
    """Return fixed pseudo-random numbers in [-0.5, 0.5): a hash of the row number (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = (np.arange(n, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53 - 0.5
