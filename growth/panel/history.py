"""What lies behind each student of a grade x subject x year: which priors are usable, and if none, why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from growth._types import BoolArray, IntArray
from growth.panel.patterns import Pattern, cohort_patterns, progression, repeater_pattern
from growth.panel.records import Records
from growth.spec import Cohorts

__all__ = ["STATUSES", "Cell", "History", "code_of", "trace_cell"]

STATUSES: Final = (
    "scored",
    "no_current_score",
    "no_prior_score",
    "repeater",
    "off_path",
    "missing_covariate",
    "cohort_too_small",
)
"""Why a current row has a result or none; arrays hold the position in this tuple."""


def code_of(status: str) -> int:
    """Return the code of a status."""
    return STATUSES.index(status)


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Prior records of n students in one subject along a progression of s grades.

    Attributes
    ----------
    record : ndarray of int64, shape (n, s)
        Row of the record in the student table, -1 where there is none.
    depth : ndarray of int64, shape (n,)
        Number of leading steps whose record has the grade of the progression and a score.
    """

    record: IntArray
    depth: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One grade x subject x year in scope, and the histories of its n students.

    Attributes
    ----------
    steps : tuple of int, length s
        Prior grades of the progression, most recent first.
    rows : ndarray of int64, shape (n,)
        Current rows in the student table, ascending.
    status : ndarray of int64, shape (n,)
        Codes of `STATUSES`; "scored" stands for everyone with a current score and a usable prior.
    own : History
        In the cell's subject.
    other : dict of History
        By other subject.
    previous : ndarray of int64, shape (n,)
        Row of last year's record in the cell's subject, -1 if there is none.
    repeats : ndarray of bool, shape (n,)
        Last year's record is in the same grade.
    """

    subject: str
    year: int
    grade: int
    steps: tuple[int, ...]
    rows: IntArray
    status: IntArray
    own: History
    other: dict[str, History]
    previous: IntArray
    repeats: BoolArray

    @property
    def has_priors(self) -> BoolArray:
        """Who has a current score and a usable prior, shape (n,)."""
        with_priors: BoolArray = self.status == code_of("scored")
        return with_priors

    @property
    def fullest(self) -> int:
        """Most own priors along the progression that any student has."""
        return int(self.own.depth[self.has_priors & ~self.repeats].max(initial=0))

    @property
    def window(self) -> int:
        """Years back to the earliest own prior that any student has; 1 if there are only repeaters."""
        return self.grade - self.steps[self.fullest - 1] if self.fullest else 1

    def patterns(self, eligible: BoolArray, cohorts: Cohorts) -> list[Pattern]:
        """Return the patterns to be tried, least first.

        An other-subject prior takes part once as many of the `eligible`, shape (n,), have it as a cohort
        needs: a stray record in a third subject must not cost everyone the second one.
        """
        enough = max(cohorts.min_cohort, 1)
        path = eligible & ~self.repeats
        other = {
            name: sum(
                int(np.count_nonzero(path & (history.depth >= depth))) >= enough
                for depth in range(1, min(cohorts.other_priors, len(self.steps)) + 1)
            )
            for name, history in self.other.items()
        }
        found = cohort_patterns(self.subject, self.grade, self.steps, self.fullest, other)
        if cohorts.orders == "exact":
            large = [pattern for pattern in found if np.count_nonzero(self.members(pattern) & path) >= enough]
            found = large[-1:]
        if np.any(eligible & self.repeats):
            found.append(repeater_pattern(self.subject, self.grade))
        return found

    def members(self, pattern: Pattern) -> BoolArray:
        """Return, shape (n,), who has a current score and every prior of the pattern."""
        if self._is_repeat(pattern):
            return self.has_priors & self.repeats
        inside = self.has_priors & ~self.repeats & (self.own.depth >= pattern.own)
        for name, history in self.other.items():
            inside &= history.depth >= pattern.depth(name)
        return inside

    def prior_rows(self, pattern: Pattern, who: BoolArray) -> IntArray:
        """Return the rows of the prior records of `who`, shape (m, k), in the order of the pattern."""
        if self._is_repeat(pattern):
            return self.previous[who][:, None]
        parts = [self.own.record[who][:, : pattern.own]]
        names = dict.fromkeys(prior.subject for prior in pattern.priors[pattern.own :])
        parts += [self.other[name].record[who][:, : pattern.depth(name)] for name in names]
        return np.concatenate(parts, axis=1)

    def _is_repeat(self, pattern: Pattern) -> bool:
        return pattern.priors[0].grade == self.grade


def trace_cell(records: Records, subject: str, year: int, grade: int, cohorts: Cohorts) -> Cell:
    """Look up the prior records of everyone in a grade x subject x year."""
    steps = progression(grade, cohorts, records.lowest_grade)
    rows = records.rows(subject, grade, year, year)
    own = _trace(records, rows, subject, grade, steps[: cohorts.own_priors])
    giving = records.subjects if cohorts.other_subjects is None else cohorts.other_subjects
    others = [name for name in sorted(giving) if name != subject] if cohorts.other_priors else []
    other = {name: _trace(records, rows, name, grade, steps[: cohorts.other_priors]) for name in others}
    previous = records.find(rows, 1, subject)
    repeats = _in_grade(records, previous, grade)
    exclude = cohorts.repeaters == "exclude"
    rules = {  # the first that holds decides
        "no_current_score": ~_has_score(records, rows),
        "repeater": repeats & exclude,
        "scored": np.where(repeats, _has_score(records, previous), own.depth > 0),
        "off_path": ~repeats & _off_path(records, own, steps),
    }
    codes = [code_of(name) for name in rules]
    status = np.select(list(rules.values()), codes, code_of("no_prior_score"))
    return Cell(subject, year, grade, steps, rows, status, own, other, previous, repeats)


def _trace(records: Records, rows: IntArray, subject: str, grade: int, steps: tuple[int, ...]) -> History:
    found = [records.find(rows, grade - step, subject) for step in steps]
    record = np.column_stack(found) if found else np.empty((len(rows), 0), dtype=np.int64)
    on_path = (record >= 0) & (records.grade[record] == np.array(steps, dtype=np.int64))
    usable = on_path & ~np.isnan(records.score[record])
    return History(record, np.logical_and.accumulate(usable, axis=1).sum(axis=1))


def _in_grade(records: Records, record: IntArray, grade: int) -> BoolArray:
    inside: BoolArray = (record >= 0) & (records.grade[record] == grade)
    return inside


def _has_score(records: Records, record: IntArray) -> BoolArray:
    has: BoolArray = (record >= 0) & ~np.isnan(records.score[record])
    return has


def _off_path(records: Records, own: History, steps: tuple[int, ...]) -> BoolArray:
    if not steps:
        return np.zeros(len(own.depth), dtype=np.bool_)
    first = own.record[:, 0]
    return (first >= 0) & ~_in_grade(records, first, steps[0])
