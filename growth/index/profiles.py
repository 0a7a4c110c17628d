"""What schools look like when a partner is sought: intake, size, grades, growth and levels."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from growth.aggregate import by_group
from growth.errors import ColumnError, TableError, did_you_mean, problem
from growth.school.groups import ALL, RACE, groups_of
from growth.school.placement import COMPOSITE
from growth.spec import GrowthSpec

__all__ = ["LEVEL", "SHARE", "growth_needs", "needs_of", "school_profiles", "traits_of", "with_low_groups"]

SHARE = "share_"
LEVEL = "level_"
MEAN_PRIOR, SIZE = "mean_prior", "log_n"

_CELL = ["subject", "grade"]
_ONE_SUBJECT = pl.col("subject") != COMPOSITE


def school_profiles(
    frames: Mapping[str, pl.DataFrame], spec: GrowthSpec, *, year: int | None = None
) -> pl.DataFrame:
    """Return one row per school of a run and year; a composite over subjects is left out.

    Parameters
    ----------
    frames : mapping
        The students, schools and levels frames of a run (``run.frames``).
    spec : GrowthSpec
        ``spec.groups`` names the traits; ``spec.school.min_n`` the least number of students.
    year : int, optional
        By default the latest.

    Returns
    -------
    polars.DataFrame
        school_id; n, students with a result; grade_span, as "3-5"; log_n; mean_prior, the mean of their most
        recent prior scores, standardised within subject and grade [SDs]; `share_GROUP`, of each group (0-1);
        effect and effect_se, the mean over subjects of the (shrunken) mean percentile and its standard error,
        an upper bound that takes the subjects' errors as one [percentile points]; growth_percentile and
        level, means over subjects; `level_SUBJECT`; reason. Where `reason` is set all but
        school_id, grade_span and the reason is null.

    Raises
    ------
    ColumnError
        If a column is missing.
    TableError
        If there is no such year.
    """
    students, schools, levels = (frames[name] for name in ("students", "schools", "levels"))
    _require(students, spec)
    chosen = students["year"].max() if year is None else year
    rows = students.filter((pl.col("year") == chosen) & pl.col("school_id").is_not_null())
    if rows.is_empty():
        raise TableError(problem("There are no students in schools in that year", fix="choose another year"))
    spans = _spans(rows, spec.pairing.grade_share)
    counted = rows.filter(
        (pl.col("status") == "scored").fill_null(False) & pl.col("highest").fill_null(False)
    )
    intake = _intake(counted, spec)
    of_year = (pl.col("group") == ALL) & (pl.col("year") == chosen) & _ONE_SUBJECT
    growth = _growth(schools.filter(of_year), levels.filter(of_year))
    profiles = spans.join(intake, on="school_id", how="left").join(growth, on="school_id", how="left")
    few = (pl.col("n") < spec.school.min_n).fill_null(True)
    lacking = pl.col("effect").is_null() | pl.col("effect_se").is_null() | pl.col("mean_prior").is_null()
    reason = pl.when(few).then(pl.lit("n_below_minimum")).when(lacking).then(pl.lit("no_result"))
    profiles = profiles.with_columns(reason.alias("reason"))
    shown = pl.col("reason").is_null()
    kept = ("school_id", "grade_span", "reason")
    values = [name for name in profiles.columns if name not in kept]
    profiles = profiles.with_columns(pl.when(shown).then(pl.col(name)).alias(name) for name in values)
    return profiles.select("school_id", "grade_span", *values, "reason").sort("school_id")


def traits_of(profiles: pl.DataFrame) -> list[str]:
    """Return the columns by which students of schools are similar: mean prior, shares of groups, log n."""
    return [name for name in profiles.columns if name in (MEAN_PRIOR, SIZE) or name.startswith(SHARE)]


def needs_of(points: pl.DataFrame, *, year: int | None = None) -> pl.DataFrame:
    """Return the needs table of an index: school_id, need (metric and part), level of all students.

    Parameters
    ----------
    points : polars.DataFrame
        The points frame of `school_index`.
    year : int, optional
        By default the latest.
    """
    chosen = points["year"].max() if year is None else year
    rows = points.filter(
        (pl.col("year") == chosen) & (pl.col("group") == ALL) & pl.col("level").is_not_null()
    )
    need = (pl.col("metric") + " " + pl.col("part")).str.strip_chars_end()
    return rows.select("school_id", need.alias("need"), "level").sort("school_id", "need")


def growth_needs(levels: pl.DataFrame, *, year: int | None = None) -> pl.DataFrame:
    """Return the needs table of a run: school_id, need ("growth ELA", ...), level of all students."""
    chosen = levels["year"].max() if year is None else year
    rows = levels.filter(
        (pl.col("year") == chosen) & (pl.col("group") == ALL) & pl.col("level").is_not_null(),
        _ONE_SUBJECT,
    )
    need = pl.lit("growth ") + pl.col("subject")
    return rows.select("school_id", need.alias("need"), "level").sort("school_id", "need")


def with_low_groups(levels: pl.DataFrame, spec: GrowthSpec, *, year: int | None = None) -> list[str]:
    """Return the schools in which a group's mean level over subjects is ``pairing.need_level`` or lower."""
    chosen = levels["year"].max() if year is None else year
    rows = levels.filter(
        (pl.col("year") == chosen) & (pl.col("group") != ALL) & pl.col("level").is_not_null(),
        _ONE_SUBJECT,
    )
    means = by_group(rows, ["school_id", "group"], pl.col("level").cast(pl.Float64).mean())
    low = means.filter(pl.col("level") <= spec.pairing.need_level)
    found: list[str] = low["school_id"].unique().sort().to_list()
    return found


