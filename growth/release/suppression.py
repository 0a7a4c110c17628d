r"""Complementary suppression: no small count can be worked out from the counts that are published.

Counts obey linear relations (a school's groups and the rest make up its students; a group's schools make up
its total). Whoever reads what is published can bound every hidden count :math:`x_k` by two linear programs,

.. math:: \min / \max \; x_k \quad \text{such that} \quad R x = 0, \; x \ge 0, \;
    x_i = v_i \text{ for published } i .

A small count is protected if the two bounds lie at least `width` apart. Where they do not, the cheapest
further counts to hide are found exactly, by the integer program

.. math:: \min \sum c_i y_i \quad \text{such that} \quad R u = R d = 0, \;
    -v_i y_i \le u_i, d_i \le \text{width} \cdot y_i, \; u_k - d_k \ge \text{width}, \; y_i \in \{0, 1\},

whose u and d are two ways to change hidden counts, and nothing published, that move :math:`x_k` up and down.
Hiding more never narrows a bound, so that small counts are taken one after another, and each solution is the
cheapest given those before it. In large tables the programs see a part of the units: a bound found with the
others held fixed is one that holds. In a grid of schools x groups most small counts are seen to be protected
without a program (`growth.release.moves`), as they are or once the cheapest further count of the same school
is hidden that is enough; the programs decide on the others.

References
----------
.. [1] M. Fischetti and J. J. Salazar (2001), Solving the cell suppression problem on tabular data with linear
   constraints, Management Science 47(7), 1008-1027.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from growth._types import BoolArray, FloatArray, IntArray
from growth.errors import GrowthError, problem
from growth.release.moves import Moves

__all__ = ["CountTable", "bounds", "protected"]

SIGHTS = (6, 30)
"""Units beside the count's own that the programs see at first, and if that is not enough; then all."""
_CLOSE = 1e-6
"""Tolerance of the solvers, in students."""
_UNBOUNDED = 3
"""Status of a linear program that has no bound."""


@dataclass(frozen=True, slots=True, eq=False)
class CountTable:
    """Counts with the relations between them, c counts."""

    value: IntArray
    """Students, shape (c,)."""
    relations: Any
    """Sparse, shape (r, c): relations @ value = 0."""
    unit: IntArray
    """Unit (school) of each count, -1 for totals over units, shape (c,)."""
    sensitive: BoolArray
    """Counts that nobody may work out, shape (c,)."""
    cost: FloatArray
    """Price of hiding each count, shape (c,); infinite where it is published whatever happens."""
    partitions: Sequence[Sequence[int]] = ()
    """Where the counts are a grid, units and then their totals x columns, the first of them everybody: the
    columns of each partition. Most counts are then seen to be protected without a program."""


def protected(table: CountTable, shown: BoolArray, width: int) -> BoolArray:
    """Hide the cheapest further counts until every sensitive one is protected, shape (c,).

    Parameters
    ----------
    table : CountTable
    shown : ndarray of bool, shape (c,)
        Counts that may be published by their own size.
    width : int
        Least distance of the two bounds of a sensitive count [students].

    Returns
    -------
    ndarray of bool, shape (c,)
        Counts to publish.

    Raises
    ------
    GrowthError
        If a sensitive count follows from totals that are published whatever happens.
    """
    shown = shown & ~table.sensitive
    more: list[int] | None
    order = np.flatnonzero(table.sensitive)
    order = order[np.argsort(table.value[order], kind="stable")]
    moves = _moves(table, shown) if table.partitions else None
    if moves is not None:
        seen = moves.room().ravel() >= width
        order = order[~seen[order]]
    for cell in order.tolist():
        more = None if moves is None else _one_more(table, moves, cell, width)
        if more is None:
            more = _programs(table, shown, cell, width)
        shown[more] = False
        if moves is not None:
            for other in more:
                moves.change(other, hidden=True)
    return shown


def bounds(
    table: CountTable, shown: BoolArray, cell: int, sight: IntArray | None = None
) -> tuple[float, float]:
    """Return the least and the largest value of a count that agree with all that is published [students].

    Parameters
    ----------
    table : CountTable
    shown : ndarray of bool, shape (c,)
        What is published.
    cell : int
    sight : ndarray of int, optional
        Counts that may differ from what they are, if published nowhere; all if not given.
    """
    sight = np.arange(len(shown)) if sight is None else sight
    return _bound(table, shown, cell, sight, -1.0), _bound(table, shown, cell, sight, 1.0)


def _moves(table: CountTable, shown: BoolArray) -> Moves:
    grid = (-1, int(np.count_nonzero(table.unit < 0)))
    return Moves(table.value.reshape(grid), ~shown.reshape(grid), table.partitions)


def _one_more(table: CountTable, moves: Moves, cell: int, width: int) -> list[int] | None:
    """Return the cheapest further count of the same unit that protects one by moves, [] if none is needed.

    None if no single one is enough.
    """
    if moves.room_of(cell) >= width:
        return []
    others = moves.beside(cell)
    others = others[np.isfinite(table.cost[others])]
    for other in others[np.argsort(table.cost[others], kind="stable")].tolist():
        moves.change(other, hidden=True)
        enough = moves.room_of(cell) >= width
        moves.change(other, hidden=False)
        if enough:
            return [other]
    return None


