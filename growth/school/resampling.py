"""Standard errors from students drawn again within their schools.

Each sample draws, within every unit, as many students with replacement as the unit has, each with all their
results (Efron & Tibshirani 1993). The SD over samples is multiplied by sqrt(m / (m - 1)) for m students, by
which a sample of few students varies too little.

References
----------
.. [1] B. Efron and R. J. Tibshirani (1993), An Introduction to the Bootstrap, Chapman & Hall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from growth._types import FloatArray, IntArray
from growth.school.aggregates import Errors
from growth.school.bands import DrawRule
from growth.school.summaries import Rows, statistics
from growth.spec import School

__all__ = ["Clusters", "Spread", "bootstrap_errors"]


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """The K students of U units, unit after unit."""

    of_row: IntArray
    """Shape (R,)."""
    first: IntArray
    """First student of each student's unit, shape (K,)."""
    size: IntArray
    """Students in each student's unit, shape (K,)."""
    students: IntArray
    """Students per unit, shape (U,)."""

    @classmethod
    def of(cls, rows: Rows) -> Clusters:
        """Find the students of each unit."""
        unit = rows.unit
        new = np.ones(len(unit), dtype=np.bool_)
        new[1:] = (unit[1:] != unit[:-1]) | (rows.student[1:] != rows.student[:-1])
        students = np.bincount(unit[new], minlength=len(rows.start) - 1).astype(np.int64)
        before = np.concatenate([[0], np.cumsum(students)[:-1]]).astype(np.int64)
        return cls(np.cumsum(new) - 1, np.repeat(before, students), np.repeat(students, students), students)

    def drawn(self, stream: np.random.Generator) -> FloatArray:
        """Return how often each row's student was drawn, shape (R,)."""
        pick = self.first + (stream.random(len(self.size)) * self.size).astype(np.int64)
        return np.bincount(pick, minlength=len(self.size))[self.of_row].astype(np.float64)


class Spread:
    """Spread of statistics over samples, summed as they come, in the order they come."""

    def __init__(self, around: FloatArray, students: IntArray) -> None:
        """Measure deviations from `around`, shape (3, U), of units of so many students, shape (U,)."""
        self.count = 0
        self._around, self._students = around, students
        self._sum, self._squares = np.zeros_like(around), np.zeros_like(around)

    def add(self, sample: FloatArray) -> None:
        """Take the statistics of one sample, shape (3, U)."""
        deviation = sample - self._around
        self.count += 1
        self._sum += deviation
        self._squares += deviation**2

    def errors(self) -> Errors:
        """Return the SDs over samples; NaN for units of one student."""
        variance = (self._squares - self._sum**2 / self.count) / (self.count - 1)
        few = np.where(self._students > 1, self._students, np.nan)
        return Errors(*np.sqrt(np.maximum(variance, 0.0) * few / (few - 1.0)))


def bootstrap_errors(rows: Rows, rules: School, key: tuple[object, ...]) -> Errors:
    """Return standard errors of every unit.

    Parameters
    ----------
    rows : Rows
    rules : School
        Number of samples and seed.
    key : tuple
        Names the stream of random numbers: what else is in the run changes nothing.
    """
    clusters = Clusters.of(rows)
    stream = DrawRule(rules.replicates, rules.seed).stream("students", *key)
    spread = Spread(statistics(rows, rows.weight, rules), clusters.students)
    for _ in range(rules.replicates):
        spread.add(statistics(rows, rows.weight * clusters.drawn(stream), rules))
    return spread.errors()