def _spans(rows: pl.DataFrame, share: float) -> pl.DataFrame:
    """Return the lowest and the highest grade of each school, without grades of hardly any student."""
    grades = by_group(rows, ["school_id", "grade"], pl.len())
    grades = grades.filter(pl.col("len") >= share * pl.col("len").sum().over("school_id"))
    span = pl.concat_str(pl.col("grade").min(), pl.lit("-"), pl.col("grade").max())
    return by_group(grades, "school_id", span.alias("grade_span"))


def _intake(counted: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    """Return n, log n, mean prior and shares of groups, each student once."""
    prior = pl.col("prior_score")
    spread = prior.std().over(_CELL)
    standard = pl.when(spread > 0).then((prior - prior.mean().over(_CELL)) / spread).otherwise(0.0)
    standard = pl.when(prior.is_not_null()).then(standard)
    rows = counted.with_columns(standard.alias("_z"))
    keys = ["school_id", "student_id"]
    people = rows.unique(keys, keep="first", maintain_order=True)
    means = by_group(rows, "school_id", pl.col("_z").mean().alias(MEAN_PRIOR))
    shares = [
        pl.Series(SHARE + group.label.removeprefix(RACE), group.members)
        for group in groups_of(people, spec)
        if group.label != ALL
    ]
    people = people.select("school_id").with_columns(shares)
    counts = by_group(
        people,
        "school_id",
        pl.len().cast(pl.Int64).alias("n"),
        *(pl.col(share.name).cast(pl.Float64).mean() for share in shares),
    )
    found = counts.join(means, on="school_id").with_columns(pl.col("n").log().alias(SIZE))
    return found.select("school_id", "n", SIZE, MEAN_PRIOR, *(share.name for share in shares))


def _growth(schools: pl.DataFrame, levels: pl.DataFrame) -> pl.DataFrame:
    """Return effect, growth percentile and level of each school, means over its subjects."""
    found = schools.with_columns(
        pl.when(pl.col("shrunk_se").is_not_null()).then("shrunk").otherwise("effect").alias("_effect"),
        pl.coalesce("shrunk_se", "effect_se").alias("_se"),
    ).filter(pl.col("reason").is_null())
    means = by_group(
        found,
        "school_id",
        pl.col("_effect").mean().alias("effect"),
        pl.when(pl.col("_se").null_count() == 0).then(pl.col("_se").mean()).alias("effect_se"),
        pl.col("growth_percentile").mean(),
    )
    leveled = levels.filter(pl.col("level").is_not_null())
    subjects = leveled["subject"].unique().sort().to_list()
    by_subject = by_group(
        leveled,
        "school_id",
        pl.col("level").cast(pl.Float64).mean(),
        *(
            pl.col("level").filter(pl.col("subject") == subject).first().alias(LEVEL + subject)
            for subject in subjects
        ),
    )
    return means.join(by_subject, on="school_id", how="left")


def _require(students: pl.DataFrame, spec: GrowthSpec) -> None:
    needed = ["student_id", "year", "subject", "grade", "school_id", "status", "highest", "prior_score"]
    needed += spec.groups.flags.values()
    needed += [spec.groups.race] if spec.groups.race else []
    for column in needed:
        if column not in students.columns:
            hint = did_you_mean(column, students.columns)
            what = f"Column {column!r} is missing from the students frame{hint}"
            raise ColumnError(problem(what, fix="give the students frame of a run of this version"))
