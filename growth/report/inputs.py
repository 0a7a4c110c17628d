"""What the page is made from: school results, sums over students, and no row of any student.

Everything that needs the students frame is computed here, as means and counts over at least the published
minimum of students. From here on the report room holds no student-level data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import polars as pl

from growth.aggregate import by_group
from growth.release.published import least_of
from growth.report.points import IndexLike, PairsLike
from growth.report.similar import similar_schools
from growth.spec import GrowthSpec

__all__ = ["ReportInput", "RunLike", "StudentTotals", "report_input", "summarise_students"]

_BLOCK = ["year", "subject"]
_CELL = ["year", "subject", "grade"]


@runtime_checkable
class RunLike(Protocol):
    """What the report needs from a `GrowthRun`."""

    @property
    def spec(self) -> GrowthSpec:
        """The specification that made the run."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Versions, digests and times of the run."""

    def polars(self, name: str) -> pl.DataFrame:
        """Return one result frame: students, schools, levels, counts, cells, fairness or neutrality."""


@dataclass(frozen=True, slots=True)
class StudentTotals:
    """Sums over the students frame."""

    students: int
    """Distinct students with at least one growth percentile."""
    results: int
    """Student growth percentiles: students x subjects x years."""
    grades: tuple[int, ...]
    """Current grades with results, ascending."""
    names: pl.DataFrame
    """school_id, school_name and district (null where the table has none); one row per school."""
    district_names: pl.DataFrame
    """district_id, district: the name where the table has one."""
    achievement: pl.DataFrame
    """year, subject, school_id, n, achievement: mean current score, standardised within year x subject x
    grade [SD units], over at least the published minimum of students."""


@dataclass(frozen=True, slots=True)
class ReportInput:
    """Everything a page is rendered from; frames as in the run, except that `students` are sums."""

    spec: GrowthSpec
    schools: pl.DataFrame
    levels: pl.DataFrame
    counts: pl.DataFrame
    cells: pl.DataFrame
    fairness: pl.DataFrame
    neutrality: pl.DataFrame
    students: StudentTotals
    manifest: Mapping[str, Any]
    similar: pl.DataFrame
    """school_id, place (1 = nearest), other_id, distance; see `growth.report.similar`."""
    intake: pl.DataFrame
    """school_id, grade_span, mean_prior: average earlier score in the latest year [SD units]."""
    districts: pl.DataFrame | None = None
    """The run's frame of districts, if there is one."""
    history: pl.DataFrame | None = None
    """The run's frame of histories, if it has several years."""
    verdicts: pl.DataFrame | None = None
    """Diagnostics in words: title, verdict ("ok", "not judged", "look" or "problem"), sentence, rule."""
    index: IndexLike | None = None
    """School index."""
    pairs: PairsLike | None = None
    """Partner schools."""


def report_input(
    run: RunLike,
    verdicts: pl.DataFrame | None = None,
    *,
    index: IndexLike | None = None,
    pairs: PairsLike | None = None,
) -> ReportInput:
    """Take from a run what its page shows.

    Parameters
    ----------
    run : GrowthRun
        A finished run.
    verdicts : polars.DataFrame, optional
        Diagnostics to show: title, verdict, sentence and rule, texts, one row each.
    index : SchoolIndex or IndexTables, optional
        Index points to show.
    pairs : Pairs or PairTables, optional
        Partner schools to show.

    Returns
    -------
    ReportInput
        School results and sums over students.
    """
    students = run.polars("students")
    intake, similar = similar_schools(
        {"students": students, **{name: run.polars(name) for name in ("schools", "levels")}}, run.spec
    )
    several = students["year"].n_unique() > 1
    return ReportInput(
        spec=run.spec,
        schools=run.polars("schools"),
        levels=run.polars("levels"),
        counts=run.polars("counts"),
        cells=run.polars("cells"),
        fairness=run.polars("fairness"),
        neutrality=run.polars("neutrality"),
        students=summarise_students(students, run.spec),
        manifest=run.manifest,
        similar=similar,
        intake=intake,
        districts=run.polars("districts") if run.spec.school.districts != "none" else None,
        history=run.polars("history") if several else None,
        verdicts=verdicts,
        index=index,
        pairs=pairs,
    )


def summarise_students(students: pl.DataFrame, spec: GrowthSpec) -> StudentTotals:
    """Reduce the students frame to the sums on the page.

    Parameters
    ----------
    students : polars.DataFrame
        The students frame of a run.
    spec : GrowthSpec
        Its minimum numbers of students.

    Returns
    -------
    StudentTotals
        Means over fewer students than the published minimum are left out.
    """
    scored = students.filter((pl.col("status") == "scored") & pl.col("highest"))
    counted = _counted(scored, spec)
    minimum = least_of(spec)[0]
    return StudentTotals(
        students=scored["student_id"].n_unique(),
        results=scored.height,
        grades=tuple(scored["grade"].unique().sort().to_list()),
        names=_school_names(students),
        district_names=_district_names(students),
        achievement=_achievement(counted, minimum),
    )


def _counted(scored: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    """Return the rows that enter school results, with the score standardised within grade."""
    rows = scored.filter(pl.col("school_id").is_not_null())
    if spec.school.enrolled_only and "enrolled" in rows.columns:
        rows = rows.filter(pl.col("enrolled"))
    return rows.with_columns(_within_grade("score").alias("_achievement"))


def _within_grade(column: str) -> pl.Expr:
    value = pl.col(column).cast(pl.Float64)
    spread = value.std().over(_CELL)
    centred = value - value.mean().over(_CELL)
    return pl.when(spread > 0).then(centred / spread).otherwise(0.0)


def _school_names(students: pl.DataFrame) -> pl.DataFrame:
    rows = students.filter(pl.col("school_id").is_not_null())
    given = [name for name in ("school_name", "district_name", "district_id") if name in rows.columns]
    nothing = pl.lit(None, dtype=pl.String).first()
    latest = {name: pl.col(name).cast(pl.String).sort_by("year").drop_nulls().last() for name in given}
    district = pl.coalesce([latest[name] for name in given if name != "school_name"] or [nothing])
    name = latest.get("school_name", nothing).alias("school_name")
    return by_group(rows, "school_id", name, district.alias("district")).sort("school_id")


def _district_names(students: pl.DataFrame) -> pl.DataFrame:
    if "district_id" not in students.columns:
        return pl.DataFrame(schema={"district_id": pl.String, "district": pl.String})
    name = "district_name" if "district_name" in students.columns else "district_id"
    rows = students.filter(pl.col("district_id").is_not_null())
    latest = pl.col(name).cast(pl.String).sort_by("year").drop_nulls().last()
    return by_group(rows, "district_id", latest.alias("district")).sort("district_id")


def _achievement(counted: pl.DataFrame, minimum: int) -> pl.DataFrame:
    means = by_group(
        counted,
        [*_BLOCK, "school_id"],
        pl.len().cast(pl.Int64).alias("n"),
        pl.col("_achievement").mean().alias("achievement"),
    )
    return means.filter(pl.col("n") >= minimum).sort([*_BLOCK, "school_id"])
