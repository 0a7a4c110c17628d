"""School results and student percentiles under the names that others' tools expect."""

from __future__ import annotations

import polars as pl

from growth.aggregate import by_group
from growth.errors import SpecError, problem
from growth.pipeline import GrowthRun
from growth.release.published import published_results
from growth.school.groups import ALL, LOWEST_RACE, RACE

__all__ = ["california_file", "long_results", "sgp_file", "wide_results"]

_MEASURES = ("n", "growth_percentile", "growth_percentile_low", "growth_percentile_high", "level")
_SGP = {
    "student_id": "ID",
    "year": "YEAR",
    "subject": "CONTENT_AREA",
    "grade": "GRADE",
    "score": "SCALE_SCORE",
    "sgp": "SGP",
    "sgp_se": "SGP_STANDARD_ERROR",
    "sgp_simex": "SGP_SIMEX",
    "sgp_simex_ranked": "SGP_SIMEX_RANKED",
    "norm_group": "SGP_NORM_GROUP",
    "prior_score": "SCALE_SCORE_PRIOR",
    "n_priors": "SGP_ORDER",
    "school_id": "SCHOOL_NUMBER",
    "district_id": "DISTRICT_NUMBER",
}
LEAST_RANKED = 30
"""Students. California gives no decile rank for fewer."""
_RACES = {
    "black or african american": "AA",
    "african american": "AA",
    "black": "AA",
    "american indian or alaska native": "AI",
    "american indian": "AI",
    "asian": "AS",
    "filipino": "FI",
    "hispanic": "HI",
    "hispanic or latino": "HI",
    "latino": "HI",
    "native hawaiian or pacific islander": "PI",
    "pacific islander": "PI",
    "white": "WH",
    "two or more": "MR",
    "two or more races": "MR",
    "multiple races": "MR",
    "multiple races/two or more": "MR",
}
_FLAGS = {
    "english_learner": "EL",
    "disability": "SWD",
    "econ_disadvantaged": "SED",
    "homeless": "HOM",
    "foster": "FOS",
}


def long_results(run: GrowthRun, minimum: int = 0) -> pl.DataFrame:
    """Return published results, one row per year, subject, group and school."""
    return published_results(run, minimum)


def wide_results(run: GrowthRun, minimum: int = 0) -> pl.DataFrame:
    """Return published results, one row per year and school, columns ``subject.group.measure``."""
    rows = published_results(run, minimum)
    place = pl.concat_str("subject", "group", separator=".")
    long = rows.with_columns(place.alias("_place")).unpivot(
        list(_MEASURES), index=["year", "school_id", "_place"], variable_name="_measure"
    )
    named = long.with_columns(pl.concat_str("_place", "_measure", separator=".").alias("_column"))
    order = named["_column"].unique(maintain_order=True).sort().to_list()
    wide = named.pivot("_column", index=["year", "school_id"], values="value")
    whole = [name for name in order if name.rsplit(".", 1)[1] in ("n", "level")]
    wide = wide.with_columns(pl.col(name).cast(pl.Int64) for name in whole)
    return wide.select("year", "school_id", *order).sort("year", "school_id")


def sgp_file(run: GrowthRun) -> pl.DataFrame:
    """Return the students frame under the column names of the R package SGP, one row per row in scope.

    ``VALID_CASE`` is ``VALID_CASE`` where there is a score and ``INVALID_CASE`` elsewhere; ``YEAR`` is the
    table's own text. ``SGP_ORDER`` is the number of prior scores.
    """
    rows = run.polars("students").filter("highest")
    valid = (
        pl.when(pl.col("score").is_not_null()).then(pl.lit("VALID_CASE")).otherwise(pl.lit("INVALID_CASE"))
    )
    label = "year_label" if "year_label" in rows.columns else "year"
    rows = rows.with_columns(pl.col(label).cast(pl.String).alias("year"), pl.col("grade").cast(pl.String))
    named = {name: new for name, new in _SGP.items() if name in rows.columns}
    return rows.select(valid.alias("VALID_CASE"), *(pl.col(name).alias(new) for name, new in named.items()))


