"""School summaries of the R package SGP 2.2: counts, means, medians and both standard errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from school_results import plain_spec

from growth.school import school_growth

TWO_DECIMALS = 0.005 + 1e-9
"""The package rounds standard errors to two decimals."""
PRINTED = 1e-9
"""Relative; means are printed with 15 digits."""

SGP_RULES = plain_spec(school__percentile="integer", school__aggregate="median", school__standard_error="sgp")


def summaries(students: pl.DataFrame) -> pl.DataFrame:
    """Return our numbers for a frame with school_id, subject, year, sgp (null if not scored)."""
    frame = students.with_columns(
        status=pl.when(pl.col("sgp").is_null()).then(pl.lit("no_prior_score")).otherwise(pl.lit("scored")),
        highest=pl.col("sgp").is_not_null(),
    )
    return school_growth(frame, SGP_RULES).frame


def check(ours: pl.DataFrame, reference: pl.DataFrame, keys: list[str]) -> int:
    """Compare `n, mean_sgp, median_sgp, mean_se, median_se` of `reference`; return the rows with values."""
    both = reference.join(ours, on=keys, how="left", suffix="_ours")
    assert both.height == reference.height
    assert both["n_ours"].to_list() == reference["n"].to_list()
    with_values = both.filter(pl.col("n") > 0)
    for theirs, column, tolerance in (
        ("mean_sgp", "mean_percentile", 0.0),
        ("median_sgp", "median_percentile", 0.0),
        ("r_mean_se", "mean_se", TWO_DECIMALS),
        ("r_median_se", "median_se", TWO_DECIMALS),
    ):
        assert with_values[theirs].is_null().to_list() == with_values[column].is_null().to_list()
        shown = with_values.drop_nulls(theirs)
        np.testing.assert_allclose(shown[column], shown[theirs], rtol=PRINTED, atol=tolerance)
    return with_values.height


@pytest.fixture(scope="module")
def own_students(repository: Path) -> pl.DataFrame:
    folder = repository / "fixtures" / "own"
    main = [f"{subject}_2025_G{grade}" for subject in ("ELA", "MATH") for grade in (4, 5, 6)]
    sgp = pl.read_parquet(folder / "sgp_students.parquet").filter(pl.col("cohort").is_in(main))
    sgp = sgp.select("student_id", pl.col("cohort").str.split("_").list.first().alias("subject"), "sgp")
    students = pl.read_csv(folder / "students.csv", schema_overrides={"student_id": pl.String})
    rows = students.filter(pl.col("year") == 2025).select(
        "student_id", "year", "subject", "grade", "school_id"
    )
    return rows.join(sgp, on=["student_id", "subject"], how="left")


def own_reference(path: Path) -> pl.DataFrame:
    return pl.read_csv(path).rename({"mean_se": "r_mean_se", "median_se": "r_median_se"})


def test_own_school_summaries(own_students: pl.DataFrame, repository: Path) -> None:
    reference = own_reference(repository / "fixtures" / "own" / "school_summary.csv")
    assert check(summaries(own_students), reference, ["school_id", "subject", "year"]) == 60


def test_own_school_summaries_by_grade(own_students: pl.DataFrame, repository: Path) -> None:
    reference = own_reference(repository / "fixtures" / "own" / "school_grade_summary.csv")
    by_grade = [
        summaries(rows).with_columns(pl.lit(grade, dtype=pl.Int64).alias("grade"))
        for (grade,), rows in own_students.partition_by("grade", as_dict=True).items()
    ]
    keys = ["school_id", "subject", "year", "grade"]
    assert check(pl.concat(by_grade), reference, keys) == 180


RENAMED = {
    "ID": "student_id",
    "SCHOOL_NUMBER": "school_id",
    "CONTENT_AREA": "subject",
    "YEAR": "year",
    "SGP": "sgp",
}
R_COLUMNS = {
    "MEDIAN_SGP_COUNT": "n",
    "MEAN_SGP": "mean_sgp",
    "MEDIAN_SGP": "median_sgp",
    "MEAN_SGP_STANDARD_ERROR": "r_mean_se",
    "MEDIAN_SGP_STANDARD_ERROR": "r_median_se",
}


KEYS = ["school_id", "subject", "year"]


def golden_rows(path: Path, status: str) -> pl.DataFrame:
    """Return the rows of one enrolment status with our column names; ids and years as text."""
    rows = pl.read_parquet(path).filter(pl.col("SCHOOL_ENROLLMENT_STATUS") == status)
    rows = rows.rename(RENAMED | R_COLUMNS, strict=False)
    return rows.filter(pl.col("school_id").is_not_null()).with_columns(pl.col(*KEYS).cast(pl.String))


@pytest.mark.parametrize(("status", "schools"), [("Enrolled School: Yes", 112), ("Enrolled School: No", 37)])
def test_golden_school_summaries(golden: Path, status: str, schools: int) -> None:
    students = golden_rows(golden / "school_student_input.parquet", status)
    reference = golden_rows(golden / "school_summary.parquet", status)
    assert check(summaries(students), reference.select(*KEYS, *R_COLUMNS.values()), KEYS) == schools


def test_golden_school_summaries_by_grade(golden: Path) -> None:
    status = "Enrolled School: Yes"
    students = golden_rows(golden / "school_student_input.parquet", status)
    reference = golden_rows(golden / "school_grade_summary.parquet", status)
    compared = 0
    for grade in ("4", "5", "8", "10"):
        of_grade = pl.col("GRADE").cast(pl.String) == grade
        rows = reference.filter(of_grade, pl.col("subject") == "MATHEMATICS")
        compared += check(summaries(students.filter(of_grade)), rows.select(*KEYS, *R_COLUMNS.values()), KEYS)
    assert compared == 197
