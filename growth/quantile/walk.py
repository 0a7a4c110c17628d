"""Walk the taus of a prepared fit: from the median outwards, in two halves that are independent.

The halves may run in two threads. What is computed never depends on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.errors import ConvergenceError
from growth.kernels import process as kernel
from growth.quantile.prepare import Prepared, median_of, screened_from
from growth.quantile.start import Start
from growth.quantile.threads import available, in_threads

WARM_WIDTH = 3.0
"""A refit's first band is so many times as wide as the band of the same tau in the earlier fit."""
MOST_TIES = 2**23
"""Room for rows on hyperplanes at first; what is not written to takes no memory."""
COUNTERS = ("passes", "pivots", "band", "checked", "added", "retries")


@dataclass(frozen=True, slots=True, eq=False)
class Walked:
    """Optimal bases of all taus."""

    basis: IntArray  # (m, p)
    ties: NDArray[np.int32]  # (q, 3) position of tau, row, side
    counters: dict[str, IntArray]
    fallback: list[bool]
    start: Start | None = None


def _band_target(n: int, p: int) -> int:
    """Return the number of rows near the hyperplane that is cheapest to work with; n or more means all."""
    if n <= screened_from(p):
        return n
    return int(20 * p + (0.2 if n < 50_000 else 0.6) * np.sqrt(n * p))


def _band_limit(n: int, p: int, target: int) -> int:
    """Return the number of rows from which a band is narrowed: no fewer than the first one holds."""
    return n if target >= n else min(n, max(8 * target, int(9.0 * np.sqrt(n * p))))


def walk_taus(prepared: Prepared, taus: FloatArray, n_jobs: int | None, start: Start | None) -> Walked:
    """Solve all taus.

    Raises
    ------
    ConvergenceError
        If no optimal vertex was found for one of them within the budget.
    """
    data = prepared.problem
    n, p = prepared.design.shape
    m = taus.size
    target = _band_target(n, p)
    limit = _band_limit(n, p, target)
    basis = np.zeros((m, p), np.int64)
    counters, status = np.zeros((m, kernel.N_COUNTERS), np.int64), np.zeros(m, np.int64)

    def walk(
        work: kernel.Work,
        state: kernel.State,
        order: IntArray,
        tau_from: float,
        target: int,
        limit: int,
        cold: bool,
        far: bool,
    ) -> NDArray[np.int32]:
        room = min(MOST_TIES, n * order.size)
        ties = np.empty((room, 3), np.int32)
        while True:
            count = np.zeros(1, np.int64)
            before = _copy(state) if room < n * order.size else state
            kernel.solve_path(
                data,
                state,
                work,
                taus,
                scores,
                order,
                tau_from,
                target,
                limit,
                cold,
                far,
                basis,
                ties,
                count,
                counters,
                status,
            )
            if count[0] <= ties.shape[0]:
                return ties[: count[0]]
            # More rows on the hyperplanes than foreseen: walk again with room for all of them.
            room = int(count[0])
            ties = np.empty((room, 3), np.int32)
            counters[order] = 0
            state = before

    normal = NormalDist()
    scores = np.array([normal.inv_cdf(tau) for tau in taus])
    middle = int(np.argmin(np.abs(taus - 0.5)))
    threads = 1 if n_jobs is None else min(2, available(n_jobs))
    work = [workspace(data) for _ in range(threads)]
    state = initial_state(prepared)
    cold = start is None
    if start is not None:
        state.curvature[:] = start.curvature
        state.width[0] = WARM_WIDTH * start.width
    found = [walk(work[0], state, np.array([middle]), float(taus[middle]), target, limit, cold, cold)]
    if start is not None and status[middle] != kernel.OK:
        raise ConvergenceError("The start is too far from the solution.")
    reached = Start(
        replace(prepared.geometry, center=state.coef.copy()), state.curvature.copy(), float(state.width[0]), n
    )
    halves = [np.arange(middle + 1, m), np.arange(middle - 1, -1, -1)]
    states = [_copy(state), state]
    tasks = [
        (work[i % threads], states[i], half, float(taus[middle]), target, limit, False, False)
        for i, half in enumerate(halves)
        if half.size
    ]
    found += in_threads(walk, tasks, threads)
    failed = np.flatnonzero(status != kernel.OK)
    for k in failed:
        status[k] = kernel.OK
        found.append(walk(work[0], initial_state(prepared), np.array([k]), float(taus[k]), n, n, True, False))
    if (status != kernel.OK).any():
        raise ConvergenceError(
            f"{int(np.count_nonzero(status))} of {m} quantiles found no optimal vertex within the budget."
        )
    table = {name: counters[:, c].copy() for c, name in enumerate(COUNTERS)}
    used = np.zeros(m, bool)
    used[failed] = True
    return Walked(basis, np.concatenate(found), table, used.tolist(), reached)


