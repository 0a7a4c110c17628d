"""Who was enrolled where, and for which share of the year, where one row per student cannot say it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from growth.errors import ColumnError, SpecError, did_you_mean, problem
from growth.panel.frames import CallerFrame, load
from growth.panel.values import read_id, read_score, read_year
from growth.spec import GrowthSpec

__all__ = ["KEY", "Enrolment", "check_enrolment", "read_enrolment"]

KEY = ["student_id", "year"]
_NEEDED = ("student_id", "year", "school_id", "share")
_READERS = {"student_id": read_id, "year": read_year, "school_id": read_id, "district_id": read_id}
_ROUNDING = 1e-9
"""By which the shares of a student's year may exceed 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    """A validated enrolment table."""

    frame: pl.DataFrame
    """student_id, year (Int32), school_id, share (Float64, above 0 and at most 1), and district_id if given;
    one row per student, year and school."""
    digest: str
    """SHA-256 of its content; the order of rows does not matter."""


def read_enrolment(source: CallerFrame | str | Path) -> Enrolment:
    """Read and check an enrolment table.

    Parameters
    ----------
    source : path or frame
        CSV or Parquet file, pandas, polars, pyarrow or DuckDB frame with the columns student_id, year,
        school_id, share (of the year in that school, above 0 and at most 1) and, for district results,
        district_id. Other columns are ignored.

    Returns
    -------
    Enrolment

    Raises
    ------
    ColumnError
        A column is missing or cannot be read, a share is not above 0 and at most 1, a student's shares of a
        year add up to more than 1, or a student, year and school come twice.
    TableError
        The table cannot be read.
    """
    raw = load(source, lambda columns: [name for name in _READERS if name in columns]).frame
    for name in _NEEDED:
        if name not in raw.columns:
            hint = did_you_mean(name, raw.columns)
            what = f"Column {name!r} is missing from the enrolment table{hint}"
            raise ColumnError(problem(what, rule=f"it has {', '.join(_NEEDED)}", fix="add it"))
    columns = {name: read(raw[name]) for name, read in _READERS.items() if name in raw.columns}
    columns["share"] = read_score(raw["share"])
    frame = pl.DataFrame({name: parsed.values for name, parsed in columns.items()})
    for name in columns:
        _refuse(int(frame[name].is_null().sum()), f"Column {name!r} is blank or cannot be read", "every row")
    share = pl.col("share")
    outside = frame.filter(~((share > 0) & (share <= 1))).height
    _refuse(outside, "Column 'share' has values outside its range", "above 0 and at most 1")
    copies = int(frame.select(*KEY, "school_id").is_duplicated().sum())
    _refuse(copies, "A student, year and school come more than once", "one row each, with the whole share")
    beyond = frame.filter(share.sum().over(KEY) > 1 + _ROUNDING).height
    _refuse(beyond, "The shares of a student's year add up to more than 1", "1 at most over all schools")
    frame = frame.sort(*KEY, "school_id")
    return Enrolment(frame, hashlib.sha256(frame.write_csv().encode()).hexdigest())


def check_enrolment(enrolment: Enrolment | None, spec: GrowthSpec) -> None:
    """Refuse an enrolment table that the specification does not ask for, and the reverse.

    Raises
    ------
    SpecError
        If ``school.share`` and the argument disagree.
    ColumnError
        If districts are asked for and the table does not name them.
    """
    if (spec.school.share == "enrolment") != (enrolment is not None):
        raise SpecError(
            problem(
                'school.share = "enrolment" and the argument `enrolment` go together',
                fix="give both or neither",
            )
        )
    if enrolment and spec.school.districts != "none" and "district_id" not in enrolment.frame.columns:
        what = "Column 'district_id' is missing from the enrolment table"
        raise ColumnError(problem(what, rule="needed by school.districts", fix="add it"))


def _refuse(rows: int, what: str, rule: str) -> None:
    if rows:
        fix = "correct those rows of the enrolment table"
        raise ColumnError(problem(what, rule=rule, rows=rows, fix=fix))
