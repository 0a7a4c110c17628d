"""The contract of a run's frames: every column's name, dtype, unit and meaning, in order.

`tests/test_schema.py` holds real runs against it. Columns may be added within 0.x, at the end of a frame or
where the changelog says; none is renamed or changes its dtype or unit without an entry there. The students
frame ends with the table's other columns, as they came; `ON_DEMAND` columns are there if the specification
or the table asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from growth.school.columns import HISTORY, PREDICTIONS, SCHOOLS
from growth.school.columns import Column as SchoolColumn

__all__ = ["ON_DEMAND", "SCHEMA", "Column", "mismatches", "schema_table"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a result frame."""

    name: str
    dtype: pl.DataType
    unit: str
    text: str


def _read(lines: str) -> tuple[Column, ...]:
    """Read ``name | dtype | unit | meaning`` lines."""
    found = []
    for line in lines.strip().splitlines():
        name, dtype, unit, text = (part.strip() for part in line.split("|"))
        found.append(Column(name, _DTYPES[dtype], unit, text))
    return tuple(found)


def _from(columns: tuple[SchoolColumn, ...], unit: str = "school") -> tuple[Column, ...]:
    """Return what the school room says of its own frames, for schools or for districts."""
    found = []
    for c in columns:
        name, meaning = c.name, c.meaning
        if name == "school_id":
            name, meaning = f"{unit}_id", unit
        found.append(Column(name, c.dtype, c.unit, f"{meaning[0].upper()}{meaning[1:]}."))
    return tuple(found)


_DTYPES: dict[str, pl.DataType] = {
    "text": pl.String(),
    "texts": pl.List(pl.String),
    "bool": pl.Boolean(),
    "i8": pl.Int8(),
    "i16": pl.Int16(),
    "i32": pl.Int32(),
    "i64": pl.Int64(),
    "f64": pl.Float64(),
}

_STUDENTS = """
student_id     | text | id                 | Student.
year           | i32  | year               | Of the current score.
subject        | text | name               | Of the current score.
grade          | i16  | grade              | Of the current score.
school_id      | text | id                 | School of the row.
district_id    | text | id                 | District of the row, if the table has one.
score          | f64  | scale-score points | Current score; null if there is none.
status         | text | code               | scored, or why there is no result.
cohort         | text | key                | Cohort that the result comes from.
n_priors       | i16  | count              | Prior scores in the model.
norm_group     | text | label              | Who is compared, oldest to newest.
prior_score    | f64  | scale-score points | Most recent prior score in the subject.
sgp            | i16  | percentile 1-99    | Student growth percentile.
sgp_se         | f64  | percentile points  | Its standard error, from measurement error.
sgp_low        | i16  | percentile 1-99    | Lower end of its interval.
sgp_high       | i16  | percentile 1-99    | Upper end.
percentile     | f64  | share (0, 1)       | Continuous student growth percentile.
expected_score | f64  | scale-score points | Score expected of similar students.
residual       | f64  | scale-score points | Score minus expected score.
residual_sd    | f64  | scale-score points | SD of the residuals of all students of the cohort.
composition_se | f64  | scale-score points | Standard error of what composition took out of it.
sgp_simex                | i16 | percentile 1-99 | Corrected for measurement error by SIMEX.
sgp_simex_ranked         | i16 | percentile 1-99 | The same, ranked within the cohort.
percentile_simex         | f64 | share (0, 1)    | Continuous, corrected by SIMEX.
percentile_simex_ranked  | f64 | share (0, 1)    | The same, ranked within the cohort.
highest        | bool | yes/no             | True on one row per row in scope: the fullest prior pattern.
"""
_LEVELS = """
year               | i32  | year              | As in schools.
subject            | text | name              | As in schools.
group              | text | label             | As in schools.
school_id          | text | id                | As in schools.
growth_percentile  | f64  | percentile rank   | School growth percentile, 0-100.
level              | i8   | level 1-10        | On the run's cut points; null where withheld.
reason             | text | code              | As in schools.
band               | text | code              | below_average, average or above_average.
points_to_next_1   | f64  | percentile points | Growth percentile missing to the next level.
points_to_next_2   | f64  | percentile points | To the second next.
points_to_next_3   | f64  | percentile points | To the third next.
effect_to_next_1   | f64  | points of measure | How much higher the school's own mean would have to be.
students_to_next_1 | i64  | students          | As students who move from the 40th to the 60th percentile.
effect_to_next_2   | f64  | points of measure | The same for the second next level.
students_to_next_2 | i64  | students          | The same for the second next level.
effect_to_next_3   | f64  | points of measure | The same for the third next level.
students_to_next_3 | i64  | students          | The same for the third next level.
level_last_year    | i8   | level 1-10        | Of the year before, if known.
level_change       | i8   | levels            | Level minus last year's.
"""
_COUNTS = """
subject  | text | name  | Null for the table as a whole.
year     | i32  | year  | Null for the table as a whole.
step     | text | code  | Step of the account.
rows     | i64  | rows  | Left after the step.
excluded | i64  | rows  | Left out in it.
reason   | text | code  | Why.
"""
_CELLS = """
cohort            | text  | key                | Cohort.
subject           | text  | name               | Of the current score.
year              | i32   | year               | Of the current score.
grade             | i16   | grade              | Of the current score.
n_priors          | i16   | count              | Prior scores.
engine            | text  | name               | As in student.engine.
base_year         | i32   | year               | Of the frozen model in use; null where it was fitted.
n                 | i64   | students           | In the cohort.
p                 | i64   | columns            | Of the model.
dropped_columns   | texts | names              | Linearly dependent columns.
crossing_share    | f64   | share              | Neighbouring curves that crossed before sorting.
outside_knots     | i64   | scores             | Prior scores outside the boundary knots.
max_relative_gap  | f64   | relative           | Largest proven distance from the optimum.
pivots            | i64   | count              | Of the solver; null for frozen curves.
fallbacks         | i64   | taus               | Solved by the simplex on all rows.
residual_sd       | f64   | scale-score points | Of the linear and normal engines.
r2                | f64   | share              | Of the linear and normal engines.
prior_slope       | f64   | points per point   | Of the most recent own prior; linear engines.
prior_slope_se    | f64   | points per point   | Its cluster-robust standard error.
skewness          | f64   | 1                  | Of scaled residuals; normal engine.
excess_kurtosis   | f64   | 1                  | Of scaled residuals; normal engine.
least_reliability | f64   | share              | Least share of true variance; eiv.
capped_columns    | i64   | count              | Directions with part of the error removed; eiv.
seconds           | f64   | s                  | Wall time.
"""
_VARIANCE = """
year           | i32  | year              | Of the results.
subject        | text | name              | Of the results.
span           | text | label             | Grade span.
group          | text | label             | All, or a student group.
schools        | i64  | schools           | With enough students and a standard error.
students       | i64  | students          | Their results.
mean           | f64  | points of measure | Mean of true effects.
within_sd      | f64  | points of measure | SD of students within schools.
tau2           | f64  | points squared    | Variance of true effects.
tau_low        | f64  | points of measure | Lower end of the 95 % interval of their SD.
tau_high       | f64  | points of measure | Upper end.
q              | f64  | 1                 | Heterogeneity statistic.
icc            | f64  | share             | tau2 / (tau2 + within_sd^2).
reliability    | f64  | share             | Mean over schools of tau2 / (tau2 + SE^2).
source         | text | code              | Where mean and tau2 come from.
bands_extended | i64  | schools           | Whose band was extended to their percentile.
"""
_FAIRNESS = """
year            | i32  | year            | Of the results.
subject         | text | name            | Of the results.
kind            | text | code            | all, flag, category, race or prior.
column          | text | name            | Column of the table.
level           | text | label           | Its value.
n               | i64  | students        | Scored.
schools         | i64  | schools         | They are in.
adjusted        | f64  | percentile      | Mean percentile under the specification.
adjusted_low    | f64  | percentile      | Lower end of its 95 % interval.
adjusted_high   | f64  | percentile      | Upper end.
unadjusted      | f64  | percentile      | Mean percentile on prior scores only.
unadjusted_low  | f64  | percentile      | Lower end.
unadjusted_high | f64  | percentile      | Upper end.
in_model        | bool | yes/no          | In the model, which pins the adjusted mean at 50.
"""
_NEUTRALITY = """
year                  | i32  | year              | Of the results.
subject               | text | name              | Of the results.
kind                  | text | code              | As in fairness.
column                | text | name              | Column of the table.
level                 | text | label             | Its value.
schools               | i64  | schools           | With results.
r                     | f64  | correlation       | Of schools' results with the trait.
r_low                 | f64  | correlation       | Lower end of the 95 % interval.
r_high                | f64  | correlation       | Upper end.
r_unadjusted          | f64  | correlation       | On prior scores only.
r_unadjusted_low      | f64  | correlation       | Lower end.
r_unadjusted_high     | f64  | correlation       | Upper end.
r_students            | f64  | correlation       | Over students.
r_students_unadjusted | f64  | correlation       | Over students, on prior scores only.
composition           | text | code              | Whether the school mean was taken out.
effect                | f64  | SDs               | Of the school mean, per SD or whole share.
effect_se             | f64  | SDs               | Its standard error.
"""

