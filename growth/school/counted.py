"""Which student results count for schools, and the account of those that do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray, PercentileKind
from growth.aggregate import by_group
from growth.errors import ColumnError, did_you_mean, problem
from growth.mapped import distinct, filtered, holds
from growth.school.enrolment import KEY, Enrolment
from growth.scratch import empty, kept, pieces
from growth.spec import GrowthSpec

__all__ = [
    "PERCENTILE_COLUMNS",
    "Counted",
    "columns_in_use",
    "composition_known",
    "count_results",
    "effect_values",
    "percentile_values",
]

PERCENTILE_COLUMNS: dict[PercentileKind, str] = {
    "continuous": "percentile",
    "integer": "sgp",
    "simex": "percentile_simex",
    "simex_integer": "sgp_simex",
    "simex_ranked": "percentile_simex_ranked",
    "simex_ranked_integer": "sgp_simex_ranked",
}
"""Column of the students frame behind each choice of ``school.percentile``."""
_UNIT = ["year", "subject", "school_id"]
_PLACED = "_placed"


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """The student results that enter school results."""

    units: pl.DataFrame
    """year, subject, school_id of every school in the students frame, sorted; U rows."""
    unit: IntArray
    """Row of `units` of each counted result, shape (n,)."""
    value: FloatArray
    """Student percentile of each counted result, shape (n,) [percentile, 0-100]."""
    rows: pl.DataFrame
    """The counted rows of the students frame, n rows."""
    counts: pl.DataFrame
    """subject, year, step, rows, excluded, reason: rows(step) = rows(previous step) - excluded."""


def columns_in_use(spec: GrowthSpec) -> tuple[str, ...]:
    """Return the columns of the students frame that school results can be made from."""
    school = spec.school
    names = ["student_id", *_UNIT, "grade", "status", "highest", PERCENTILE_COLUMNS[school.percentile]]
    names += ["district_id"] if school.districts != "none" else []
    names += ["residual", "residual_sd"] if school.aggregate == "mean_residual" else []
    names += ["composition_se", "residual_sd"] if composition_known(spec) else []
    names += ["cohort"] if school.standard_error == "refit" else []
    names += ["enrolled"] if school.enrolled_only else []
    names += ["share"] if school.share == "column" else []
    names += [school.span_column] if school.span_column else []
    names += [*spec.groups.flags.values(), *([spec.groups.race] if spec.groups.race else [])]
    return tuple(dict.fromkeys(names))


def composition_known(spec: GrowthSpec) -> bool:
    """Tell whether results are uncertain by what composition took out, and no refit says how much."""
    return spec.peers.composition == "two_step" and spec.school.standard_error != "refit"


def count_results(students: pl.DataFrame, spec: GrowthSpec, enrolment: Enrolment | None = None) -> Counted:
    """Keep the results that count, and say how many were left out at each step.

    With `enrolment` a result needs a row there instead of a school of its own; `unit` and `units` keep to the
    schools of the students frame (-1 where there is none).

    Raises
    ------
    ColumnError
        If a column is missing, or a scored row has no percentile within its range.
    """
    _require(students, spec)
    if enrolment is not None:
        students = students.with_columns(_enrolled_somewhere(students, enrolment))
    steps = _steps(spec, enrolment)
    kept = filtered(students, holds(students, *(keep for _, keep, _ in steps)))
    kept = kept.drop(_PLACED, strict=False)
    units = distinct(students.select(_UNIT), pl.col("school_id").is_not_null()).sort(_UNIT)
    numbered = units.with_row_index("_unit").with_columns(pl.col("_unit").cast(pl.Int64))
    unit = empty(kept.height, np.int64)
    for k in pieces(kept.height):
        coded = kept.select(_UNIT)[k].join(numbered, on=_UNIT, how="left", maintain_order="left")
        unit[k] = coded["_unit"].fill_null(-1).to_numpy()
    return Counted(
        units=units,
        unit=unit,
        value=percentile_values(kept, spec.school.percentile),
        rows=kept,
        counts=_waterfall(students, steps),
    )


def effect_values(counted: Counted, spec: GrowthSpec) -> tuple[FloatArray, FloatArray]:
    """Return what school effects are made from, and what it was divided by, each of shape (n,).

    Percentiles [0-100], or residuals [scale-score points, or SDs of their cohort].

    Raises
    ------
    ColumnError
        If residuals, or the SDs that scale them, are missing.
    """
    if spec.school.aggregate != "mean_residual":
        return counted.value, kept(np.ones(len(counted.value)))
    scaled = spec.school.residual_scale == "cohort_sd"
    for column in ("residual", *(["residual_sd"] if scaled else [])):
        if column not in counted.rows.columns:
            what = f"Column {column!r} is missing from the students frame"
            raise ColumnError(
                problem(what, rule='needed by school.aggregate = "mean_residual"', fix="add it")
            )
    residual = counted.rows["residual"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    scale = np.ones(len(residual))
    if scaled:
        scale = counted.rows["residual_sd"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    residual = residual / scale
    bad = int(np.count_nonzero(~np.isfinite(residual)))
    if bad:
        rule = "a number where status is 'scored', and cohorts whose residuals vary"
        what = "Column 'residual' has scored rows without a usable value"
        raise ColumnError(problem(what, rule=rule, rows=bad, fix="give the students frame of growth.run"))
    return kept(np.ascontiguousarray(residual)), kept(np.ascontiguousarray(scale))


def _enrolled_somewhere(students: pl.DataFrame, enrolment: Enrolment) -> pl.Series:
    known = enrolment.frame.select(
        pl.col("student_id"), pl.col("year").cast(students.schema["year"])
    ).unique()
    found = students.select(KEY).join(
        known.with_columns(pl.lit(True).alias(_PLACED)), on=KEY, how="left", maintain_order="left"
    )
    return found[_PLACED].fill_null(False)


def _steps(spec: GrowthSpec, enrolment: Enrolment | None) -> list[tuple[str, pl.Expr, str]]:
    """Return (step, rows that pass, reason of those that do not), in order."""
    has_school = pl.col("school_id").is_not_null() if enrolment is None else pl.col(_PLACED)
    steps = [
        ("scored", (pl.col("status") == "scored").fill_null(False), "not_scored"),
        ("highest", pl.col("highest").fill_null(False), "lower_order"),
        ("has_school", has_school, "no_school" if enrolment is None else "no_enrolment"),
    ]
    if spec.school.enrolled_only:
        steps.append(("enrolled", pl.col("enrolled").fill_null(False), "not_enrolled"))
    return steps


def _waterfall(students: pl.DataFrame, steps: list[tuple[str, pl.Expr, str]]) -> pl.DataFrame:
    left = pl.lit(True)
    totals = [pl.len().alias("results")]
    for step, keep, _ in steps:
        left = left & keep
        totals.append(left.sum().alias(step))
    names = ["results", *(step for step, _, _ in steps)]
    reasons = {step: reason for step, _, reason in steps}
    block = ["subject", "year"]
    parts = [by_group(students[k], block, *totals) for k in pieces(max(students.height, 1))]
    wide = by_group(pl.concat(parts), block, pl.col(names).sum()).sort("year", "subject")
    long = wide.unpivot(names, index=["subject", "year"], variable_name="step", value_name="rows")
    order = pl.col("step").replace_strict(names, range(len(names)), return_dtype=pl.Int64)
    rows = pl.col("rows").cast(pl.Int64)
    excluded = (rows.shift(1).over("subject", "year") - rows).fill_null(0)
    reason = pl.col("step").replace_strict(reasons, default=None, return_dtype=pl.String)
    return (
        long.sort("year", "subject", order)
        .with_columns(rows, excluded.alias("excluded"))
        .with_columns(pl.when(pl.col("excluded") > 0).then(reason).alias("reason"))
    )


def percentile_values(rows: pl.DataFrame, kind: PercentileKind) -> FloatArray:
    """Return the percentiles that schools are built from, shape (n,) [percentile, 0-100].

    Raises
    ------
    ColumnError
        If a row has none within the range.
    """
    column = PERCENTILE_COLUMNS[kind]
    scale, low, high = (100.0, 0.0, 1.0) if column.startswith("percentile") else (1.0, 1.0, 99.0)
    found, bad = empty(rows.height, np.float64), 0
    for k in pieces(rows.height):
        values = rows[column][k].cast(pl.Float64).fill_null(np.nan).to_numpy()
        bad += int(np.count_nonzero(~((values >= low) & (values <= high))))
        found[k] = scale * values
    if bad:
        raise ColumnError(
            problem(
                f"Column {column!r} has scored rows without a usable value",
                rule=f"a number from {low:g} to {high:g} where status is 'scored'",
                rows=bad,
                fix="give the students frame of growth.run or student_growth as it is",
            )
        )
    return found


def _require(students: pl.DataFrame, spec: GrowthSpec) -> None:
    needs = dict.fromkeys(["student_id", *_UNIT, "status", "highest"], "every run")
    needs[PERCENTILE_COLUMNS[spec.school.percentile]] = "school.percentile"
    needs |= {column: f"groups.flags.{label}" for label, column in spec.groups.flags.items()}
    if spec.groups.race:
        needs[spec.groups.race] = "groups.race"
    if spec.school.enrolled_only:
        needs["enrolled"] = "school.enrolled_only"
    for column, by in needs.items():
        if column not in students.columns:
            hint = did_you_mean(column, students.columns)
            raise ColumnError(
                problem(
                    f"Column {column!r} is missing from the students frame{hint}",
                    rule=f"needed by {by}",
                    fix="add it" if by == "every run" else f"add it, or change {by} in the specification",
                )
            )
