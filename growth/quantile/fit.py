"""Fit a quantile process: prepare the data, walk the taus, prove every solution.

The walk starts at the median and goes outwards in both directions; the two halves are independent and may run in
two threads. What is computed never depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.errors import ColumnError, ConvergenceError, SpecError, problem
from growth.kernels import certificate, grouping
from growth.kernels import process as kernel
from growth.quantile.process import QuantileProcess

__all__ = ["GAP_TOLERANCE", "fit_quantiles"]

GAP_TOLERANCE = 1e-9
"""Largest relative duality gap that counts as proof of optimality."""
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
COLLAPSE_FROM = 2000
"""Fewer rows are not searched for duplicates."""
SINGLE = 1.2e-7
"""Twice the unit round-off of single precision."""
LOOK_UP_FROM = 50_000
"""Fewer rows are not worth coding."""
LOOK_UP_VALUES = 4096
"""Most distinct values of a column block."""
COUNTERS = ("passes", "pivots", "band", "checked", "added", "retries")
DEFAULT_TAUS = (np.arange(1, 101) - 0.5) / 100


@dataclass(frozen=True, slots=True)
class _Moments:
    """Weighted sums over the rows of a design."""

    gram: FloatArray  # (p, p) X'WX
    total: FloatArray  # (p,) sum of w_i x_i
    total_abs: FloatArray  # (p,) sum of w_i |x_i|
    largest: FloatArray  # (p,) largest |x_i|

    @classmethod
    def of(cls, design: FloatArray, weight: FloatArray) -> _Moments:
        p = design.shape[1]
        out = cls(np.empty((p, p)), np.empty(p), np.empty(p), np.empty(p))
        kernel.moments(design, weight, out.gram, out.total, out.total_abs, out.largest)
        return out

    def subset(self, kept: list[int]) -> _Moments:
        return _Moments(
            self.gram[np.ix_(kept, kept)], self.total[kept], self.total_abs[kept], self.largest[kept]
        )

    def rescaled(self, columns: FloatArray, weights: float) -> _Moments:
        """Moments after dividing columns and weights."""
        return _Moments(
            self.gram / np.outer(columns, columns) / weights,
            self.total / columns / weights,
            self.total_abs / columns / weights,
            self.largest / columns,
        )


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Arrays of one fit in the coordinates of the search."""

    design: FloatArray  # (n, r) the design in which solutions are proven
    response: FloatArray
    weight: FloatArray
    problem: kernel.Problem
    scale: float  # typical deviation of the response
    column_scale: FloatArray  # (r,) columns of `design` over those of the search
    back: FloatArray | None  # (r, r) from coefficients of the proof to the caller's, if they differ