def perfect_fit(prepared: Prepared, taus: FloatArray) -> Walked:
    """All rows lie on one hyperplane: any independent rows are a basis, and the dual point 0 proves it."""
    from scipy.linalg import qr

    design = prepared.design.dense()
    p = design.shape[1]
    rows = qr(design.T, mode="r", pivoting=True)[1][:p].astype(np.int64)
    basis = np.tile(rows, (taus.size, 1))
    counters = {name: np.zeros(taus.size, np.int64) for name in COUNTERS}
    return Walked(basis, np.empty((0, 3), np.int32), counters, [False] * taus.size)


def initial_state(prepared: Prepared) -> kernel.State:
    """Return the state at the least-squares solution."""
    data = prepared.problem
    n, p = prepared.design.shape
    side = np.where(data.offset32 < 0, np.float32(-1), np.float32(1))
    below = prepared.design.total(np.where(side[:n] < 0, data.weight, 0.0))
    step = max(1, n // 4096)
    width = median_of(np.abs(data.offset32[:n:step]) / np.minimum(data.leverage32[:n:step], kernel.FENCE))
    return kernel.State(
        coef=data.center.copy(),
        curvature=np.zeros((p, p)),
        side32=side,
        below=below,
        width=np.array([max(width, 1e-300), 0.0]),
        room=np.ones(1),
        pace=np.full(1, np.inf),
        basis=np.full(p, -1),
        vertex=np.zeros(p),
        trail=np.zeros((kernel.TRAIL, p)),
        trail_score=np.zeros(kernel.TRAIL),
        n_trail=np.zeros(1, np.int64),
        guesses=np.zeros((2, p)),
        guessed=np.zeros(1, np.bool_),
        errors=np.zeros(2),
        ties=np.zeros(1, np.int64),
        tile_low=np.full(data.tile_lever.size, -np.inf, np.float32),
        tile_high=np.full(data.tile_lever.size, np.inf, np.float32),
        tile_seen=np.zeros(data.tile_lever.size, np.int64),
        seen=np.empty((kernel.SEEN, p)),
        seen_level=np.empty(kernel.SEEN),
        n_seen=np.zeros(1, np.int64),
    )


def _copy(state: kernel.State) -> kernel.State:
    return kernel.State._make(part.copy() for part in state)


def workspace(data: kernel.Problem) -> kernel.Work:
    """Return scratch for up to all rows; pages that are never touched take no memory."""
    p = data.total.size
    rows = data.offset32.size
    flag = np.zeros(kernel.TILE, np.uint8)
    capacity = data.response.size

    def zeros(*shape: int) -> FloatArray:
        return np.zeros(shape)

    def integers(*shape: int) -> IntArray:
        return np.zeros(shape, np.int64)

    def per_row(*shape: int) -> FloatArray:
        return np.empty(shape)

    def numbers(size: int) -> IntArray:
        return np.empty(size, np.int64)

    return kernel.Work(
        residual32=np.empty(rows, np.float32),
        sums=np.zeros(data.rows.tables.shape[:2], np.float32),
        moved_by=np.zeros(kernel.SEEN, np.float32),
        moved_apart=np.zeros(kernel.SEEN, np.float32),
        listed=numbers(rows),
        n_listed=integers(1),
        joined=integers(rows),
        visit=integers(1),
        rows=numbers(capacity),
        lines=per_row(capacity, p),
        band=per_row(p, 8 * (capacity // 8 + 1 + (capacity // 8) % 2)),  # no power-of-two stride
        y=per_row(capacity),
        exact=per_row(capacity),
        w=per_row(capacity),
        h=per_row(capacity),
        r=per_row(capacity),
        sign=per_row(capacity),
        z=per_row(capacity),
        step=per_row(capacity),
        slope=per_row(capacity),
        pick=numbers(max(capacity, p)),
        basis=integers(p),
        directions=zeros(p, p),
        curve=zeros(p),
        factor=zeros(p, p),
        fresh=zeros(p, p),
        vec=zeros(14, p),
        beta=np.zeros(p, np.float32),
        tile=np.zeros(kernel.TILE, np.float32),
        flag=flag,
        flag_words=flag.view(np.int64),
    )
