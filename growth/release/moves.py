r"""How far a hidden count can move, by students who change places: bounds without a linear program.

In a table of schools x groups the groups of a partition sum to a school's students, and schools to totals. In
school s let a student change from group h to g, and in another school t one from g to h: neither a school's
number nor a total changes, and if all four counts are hidden nobody sees it. Schools of which nothing is
published can also exchange students of any kind. Whatever such moves reach is a solution of the programs in
`growth.release.suppression`, hence

.. math:: \max x_{sg} - x_{sg} \ge \min_j \Big( \sum_{h: A_h > A_j} x_{sh} + A_j \Big) \wedge \sum_h x_{sh},
    \quad x_{sg} - \min x_{sg} \ge x_{sg} \wedge \sum_h B_h ,

with :math:`A_h` the students of g, and :math:`B_h` those of h, in other schools that hide both (the first is
the least cut of the flow from the h of school s to g, its union of schools replaced by the largest of them).
All schools are done at once, and a change takes a few microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from growth._types import BoolArray, IntArray

__all__ = ["Moves"]

_ENOUGH = 2**40
"""Students that a total takes up if nobody knows it."""


class Moves:
    """Counts of a grid, and what is hidden of them.

    Parameters
    ----------
    value : ndarray of int, shape (schools + 1, columns)
        Students; the last row holds the totals, column 0 counts all of a school.
    hidden : ndarray of bool, shape (schools + 1, columns)
    partitions : sequence of sequences of int
        Columns that sum to column 0.
    """

    def __init__(self, value: IntArray, hidden: BoolArray, partitions: Sequence[Sequence[int]]) -> None:
        self.value, self.hidden = value[:-1], hidden[:-1].copy()
        self.parts = [np.asarray(part, dtype=np.int64) for part in partitions]
        self.dark: BoolArray = np.asarray(self.hidden.all(axis=1))
        self._both = [self._shared(part, slice(None)) for part in self.parts]
        unknown = hidden[-1]
        self._open = [
            _ENOUGH * (unknown[part][:, None] & unknown[part]).astype(np.int64) for part in self.parts
        ]

    def change(self, cell: int, *, hidden: bool) -> None:
        """Hide a count of a school, given by its place in the grid, or show it again."""
        school, column = divmod(cell, self.value.shape[1])
        touched = [k for k, part in enumerate(self.parts) if column in part]
        row = slice(school, school + 1)
        for k in touched:
            self._both[k] -= self._shared(self.parts[k], row)
        self.hidden[school, column] = hidden
        for k in touched:
            self._both[k] += self._shared(self.parts[k], row)
        self.dark[school] = self.hidden[school].all()

    def room(self) -> IntArray:
        """Return how far apart the bounds of each count are at least, shape (schools, columns) [students]."""
        found = np.zeros(self.value.shape, dtype=np.int64)
        for k, part in enumerate(self.parts):
            found[:, part] = self._swaps(k, self.value[:, part], self.hidden[:, part])
        if np.count_nonzero(self.dark) > 1:
            found[self.dark] = self._pooled()
        return found

    def room_of(self, cell: int) -> int:
        """Return the same for one count, given by its place in the grid."""
        school, column = divmod(cell, self.value.shape[1])
        if self.dark[school] and np.count_nonzero(self.dark) > 1:
            return int(self._pooled()[column])
        for k, part in enumerate(self.parts):
            if column in part:
                own = self._swaps(k, self.value[school][None, part], self.hidden[school][None, part])
                return int(own[0, part == column][0])
        return 0

    def beside(self, cell: int) -> IntArray:
        """Return the published counts of the same school and partition, places in the grid."""
        school, column = divmod(cell, self.value.shape[1])
        own = [part for part in self.parts if column in part]
        shown = [school * self.value.shape[1] + part[~self.hidden[school, part]] for part in own]
        return shown[0] if shown else np.array([], dtype=np.int64)

    def _shared(self, part: IntArray, schools: slice) -> IntArray:
        """Return the students of column g in schools that hide both h and g, shape (h, g)."""
        hidden = self.hidden[schools][:, part].astype(np.int64)
        both: IntArray = hidden.T @ (hidden * self.value[schools][:, part])
        return both

    def _swaps(self, k: int, value: IntArray, hidden: BoolArray) -> IntArray:
        """Return how far the counts of schools move by swaps with others, shape (schools, part)."""
        both, unknown = self._both[k], self._open[k]
        mine = np.where(hidden, value, 0)
        pair = hidden[:, :, None] & hidden[:, None, :]
        pair &= ~np.eye(len(both), dtype=bool)
        up = _least_cut(np.where(pair, mine[:, :, None], 0), both + unknown - mine[:, None, :])
        back = np.where(pair, both.T + unknown - mine[:, :, None], 0).sum(axis=1)
        found: IntArray = np.where(hidden, up + np.minimum(mine, back), 0)
        return found

    def _pooled(self) -> IntArray:
        """Return the room of schools of which nothing is known: each may hold the students of all of them."""
        pool: IntArray = self.value[self.dark].sum(axis=0)
        for k, part in enumerate(self.parts):
            mine = pool[part]
            ready = mine[:, None] * (1 - np.eye(len(part), dtype=np.int64))
            supply = self._both[k] + self._open[k] - mine
            pool[part] += _least_cut(ready[None], supply)[0]
        return pool


def _least_cut(ready: IntArray, supply: IntArray) -> IntArray:
    """Return a lower bound on the flow from the h of each school to its g, shape (schools, g).

    Parameters
    ----------
    ready : ndarray, shape (schools, h, g)
        Students of h who may become students of g; 0 where that is seen.
    supply : ndarray, shape (schools, h, g) or (h, g) broadcast to it
        Students of g elsewhere who may become students of h.
    """
    supply = np.broadcast_to(supply, ready.shape)
    best: IntArray = ready.sum(axis=1)
    for j in range(ready.shape[1]):
        at = supply[:, j : j + 1, :]
        cut = np.where(supply > at, ready, 0).sum(axis=1) + at[:, 0, :]
        best = np.minimum(best, np.where(ready[:, j, :] > 0, cut, best))
    return best
