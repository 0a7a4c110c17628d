"""Columns beside the prior scores: student flags, category dummies, school composition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from growth._types import BoolArray, FloatArray, IntArray
from growth.errors import ColumnError, problem
from growth.panel.table import StudentTable
from growth.spec import Peers

__all__ = ["Covariates", "read_covariates", "refuse_missing"]


@dataclass(frozen=True, slots=True, eq=False)
class Covariates:
    """The student columns of the peer definition, one entry per row of the student table.

    Attributes
    ----------
    flags : dict
        Column -> 0/1, shape (N,); NaN where missing.
    categories : dict
        Column -> (code of the level, shape (N,), -1 where missing; level names, sorted).
    school : ndarray of int64, shape (N,), or None
        School code, -1 where missing; None without school composition.
    """

    flags: dict[str, FloatArray]
    categories: dict[str, tuple[IntArray, tuple[str, ...]]]
    school: IntArray | None

    def missing(self) -> dict[str, BoolArray]:
        """Return, per column, the rows (N,) without a value."""
        absent: dict[str, BoolArray] = {name: np.isnan(values) for name, values in self.flags.items()}
        absent |= {name: codes < 0 for name, (codes, _) in self.categories.items()}
        if self.school is not None:
            absent["school_id"] = self.school < 0
        return absent

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
            Flags 0/1; one 0/1 column per level of each category but the cohort's most frequent (of several,
            the first by name); with composition the means of `prior` and of each flag over the cohort's
            members in the same school.
        names : tuple of str, length q
        """
        columns = {name: values[rows] for name, values in self.flags.items()}
        for name, (codes, levels) in self.categories.items():
            columns |= _dummies(name, codes[rows], levels)
        if self.school is not None:
            averaged = {"prior": prior} | {name: values[rows] for name, values in self.flags.items()}
            columns |= {f"school_mean:{k}": _group_means(self.school[rows], v) for k, v in averaged.items()}
        matrix = np.column_stack(list(columns.values())) if columns else np.empty((len(rows), 0))
        return np.ascontiguousarray(matrix, dtype=np.float64), tuple(columns)


def read_covariates(table: StudentTable, peers: Peers) -> Covariates:
    """Code the columns that `peers` names."""
    frame = table.frame
    flags = {name: frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in peers.flags}
    names = [name for name in peers.categories if name not in peers.flags]
    categories = {name: _codes(frame[name].cast(pl.String)) for name in names}
    school = _codes(frame["school_id"])[0] if peers.composition == "one_step" else None
    return Covariates(flags, categories, school)


def refuse_missing(absent: dict[str, BoolArray], rows: IntArray) -> None:
    """Raise if any of `rows` lacks a covariate.

    Raises
    ------
    ColumnError
        Names every column and how many rows lack it.
    """
    counts = {name: int(np.count_nonzero(values[rows])) for name, values in absent.items()}
    named = [f"{name!r} ({count:,})" for name, count in counts.items() if count]
    if named:
        raise ColumnError(
            problem(
                f"Columns of the peer definition are blank (rows): {', '.join(named)}",
                rule="every student with a current and a prior score has all of them",
                rows=int(np.count_nonzero(np.any([values[rows] for values in absent.values()], axis=0))),
                fix='fill them, or set peers.missing = "exclude" to count these students out',
            )
        )


def _codes(column: pl.Series) -> tuple[IntArray, tuple[str, ...]]:
    codes = column.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1
    return codes, tuple(column.drop_nulls().unique().sort())


def _dummies(name: str, codes: IntArray, levels: tuple[str, ...]) -> dict[str, FloatArray]:
    counts = np.bincount(codes, minlength=len(levels))
    reference = int(np.argmax(counts))
    present = [code for code in np.flatnonzero(counts) if code != reference]
    return {f"{name}={levels[code]}": (codes == code).astype(np.float64) for code in present}


def _group_means(group: IntArray, values: FloatArray) -> FloatArray:
    _, place, counts = np.unique(group, return_inverse=True, return_counts=True)
    means: FloatArray = (np.bincount(place, weights=values) / counts)[place]
    return means
