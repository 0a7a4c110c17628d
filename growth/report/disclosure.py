"""What may be published: no result and no count that rests on few students, directly or by subtraction.

A result is withheld when its students are fewer than the minimum. A *count* is also withheld when it would
give a small count away: that of the school's students who are not in a group (all minus group), or that of
the racial/ethnic groups that are not shown. Averages of groups are not published at all, so that no average
of the students outside a group can be worked out from two that are.
"""

from __future__ import annotations

import polars as pl

from growth.spec import GrowthSpec

__all__ = [
    "ALL",
    "LOWEST_RACE",
    "RACE",
    "SMALLEST_PUBLISHED",
    "least_published",
    "publishable",
    "publishable_ledger",
]

SMALLEST_PUBLISHED = 10
"""Students. A page never shows a result for fewer, whatever the specification allows."""

ALL = "All"
RACE = "race:"
LOWEST_RACE = "race:lowest"

_KEYS = ["year", "subject", "group", "school_id"]
_PLACE = ["year", "subject", "school_id"]
_RESULTS = ["growth_percentile", "growth_percentile_low", "growth_percentile_high", "level"]
_COUNTS = ("n", "schools")
_CHANCES = [*(f"p_level_{level}" for level in range(1, 11)), "p_bottom_5"]
_STEPS = [f"{what}_to_next_{step}" for what in ("points", "effect", "students") for step in (1, 2, 3)]
_WHOLE = ["effect", "shrunk", "spread", *_CHANCES, *_STEPS, "level_last_year"]
"""Shown for all students of a school only."""
_COLUMNS = [*_KEYS, "group_detail", "n", *_RESULTS, *_WHOLE, "reason"]


def least_published(minimum: int) -> int:
    """Return the smallest number of students that a page shows, given the specification's minimum."""
    return max(minimum, SMALLEST_PUBLISHED)


