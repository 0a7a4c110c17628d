"""Prepare a fit: check the input, merge equal rows, drop dependent columns, choose coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.errors import ColumnError, SpecError, problem
from growth.kernels import design as summary
from growth.kernels import grouping
from growth.kernels import process as kernel
from growth.quantile.designs import CodedDesign, DenseDesign, Design, Moments, Totals, plain

RANK_TOLERANCE = 1e-7
"""A column whose part orthogonal to earlier columns is a smaller share of its length is dropped."""
SAFE_PIVOT = 1e-4
"""Smallest squared pivot of the normalised Gram matrix that needs no closer look at the rank."""
PERTURBATION = 2.0**-35
"""Size of the response perturbation that breaks ties, as a share of the typical deviation of the response."""
DITHER = 2.0**-7
"""The same where so many rows share the lowest or highest response that Newton steps must tell them apart."""
CROWDED = 0.03
"""Share of the rows at one end of the scale from which this is done."""
TIE = 2.0**-36
"""Residuals up to this share of the typical deviation are zero up to rounding."""
NEAR = 2.0**-26
"""Rows nearer to a hyperplane than this share are proven with the side that the solver gave them."""
COLLAPSE_FROM = 2048
"""Fewer rows are not searched for duplicates."""
CELLS_PER_ROW = 4
"""Cells of a table of all possible rows that there may be for each row, so that the table pays."""


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """Coordinates, metric and starting point of a search; a refit takes over those of an earlier fit."""

    scale: FloatArray  # (r,) powers of two by which columns are divided
    rotation: FloatArray | None  # (r, r) from orthogonal to scaled columns
    gram: FloatArray  # (r, r) X'WX for weights of mean 1
    metric: FloatArray  # (r, r) its lower Cholesky factor
    center: FloatArray  # (r,) coefficients about which residuals are taken

    def original(self, coef: FloatArray) -> FloatArray:
        """Return coefficients, shape (m, r), of the caller's columns."""
        scaled = coef if self.rotation is None else coef @ self.rotation.T
        return scaled / self.scale

    @property
    def divisor(self) -> FloatArray:
        """What the columns of the design are divided by; a rotated design has been scaled already."""
        return self.scale if self.rotation is None else np.ones(len(self.scale))

    def resized(self, factor: float, center: FloatArray) -> Geometry:
        """Return the geometry for `factor` times as many rows, about another center."""
        return replace(self, gram=self.gram * factor, metric=self.metric * np.sqrt(factor), center=center)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One fit in the coordinates in which solutions are sought and proven.

    They are the caller's columns divided by powers of two, which is exact, or orthogonal columns where the
    caller's are nearly dependent.
    """

    problem: kernel.Problem
    design: Design  # of the problem
    order: IntArray  # (n,) row of the caller's design that each row of the problem is
    offset: FloatArray  # (n,) response - design @ center
    weight: FloatArray  # (n,) on the caller's scale; those of the problem have mean 1
    scale: float  # typical deviation of the response
    geometry: Geometry

    @property
    def perfect(self) -> bool:
        """Whether all rows lie on one hyperplane."""
        return bool(np.abs(self.offset).max() <= self.problem.near)


def checked(
    design: FloatArray,
    response: FloatArray,
    taus: Sequence[float] | FloatArray,
    weights: FloatArray | None,
    names: Sequence[str],
) -> tuple[FloatArray, FloatArray, FloatArray | None, FloatArray, tuple[str, ...]]:
    """Return contiguous float arrays, the grid and the labels, or raise with what is wrong."""
    design, response = plain(design), plain(response)
    grid = np.array(taus, dtype=np.float64, ndmin=1)
    if design.ndim != 2 or response.shape != (design.shape[0],):
        raise ColumnError(f"The design has shape {design.shape} but the response has shape {response.shape}.")
    require_finite("response", response)
    weight = None if weights is None else plain(weights)
    if weight is not None:
        _require_weights(weight, response.shape)
    if design.size == 0 or (weight is not None and not weight.any()):
        raise ColumnError("A fit needs at least one column and one row of positive weight.")
    if grid.ndim != 1 or grid.size == 0 or not ((grid > 0) & (grid < 1)).all() or (np.diff(grid) <= 0).any():
        raise SpecError("taus must increase and lie strictly between 0 and 1.")
    labels = tuple(str(name) for name in names)
    if labels and len(labels) != design.shape[1]:
        raise SpecError(f"{len(labels)} names for {design.shape[1]} columns.")
    return design, response, weight, grid, labels


def _require_weights(weight: FloatArray, shape: tuple[int, ...]) -> None:
    if weight.shape != shape:
        raise ColumnError(f"The weights have shape {weight.shape} but the response has shape {shape}.")
    require_finite("weights", weight)
    if weight.min(initial=0.0) < 0.0:
        raise ColumnError(problem("Weights are negative", rows=int(np.count_nonzero(weight < 0.0))))


def require_finite(what: str, values: FloatArray) -> None:
    """Raise if a row holds NaN or infinity."""
    if np.isfinite(np.vdot(values, values)) or np.isfinite(values).all():  # the squares tell sooner
        return
    rows = int(np.count_nonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1)))
    raise ColumnError(problem(f"The {what} holds NaN or infinite values", rows=rows, fix="drop those rows"))


def arranged(matrix: FloatArray, blocks: Sequence[slice]) -> Design:
    """Code the design where that pays; raise if it is not finite."""
    coded = CodedDesign.of(matrix, blocks)
    if coded is not None:
        return coded
    require_finite("design", matrix)
    return DenseDesign(matrix)


def independent_columns(design: Design, gram: FloatArray) -> tuple[list[int], list[int]]:
    """Split columns into a full-rank set and those that depend on earlier columns."""
    n, p = design.shape
    length = np.sqrt(np.diag(gram))
    if (length > 0.0).all() and n >= p:
        try:
            pivots = np.diag(np.linalg.cholesky(gram / np.outer(length, length))) ** 2
            if pivots.min() > SAFE_PIVOT:
                return list(range(p)), []
        except np.linalg.LinAlgError:
            pass
    # The triangular factor has the same dependencies between columns as the design, without squaring them.
    matrix = design.dense()
    scaled = matrix / np.where(length > 0.0, np.abs(matrix).max(axis=0, initial=0.0) + (length == 0.0), 1.0)
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
    design: Design, response: FloatArray, weight: FloatArray | None
) -> tuple[IntArray, Design, FloatArray, FloatArray]:
    """Merge equal rows into one of their total weight where a sample says that this halves the problem.

    Returns the row number of each merged row's first member, and the merged arrays.
    """
    merged = _groups(design, response, weight)
    if merged is None:
        n = response.size
        return np.arange(n), design, response, np.ones(n) if weight is None else weight
    rows, total = merged
    return rows, design.take(rows), response[rows], total


def _groups(
    design: Design, response: FloatArray, weight: FloatArray | None
) -> tuple[IntArray, FloatArray] | None:
    """First row and weight of each group of equal rows; None if there are too few equal ones."""
    n, p = design.shape
    if n < COLLAPSE_FROM:
        return None
    stride = max(1, n // 4096)
    sample = np.arange(0, n, stride)
    mix = np.cos(np.arange(1.0, p + 2.0) ** 2)  # equal rows give equal sums; others practically never do
    key = mix[-1] * response[sample] - design.take(sample).residuals(np.zeros(sample.size), mix[:-1])
    key.sort()
    pairs = int(np.count_nonzero(key[1:] == key[:-1]))
    distinct = sample.size**2 / (2 * max(pairs, 1)) if stride > 1 else float(n - pairs)
    if pairs == 0 or distinct > 0.5 * n:
        return None
    if isinstance(design, CodedDesign) and (cells := _cells(design, response, weight)) is not None:
        return cells
    most = min(int(0.7 * n), int(4 * distinct) + 4096)
    group, first = np.empty(n, np.int64), np.empty(most, np.int64)
    if isinstance(design, CodedDesign):
        groups = grouping.group_coded(design.rows.codes, response, most, group, first)
    else:
        key = mix[-1] * response - design.residuals(np.zeros(n), mix[:-1])
        groups = grouping.group_equal(key, design.dense(), response, most, group, first)
    if groups < 0:
        return None
    return first[:groups], np.bincount(group, weights=weight, minlength=groups).astype(np.float64)


def _cells(
    design: CodedDesign, response: FloatArray, weight: FloatArray | None
) -> tuple[IntArray, FloatArray] | None:
    """Find the same for one block and responses that are whole numbers apart, if few cells are possible."""
    blocks, lines = design.rows.tables.shape[:2]
    low = response.min()
    cells = lines * (response.max() - low + 1.0)
    if blocks > 1 or cells > CELLS_PER_ROW * response.size:
        return None
    table = np.zeros((lines, round(cells / lines)), np.int32)
    first, total = np.empty(min(table.size, response.size), np.int64), np.empty(table.size)
    given = np.empty(0) if weight is None else weight
    groups = grouping.merge_cells(design.rows.codes[0], response, given, low, table, first, total)
    return None if groups < 0 else (first[:groups], total[:groups])


def least_squares(
    design: Design, response: FloatArray, weight: FloatArray, moments: Moments, *, orthogonal: bool = False
) -> tuple[Design, Geometry, Totals]:
    """Choose coordinates and start from least squares; returns the design and its totals in them.

    Orthogonal coordinates are taken if asked for, and where columns are nearly dependent.
    """
    mean_weight = float(weight.mean())
    relative = weight / mean_weight
    scale = 2.0 ** np.round(np.log2(np.sqrt(np.diag(moments.gram) / weight.sum())))
    gram, totals = moments.rescaled(scale, mean_weight)
    try:
        metric = np.linalg.cholesky(gram)
        safe = not orthogonal and bool((np.diag(metric) ** 2 / np.diag(gram)).min() > SAFE_PIVOT)
    except np.linalg.LinAlgError:
        safe = False
    rotation: FloatArray | None = None
    divisor: FloatArray = scale
    if not safe:
        # Nearly dependent columns: search in orthogonal coordinates, where all products are well conditioned.
        matrix = design.dense() / scale
        factor = np.linalg.qr(matrix * np.sqrt(relative)[:, None], mode="r")
        rotation, divisor = np.linalg.inv(factor) * np.sqrt(response.size), np.ones(len(scale))
        design = DenseDesign(np.ascontiguousarray(matrix @ rotation))
        gram, totals = design.moments(relative).rescaled(divisor, 1.0)
        metric = np.linalg.cholesky(gram)
    center: FloatArray = np.linalg.solve(
        metric.T, np.linalg.solve(metric, design.total(relative * response) / divisor)
    )
    return design, Geometry(scale, rotation, gram, _square(metric), center), totals


def _square(matrix: NDArray[Any]) -> FloatArray:
    return np.ascontiguousarray(matrix, dtype=np.float64)


def prepare(
    design: Design, response: FloatArray, weight: FloatArray, geometry: Geometry, totals: Totals
) -> Prepared:
    """Find leverages, order the rows, and gather all that the walk over the taus reads."""
    n = response.size
    relative = weight / float(weight.mean())
    divisor = geometry.divisor
    offset = design.residuals(response, geometry.center / divisor)
    leverage = design.leverages(geometry.metric * divisor[:, None])
    spread = _typical_deviation(response)
    order = np.arange(n)
    if n > screened_from(len(divisor)) and len(divisor) > 1:  # for one column they are not screened
        order = _by_residual(offset, leverage, spread)
        response, offset, leverage = response.take(order), offset.take(order), leverage.take(order)
        if weight.min() < weight.max():
            relative, weight = relative.take(order), weight.take(order)
    design = design.placed(order, divisor)
    tiles = -(-n // kernel.TILE)
    crowds = _crowds(response)
    dither = spread * DITHER if np.isfinite(crowds).any() else 0.0
    searched = np.empty(n)
    summary.dithered(response, spread * PERTURBATION, crowds, dither, searched)
    offset32 = np.full(tiles * kernel.TILE, 1e30, np.float32)
    offset32[:n] = offset + (searched - response)
    leverage32 = np.full(offset32.size, 1e-30, np.float32)
    leverage32[:n] = leverage
    unit, level = _constant(totals, float(relative.sum()))
    data = kernel.Problem(
        rows=design.rows,
        response=response,
        searched=searched,
        dither=dither,
        apart=PERTURBATION / DITHER,
        tie=spread * TIE,
        near=4.0 * spread * NEAR,
        weight=relative,
        tiles=design.tiles(),
        by_column=np.ascontiguousarray(design.rows.tables.transpose(0, 2, 1), dtype=np.float32),
        offset32=offset32,
        leverage32=leverage32,
        tile_lever=leverage32.reshape(tiles, kernel.TILE).max(axis=1),
        unit=unit,
        level=level,
        center=plain(geometry.center),
        column_max=totals.largest,
        offset_max=float(np.abs(offset).max()) + dither,
        gram=plain(geometry.gram),
        metric=plain(geometry.metric),
        total=totals.total,
        total_abs=totals.total_abs,
    )
    return Prepared(data, design, order, offset, weight, spread, geometry)


def screened_from(p: int) -> int:
    """Return the number of rows above which not all of them are worked on at every tau."""
    return max(600, 30 * p)


def _by_residual(offset: FloatArray, leverage: NDArray[np.float32], spread: float) -> IntArray:
    """Order rows by residual, in 16 bits; first those that are always in the band."""
    place = np.clip(offset * (4000.0 / spread) + 32768.0, 1.0, 65535.0).astype(np.uint16)
    place[leverage > kernel.FENCE] = 0
    return np.argsort(place, kind="stable")


def _crowds(response: FloatArray) -> FloatArray:
    """Return floor and ceiling of the scale, NaN where too few rows lie for hyperplanes to run along it."""
    ends = np.array([response.min(), response.max()])
    shares = np.array([np.count_nonzero(response == end) for end in ends]) / response.size
    return np.where(shares > CROWDED, ends, np.nan)


def _constant(totals: Totals, weights: float) -> tuple[FloatArray, FloatArray]:
    """Return the coefficients of a constant 1 and the mean row; zeros if no column is constant."""
    p = len(totals.total)
    equal = np.abs(totals.total) >= (1.0 - 1e-12) * weights * totals.largest
    columns = np.flatnonzero(equal & (totals.largest > 0.0))
    if not columns.size:
        return np.zeros(p), np.zeros(p)
    unit = np.zeros(p)
    unit[columns[0]] = weights / totals.total[columns[0]]
    return unit, totals.total / weights


def _typical_deviation(response: FloatArray) -> float:
    """Return a scale of the response that neither outliers nor heavy ties distort."""
    response = response[:: max(1, response.size // 2048)]
    deviation = np.abs(response - median_of(response))
    typical = median_of(deviation) or float(deviation.mean())
    rounding = 2.0**-8 * median_of(np.abs(response))
    return max(typical, rounding) or 1.0


def median_of(values: FloatArray) -> float:
    """Return the median of finite values, for short arrays much faster than numpy's."""
    ranked = np.sort(values)
    return 0.5 * float(ranked[(ranked.size - 1) // 2] + ranked[ranked.size // 2])
