"""Standard errors from students drawn again within their schools.

Each sample draws, within every unit, as many students with replacement as the unit has, each with all their
results (Efron & Tibshirani 1993). The SD over samples is multiplied by sqrt(m / (m - 1)) for m students, by
which a sample of few students varies too little.

References
----------
.. [1] B. Efron and R. J. Tibshirani (1993), An Introduction to the Bootstrap, Chapman & Hall.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from growth._types import FloatArray, IntArray
from growth.school.aggregates import Errors
from growth.school.bands import DrawRule
from growth.school.inputs import Inputs
from growth.school.summaries import Rows, statistics
from growth.spec import School

__all__ = ["Clusters", "SampleErrors", "SampleStatistics", "SchoolSamples", "Spread", "bootstrap_errors"]


_LEAST = 0.5
"""Share of the variance of students' luck below which the noise of few samples does not take a variance."""


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

    def __init__(self, around: FloatArray) -> None:
        """Measure deviations from `around`, shape (3, U)."""
        self._around = around
        self._count, self._sum, self._squares = (np.zeros_like(around) for _ in range(3))

    def add(self, sample: FloatArray) -> None:
        """Take the statistics of one sample, shape (3, U); NaN where none of a unit's students was drawn."""
        deviation = sample - self._around
        known = np.isfinite(deviation)
        self._count += known
        self._sum += np.where(known, deviation, 0.0)
        self._squares += np.where(known, deviation, 0.0) ** 2

    def variance(self) -> FloatArray:
        """Return the variance over samples, shape (3, U)."""
        count = np.where(self._count > 1, self._count, np.nan)
        return np.maximum((self._squares - self._sum**2 / count) / (count - 1.0), 0.0)


def _inflated(variance: FloatArray, students: IntArray) -> FloatArray:
    """Return the variance times m / (m - 1); NaN for units of one student."""
    few = np.where(students > 1, students, np.nan)
    return np.asarray(variance * few / (few - 1.0))


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
    spread = Spread(statistics(rows, rows.weight, rules))
    for _ in range(rules.replicates):
        spread.add(statistics(rows, rows.weight * clusters.drawn(stream), rules))
    return Errors(*np.sqrt(_inflated(spread.variance(), clusters.students)))


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    rows: Rows
    at: IntArray
    """Counted result of each row, shape (R,)."""
    students: IntArray


SampleStatistics: TypeAlias = dict[str, tuple[FloatArray, FloatArray | None]]
"""By group, of one sample: mean, median and effect of each unit, shape (3, U), of all students and, where
students were drawn, of those."""


@dataclass(frozen=True, slots=True, eq=False)
class SchoolSamples:
    """Whose statistics are wanted of samples in which cohorts were fitted again.

    `growth.pipeline.bootstrap` says what is made of them.
    """

    rules: School
    groups: Mapping[str, _Group]

    @classmethod
    def of(cls, inputs: Inputs, rules: School) -> SchoolSamples:
        """Prepare the groups of `inputs`."""
        groups: dict[str, _Group] = {}
        for group in inputs.groups:
            rows = inputs.rows.keep(group.members)
            at = inputs.placement.row[group.members]
            groups[group.label] = _Group(rows, at, Clusters.of(rows).students)
        return cls(rules, groups)

    def statistics(
        self, percentile: FloatArray, value: FloatArray, times: FloatArray | None
    ) -> SampleStatistics:
        """Return the statistics of one sample.

        Parameters
        ----------
        percentile, value : ndarray, shape (n,)
            Of the counted results: percentile [0-100], and what effects are made from.
        times : ndarray, shape (n,), or None
            How often each was drawn; None where schools were drawn.
        """
        found: SampleStatistics = {}
        for label, group in self.groups.items():
            rows = replace(group.rows, percentile=percentile[group.at], value=value[group.at])
            drawn = None if times is None else statistics(rows, rows.weight * times[group.at], self.rules)
            found[label] = statistics(rows, rows.weight, self.rules), drawn
        return found


class SampleErrors:
    """Standard errors from samples, summed as they come, in the order they come."""

    def __init__(self, samples: SchoolSamples) -> None:
        self._spreads: dict[str, _Spreads] = {}
        for label, group in samples.groups.items():
            around = statistics(group.rows, group.rows.weight, samples.rules)
            self._spreads[label] = _Spreads(group.students, *(Spread(around) for _ in range(3)))

    def add(self, sample: SampleStatistics) -> None:
        """Take the statistics of one sample."""
        for label, (everyone, drawn) in sample.items():
            spreads = self._spreads[label]
            if drawn is None:
                spreads.on_schools.add(everyone)
            else:
                spreads.on_drawn.add(everyone)
                spreads.drawn.add(drawn)

    def errors(self) -> dict[str, Errors]:
        """Return the standard errors of all samples taken, by group."""
        found = {}
        for label, spreads in self._spreads.items():
            luck = _inflated(spreads.drawn.variance(), spreads.students)
            whole = luck + spreads.on_schools.variance() - spreads.on_drawn.variance()
            found[label] = Errors(*np.sqrt(np.maximum(whole, _LEAST * luck)))
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Spreads:
    students: IntArray
    drawn: Spread
    """Results of students drawn again, on the curves of that draw."""
    on_drawn: Spread
    """Results of all students on the curves of students drawn again."""
    on_schools: Spread
    """Results of all students on the curves of schools drawn again."""
