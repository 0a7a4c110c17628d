"""What stands beside a school's own result: other schools, its district, its years."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from growth.aggregate import by_group
from growth.release.published import WITHHELD, least_of
from growth.report.inputs import ReportInput
from growth.report.similar import told_apart, verdicts_between
from growth.school.groups import ALL

__all__ = ["Comparisons", "comparisons"]

_BLOCK = ["year", "subject"]


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Frames that rest on published results only."""

    told: pl.DataFrame
    """year, subject, school_id, higher_than, same_as, lower_than: see `growth.report.similar.told_apart`."""
    similar: pl.DataFrame
    """school_id, place, other_id, distance, verdicts (one sign per subject of the latest year)."""
    districts: pl.DataFrame
    """year, subject, district, n (students in the schools shown), schools, above, average, below (schools by
    the band of their level); growth_percentile with its band where the run has results of districts."""
    history: pl.DataFrame
    """subject, school_id, high_years, trend, trend_low, trend_high; no rows without several years."""


def comparisons(rows: pl.DataFrame, given: ReportInput) -> Comparisons:
    """Return what stands beside schools' own results.

    Parameters
    ----------
    rows : polars.DataFrame
        Publishable results, with the district of each school.
    given : ReportInput
    """
    whole = rows.filter((pl.col("group") == ALL) & pl.col("reason").is_null())
    latest = whole.filter(pl.col("year") == pl.col("year").max())
    subjects = rows["subject"].unique().sort().to_list()
    shown = latest["school_id"].unique().to_list()
    similar = given.similar.filter(pl.col("school_id").is_in(shown) & pl.col("other_id").is_in(shown))
    similar = similar.sort("school_id", "place")
    return Comparisons(
        told=told_apart(whole),
        similar=similar.with_columns(verdicts_between(latest, similar, subjects)),
        districts=_districts(whole, given),
        history=_history(rows, whole, given),
    )


def _districts(whole: pl.DataFrame, given: ReportInput) -> pl.DataFrame:
    """Roll published results up; nothing comes from a school that is not shown."""
    levels = given.spec.levels
    level = pl.col("level")
    rolled = by_group(
        whole.filter(pl.col("district").is_not_null()),
        [*_BLOCK, "district"],
        pl.col("n").sum(),
        pl.len().cast(pl.Int64).alias("schools"),
        (level >= levels.above_from).sum().cast(pl.Int64).alias("above"),
        level.is_between(levels.average_from, levels.above_from - 1).sum().cast(pl.Int64).alias("average"),
        (level < levels.average_from).sum().cast(pl.Int64).alias("below"),
    )
    own = _own_results(given)
    return rolled.join(own, on=[*_BLOCK, "district"], how="left").sort(*_BLOCK, "district")


def _own_results(given: ReportInput) -> pl.DataFrame:
    """Return the results of districts as such, by the name that the page gives them."""
    results = ["growth_percentile", "growth_percentile_low", "growth_percentile_high"]
    schema = {"year": pl.Int32, "subject": pl.String, "district": pl.String}
    if given.districts is None:
        return pl.DataFrame(schema={**schema, **dict.fromkeys(results, pl.Float64)})
    enough = pl.col("n") >= least_of(given.spec)[0]
    rows = given.districts.filter((pl.col("group") == ALL) & pl.col("reason").is_null() & enough)
    rows = rows.join(given.students.district_names, on="district_id", how="left")
    return rows.select(*_BLOCK, pl.coalesce("district", "district_id").alias("district"), *results)


def _history(rows: pl.DataFrame, whole: pl.DataFrame, given: ReportInput) -> pl.DataFrame:
    columns = ["subject", "school_id", "high_years", "trend", "trend_low", "trend_high"]
    if given.history is None:
        numbers = dict.fromkeys(columns[3:], pl.Float64)
        return pl.DataFrame(
            schema={"subject": pl.String, "school_id": pl.String, "high_years": pl.Int64, **numbers}
        )
    # A trend tells of every year, so that all of them have to be shown.
    hidden = rows.filter((pl.col("group") == ALL) & (pl.col("reason") == WITHHELD))
    shown = whole.join(hidden, on=["subject", "school_id"], how="anti")
    found = given.history.filter(pl.col("group") == ALL).select(columns)
    return found.join(shown, on=["subject", "school_id"], how="semi").sort("subject", "school_id")
