"""The student table as sorted integer codes, so that each look-up is one binary search for all students.

One entry per row of the table: numbers are kept in the smallest integers that hold them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from growth._types import CodeArray, FloatArray, IntArray
from growth.mapped import changed, dense_ranks
from growth.panel.coded import code_numbers, smallest
from growth.scratch import empty, pieces

__all__ = ["Records"]


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Rows of the student table, found by student, year and subject, or by subject, grade and year.

    Attributes
    ----------
    subjects : tuple of str
        Subject of each code, sorted.
    subject, grade, year : ndarray of int, shape (N,)
    score : ndarray of float64, shape (N,)
        NaN where there is none [scale-score points].
    school : ndarray of int, shape (N,)
        Code of the school, -1 where there is none.
    key : ndarray of int64, shape (N,)
        student x year x subject as one number, strictly increasing.
    cell_row : ndarray of int, shape (N,)
        Row numbers ordered by subject, grade, year, then row.
    cell_start : ndarray of int64, shape (cells + 1,)
        Where each subject x grade x year begins in `cell_row`.
    """

    subjects: tuple[str, ...]
    subject: CodeArray
    grade: CodeArray
    year: CodeArray
    score: FloatArray
    school: CodeArray
    key: IntArray
    cell_row: CodeArray
    cell_start: IntArray
    ends: tuple[int, int, int, int]
    """First and last year, lowest and highest grade."""

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Records:
        """Code a table's `codes`, sorted by student_id, year, subject."""
        subjects, subject = _numbered(frame["subject"])
        grade = frame["grade"].to_numpy()
        year = frame["year"].to_numpy()
        range_of = (*_ends(year), *_ends(grade))
        n_years, n_grades = range_of[1] - range_of[0] + 1, range_of[3] - range_of[2] + 1
        cells = len(subjects) * n_grades * n_years
        key, cell = empty(frame.height, np.int64), empty(frame.height, smallest(cells))
        sizes = np.zeros(cells, dtype=np.int64)
        student = dense_ranks(frame["student_id"])
        for k in pieces(frame.height):
            key[k] = (student[k] * n_years + year[k] - range_of[0]) * len(subjects) + subject[k]
            of_grade = subject[k].astype(np.int64) * n_grades + grade[k] - range_of[2]
            cell[k] = of_grade * n_years + year[k] - range_of[0]
            sizes += np.bincount(cell[k], minlength=cells)
        start = np.concatenate([[0], np.cumsum(sizes)])
        order = _ordered(cell, start[:-1])
        score = changed(frame["score"], lambda part: part.fill_null(float("nan"))).to_numpy()
        school = code_numbers(frame["school_id"])
        return cls(subjects, subject, grade, year, score, school, key, order, start, range_of)

    @property
    def lowest_grade(self) -> int:
        """Lowest grade of the table."""
        return self.ends[2]

    def find(self, rows: IntArray, lag: int, subject: str) -> IntArray:
        """Return the row of each student's record in `subject` `lag` years before, shape (n,); -1 if none."""
        n_subjects = len(self.subjects)
        wanted = self.key[rows] - self.subject[rows]
        wanted += self.subjects.index(subject) - lag * n_subjects
        place = np.searchsorted(self.key, wanted)
        place[place == len(self.key)] = 0
        found = (self.key[place] == wanted) & (self.year[rows] - lag >= self.ends[0])
        return np.where(found, place, -1)

    def rows(self, subject: str, grade: int, first: int, last: int) -> IntArray:
        """Return the row numbers of a subject and grade in the years `first`..`last`, by year, then row."""
        oldest, latest, low_grade, high_grade = self.ends
        first, last = max(first, oldest), min(last, latest)
        if subject not in self.subjects or not low_grade <= grade <= high_grade or first > last:
            return np.empty(0, dtype=np.int64)
        n_years, n_grades = latest - oldest + 1, high_grade - low_grade + 1
        cell = (self.subjects.index(subject) * n_grades + (grade - low_grade)) * n_years - oldest
        low, high = self.cell_start[cell + first], self.cell_start[cell + last + 1]
        return self.cell_row[low:high].astype(np.int64)

    def scores(self, subject: str, grade: int, first: int, last: int) -> FloatArray:
        """Return all scores of a subject and grade in the years `first`..`last`, whoever has them."""
        scores = self.score[self.rows(subject, grade, first, last)]
        kept: FloatArray = scores[~np.isnan(scores)]
        return kept

    def cells(self) -> Iterator[tuple[str, int, int]]:
        """Yield each (subject, year, grade) of the table, sorted."""
        oldest, latest, low_grade, high_grade = self.ends
        sizes = np.diff(self.cell_start).reshape(-1, high_grade - low_grade + 1, latest - oldest + 1)
        for subject, year, grade in np.argwhere(sizes.swapaxes(1, 2)):
            yield self.subjects[subject], oldest + int(year), low_grade + int(grade)


def _numbered(column: pl.Series) -> tuple[tuple[str, ...], CodeArray]:
    """Return the texts that occur, sorted, and the number of each row's among them."""
    present = column.unique().sort()
    numbers = np.zeros(len(column.dtype.categories), dtype=smallest(len(present)))  # type: ignore[attr-defined]
    numbers[code_numbers(present)] = np.arange(len(present))
    codes = code_numbers(column)
    found = empty(len(codes), numbers.dtype)
    for k in pieces(len(codes)):
        found[k] = numbers[codes[k]]
    return tuple(present.cast(pl.String)), found


def _ordered(cell: CodeArray, start: IntArray) -> CodeArray:
    """Return the row numbers ordered by cell, then row, shape (N,)."""
    order = empty(len(cell), smallest(len(cell)))
    free = start.copy()
    for k in pieces(len(cell)):
        row = np.argsort(cell[k], kind="stable")
        here, first, size = np.unique(cell[k][row], return_index=True, return_counts=True)
        place = np.arange(len(row)) + np.repeat(free[here] - first, size)
        order[place] = row + k.start
        free[here] += size
    return order


def _ends(values: CodeArray) -> tuple[int, int]:
    return int(values.min()), int(values.max())
