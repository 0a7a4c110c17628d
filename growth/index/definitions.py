"""The other metrics of the index, from plain student records, by their published definitions.

Each function reads a file or data frame with one row per student (and year and school), leaves out whom the
definition leaves out, counts them by reason, and returns percentages of schools and groups. Thresholds are
those of ``spec.index.definitions``. Every layout also needs the columns that ``spec.groups`` names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from growth.errors import ColumnError, TableError, did_you_mean, problem
from growth.index.metric_table import read_metrics
from growth.index.rates import MetricResult, Step, rates, together
from growth.index.records import FLAG, GRADE, ID, NUMBER, TEXT, YEAR, Layout, read_records, refuse
from growth.index.surveys import climate, social_emotional
from growth.spec import GrowthSpec

__all__ = [
    "RECORDS",
    "Source",
    "academic_performance",
    "chronic_absence",
    "graduation",
    "high_school_readiness",
    "records_of_folder",
    "redesignation",
    "suspension",
]

Source: TypeAlias = pl.DataFrame | str | Path | Any
"""A CSV or Parquet file, or a polars, pandas, pyarrow or DuckDB frame."""

_STUDENT = {"student_id": ID, "year": YEAR}
_PER_SCHOOL = ("student_id", "year", "school_id")
_PLACE = {"school_id": ID}
_ENDINGS = (".csv", ".csv.gz", ".parquet", ".pq")
_GIVEN = "metrics"
_DAYS = {"days_enrolled": NUMBER, "days_attended": NUMBER}
_INDICATORS = ("gpa", "ela_mark", "math_mark", "suspensions")


def academic_performance(records: Source, spec: GrowthSpec) -> MetricResult:
    """Return the percentage of tested students who are proficient; parts are the subjects.

    Parameters
    ----------
    records : path or frame
        student_id, year, subject, school_id; grade and score where ``definitions.proficient_scores`` gives
        cut scores, else achievement_level (1, 2, ...). The students frame of a run will do for scores.
    spec : GrowthSpec

    Raises
    ------
    ColumnError
        If columns are missing or impossible, or a subject and grade has no cut score.
    TableError
        If a student has two rows in a subject and year.
    """
    definitions = spec.index.definitions
    by_score = bool(definitions.proficient_scores)
    blank = {"grade": GRADE, "score": NUMBER} if by_score else {"achievement_level": NUMBER}
    layout = Layout(
        "test", {**_STUDENT, "subject": TEXT}, {**_PLACE, **blank}, key=("student_id", "year", "subject")
    )
    rows = read_records(records, layout, spec).with_columns(pl.col("subject").alias("part"))
    if not by_score:
        rule = "a whole number, at least 1"
        level = pl.col("achievement_level")
        refuse(
            rows, (level < 1) | (level != level.round(0)), "Column 'achievement_level' is impossible", rule
        )
        tested = Step("tested", level.is_not_null(), "no_achievement_level")
        return rates(rows, "academic_performance", level >= definitions.proficient_level, [tested], spec)
    rows = _with_cut_scores(rows, definitions.proficient_scores)
    tested = Step("tested", pl.col("score").is_not_null(), "no_score")
    return rates(rows, "academic_performance", pl.col("score") >= pl.col("_cut"), [tested], spec)


def graduation(records: Source, spec: GrowthSpec, *, year: int | None = None) -> MetricResult:
    """Return cohort graduation rates; parts are "4-year", "5-year" and "6-year".

    The k-year rate of a year is the percentage of the cohort that was to graduate k - 4 years earlier who had
    graduated by that year. Students who left the cohort (transferred, emigrated, died) do not count.

    Parameters
    ----------
    records : path or frame
        One row per student: student_id, cohort_year (that of graduation in four years), graduated_year (blank
        if not graduated), left_cohort (yes/no, optional), school_id (that last attended).
    spec : GrowthSpec
    year : int, optional
        Year of the rates; by default the last `cohort_year`.

    Raises
    ------
    ColumnError, TableError
        If columns are missing or impossible, or a student has two rows.
    """
    layout = Layout(
        "graduation",
        {"student_id": ID, "cohort_year": YEAR},
        {**_PLACE, "graduated_year": YEAR},
        {"left_cohort": FLAG},
        key=("student_id",),
    )
    rows = read_records(records, layout, spec)
    if rows.is_empty():
        return together([])
    last = rows["cohort_year"].max() if year is None else year
    stays = Step("in_cohort", ~pl.col("left_cohort").fill_null(False), "left_cohort")
    found = []
    for years in spec.index.definitions.graduation_years:
        cohort = rows.filter(pl.col("cohort_year") == last - (years - 4)).with_columns(  # type: ignore[operator]
            pl.lit(last, dtype=pl.Int32).alias("year"), pl.lit(f"{years}-year").alias("part")
        )
        in_time = (pl.col("graduated_year") <= last).fill_null(False)
        found.append(rates(cohort, "graduation", in_time, [stays], spec))
    return together(found)


def high_school_readiness(records: Source, spec: GrowthSpec) -> MetricResult:
    """Return the percentage of eighth-graders who are ready for high school.

    Ready: grade-point average of at least 2.5, attendance of at least 96 %, no D or F in ELA or mathematics,
    never suspended.

    Parameters
    ----------
    records : path or frame
        student_id, year, grade, school_id, gpa, days_enrolled, days_attended, ela_mark, math_mark (A, B+,
        ...: the last mark of the year), suspensions (how many).
    spec : GrowthSpec

    Raises
    ------
    ColumnError, TableError
        If columns are missing or impossible, or a student has two rows in a school and year.
    """
    definitions = spec.index.definitions
    blank = {**_DAYS, "gpa": NUMBER, "ela_mark": TEXT, "math_mark": TEXT, "suspensions": NUMBER}
    layout = Layout("readiness", {**_STUDENT, "grade": GRADE}, {**_PLACE, **blank}, key=_PER_SCHOOL)
    rows = _one_part(_with_days(read_records(records, layout, spec)))
    refuse(rows, pl.col("gpa") < 0, "Column 'gpa' has negative values", "a grade-point average")
    _refuse_counts(rows, "suspensions")
    marks = [pl.col(name).str.to_uppercase().str.strip_chars_end("+-") for name in ("ela_mark", "math_mark")]
    for name, mark in zip(("ela_mark", "math_mark"), marks, strict=True):
        rule = "A, B, C, D or F, with or without + and -"
        refuse(rows, ~mark.is_in(["A", "B", "C", "D", "F"]), f"Column {name!r} has unknown marks", rule)
    ready = (
        (pl.col("gpa") >= definitions.readiness_gpa)
        & (100.0 * pl.col("days_attended") >= definitions.readiness_attendance * pl.col("days_enrolled"))
        & ~pl.any_horizontal(mark.is_in(list(definitions.readiness_failing)) for mark in marks)
        & (pl.col("suspensions") == 0)
    )
    steps = [Step("in_grade", pl.col("grade") == definitions.readiness_grade, "other_grade")]
    steps.append(_enough_days(spec, unknown=definitions.readiness_missing == "not_ready"))
    if definitions.readiness_missing == "exclude":
        known = pl.all_horizontal(pl.col(name).is_not_null() for name in (*_INDICATORS, *_DAYS))
        steps.append(Step("complete", known, "missing_indicator"))
    else:
        complete = pl.all_horizontal(pl.col(name).is_not_null() for name in (*_INDICATORS, *_DAYS))
        ready = ready.fill_null(False) & complete
    return rates(rows, "high_school_readiness", ready, steps, spec)


def redesignation(records: Source, spec: GrowthSpec) -> MetricResult:
    """Return the percentage of the year's English learners who were redesignated as fluent in that year.

    Parameters
    ----------
    records : path or frame
        student_id, year, school_id, english_learner_start (yes/no at the start of the year), redesignated
        (yes/no in the year).
    spec : GrowthSpec

    Raises
    ------
    ColumnError, TableError
        If columns are missing or impossible, or a student has two rows in a school and year.
    """
    blank = {"english_learner_start": FLAG, "redesignated": FLAG}
    layout = Layout("redesignation", _STUDENT, {**_PLACE, **blank}, key=_PER_SCHOOL)
    rows = _one_part(read_records(records, layout, spec))
    steps = [
        Step("english_learner", pl.col("english_learner_start"), "not_an_english_learner"),
        Step("known", pl.col("redesignated").is_not_null(), "redesignation_unknown"),
    ]
    return rates(rows, "redesignation", pl.col("redesignated"), steps, spec)


def chronic_absence(records: Source, spec: GrowthSpec) -> MetricResult:
    """Return the percentage of students whose attendance is 90 % or less. Lower is better.

    Parameters
    ----------
    records : path or frame
        student_id, year, school_id, days_enrolled, days_attended.
    spec : GrowthSpec

    Raises
    ------
    ColumnError, TableError
        If columns are missing or impossible, or a student has two rows in a school and year.
    """
    layout = Layout("attendance", _STUDENT, {**_PLACE, **_DAYS}, key=_PER_SCHOOL)
    rows = _one_part(_with_days(read_records(records, layout, spec)))
    most = spec.index.definitions.absent_at_most
    absent = 100.0 * pl.col("days_attended") <= most * pl.col("days_enrolled")
    steps = [
        _enough_days(spec, unknown=False),
        Step("known", pl.col("days_attended").is_not_null(), "attendance_unknown"),
    ]
    return rates(rows, "chronic_absence", absent, steps, spec)


def suspension(records: Source, spec: GrowthSpec) -> MetricResult:
    """Return the percentage of students who were suspended or expelled at least once. Lower is better.

    Parameters
    ----------
    records : path or frame
        student_id, year, school_id, suspensions (how many), expulsions (how many, optional).
    spec : GrowthSpec

    Raises
    ------
    ColumnError, TableError
        If columns are missing or impossible, or a student has two rows in a school and year.
    """
    layout = Layout(
        "discipline", _STUDENT, {**_PLACE, "suspensions": NUMBER}, {"expulsions": NUMBER}, key=_PER_SCHOOL
    )
    rows = _one_part(read_records(records, layout, spec))
    _refuse_counts(rows, "suspensions")
    _refuse_counts(rows, "expulsions")
    outcome = (pl.col("suspensions") > 0) | (pl.col("expulsions").fill_null(0.0) > 0)
    known = Step("known", pl.col("suspensions").is_not_null(), "suspensions_unknown")
    return rates(rows, "suspension", outcome, [known], spec)


RECORDS: dict[str, Callable[[Source, GrowthSpec], MetricResult]] = {
    "academic_performance": academic_performance,
    "graduation": graduation,
    "high_school_readiness": high_school_readiness,
    "redesignation": redesignation,
    "chronic_absence": chronic_absence,
    "suspension": suspension,
    "climate": climate,
    "social_emotional": social_emotional,
}
"""Metric -> the function that computes it from records."""


def records_of_folder(folder: str | Path, spec: GrowthSpec) -> MetricResult:
    """Return the metrics of a folder of records: files that bear the names of metrics.

    ``chronic_absence.csv``, ``graduation.parquet`` and so on, each in the layout of its function. A file
    ``metrics`` is a table of metrics that are given as they are.

    Raises
    ------
    TableError
        If the folder has no such file, or one with another name.
    ColumnError
        If a file cannot be used.
    """
    files = sorted(file for file in Path(folder).iterdir() if file.name.endswith(_ENDINGS))
    found = []
    for file in files:
        name = file.name.split(".")[0]
        if name == _GIVEN:
            found.append(MetricResult(read_metrics(file, spec), together([]).counts))
        elif name in RECORDS:
            found.append(RECORDS[name](file, spec))
        else:
            known = (*RECORDS, _GIVEN)
            what = f"File {file.name!r} bears the name of no metric{did_you_mean(name, known)}"
            raise TableError(problem(what, rule=f"names are {', '.join(known)}", fix="rename or remove it"))
    if not found:
        what = f"Folder {str(folder)!r} holds no records"
        fix = f"put files there that are named {', '.join(RECORDS)}"
        raise TableError(problem(what, rule="CSV or Parquet files", fix=fix))
    return together(found)


def _one_part(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.lit("").alias("part"))


def _with_days(rows: pl.DataFrame) -> pl.DataFrame:
    rule = "0 <= days_attended <= days_enrolled"
    wrong = (pl.col("days_enrolled") < 0) | (pl.col("days_attended") < 0)
    wrong = wrong.fill_null(False) | (pl.col("days_attended") > pl.col("days_enrolled")).fill_null(False)
    refuse(rows, wrong, "Days of attendance are impossible", rule)
    return rows


def _enough_days(spec: GrowthSpec, *, unknown: bool) -> Step:
    enough = (pl.col("days_enrolled") >= spec.index.definitions.min_days).fill_null(unknown)
    return Step("enrolled", enough, "few_days_enrolled")


def _refuse_counts(rows: pl.DataFrame, name: str) -> None:
    count = pl.col(name)
    refuse(
        rows, (count < 0) | (count != count.round(0)), f"Column {name!r} is impossible", "a count: 0, 1, ..."
    )


def _with_cut_scores(rows: pl.DataFrame, cuts: dict[str, dict[int, float]]) -> pl.DataFrame:
    table = [(subject, grade, cut) for subject, grades in cuts.items() for grade, cut in grades.items()]
    schema = {"subject": pl.String(), "grade": pl.Int16(), "_cut": pl.Float64()}
    known = pl.DataFrame(table, schema=schema, orient="row")
    rows = rows.join(known, on=["subject", "grade"], how="left", maintain_order="left")
    lacking = rows.filter(pl.col("score").is_not_null() & pl.col("_cut").is_null())
    if lacking.height:
        where = lacking.select("subject", "grade").unique().sort("subject", "grade").head(5)
        names = ", ".join(f"{subject} grade {grade}" for subject, grade in where.iter_rows())
        raise ColumnError(
            problem(
                f"There is no proficient score for {names}",
                rule="index.definitions.proficient_scores has one for every subject and grade with scores",
                rows=lacking.height,
                fix="add it, or leave those rows out",
            )
        )
    return rows