def fit_quantiles(
    design: FloatArray,
    response: FloatArray,
    taus: Sequence[float] | FloatArray = DEFAULT_TAUS,
    weights: FloatArray | None = None,
    *,
    names: Sequence[str] = (),
    blocks: Sequence[slice] = (),
    n_jobs: int | None = None,
) -> QuantileProcess:
    """Solve the linear quantile-regression problem exactly for every tau.

    Parameters
    ----------
    design : ndarray, shape (n, p)
        Finite; include a column of ones for an intercept.
    response : ndarray, shape (n,)
        Finite.
    taus : array_like, shape (m,)
        Increasing, within (0, 1). Default (t - 0.5) / 100, t = 1..100.
    weights : ndarray, shape (n,), optional
        Non-negative; rows of weight 0 take no part.
    names : sequence of str, length p, optional
        Column names for reports.
    blocks : sequence of slice, optional
        Columns that belong together (the spline basis of one prior). If every block takes few distinct values, as with
        integer scores, large fits look residuals up instead of computing them. Results do not depend on it.
    n_jobs : int, optional
        Threads; at most two are used within one process. Results do not depend on it.

    Returns
    -------
    QuantileProcess

    Raises
    ------
    ColumnError
        If shapes disagree or values are not finite.
    SpecError
        If taus are not increasing within (0, 1).
    ConvergenceError
        If a solution could not be proven optimal.

    Notes
    -----
    Linearly dependent columns are found first; of a dependent set the last columns are dropped, get the coefficient
    0 and are reported in `dropped`. Where several coefficient vectors are optimal the one is returned that is the
    limit from smaller taus.

    References
    ----------
    .. [1] R. Koenker and G. Bassett (1978), Econometrica 46(1), 33-50.
    .. [2] S. Portnoy and R. Koenker (1997), Statistical Science 12(4), 279-300.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.column_stack([np.ones(5), np.arange(5.0)])
    >>> fit_quantiles(x, np.array([0.0, 1.0, 2.0, 3.0, 40.0]), [0.5]).coef
    array([[0., 1.]])
    """
    design, response, weight, grid, labels = _checked(design, response, taus, weights, names)
    kept_rows = np.flatnonzero(weight > 0.0)
    if kept_rows.size < weight.size:
        design, response, weight = design[kept_rows], response[kept_rows], weight[kept_rows]
    first, design, response, weight = _collapse(design, response, weight)
    moments = _Moments.of(design, weight)
    kept, dropped = _independent_columns(design, moments.gram)
    if dropped:
        design, moments = np.ascontiguousarray(design[:, kept]), moments.subset(kept)
    prepared = _prepare(design, response, weight, moments, [] if dropped else blocks)
    if prepared.problem.offset_max <= prepared.problem.near:
        basis, ties, counters, fallback = _perfect_fit(prepared, grid)
    else:
        basis, ties, counters, fallback = _walk(prepared, grid, n_jobs)
    coef, objective, gap, dual = _prove(prepared, grid, basis, ties)
    if not (gap <= GAP_TOLERANCE).all():
        worst = int(np.nanargmax(np.where(np.isnan(gap), np.inf, gap)))
        raise ConvergenceError(
            problem(
                f"{int(np.count_nonzero(~(gap <= GAP_TOLERANCE)))} of {grid.size} quantiles have no proof of optimality "
                f"(worst: tau = {grid[worst]:g}, relative gap {gap[worst]:.1e})",
                rule=f"relative duality gap <= {GAP_TOLERANCE:g}",
                fix="look for columns of very different scale or nearly dependent columns",
            )
        )
    full = np.zeros((grid.size, len(kept) + len(dropped)))
    full[:, kept] = coef if prepared.back is None else coef @ prepared.back.T
    return QuantileProcess(
        taus=grid,
        coef=full,
        objective=objective,
        relative_gap=gap,
        dual=dual,
        basis=kept_rows[first[basis]],
        status=tuple("fallback" if used else "certified" for used in fallback),
        counters=counters,
        names=labels,
        dropped=tuple(int(j) for j in dropped),
        n=int(kept_rows.size),
    )


def _checked(
    design: FloatArray,
    response: FloatArray,
    taus: Sequence[float] | FloatArray,
    weights: FloatArray | None,
    names: Sequence[str],
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, tuple[str, ...]]:
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


def _independent_columns(design: FloatArray, gram: FloatArray) -> tuple[list[int], list[int]]:
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
    factor = np.linalg.qr(scaled, mode="r")
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


