"""Which student results count for schools, and the account of those that do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray, PercentileKind
from growth.errors import ColumnError, did_you_mean, problem
from growth.spec import GrowthSpec

__all__ = ["PERCENTILE_COLUMNS", "Counted", "count_results"]

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


def count_results(students: pl.DataFrame, spec: GrowthSpec) -> Counted:
    """Keep the results that count, and say how many were left out at each step.

    Raises
    ------
    ColumnError
        If a column is missing, or a scored row has no percentile within its range.
    """
    _require(students, spec)
    steps = _steps(spec)
    kept = students.filter(*(keep for _, keep, _ in steps))
    units = students.filter(pl.col("school_id").is_not_null()).select(_UNIT).unique().sort(_UNIT)
    coded = kept.select(_UNIT).join(
        units.with_row_index("_unit"), on=_UNIT, how="left", maintain_order="left"
    )
    return Counted(
        units=units,
        unit=coded["_unit"].cast(pl.Int64).to_numpy(),
        value=_values(kept, spec.school.percentile),
        rows=kept,
        counts=_waterfall(students, steps),
    )


def _steps(spec: GrowthSpec) -> list[tuple[str, pl.Expr, str]]:
    """Return (step, rows that pass, reason of those that do not), in order."""
    steps = [
        ("scored", (pl.col("status") == "scored").fill_null(False), "not_scored"),
        ("highest", pl.col("highest").fill_null(False), "lower_order"),
        ("has_school", pl.col("school_id").is_not_null(), "no_school"),
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
    wide = students.group_by("subject", "year").agg(totals).sort("year", "subject")
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


def _values(kept: pl.DataFrame, kind: PercentileKind) -> FloatArray:
    column = PERCENTILE_COLUMNS[kind]
    scale, low, high = (100.0, 0.0, 1.0) if column.startswith("percentile") else (1.0, 1.0, 99.0)
    values = kept[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
    bad = int(np.count_nonzero(~((values >= low) & (values <= high))))
    if bad:
        raise ColumnError(
            problem(
                f"Column {column!r} has scored rows without a usable value",
                rule=f"a number from {low:g} to {high:g} where status is 'scored'",
                rows=bad,
                fix="give the students frame of growth.run or student_growth as it is",
            )
        )
    return np.ascontiguousarray(scale * values)


def _require(students: pl.DataFrame, spec: GrowthSpec) -> None:
    needs = dict.fromkeys([*_UNIT, "status", "highest"], "every run")
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