def publishable(schools: pl.DataFrame, levels: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    """Return school results with everything withheld that must not be published.

    Parameters
    ----------
    schools, levels : polars.DataFrame
        The frames of a run.
    spec : GrowthSpec
        Its minimum numbers of students.

    Returns
    -------
    polars.DataFrame
        One row per year, subject, group and school: group_detail, n, growth_percentile with its 95 % band
        [0-100], level, reason; for all students only effect, shrunk, spread (the standard error behind the
        band), p_level_1 ... p_level_10, p_bottom_5, what is missing to the next levels, level_last_year.
        Where `reason` is set every result is null; `n` is null where the count itself is withheld.
    """
    rows = schools if "group_detail" in schools.columns else schools.with_columns(_no_detail())
    rows = rows.join(levels.select([*_KEYS, "level", *_STEPS, "level_last_year"]), on=_KEYS, how="left")
    spread = pl.coalesce("shrunk_se", "effect_se").alias("spread")
    rows = rows.with_columns(spread).select(_COLUMNS).with_columns(pl.col("n").cast(pl.Int64))
    rows = _withhold_last_year(_withhold_results(rows, spec), spec)
    return _withhold_counts(rows, least_published(spec.groups.min_n)).sort(_KEYS)


def publishable_ledger(fairness: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    """Return system-wide results of groups with those withheld that would tell of few students.

    A group is withheld if it, or everybody else, has fewer students than the minimum. Where the levels of a
    column that are not shown (blanks among them) would have fewer together, the smallest of the others are
    withheld as well, since they follow from the total.

    Parameters
    ----------
    fairness : polars.DataFrame
        The frame of a run.
    spec : GrowthSpec
        Its minimum number of students in a group.

    Returns
    -------
    polars.DataFrame
        With a column `withheld`; where it is set, every number is null.
    """
    block = ["year", "subject"]
    minimum = least_published(spec.groups.min_n)
    total = pl.col("n").filter(pl.col("kind") == "all").first().over(block)
    everyone = pl.col("kind") == "all"
    small = (pl.col("n") < minimum) | (~everyone & (total - pl.col("n") < minimum))
    rows = fairness.with_row_index("_at").with_columns(total.alias("_total"), small.alias("_small"))
    rows = rows.sort("n", "_at")
    column = [*block, "column"]
    shown = pl.when(~pl.col("_small")).then("n").otherwise(0)
    rest = pl.col("_total") - shown.sum().over(column)
    hidden_so_far = rest + shown.cum_sum().over(column) - shown
    partition = pl.col("level").is_not_null()
    telling = partition & (rest > 0) & (hidden_so_far < minimum)
    rows = rows.with_columns((pl.col("_small") | telling).alias("withheld")).sort("_at")
    numbers = [name for name, dtype in fairness.schema.items() if dtype == pl.Float64 or name in _COUNTS]
    kept = pl.col("withheld").not_()
    return rows.drop("_at", "_total", "_small").with_columns(
        pl.when(kept).then(pl.col(name)).alias(name) for name in numbers
    )


def _no_detail() -> pl.Expr:
    return pl.lit(None, dtype=pl.String).alias("group_detail")


def _withhold_results(rows: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    everyone = pl.col("group") == ALL
    minimum = (
        pl.when(everyone)
        .then(least_published(spec.school.min_n))
        .otherwise(least_published(spec.groups.min_n))
    )
    unknown = pl.col("n").is_null() & pl.col("reason").is_null()
    few = unknown | (pl.col("n") < minimum).fill_null(False)
    reason = (
        pl.when(few)
        .then(pl.lit("n_below_minimum"))
        .when(pl.col("reason").is_not_null())
        .then(pl.col("reason"))
        .when(pl.col("growth_percentile").is_null())
        .then(pl.lit("no_result"))
    )
    rows = rows.with_columns(reason.alias("reason"), pl.when(~few).then(pl.col("n")).alias("n"))
    shown = pl.col("reason").is_null()
    return rows.with_columns(
        *(pl.when(shown).then(pl.col(name)).alias(name) for name in _RESULTS),
        *(pl.when(shown & everyone).then(pl.col(name)).alias(name) for name in _WHOLE),
    )


def _withhold_last_year(rows: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    """Hide levels of the year before where that year's page would have hidden them."""
    if spec.school.min_n >= SMALLEST_PUBLISHED:
        return rows
    before = rows.select(
        (pl.col("year") + 1).cast(rows.schema["year"]),
        "subject",
        "group",
        "school_id",
        pl.col("level").is_not_null().alias("_known"),
    )
    known = pl.when(pl.col("_known")).then("level_last_year").alias("level_last_year")
    return rows.join(before, on=_KEYS, how="left").with_columns(known).drop("_known")


def _withhold_counts(rows: pl.DataFrame, minimum: int) -> pl.DataFrame:
    totals = rows.filter(pl.col("group") == ALL).select([*_PLACE, pl.col("n").alias("_total")])
    rows = rows.join(totals, on=_PLACE, how="left")
    race = pl.col("group").str.starts_with(RACE)
    telling = (pl.col("_total") - pl.col("n")).fill_null(0) < minimum
    flags = rows.filter(~race).with_columns(
        pl.when(telling & (pl.col("group") != ALL)).then(None).otherwise(pl.col("n")).alias("n")
    )
    races = _withhold_race_counts(rows.filter(race & (pl.col("group") != LOWEST_RACE)), minimum)
    lowest = _like_its_race(rows.filter(pl.col("group") == LOWEST_RACE), races)
    return pl.concat([flags, races, lowest], how="diagonal").drop("_total")


def _withhold_race_counts(races: pl.DataFrame, minimum: int) -> pl.DataFrame:
    """Hide the smallest shown counts of a school until those not shown sum to the minimum, or to nobody."""
    races = races.sort([*_PLACE, "n", "group"], nulls_last=True)
    shown = pl.col("n").fill_null(0)
    rest = (pl.col("_total") - shown.sum().over(_PLACE)).fill_null(0)
    nobody_left = (rest == 0) & (pl.col("n").is_not_null().sum().over(_PLACE) > 1)
    hidden_so_far = rest + shown.cum_sum().over(_PLACE) - shown
    hide = pl.col("_total").is_null() | (~nobody_left & (hidden_so_far < minimum))
    return races.with_columns(pl.when(~hide).then(pl.col("n")).alias("n"))


def _like_its_race(lowest: pl.DataFrame, races: pl.DataFrame) -> pl.DataFrame:
    """Show the count of a school's lowest group only where the same group's own row shows it."""
    named = pl.col("group_detail").str.strip_prefix(RACE)
    own = races.select(
        [*_PLACE, pl.col("group").str.strip_prefix(RACE).alias("_race"), pl.col("n").alias("_own")]
    )
    rows = lowest.with_columns(named.alias("_race")).join(own, on=[*_PLACE, "_race"], how="left")
    return rows.with_columns(pl.col("_own").alias("n")).drop("_own", "_race")
