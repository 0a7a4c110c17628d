"""A school over the years: how long it has been high, and where it is going."""

from __future__ import annotations

import polars as pl

from growth.aggregate import by_group
from growth.errors import ColumnError, SpecError, did_you_mean, problem
from growth.school.bands import Z
from growth.school.columns import HISTORY
from growth.spec import GrowthSpec

__all__ = ["LEAST_YEARS", "school_history"]

LEAST_YEARS = 3
"""Years of a trend: two points always lie on a line."""
_UNIT = ["subject", "group", "school_id"]
_NEEDED = (*_UNIT, "year", "effect", "effect_se", "growth_percentile")


def school_history(schools: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    r"""Return, per subject, group and school, its consecutive high years and its trend.

    A year is high if the growth percentile is at least ``school.high_percentile`` (70: levels 8 to 10 of
    fixed tens). `high_years` counts back from the run's latest year without a gap; `sustained_high` is true
    from ``school.high_years`` of them on ("three consecutive high years").

    The trend is the slope of effects on years by weighted least squares, :math:`w_t = 1 / SE_t^2`, with the
    variance :math:`1 / \sum w_t (t - \bar t_w)^2` and a normal 95 % interval. That is the sampling error of
    the line through these years' true effects; it says nothing of years to come. Percentiles compare with
    other students of the same year, so a trend is one relative to the system.

    Parameters
    ----------
    schools : polars.DataFrame
        The schools frame of one-year results.
    spec : GrowthSpec
        ``school.high_percentile`` and ``school.high_years``.

    Returns
    -------
    polars.DataFrame
        Columns as in `growth.school.columns.HISTORY`; a row per school with a result that is shown.

    Raises
    ------
    SpecError
        If results are of three years: they overlap, so that neighbours differ by one year in three.
    ColumnError
        If a column is missing.
    """
    if spec.school.years > 1:
        what = "A history is made of one-year results, not of results of three years that overlap"
        raise SpecError(problem(what, fix="give the schools frame of a run with school.years = 1"))
    for name in _NEEDED:
        if name not in schools.columns:
            what = f"Column {name!r} is missing from the schools frame{did_you_mean(name, schools.columns)}"
            raise ColumnError(problem(what, fix="give the schools frame of a run"))
    latest = schools["year"].max()
    shown = schools.filter(pl.col("growth_percentile").is_not_null()).sort(*_UNIT, "year")
    high = pl.col("growth_percentile") >= spec.school.high_percentile
    back = (latest - pl.col("year")).filter(high).sort()
    weight = 1.0 / pl.col("effect_se") ** 2
    year = pl.col("year").cast(pl.Float64)
    usable = (pl.col("effect_se") > 0).fill_null(False)
    w, t, y = weight.filter(usable), year.filter(usable), pl.col("effect").filter(usable)
    middle = (w * t).sum() / w.sum()
    spread = (w * (t - middle) ** 2).sum()
    enough = usable.sum() >= LEAST_YEARS
    found = by_group(
        shown,
        _UNIT,
        pl.lit(latest).cast(pl.Int32).alias("last_year"),
        pl.len().cast(pl.Int64).alias("years"),
        (back == pl.int_range(back.len())).cum_prod().sum().cast(pl.Int64).alias("high_years"),
        pl.when(enough).then((w * (t - middle) * y).sum() / spread).alias("trend"),
        pl.when(enough).then(1.0 / spread.sqrt()).alias("trend_se"),
    )
    slope, half = pl.col("trend"), Z * pl.col("trend_se")
    found = found.with_columns(
        (pl.col("high_years") >= spec.school.high_years).alias("sustained_high"),
        (slope - half).alias("trend_low"),
        (slope + half).alias("trend_high"),
    )
    schema = {column.name: column.dtype for column in HISTORY}
    return found.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
