"""The core of a band: the few of its rows among which a vertex is sought first.

The other rows of the band are asleep: they count with the side they have, in the linear term, until they are
found on the other side, or until the core alone has no minimum. Rows on a crowded end of the scale, many at
any distance, and all others are counted apart, so that neither kind crowds out the other.
"""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray
from growth.kernels.compiler import inlined, inner
from growth.kernels.process.data import Problem, State, Work
from growth.kernels.process.vertex import add_line, refactor, select


@inlined
def _swap(work: Work, i: int, j: int) -> None:
    """Exchange two rows of the band."""
    rows, lines, band = work.rows, work.lines, work.band
    rows[i], rows[j] = rows[j], rows[i]
    for part in (work.y, work.exact, work.w, work.h, work.r, work.sign):
        part[i], part[j] = part[j], part[i]
    for a in range(band.shape[0]):
        lines[i, a], lines[j, a] = lines[j, a], lines[i, a]
        band[a, i], band[a, j] = band[a, j], band[a, i]


@inner
def width_of(problem: Problem, work: Work, start: int, m: int, crowded: bool, count: float) -> float:
    """Return the width that `count` of the rows start..m-1 on, or off, a crowded end have.

    Infinity if there are no more.
    """
    y, exact, r, h = work.y, work.exact, work.r, work.h
    step, slope, pick = work.step, work.slope, work.pick
    n = 0
    for t in range(start, m):
        if (abs(y[t] - exact[t]) > problem.near) == crowded:
            step[n] = abs(r[t]) / h[t]
            slope[n] = 1.0
            pick[n] = t
            n += 1
    return float(step[select(step, slope, pick, n, count)]) if n > count else np.inf


@inner
def core_first(problem: Problem, work: Work, m: int, width: float, crowd_width: float) -> int:
    """Move the band's rows with |r| <= width h to the front; return how many they are."""
    y, exact, r, h = work.y, work.exact, work.r, work.h
    i = 0
    for t in range(m):
        crowded = abs(y[t] - exact[t]) > problem.near
        if abs(r[t]) <= (crowd_width if crowded else width) * h[t]:
            if t > i:
                _swap(work, i, t)
            i += 1
    return i


@inner
def wake(work: Work, t: int, core: int, frozen: float, tau: float, outside: FloatArray) -> None:
    """Move row t from the linear term, where it had the sign `frozen`, to the end of the core."""
    add_line(work, t, -work.w[t] * (tau if frozen > 0.0 else tau - 1.0), outside)
    work.sign[t] = -1.0 if work.r[t] < 0.0 else 1.0
    _swap(work, t, core)


@inner
def previous_basis(state: State, work: Work, m: int) -> bool:
    """Start from the last tau's basis: where many rows tie, Newton steps cannot tell them apart."""
    rows, basis, before = work.rows, work.basis, state.basis
    p = basis.shape[0]
    found = 0
    for t in range(m):
        for j in range(p):
            if rows[t] == before[j]:
                basis[j] = t
                found += 1
    return found == p and refactor(work)