def _programs(table: CountTable, shown: BoolArray, cell: int, width: int) -> list[int]:
    """Return the cheapest counts to hide so that one is protected, [] if it is already."""
    sights = [_in_sight(table, shown, cell, units) for units in SIGHTS]
    sights.append(np.arange(len(shown)))
    if any(_wide(table, shown, cell, width, sight) for sight in sights[:-1]):
        return []
    for sight in sights[1:]:
        hidden = _cheapest(table, shown, cell, width, sight)
        if hidden is not None:
            return [int(cell) for cell in hidden]
    what = "A count of few students follows from totals that are published"
    raise GrowthError(problem(what, rule="no small count can be worked out", fix="ask for fewer groups"))


def _bound(table: CountTable, shown: BoolArray, cell: int, sight: IntArray, sign: float) -> float:
    """Return the largest value of a count (sign 1) or the least (sign -1)."""
    from scipy.optimize import linprog

    free = sight[~shown[sight]]
    if cell not in free:
        return float(table.value[cell])
    part = table.relations[:, free]
    part = part[np.unique(part.nonzero()[0])]
    limits = np.column_stack([-table.value[free].astype(np.float64), np.full(len(free), np.inf)])
    aim = -sign * (free == cell)
    found = linprog(aim, A_eq=part, b_eq=np.zeros(part.shape[0]), bounds=limits, method="highs")
    if found.status == _UNBOUNDED:
        return sign * np.inf
    # What the solver could not tell counts as known: more is hidden then.
    return float(table.value[cell] - sign * (found.fun if found.status == 0 else 0.0))


def _wide(table: CountTable, shown: BoolArray, cell: int, width: int, sight: IntArray) -> bool:
    """Tell whether the bounds of a count are far apart; mostly the upper one says so alone."""
    high = _bound(table, shown, cell, sight, 1.0)
    if high - table.value[cell] >= width - _CLOSE:
        return True
    return high - _bound(table, shown, cell, sight, -1.0) >= width - _CLOSE


def _in_sight(table: CountTable, shown: BoolArray, cell: int, neighbours: int) -> IntArray:
    """Return the counts of the unit, of totals, and of the units that are cheapest to involve."""
    units = int(table.unit.max()) + 1
    if units <= neighbours + 1:
        return np.arange(len(shown))
    totals = table.unit < 0
    columns = table.relations[table.relations[:, [cell]].nonzero()[0]]
    related = np.zeros(len(shown), dtype=bool)
    related[columns.nonzero()[1]] = True
    mine = related & ~totals
    price = np.full(units, np.inf)
    np.minimum.at(price, table.unit[mine], np.where(shown[mine], table.cost[mine], 0.0))
    # Units whose count is hidden already are free; of the others small counts come first.
    near = np.argsort(price, kind="stable")[:neighbours]
    keep = np.zeros(units, dtype=bool)
    keep[near] = True
    if table.unit[cell] >= 0:
        keep[table.unit[cell]] = True
    return np.flatnonzero(totals | keep[table.unit])


def _cheapest(table: CountTable, shown: BoolArray, cell: int, width: int, sight: IntArray) -> IntArray | None:
    """Return the cheapest counts to hide so that one is protected, None if nothing helps."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import block_array, diags_array, eye_array

    usable = sight[~shown[sight] | np.isfinite(table.cost[sight])]
    n, value = len(usable), table.value[usable].astype(np.float64)
    open_now = ~shown[usable]
    part = table.relations[:, usable]
    part = part[np.unique(part.nonzero()[0])]
    at = int(np.flatnonzero(usable == cell)[0])
    identity, lower = eye_array(n), diags_array(value)
    pick = np.zeros((1, n))
    pick[0, at] = 1.0
    # Unknowns: u, d, y.
    constraints = [
        LinearConstraint(block_array([[part, None, 0 * part], [None, part, 0 * part]]), 0.0, 0.0),
        LinearConstraint(block_array([[identity, None, lower], [None, identity, lower]]), 0.0, np.inf),
        LinearConstraint(
            block_array([[identity, None, -width * identity], [None, identity, -width * identity]]),
            -np.inf,
            0.0,
        ),
        LinearConstraint(np.hstack([pick, -pick, np.zeros((1, n))]), float(width), np.inf),
    ]
    free = np.full(2 * n, np.inf)
    limits = Bounds(np.concatenate([-free, open_now.astype(np.float64)]), np.concatenate([free, np.ones(n)]))
    price = np.where(open_now, 0.0, np.where(np.isfinite(table.cost[usable]), table.cost[usable], 0.0))
    found = milp(
        np.concatenate([np.zeros(2 * n), price]),
        constraints=constraints,
        integrality=np.concatenate([np.zeros(2 * n), np.ones(n)]),
        bounds=limits,
    )
    if found.x is None:
        return None
    picked: IntArray = usable[(found.x[2 * n :] > 0.5) & ~open_now]
    return picked