SCHEMA: Mapping[str, tuple[Column, ...]] = {
    "students": _read(_STUDENTS),
    "schools": _from(SCHOOLS),
    "levels": _read(_LEVELS),
    "counts": _read(_COUNTS),
    "cells": _read(_CELLS),
    "variance": _read(_VARIANCE),
    "fairness": _read(_FAIRNESS),
    "neutrality": _read(_NEUTRALITY),
    "spans": _from(SCHOOLS),
    "districts": _from(SCHOOLS, unit="district"),
    "predictions": _from(PREDICTIONS),
    "history": _from(HISTORY),
}
"""Frame -> its columns, in order; the last four are there if they are asked for (`ON_REQUEST`)."""

_DEMANDED = ("composition_se", "sgp_simex", "sgp_simex_ranked", "percentile_simex", "percentile_simex_ranked")
ON_DEMAND: Mapping[str, frozenset[str]] = {"students": frozenset({"school_id", "district_id", *_DEMANDED})}
"""Columns that a frame has only if the table has them or the specification asks for them."""


def mismatches(name: str, frame: pl.DataFrame) -> list[str]:
    """Return how a result differs from its schema; nothing if it agrees.

    Parameters
    ----------
    name : str
        A key of `SCHEMA`.
    frame : polars.DataFrame
    """
    optional = ON_DEMAND.get(name, frozenset())
    expected = [c for c in SCHEMA[name] if c.name not in optional or c.name in frame.columns]
    given = frame.columns[: len(expected)] if name == "students" else frame.columns
    wrong = []
    if given != [column.name for column in expected]:
        wrong.append(f"{name} has the columns {given}")
    found = frame.schema
    for column in expected:
        if column.name in found and found[column.name] != column.dtype:
            wrong.append(f"{name}.{column.name} is {found[column.name]}, not {column.dtype}")
    return wrong


def schema_table() -> pl.DataFrame:
    """Return the schema as a frame: frame, column, dtype, unit, text."""
    rows = [
        {"frame": name, "column": c.name, "dtype": str(c.dtype), "unit": c.unit, "text": c.text}
        for name, columns in SCHEMA.items()
        for c in columns
    ]
    return pl.DataFrame(rows)
