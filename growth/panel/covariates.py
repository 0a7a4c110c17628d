"""Columns beside the prior scores: student flags, category dummies, interactions, school means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl

from growth._types import BoolArray, CodeArray, FloatArray, IntArray
from growth.errors import ColumnError, did_you_mean, problem
from growth.panel.coded import code_numbers, smallest
from growth.panel.table import StudentTable
from growth.scratch import empty, kept, pieces
from growth.spec import Peers

__all__ = ["Category", "Covariates", "read_covariates", "refuse_missing", "school_means"]

Columns: TypeAlias = dict[str, FloatArray]
"""Name -> column of one cohort, shape (n,), without NaN."""


@dataclass(frozen=True, slots=True, eq=False)
class Category:
    """A categorical student column."""

    codes: CodeArray
    """Code of the level, shape (N,), -1 where missing."""
    levels: tuple[str, ...]
    """Sorted."""
    reference: int | None
    """Code of the reference level; None for each cohort's most frequent."""

    def dummies(self, name: str, rows: IntArray) -> Columns:
        """Return a 0/1 column ``name=level`` per level present in `rows` but the reference."""
        codes = self.codes[rows]
        counts = np.bincount(codes[codes >= 0], minlength=len(self.levels))
        reference = int(np.argmax(counts)) if self.reference is None else self.reference
        present = [code for code in np.flatnonzero(counts) if code != reference]
        return {f"{name}={self.levels[code]}": (codes == code).astype(np.float64) for code in present}


@dataclass(frozen=True, slots=True, eq=False)
class Covariates:
    """The student columns of the peer definition, one entry per row of the student table.

    Attributes
    ----------
    flags : dict
        Column -> 0/1, shape (N,); -1 where missing.
    categories : dict
        Column -> Category.
    school : ndarray of int, shape (N,), or None
        School code, -1 where missing; None unless school means are columns of the model.
    peers : Peers
    """

    flags: dict[str, CodeArray]
    categories: dict[str, Category]
    school: CodeArray | None
    peers: Peers

    def missing(self) -> dict[str, BoolArray]:
        """Return, per column that every student needs, the rows (N,) without a value."""
        if self.peers.missing == "indicator":
            return {}
        return {name: kept(codes < 0) for name, codes in self._coded().items()}

    def matrix(self, rows: IntArray, prior: FloatArray) -> tuple[FloatArray, tuple[str, ...]]:
        """Return the columns of one cohort and their names.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)
            Rows of the cohort in the student table.
        prior : ndarray of float64, shape (n,)
            Most recent own prior [scale-score points].

        Returns
        -------
        matrix : ndarray of float64, shape (n, q)
            Flags 0/1; per category a 0/1 column for each level but the reference (without one named: the
            cohort's most frequent, of several the first by name); with indicators a column
            ``missing:name`` for each column that is blank for someone; the products of interactions, named
            ``a:b``; with school means as columns those of `prior` and of each flag over the cohort's members
            in the same school (for students without a school over the whole cohort).
        names : tuple of str, length q
        """
        parts: dict[str, Columns] = {
            name: {name: (v[rows] > 0).astype(np.float64)} for name, v in self.flags.items()
        }
        parts |= {name: category.dummies(name, rows) for name, category in self.categories.items()}
        columns: Columns = {}
        for part in parts.values():
            columns |= part
        columns |= self._indicators(rows)
        parts["prior"] = {"prior": prior}
        for term in self.peers.interactions:
            first, second = term.split(":")
            columns |= _products(parts[first], parts[second])
        if self.school is not None:
            averaged = {"prior": prior} | {name: parts[name][name] for name in self.flags}
            columns |= {f"school_mean:{k}": school_means(self.school[rows], v) for k, v in averaged.items()}
        matrix = np.column_stack(list(columns.values())) if columns else np.empty((len(rows), 0))
        return np.ascontiguousarray(matrix, dtype=np.float64), tuple(columns)

    def _coded(self) -> dict[str, CodeArray]:
        coded = dict(self.flags) | {name: category.codes for name, category in self.categories.items()}
        if self.school is not None:
            coded["school_id"] = self.school
        return coded

    def _indicators(self, rows: IntArray) -> Columns:
        blank = {f"missing:{name}": codes[rows] < 0 for name, codes in self._coded().items()}
        return {name: absent.astype(np.float64) for name, absent in blank.items() if absent.any()}


def read_covariates(table: StudentTable, peers: Peers) -> Covariates:
    """Code the columns that `peers` names.

    Raises
    ------
    ColumnError
        If a reference level does not occur in its column.
    """
    frame = table.codes
    flags = {name: _small(frame[name], lambda part: part.cast(pl.Int8)) for name in peers.flags}
    categories = {name: _category(frame[name], name, peers.reference.get(name)) for name in peers.categories}
    school = code_numbers(frame["school_id"]) if peers.composition == "one_step" else None
    return Covariates(flags, categories, school, peers)


def refuse_missing(absent: dict[str, BoolArray], rows: Sequence[IntArray]) -> None:
    """Raise if any of some rows, cell by cell, lacks a covariate.

    Raises
    ------
    ColumnError
        Names every column and how many rows lack it.
    """
    counts = {
        name: sum(int(np.count_nonzero(values[cell])) for cell in rows) for name, values in absent.items()
    }
    named = [f"{name!r} ({count:,})" for name, count in counts.items() if count]
    if named:
        raise ColumnError(
            problem(
                f"Columns of the peer definition are blank (rows): {', '.join(named)}",
                rule="every student with a current and a prior score has all of them",
                rows=sum(
                    int(np.count_nonzero(np.any([values[cell] for values in absent.values()], axis=0)))
                    for cell in rows
                ),
                fix='fill them, or set peers.missing = "exclude" to count these students out, or "indicator"',
            )
        )


def _category(column: pl.Series, name: str, reference: str | None) -> Category:
    levels = tuple(column.drop_nulls().unique().cast(pl.String).unique().sort())
    if reference is not None and reference not in levels:
        raise ColumnError(
            problem(
                f"peers.reference.{name} = {reference!r} does not occur{did_you_mean(reference, levels)}",
                rule=f"a level of the column {name!r}",
                fix=f"use one of its {len(levels)} levels",
            )
        )
    numbers = pl.Series(range(len(levels)), dtype=pl.Int32)

    def numbered(part: pl.Series) -> pl.Series:
        return part.cast(pl.String).replace_strict(levels, numbers, default=None, return_dtype=pl.Int32)

    codes = _small(column, numbered, smallest(len(levels)))
    return Category(codes, levels, None if reference is None else levels.index(reference))


def _small(
    column: pl.Series, change: Callable[[pl.Series], pl.Series], kind: type[np.signedinteger] = np.int8
) -> CodeArray:
    """Return what becomes of a column as small integers, shape (N,), -1 where missing."""
    found = empty(len(column), kind)
    for k in pieces(len(column)):
        found[k] = change(column[k]).fill_null(-1).to_numpy()
    return found


def _products(first: Columns, second: Columns) -> Columns:
    return {f"{a}:{b}": left * right for a, left in first.items() for b, right in second.items()}


def school_means(school: CodeArray, values: FloatArray) -> FloatArray:
    """Return each student's school's mean, shape (n,); without a school (code -1), that of all students."""
    _, place, counts = np.unique(school, return_inverse=True, return_counts=True)
    means: FloatArray = (np.bincount(place, weights=values) / counts)[place]
    return np.where(school < 0, values.mean(), means)