def california_file(run: GrowthRun, minimum: int = 0) -> pl.DataFrame:
    """Return published results in the layout of California's file of aggregated growth.

    Growth scores are 100 plus the mean residual of the school [scale-score points], so that 100 is growth as
    expected; the decile is the level on the run's cut points, for at least 30 students. Groups for which the
    state has no code are left out. Of a column that the run knows nothing of, every value is null.

    Raises
    ------
    SpecError
        If schools are not measured by mean residuals.
    """
    rules = run.spec.school
    if rules.aggregate != "mean_residual":
        what = "California's growth scores are mean residuals, and this run has none of schools"
        fix = 'run with the preset california, or school.aggregate = "mean_residual"'
        raise SpecError(problem(what, fix=fix))
    keys = ["year", "subject", "group", "school_id"]
    rows = published_results(run, minimum)
    shrunken = pl.coalesce("shrunk", "effect").alias("_effect")
    found = rows.join(run.polars("schools").select(*keys, shrunken, "shrunk"), on=keys, how="left")
    scale = _points(run) if rules.residual_scale == "cohort_sd" else None
    if scale is not None:
        found = found.join(scale, on=["year", "subject"], how="left")
    points = pl.col("_effect") * (pl.col("_points") if scale is not None else 1.0)
    shown = pl.col("growth_percentile").is_not_null()
    shrunk = (
        pl.when(pl.col("shrunk").is_not_null()).then(pl.lit("shrunken")).otherwise(pl.lit("simple average"))
    )
    codes = {group: _code(group, run) for group in found["group"].unique()}
    known = {group: code for group, code in codes.items() if code}
    names = _names(run)
    found = found.filter(pl.col("group").is_in(list(known))).join(names, on="school_id", how="left")
    empty = pl.lit(None, dtype=pl.String)
    return found.select(
        pl.col("school_id").alias("cds"),
        pl.lit("S").alias("rtype"),
        "schoolname",
        *(empty.alias(n) for n in ("districtname", "countyname", "charter_flag", "coe_flag", "dass_flag")),
        "lowgrade",
        "highgrade",
        pl.col("group").replace_strict(known, return_dtype=pl.String).alias("studentgroup"),
        "subject",
        pl.col("n").alias("n_growthscores"),
        pl.when(shown).then((100.0 + points).round(1)).alias("growthscore"),
        pl.when(shown & (pl.col("n") >= LEAST_RANKED)).then("level").alias("decilerank"),
        pl.when(shown).then(shrunk).alias("reported_which"),
        pl.col("year").alias("reportingyear"),
    ).sort("reportingyear", "cds", "subject", "studentgroup")


def _points(run: GrowthRun) -> pl.DataFrame:
    """Return per year and subject the SD of residuals within cohorts [scale-score points]."""
    scored = run.polars("students").filter("highest", pl.col("residual").is_not_null())
    spread = (pl.col("residual") - pl.col("residual").mean().over("cohort")).std().alias("_points")
    return by_group(scored, ["year", "subject"], spread)


def _names(run: GrowthRun) -> pl.DataFrame:
    """Return school_id, schoolname, lowgrade, highgrade of every school."""
    rows = run.polars("students").filter(pl.col("school_id").is_not_null())
    name = pl.col("school_name").drop_nulls().first() if "school_name" in rows.columns else pl.lit(None)
    grades = (pl.col("grade").min().cast(pl.String), pl.col("grade").max().cast(pl.String))
    return by_group(
        rows,
        "school_id",
        name.cast(pl.String).alias("schoolname"),
        grades[0].alias("lowgrade"),
        grades[1].alias("highgrade"),
    )


def _code(group: str, run: GrowthRun) -> str | None:
    """Return the state's code of a group, None if it has none."""
    if group == ALL:
        return "ALL"
    if group.startswith(RACE) and group != LOWEST_RACE:
        return _RACES.get(group.removeprefix(RACE).strip().lower())
    return _FLAGS.get(run.spec.groups.flags.get(group, ""))