def _collapse(
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
    return rows, design[rows], response[rows], np.bincount(group, weights=weight, minlength=groups)


def _look_up_tables(
    search: FloatArray, blocks: Sequence[slice], padded: int
) -> tuple[NDArray[np.uint16], FloatArray]:
    """Code the rows of each column block where blocks take few distinct values (discrete scores, flags).

    Returns codes, shape (blocks, padded), and tables, shape (blocks, values, p), zero outside the block's columns; empty arrays
    if the design does not split into such blocks or is too small for it to pay.
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


def _prepare(
    design: FloatArray, response: FloatArray, weight: FloatArray, moments: _Moments, blocks: Sequence[slice]
) -> _Prepared:
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
    proof, column_scale, back = design, scale, None
    if not safe:
        # Nearly dependent columns: search in orthogonal coordinates, where all products are well conditioned.
        factor = np.linalg.qr(search * np.sqrt(relative)[:, None], mode="r")
        back = np.linalg.inv(factor) * np.sqrt(n)
        proof = search = np.ascontiguousarray(search @ back)
        blocks = ()
        back /= scale[:, None]
        column_scale = np.ones(p)
        moments = _Moments.of(search, relative)
        metric = np.linalg.cholesky(moments.gram)
    center = np.linalg.solve(metric.T, np.linalg.solve(metric, search.T @ (relative * response)))
    offset = response - search @ center
    spread = _typical_deviation(response)
    padded = -(-n // kernel.TILE) * kernel.TILE
    leverage = np.empty(padded, np.float32)
    kernel.leverages(search, np.ascontiguousarray(metric), leverage)
    codes, tables = _look_up_tables(search, blocks, padded)
    tiles = np.empty((0 if len(codes) else padded // kernel.TILE, p, kernel.TILE), np.float32)
    kernel.build_tiles(search, tiles)
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
    return _Prepared(proof, response, weight, data, spread, column_scale, back)


def _typical_deviation(response: FloatArray) -> float:
    """Return a scale of the response that neither outliers nor heavy ties distort."""
    deviation = np.abs(response - np.median(response))
    typical = float(np.median(deviation)) or float(deviation.mean())
    rounding = 2.0**-8 * float(np.median(np.abs(response)))
    return max(typical, rounding) or 1.0


def _jitter(n: int) -> FloatArray:
    """Return fixed pseudo-random numbers in [-0.5, 0.5), one per row: a hash of the row number (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = (np.arange(n, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53 - 0.5


def _band_target(n: int, p: int) -> int:
    """Return the number of rows near the hyperplane that is cheapest to work with; n or more means all."""
    if n <= max(600, 30 * p):
        return n
    return int(20 * p + (0.2 if n < 50_000 else 0.6) * np.sqrt(n * p))


def _walk(
    prepared: _Prepared, taus: FloatArray, n_jobs: int | None
) -> tuple[IntArray, IntArray, dict[str, IntArray], list[bool]]:
    data = prepared.problem
    n, p = data.design.shape
    m = taus.size
    target = _band_target(n, p)
    start_rows = min(n, max(8192, n // 32))
    capacity = n if target >= n else min(n, max(8 * target, start_rows))
    coef, basis = np.empty((m, p)), np.zeros((m, p), np.int64)
    counters, status = np.zeros((m, kernel.N_COUNTERS), np.int64), np.zeros(m, np.int64)

    def walk(
        state: kernel.State, order: IntArray, tau_from: float, target: int, capacity: int, cold: bool
    ) -> IntArray:
        work = _workspace(data, capacity)
        ties = np.empty((max(1024, 64 * order.size), 3), np.int64)
        while True:
            count = np.zeros(1, np.int64)
            before = kernel.State(*(a.copy() for a in state))
            kernel.solve_path(
                data,
                state,
                work,
                taus,
                order,
                tau_from,
                target,
                cold,
                coef,
                basis,
                ties,
                count,
                counters,
                status,
            )
            if count[0] <= ties.shape[0]:
                return ties[: count[0]]
            # More rows on the hyperplanes than foreseen: walk again with room for all of them.
            ties = np.empty((int(count[0]), 3), np.int64)
            counters[order] = 0
            for now, then in zip(state, before, strict=True):
                now[...] = then

    middle = int(np.argmin(np.abs(taus - 0.5)))
    state = _initial_state(data)
    kernel.cold_start(data, state, _workspace(data, capacity), taus[middle], start_rows, 0.6 * capacity / n)
    found = [walk(state, np.array([middle]), float(taus[middle]), target, capacity, True)]
    halves = [np.arange(middle + 1, m), np.arange(middle - 1, -1, -1)]
    tasks = [
        delayed(walk)(
            kernel.State(*(a.copy() for a in state)), half, float(taus[middle]), target, capacity, False
        )
        for half in halves
        if half.size
    ]
    threads = 1 if n_jobs is None else min(2, _threads(n_jobs))
    found += list(Parallel(n_jobs=threads, backend="threading")(tasks))
    failed = np.flatnonzero(status != kernel.OK)
    for k in failed:
        status[k] = kernel.OK
        found.append(walk(_initial_state(data), np.array([k]), float(taus[k]), n, n, True))
    if (status != kernel.OK).any():
        raise ConvergenceError(
            f"{int(np.count_nonzero(status))} of {m} quantiles did not reach an optimal vertex within the pivot budget."
        )
    table = {name: counters[:, c].copy() for c, name in enumerate(COUNTERS)}
    used = np.zeros(m, bool)
    used[failed] = True
    return basis, np.concatenate(found), table, used.tolist()


def _perfect_fit(
    prepared: _Prepared, taus: FloatArray
) -> tuple[IntArray, IntArray, dict[str, IntArray], list[bool]]:
    """All rows lie on one hyperplane: any independent rows are a basis, and the dual point 0 proves it."""
    from scipy.linalg import qr

    p = prepared.design.shape[1]
    rows = qr(prepared.design.T, mode="r", pivoting=True)[1][:p].astype(np.int64)
    basis = np.tile(rows, (taus.size, 1))
    counters = {name: np.zeros(taus.size, np.int64) for name in COUNTERS}
    return basis, np.empty((0, 3), np.int64), counters, [False] * taus.size


def _threads(n_jobs: int) -> int:
    from joblib import effective_n_jobs

    return int(effective_n_jobs(n_jobs))


def _initial_state(data: kernel.Problem) -> kernel.State:
    p = data.design.shape[1]
    n = data.response.size
    side = np.where(data.offset32 < 0, np.float32(-1), np.float32(1))
    below = data.design.T @ np.where(side[:n] < 0, data.weight, 0.0)
    step = max(1, n // 4096)
    width = float(
        np.median(np.abs(data.offset32[:n:step]) / np.minimum(data.leverage32[:n:step], kernel.FENCE))
    )
    return kernel.State(data.center.copy(), np.zeros((p, p)), side, below, np.array([max(width, 1e-300)]))


def _workspace(data: kernel.Problem, capacity: int) -> kernel.Work:
    p = data.design.shape[1]
    rows = data.offset32.size

    def zeros(*shape: int) -> FloatArray:
        return np.zeros(shape)

    def integers(*shape: int) -> IntArray:
        return np.zeros(shape, np.int64)

    return kernel.Work(
        residual32=np.zeros(rows, np.float32),
        listed=integers(rows),
        rows=integers(capacity),
        lines=zeros(capacity, p),
        band=zeros(p, 8 * (capacity // 8 + 1 + (capacity // 8) % 2)),  # no power-of-two stride
        y=zeros(capacity),
        moved=zeros(capacity),
        w=zeros(capacity),
        h=zeros(capacity),
        r=zeros(capacity),
        sign=zeros(capacity),
        z=zeros(capacity),
        step=zeros(capacity),
        slope=zeros(capacity),
        pick=integers(max(capacity, p)),
        basis=integers(p),
        directions=zeros(p, p),
        curve=zeros(p),
        factor=zeros(p, p),
        fresh=zeros(p, p),
        vec=zeros(8, p),
    )


def _prove(
    prepared: _Prepared, taus: FloatArray, basis: IntArray, ties: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Recompute coefficients from the bases and certify them on the original data."""
    design, response, weight = prepared.design, prepared.response, prepared.weight
    m, p = basis.shape
    coef, objective = np.empty((m, p)), np.empty(m)
    basis.sort(axis=1)  # so that the coefficients do not depend on the path to the basis
    certificate.vertex_coefficients(design, response, basis, coef)
    # A nearly perfect fit has no size of its own to compare its rounding errors with.
    floor = weight.sum() * prepared.scale * 2.0**-12
    if prepared.problem.offset_max <= prepared.problem.near:
        for k in range(m):
            r = response - design @ coef[k]
            objective[k] = weight @ (r * (taus[k] - (r < 0.0)))
        return coef, objective, objective / floor, np.zeros((m, p))
    data = prepared.problem
    center = data.center / prepared.column_scale
    shift = coef - center
    size = data.offset_max + (p + 3) * np.abs(shift) @ (data.column_max * prepared.column_scale)
    slack = (SINGLE * size).astype(np.float32)
    tolerance = prepared.scale * NEAR
    turned = np.ascontiguousarray(shift.T, dtype=np.float32)
    below = np.empty((m + 1, p + 1))
    capacity = m * p + len(ties) + 1024
    while True:
        near, near_residual = np.empty((capacity, 2), np.int64), np.empty(capacity)
        count = certificate.sweep(
            design, response, weight, center, coef, turned, slack, tolerance, below, near, near_residual
        )
        if count <= capacity:
            break
        capacity = count
    near, near_residual = near[:count], near_residual[:count]
    side = _near_sides(near, near_residual, basis, ties, response.size)
    dual, gap, excess = np.empty((m, p)), np.empty(m), np.empty(m)
    certificate.duality_gaps(design, weight, taus, basis, near, near_residual, side, below, dual, gap, excess)
    # sum of w rho_tau(r) = tau (sum of w r) - (sum of w r over negative r)
    whole = below[m, p] - shift @ below[m, :p]
    objective = taus * whole - (below[:m, p] - np.einsum("kj,kj->k", shift, below[:m, :p]))
    return coef, objective, np.maximum(gap, 0.0) / np.maximum(objective, floor) + excess, dual


def _near_sides(near: IntArray, residual: FloatArray, basis: IntArray, ties: IntArray, n: int) -> IntArray:
    """Return for each near (tau, row) 0 if basic, else the solver's side, else the residual's sign."""
    side = np.where(residual >= 0.0, 1, -1)
    key = near[:, 0] * n + near[:, 1]
    tie_key = ties[:, 0] * n + ties[:, 1]
    order = np.argsort(tie_key)
    if order.size:
        at = np.minimum(np.searchsorted(tie_key[order], key), order.size - 1)
        hit = tie_key[order][at] == key
        side[hit] = ties[order][at[hit], 2]
    side[np.isin(key, np.arange(basis.shape[0])[:, None] * n + basis)] = 0
    return side.astype(np.int64)
