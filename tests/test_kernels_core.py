"""The core of a band, as plain Python against slow twins; `test_kernels_uncompiled.py` has it compiled."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from growth._types import FloatArray, IntArray
from growth.kernels.process import algebra, band, core, data, vertex

NEAR = 1e-6
"""Rows of the drawn band that were moved by more than this lie on a crowded end of the scale."""
TAU = 0.3
P = 3
PER_ROW = ("rows", "y", "exact", "w", "h", "r", "sign")


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inner kernels have no entry for Python: take their sources."""

    def plain(module: ModuleType) -> None:
        for name, value in list(vars(module).items()):
            monkeypatch.setattr(module, name, getattr(value, "py_func", value))

    for module in (algebra, band, vertex, core):
        plain(module)


def drawn(seed: int, m: int = 40) -> Any:  # noqa: ANN401
    """Return the scratch of a band of m rows: every third on a crowded end, some scores equal."""
    rng = np.random.default_rng(seed)
    exact = np.round(rng.normal(0, 3, m))
    lines = np.column_stack([np.ones(m), rng.normal(size=(m, P - 1))])
    r = np.round(rng.normal(0, 2, m), 1)
    return SimpleNamespace(
        rows=rng.permutation(1_000)[:m],
        lines=lines,
        band=lines.T.copy(),
        y=exact + 1e-3 * (np.arange(m) % 3 == 0),
        exact=exact,
        w=rng.integers(1, 4, m).astype(float),
        h=rng.choice([0.5, 1.0, 2.0], m),
        r=r,
        sign=np.where(r < 0, -1.0, 1.0),
        step=np.empty(m),
        slope=np.empty(m),
        pick=np.empty(m, np.int64),
        z=rng.choice([0.0, 1e-12, -0.5, 0.5, 2.0], m),
        flag=(flag := np.zeros(data.TILE, np.uint8)),
        flag_words=flag.view(np.int64),
        basis=np.zeros(P, np.int64),
        directions=np.zeros((P, P)),
        vec=np.zeros((14, P)),
    )


PROBLEM: Any = SimpleNamespace(near=NEAR)


def by_row(work: Any) -> dict[int, tuple[float, ...]]:  # noqa: ANN401
    """Return all that a band holds of a row, by row number."""
    assert (work.band == work.lines.T).all()
    whole = np.column_stack([*(getattr(work, name) for name in PER_ROW[1:]), work.lines])
    return dict(zip(work.rows.tolist(), map(tuple, whole.tolist()), strict=True))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("crowded", [False, True])
def test_a_width_holds_so_many_rows_of_its_kind(seed: int, crowded: bool) -> None:
    work, start = drawn(seed), 5
    mine = ((np.arange(40) % 3 == 0) == crowded)[start:]
    scores = np.sort((np.abs(work.r) / work.h)[start:][mine])
    for count in range(1, len(scores)):
        assert core.width_of(PROBLEM, work, start, 40, crowded, float(count)) == scores[count - 1]
    assert core.width_of(PROBLEM, work, start, 40, crowded, float(len(scores))) == np.inf


@pytest.mark.parametrize(("width", "crowd_width"), [(1.0, 0.4), (0.4, 1.5), (np.inf, 0.0), (-1.0, -1.0)])
def test_the_core_comes_first_and_rows_stay_whole(width: float, crowd_width: float) -> None:
    work = drawn(7)
    before = by_row(work)
    crowded = np.arange(40) % 3 == 0
    inside = np.abs(work.r) <= np.where(crowded, crowd_width, width) * work.h
    expected = set(work.rows[inside].tolist())
    count = core.core_first(PROBLEM, work, 40, width, crowd_width)
    assert count == len(expected)
    assert set(work.rows[:count].tolist()) == expected
    assert by_row(work) == before


def test_who_wakes_leaves_the_linear_term() -> None:
    """The linear term stays the sum over the sleepers, each with the side it fell asleep with."""
    work, size = drawn(8), 12
    asleep = work.sign.copy()
    asleep[20:] *= -1.0  # their residuals have changed sides since
    work.sign[:] = asleep

    def linear(start: int) -> FloatArray:
        d = work.w * np.where(work.sign > 0, TAU, TAU - 1.0)
        return np.asarray(d[start:] @ work.lines[start:])

    outside = linear(size)
    for t in (15, 25, 39):
        number, residual = work.rows[t], work.r[t]
        core.wake(work, t, size, float(work.sign[t]), TAU, outside)
        assert (work.rows[size], work.r[size]) == (number, residual)
        assert work.sign[size] == (-1.0 if residual < 0 else 1.0)
        size += 1
        np.testing.assert_allclose(outside, linear(size), rtol=0, atol=1e-12)


def test_the_last_basis_is_found_where_the_band_holds_it() -> None:
    work = drawn(9)
    place = np.array([31, 4, 17])

    def found(rows: IntArray, m: int = 40) -> bool:
        state: Any = SimpleNamespace(basis=rows)
        return bool(core.previous_basis(state, work, m))

    assert found(work.rows[place])
    assert set(work.basis.tolist()) == set(place.tolist())
    np.testing.assert_allclose(work.lines[work.basis] @ work.directions.T, np.eye(P), atol=1e-12)
    assert not found(work.rows[place], 31)  # the first of them is not in the core
    assert not found(np.full(P, -1))
    work.lines[17] = 0.5 * (work.lines[31] + work.lines[4])
    assert not found(work.rows[place])


@pytest.mark.parametrize("reach", [0.0, 1.5, np.inf])
@pytest.mark.parametrize("m", [40, 64, 200])
def test_rows_within_reach_change_sign_along_the_direction(m: int, reach: float) -> None:
    work = drawn(10, m)
    with np.errstate(invalid="ignore", over="ignore"):
        found = vertex._within_reach(work, m, reach)
    expected = [
        t for t in range(m) if work.sign[t] * work.z[t] > vertex.FLAT and work.r[t] / work.z[t] <= reach
    ]
    assert work.pick[:found].tolist() == expected
