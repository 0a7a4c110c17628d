"""The columns of school results: names, types, units, meanings. What a pipeline may rely on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

__all__ = ["HISTORY", "PREDICTIONS", "PROBABILITIES", "SCHOOLS", "TRADEOFF", "Column", "column_table"]

P, RANK, VALUE, SHARE = "percentile points", "percentile 0-100", "units of the effect", "probability 0-1"
SLOPE = "units of the effect per year"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a frame."""

    name: str
    dtype: pl.DataType
    unit: str
    meaning: str


_YEAR = Column("year", pl.Int32(), "", "year in which the school year ends")
_SUBJECT = Column("subject", pl.String(), "", 'subject, or "COMPOSITE": all of them together')
_GROUP = Column("group", pl.String(), "", '"All", a group of the specification, "race:..." or "race:lowest"')
_SCHOOL = Column("school_id", pl.String(), "", "school; `district_id` in the frame of districts")
_SPAN = Column("span", pl.String(), "", "grade span the result is ranked in; null where spans are not apart")
_REASON = Column("reason", pl.String(), "", "why values are withheld; null where they are shown")
_N = Column("n", pl.Int64(), "students", "students with a counted result; shown always")

PROBABILITIES = (
    *(
        Column(f"p_level_{level}", pl.Float64(), SHARE, f"posterior probability of level {level}")
        for level in range(1, 11)
    ),
    Column("p_bottom_5", pl.Float64(), SHARE, "posterior probability of a growth percentile below 5"),
    Column(
        "p_above_average",
        pl.Float64(),
        SHARE,
        "posterior probability of lying in the upper half of the reference schools",
    ),
)

SCHOOLS = (
    _YEAR,
    _SUBJECT,
    _GROUP,
    _SCHOOL,
    Column("group_detail", pl.String(), "", 'which racial/ethnic group is the "race:lowest"'),
    _SPAN,
    Column("years", pl.Int64(), "years", "years of results in it; withheld with the values"),
    _N,
    Column("n_effective", pl.Float64(), "results", "independent results that would make the effect as sure"),
    Column("mean_percentile", pl.Float64(), P, "mean student percentile"),
    Column("mean_se", pl.Float64(), P, "its standard error"),
    Column("median_percentile", pl.Float64(), P, "median student percentile"),
    Column("median_se", pl.Float64(), P, "its standard error"),
    Column("effect", pl.Float64(), VALUE, "what is ranked before shrinkage: `school.aggregate`"),
    Column("effect_se", pl.Float64(), VALUE, "its standard error"),
    Column("shrunk", pl.Float64(), VALUE, "posterior mean; null without shrinkage"),
    Column("shrunk_se", pl.Float64(), VALUE, "posterior SD; null without shrinkage"),
    Column("growth_percentile", pl.Float64(), RANK, "school growth percentile: `school.growth_percentile`"),
    Column("growth_percentile_low", pl.Float64(), RANK, "lower end of its 95 % band"),
    Column("growth_percentile_high", pl.Float64(), RANK, "upper end of its 95 % band"),
    *PROBABILITIES,
    _REASON,
)
"""`GrowthRun.schools`, `spans` and `districts`. Where `reason` is set every value but n is null."""

PREDICTIONS = (
    _YEAR,
    _SUBJECT,
    _SCHOOL,
    Column("n", pl.Int64(), "students", "students in what is predicted; shown always"),
    Column(
        "direct", pl.Float64(), VALUE, "their mean; null below `school.min_n` students of it or of the year"
    ),
    Column("direct_se", pl.Float64(), VALUE, "its standard error"),
    Column("blp", pl.Float64(), VALUE, "the prediction from all years, grades and subjects"),
    Column("blp_se", pl.Float64(), VALUE, "its root mean squared error"),
    Column("prmse", pl.Float64(), "share 0-1", "by how much the prediction's mean squared error is smaller"),
    Column("used", pl.String(), "", '"blp", "direct", or "both": each in some of the school\'s grades'),
)
"""`GrowthRun.predictions`: one row per year, subject and school."""

HISTORY = (
    _SUBJECT,
    _GROUP,
    _SCHOOL,
    Column("last_year", pl.Int32(), "", "latest year of the run"),
    Column("years", pl.Int64(), "years", "years with a result that is shown"),
    Column("high_years", pl.Int64(), "years", "consecutive high years up to the latest"),
    Column("sustained_high", pl.Boolean(), "", "whether these are at least `school.high_years`"),
    Column("trend", pl.Float64(), SLOPE, "weighted least-squares slope of 3 years or more"),
    Column("trend_se", pl.Float64(), SLOPE, "its standard error"),
    Column("trend_low", pl.Float64(), SLOPE, "lower end of its 95 % interval"),
    Column("trend_high", pl.Float64(), SLOPE, "upper end of its 95 % interval"),
)
"""`GrowthRun.history`: one row per subject, group and school with a result in any year."""

TRADEOFF = (
    _YEAR,
    _SUBJECT,
    _GROUP,
    Column("min_n", pl.Int64(), "students", "smallest number of students that is shown"),
    Column("schools", pl.Int64(), "schools", "schools with that many"),
    Column("school_share", pl.Float64(), "share 0-1", "of the schools with any student of the group"),
    Column("student_share", pl.Float64(), "share 0-1", "of the group's students, in these schools"),
    Column("reliability_at_n", pl.Float64(), "0-1", "reliability of a result of just so many students"),
    Column("reliability_shown", pl.Float64(), "0-1", "mean reliability of the results that are shown"),
)
"""`n_size_tradeoff`."""


def column_table(columns: Iterable[Column]) -> pl.DataFrame:
    """Return the documentation of a frame as a frame: column, dtype, unit, meaning."""
    rows = [(c.name, str(c.dtype), c.unit, c.meaning) for c in columns]
    return pl.DataFrame(rows, schema=["column", "dtype", "unit", "meaning"], orient="row")
