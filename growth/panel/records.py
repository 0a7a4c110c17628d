"""The student table as sorted integer codes, so that each look-up is one binary search for all students."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray

__all__ = ["Records"]


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Rows of the student table, found by student, year and subject, or by subject, grade and year.

    Attributes
    ----------
    subjects : tuple of str
        Subject of each code, sorted.
    subject, grade, year : ndarray of int64, shape (N,)
    score : ndarray of float64, shape (N,)
        NaN where there is none [scale-score points].
    school : ndarray of int64, shape (N,)
        Code of the school, -1 where there is none.
    key : ndarray of int64, shape (N,)
        student x year x subject as one number, strictly increasing.
    cell_row : ndarray of int64, shape (N,)
        Row numbers ordered by subject, grade, year, then row.
    cell_code : ndarray of int64, shape (N,)
        subject x grade x year of each entry of `cell_row`, not decreasing.
    """

    subjects: tuple[str, ...]
    subject: IntArray
    grade: IntArray
    year: IntArray
    score: FloatArray
    school: IntArray
    key: IntArray
    cell_row: IntArray
    cell_code: IntArray
    ends: tuple[int, int, int, int]
    """First and last year, lowest and highest grade."""

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Records:
        """Code a canonical frame, sorted by student_id, year, subject."""
        student = frame["student_id"].rle_id().cast(pl.Int64).to_numpy()
        subject = _codes(frame["subject"])
        grade = frame["grade"].cast(pl.Int64).to_numpy()
        year = frame["year"].cast(pl.Int64).to_numpy()
        subjects = tuple(frame["subject"].unique().sort())
        n_years, n_grades = _span(year), _span(grade)
        key = (student * n_years + (year - year.min())) * len(subjects) + subject
        cell = (subject * n_grades + (grade - grade.min())) * n_years + (year - year.min())
        order = np.argsort(cell, kind="stable")
        score = frame["score"].fill_null(float("nan")).to_numpy()
        school = _codes(frame["school_id"])
        range_of = (*_ends(year), *_ends(grade))
        return cls(subjects, subject, grade, year, score, school, key, order, cell[order], range_of)

    @property
    def lowest_grade(self) -> int:
        """Lowest grade of the table."""
        return self.ends[2]

    def find(self, rows: IntArray, lag: int, subject: str) -> IntArray:
        """Return the row of each student's record in `subject` `lag` years before, shape (n,); -1 if none."""
        n_subjects = len(self.subjects)
        shift = self.subjects.index(subject) - self.subject[rows] - lag * n_subjects
        wanted = self.key[rows] + shift
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
        start = (self.subjects.index(subject) * n_grades + (grade - low_grade)) * n_years - oldest
        low, high = np.searchsorted(self.cell_code, [start + first, start + last + 1])
        return self.cell_row[low:high]

    def scores(self, subject: str, grade: int, first: int, last: int) -> FloatArray:
        """Return all scores of a subject and grade in the years `first`..`last`, whoever has them."""
        scores = self.score[self.rows(subject, grade, first, last)]
        kept: FloatArray = scores[~np.isnan(scores)]
        return kept

    def cells(self) -> Iterator[tuple[str, int, int]]:
        """Yield each (subject, year, grade) of the table, sorted."""
        first = self.cell_row[np.flatnonzero(np.diff(self.cell_code, prepend=-1))]
        coded = sorted(zip(self.subject[first], self.year[first], self.grade[first], strict=True))
        yield from ((self.subjects[subject], int(year), int(grade)) for subject, year, grade in coded)


def _codes(texts: pl.Series) -> IntArray:
    """Return each text's place among the different ones in order, -1 where there is none."""
    known = texts.drop_nulls().unique().sort()
    codes = texts.cast(pl.Enum(known)).to_physical().cast(pl.Int64)
    return codes.fill_null(-1).to_numpy()


def _ends(values: IntArray) -> tuple[int, int]:
    return int(values.min()), int(values.max())


def _span(values: IntArray) -> int:
    return int(values.max() - values.min()) + 1
