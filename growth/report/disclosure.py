"""What a page may show: the school results that `growth.release` lets out, and system-wide ones of groups.

The page carries what every export carries, withheld by the same rule. A group that is withheld has no row at
all, just like one that does not exist: only schools are told apart from nothing.
"""

from __future__ import annotations

import polars as pl

from growth.release.published import WITHHELD, counted, least_of, shown_results
from growth.school.groups import ALL
from growth.spec import GrowthSpec

__all__ = ["publishable", "publishable_ledger"]

_KEYS = ["year", "subject", "group", "school_id"]
_RESULTS = ["growth_percentile", "growth_percentile_low", "growth_percentile_high", "level"]
_COUNTS = ("n", "schools")
_CHANCES = [*(f"p_level_{level}" for level in range(1, 11)), "p_bottom_5"]
_STEPS = [f"{what}_to_next_{step}" for what in ("points", "effect", "students") for step in (1, 2, 3)]
_WHOLE = ["effect", "shrunk", "spread", *_CHANCES, *_STEPS, "level_last_year"]
"""Shown for all students of a school only."""


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
        One row per year, subject and school, and one for each of its groups that is shown: group_detail, n,
        growth_percentile with its 95 % band [0-100], level, reason; for all students only effect, shrunk,
        spread (the standard error behind the band), p_level_1 ... p_level_10, p_bottom_5, what is missing to
        the next levels, level_last_year. Where `reason` is set every result is null.
    """
    detail = pl.col("group_detail") if "group_detail" in schools.columns else pl.lit(None, dtype=pl.String)
    rows = schools.with_columns(detail.alias("group_detail"))
    shown_rows = shown_results(rows, spec)
    rows = rows.join(levels.select([*_KEYS, "level", *_STEPS, "level_last_year"]), on=_KEYS, how="left")
    rows = rows.join(shown_rows, on=_KEYS, how="left").filter((pl.col("group") == ALL) | pl.col("shown"))
    shown, without = pl.col("shown"), pl.col("growth_percentile").is_null()
    reason = pl.coalesce("reason", pl.when(without).then(pl.lit("no_result")))
    reason = pl.when(~shown).then(pl.lit(WITHHELD)).otherwise(reason)
    result = shown & reason.is_null()
    rows = rows.with_columns(pl.coalesce("shrunk_se", "effect_se").alias("spread"))
    rows = rows.select(
        *_KEYS,
        pl.when(shown).then("group_detail").alias("group_detail"),
        pl.when(shown & counted(spec)).then(pl.col("n").cast(pl.Int64)).alias("n"),
        *(pl.when(result).then(name).alias(name) for name in _RESULTS),
        *(pl.when(result & (pl.col("group") == ALL)).then(name).alias(name) for name in _WHOLE),
        reason.alias("reason"),
    )
    return _withhold_last_year(rows, spec).sort(_KEYS)


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
    minimum = least_of(spec)[1]
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


def _withhold_last_year(rows: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    """Hide levels of the year before where that year's page hides them."""
    before = rows.filter(pl.col("group") == ALL).select(
        (pl.col("year") + 1).cast(rows.schema["year"]),
        "subject",
        "group",
        "school_id",
        pl.col("level").is_not_null().alias("_known"),
    )
    # A year that is not in this run had a page of its own.
    elsewhere = pl.lit(spec.school.min_n >= least_of(spec)[0])
    before_run = pl.col("year") == pl.col("year").min()
    known = pl.when(pl.col("_known").fill_null(False) | (elsewhere & before_run)).then("level_last_year")
    rows = rows.join(before, on=_KEYS, how="left")
    return rows.with_columns(known.alias("level_last_year")).drop("_known")
