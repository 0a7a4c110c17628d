"""Which rows matter at this tau: tiles of rows known to be far away are not looked at.

Rows are ordered by their residual from least squares, so that a tile of TILE rows lies together. Between the
coefficients b_s at which a tile was last looked at and b, residuals move by x_i'(b - b_s): by a common
part c (the mean over all rows) and a rest bounded by h_i |b - b_s - c e|_{X'WX}, where e are the
coefficients of a constant, X e = 1. A tile whose rows all lay on one side, and by this bound lie there still
and outside the band, needs no second look.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray
from growth.kernels.compiler import inlined, inner, search
from growth.kernels.design import SINGLE
from growth.kernels.process.algebra import dot
from growth.kernels.process.data import TILE, Problem, State, Work
from growth.kernels.rows import add_row, read_row

ROUNDING = np.float32(1.0001)
"""Bounds are widened by this factor against rounding in single precision."""


@search
def point_at(problem: Problem, work: Work, coef: FloatArray) -> np.float32:
    """Write what single-precision residuals at `coef` need; return by how much these residuals may be off."""
    rows, beta = problem.rows, work.beta
    p = coef.shape[0]
    size = problem.offset_max
    for a in range(p):
        beta[a] = np.float32(coef[a] - problem.center[a])
        size += (p + 3) * problem.column_max[a] * abs(beta[a])
    for b in range(rows.codes.shape[0]):
        fitted = work.sums[b]
        fitted[:] = np.float32(0.0)
        for a in range(rows.first[b], rows.last[b]):
            column, f = problem.by_column[b, a], beta[a]
            for c in range(fitted.shape[0]):
                fitted[c] += f * column[c]
    # Rounding, and what keeps rows that seem to be on their side from ending up near zero.
    return np.float32(SINGLE * size + 1.001 * problem.near)


@inlined
def _look_at(problem: Problem, work: Work, k: int, residual_out: NDArray[np.float32]) -> None:
    """Single-precision residuals of the rows of tile k at the coefficients pointed at."""
    start = k * TILE
    beta = work.beta
    p = beta.shape[0]
    even = p - p % 4
    codes, tiles, sums, offset = problem.rows.codes, problem.tiles, work.sums, problem.offset32
    for i in range(TILE):
        residual_out[i] = offset[start + i]
    if codes.shape[0] > 0:
        for b in range(codes.shape[0]):
            for i in range(TILE):
                residual_out[i] -= sums[b, codes[b, start + i]]
    else:
        for j in range(0, even, 4):
            b0, b1, b2, b3 = beta[j], beta[j + 1], beta[j + 2], beta[j + 3]
            for i in range(TILE):
                residual_out[i] -= (
                    tiles[k, j, i] * b0
                    + tiles[k, j + 1, i] * b1
                    + tiles[k, j + 2, i] * b2
                    + tiles[k, j + 3, i] * b3
                )
        for j in range(even, p):
            b0 = beta[j]
            for i in range(TILE):
                residual_out[i] -= tiles[k, j, i] * b0


@inner
def _remember(problem: Problem, state: State, work: Work) -> int:
    """Add the current coefficients to those seen; write how far all seen ones are; return the place."""
    p = state.coef.shape[0]
    if state.n_seen[0] == state.seen.shape[0]:
        state.n_seen[0] = 0
        state.tile_low[:] = -np.inf
        state.tile_high[:] = np.inf
    now = state.n_seen[0]
    state.n_seen[0] += 1
    level = dot(problem.level, state.coef)
    state.seen_level[now] = level
    metric, unit, coef, seen = problem.metric, problem.unit, state.coef, state.seen
    for j in range(p):
        s = 0.0
        for i in range(j, p):
            s += metric[i, j] * (coef[i] - level * unit[i])
        seen[now, j] = s
    for k in range(now + 1):
        s = 0.0
        for j in range(p):
            s += (seen[now, j] - seen[k, j]) ** 2
        work.moved_by[k] = np.float32(level - state.seen_level[k])
        work.moved_apart[k] = ROUNDING * np.float32(np.sqrt(s))
    return int(now)


@search
def screen(
    problem: Problem,
    state: State,
    work: Work,
    width: np.float32,
    slack: np.float32,
) -> int:
    """List the rows in the band or on the other side than before; return their number."""
    lever, side = problem.leverage32, state.side32
    now = _remember(problem, state, work)
    residual, flag, words, listed, residual32 = (
        work.tile,
        work.flag,
        work.flag_words,
        work.listed,
        work.residual32,
    )
    tile_seen, tile_lever, tile_low, tile_high = (
        state.tile_seen,
        problem.tile_lever,
        state.tile_low,
        state.tile_high,
    )
    moved_by, moved_apart = work.moved_by, work.moved_apart
    count = 0
    for k in range(tile_lever.shape[0]):
        seen = tile_seen[k]
        low, high = tile_low[k], tile_high[k]
        room = ROUNDING * (tile_lever[k] * (width + moved_apart[seen]) + slack)
        if (low > 0.0 and low - moved_by[seen] > room) or (high < 0.0 and high - moved_by[seen] < -room):
            continue
        start = k * TILE
        _look_at(problem, work, k, residual)
        low, high = np.float32(np.inf), np.float32(-np.inf)
        for i in range(TILE):
            r = residual[i]
            residual32[start + i] = r
            flag[i] = r * side[start + i] < width * lever[start + i] + slack
            low = min(low, r)
            high = max(high, r)
        tile_low[k] = low - slack
        tile_high[k] = high + slack
        tile_seen[k] = now
        for j in range(TILE // 8):
            if words[j] != 0:
                for i in range(8 * j, 8 * j + 8):
                    listed[count] = start + i
                    count += flag[i] != 0  # not the byte itself: uncompiled it would overflow
    return count


@inlined
def look_again(state: State, i: int) -> None:
    """Row i's recorded side is not that of the residual seen: its tile must not be skipped."""
    state.tile_low[i // TILE] = -np.inf
    state.tile_high[i // TILE] = np.inf


@inlined
def split(
    problem: Problem, state: State, work: Work, count: int, width: np.float32, slack: np.float32
) -> int:
    """Move listed rows that changed sides outside the band; list the band's rows and count them."""
    residual, lever, side = work.residual32, problem.leverage32, state.side32
    rows, listed = work.rows, work.listed
    capacity = rows.shape[0]
    m = 0
    for t in range(count):
        i = listed[t]
        if abs(residual[i]) < width * lever[i] + slack:
            if m < capacity:
                rows[m] = i
            m += 1
            if residual[i] * side[i] <= 0.0:
                look_again(state, i)
        elif residual[i] * side[i] < 0.0:  # a row on the very edge may be listed and yet not have moved
            f = problem.weight[i] if residual[i] < 0 else -problem.weight[i]
            side[i] = -side[i]
            add_row(problem.rows, i, f, state.below)
    return m


@search
def offenders(
    problem: Problem,
    state: State,
    work: Work,
    coef: FloatArray,
    width: np.float32,
    reach: np.float32,
    slack: np.float32,
    m: int,
    exact: bool,
    margin: float,
) -> tuple[int, int]:
    """Append to the band the outside rows within `reach` whose side at `coef` is not the assumed one.

    Rows up to `margin` on their side count as well. Others that the exact responses put next to the
    hyperplane are listed. Single-precision residuals at `coef` tell which rows are looked at exactly.
    """
    there = point_at(problem, work, coef)
    side, lever = state.side32, problem.leverage32
    p = coef.shape[0]
    row = work.vec[0]
    joined, visit = work.joined, work.visit[0]
    capacity = work.rows.shape[0]
    now = state.n_seen[0] - 1
    y = problem.response if exact else problem.searched
    further = np.float32(problem.dither if exact else 0.0)
    residual, flag, words, residual32 = work.tile, work.flag, work.flag_words, work.residual32
    tile_seen, tile_lever, tile_low, tile_high = (
        state.tile_seen,
        problem.tile_lever,
        state.tile_low,
        state.tile_high,
    )
    moved_by, moved_apart = work.moved_by, work.moved_apart
    checked = 0
    added = 0
    for k in range(tile_lever.shape[0]):
        seen = tile_seen[k]
        low, high = tile_low[k] - moved_by[seen], tile_high[k] - moved_by[seen]
        room = ROUNDING * (tile_lever[k] * (reach + moved_apart[seen]) + slack) + further
        if low > room or high < -room:
            continue
        start = k * TILE
        if seen == now:
            for i in range(TILE):
                distance = residual32[start + i] * side[start + i]
                h = lever[start + i]
                flag[i] = (distance < reach * h + slack + further) & (distance >= width * h + slack)
            some = 0
            for j in range(TILE // 8):
                some |= words[j]
            if some == 0:
                continue
        else:
            for i in range(TILE):
                flag[i] = 1
        _look_at(problem, work, k, residual)
        for i in range(TILE):
            flag[i] &= residual[i] * side[start + i] < there + further
        for j in range(TILE // 8):
            if words[j] == 0:
                continue
            for i in range(start + 8 * j, start + 8 * j + 8):
                if flag[i - start] == 0:
                    continue
                checked += 1
                read_row(problem.rows, i, row)
                r = y[i]
                for a in range(p):
                    r -= row[a] * coef[a]
                if r * side[i] > margin and (abs(r) > problem.near or margin > 0.0):
                    continue
                if joined[i] == visit:
                    continue
                if r * side[i] <= margin:
                    joined[i] = visit
                    if m + added < capacity:
                        work.rows[m + added] = i
                    added += 1
                else:
                    work.listed[work.n_listed[0]] = i
                    work.n_listed[0] += 1
    return checked, added
