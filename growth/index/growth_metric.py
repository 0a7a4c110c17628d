"""The growth metric of the index: school growth percentiles and levels of a run."""

from __future__ import annotations

from functools import reduce
from operator import add

import polars as pl

from growth.errors import ColumnError, did_you_mean, problem
from growth.index.levels import LEVELS
from growth.index.lowest import with_lowest
from growth.index.rates import METRIC_COLUMNS
from growth.school.groups import LOWEST_RACE, RACE
from growth.school.placement import COMPOSITE
from growth.spec import GrowthSpec

__all__ = ["GROWTH", "growth_metrics"]

GROWTH = "growth"

_KEYS = ["year", "subject", "group", "school_id"]
_SCHOOLS = (*_KEYS, "n", "effect", "effect_se", "growth_percentile", "reason")
_P_LEVEL = [f"p_level_{level}" for level in range(1, LEVELS + 1)]


def growth_metrics(schools: pl.DataFrame, levels: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    """Return the growth metric as a table of metrics; parts are the subjects.

    A composite over subjects is left out: it is its subjects once more.

    Parameters
    ----------
    schools, levels : polars.DataFrame
        The frames of a run. Where one of them has p_level_1, ..., p_level_10, the probabilities of levels,
        the expected level comes along.
    spec : GrowthSpec
        ``spec.index``: the smallest number of students, and what the lowest racial/ethnic group is chosen on:
        the school's mean (or median) percentile, as it is or shrunk.

    Returns
    -------
    polars.DataFrame
        Columns as in `growth.index.rates.METRIC_COLUMNS`. `value` is the growth percentile; `chance_expected`
        is what chance makes of the lowest group's mean percentile [percentile points], not of its rank.

    Raises
    ------
    ColumnError
        If a column is missing.
    """
    _require(schools, _SCHOOLS, "schools")
    _require(levels, (*_KEYS, "level"), "levels")
    chances = [name for name in _P_LEVEL if name in levels.columns and name not in schools.columns]
    rows = schools.join(
        levels.select([*_KEYS, "level", *chances]), on=_KEYS, how="left", maintain_order="left"
    )
    rows = rows.filter(pl.col("group") != LOWEST_RACE, pl.col("subject") != COMPOSITE)
    few = pl.col("n") < spec.index.min_n
    reason = pl.when(few).then(pl.lit("n_below_minimum")).otherwise("reason")
    rows = rows.with_columns(
        pl.lit(GROWTH).alias("metric"),
        pl.col("subject").alias("part"),
        pl.lit(None, dtype=pl.Float64).alias("numerator"),
        pl.lit(None, dtype=pl.Float64).alias("chance_expected"),
        pl.lit(None, dtype=pl.String).alias("group_detail"),
        _expected_level(rows).alias("expected_level"),
        pl.col("effect").alias("value"),
        pl.col("effect_se").alias("se"),
        reason.alias("reason"),
    )
    shown = pl.col("reason").is_null()
    rows = rows.with_columns(
        pl.when(shown).then(pl.col(name)).alias(name)
        for name in ("value", "se", "growth_percentile", "level", "expected_level")
    )
    plain = rows.select(pl.col(name).cast(dtype) for name, dtype in METRIC_COLUMNS.items())
    chosen = with_lowest(plain, spec, better="higher")
    return _as_percentiles(chosen, rows)


def _as_percentiles(chosen: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Put growth percentiles in the place of the means that chose the lowest groups."""
    own = pl.when(pl.col("group") == LOWEST_RACE).then(RACE + pl.col("group_detail")).otherwise("group")
    keys = ["year", "part", "school_id", "_own"]
    ranks = rows.select("year", "part", "school_id", pl.col("group").alias("_own"), "growth_percentile")
    joined = chosen.with_columns(own.alias("_own")).join(ranks, on=keys, how="left", maintain_order="left")
    return joined.with_columns(
        pl.col("growth_percentile").cast(pl.Float64).alias("value"), pl.lit(None, pl.Float64).alias("se")
    ).select(list(METRIC_COLUMNS))


def _expected_level(rows: pl.DataFrame) -> pl.Expr:
    if not all(name in rows.columns for name in _P_LEVEL):
        return pl.lit(None, dtype=pl.Float64)
    # pl.sum_horizontal adds in an order that depends on the number of polars' threads
    parts = (level * pl.col(name) for level, name in enumerate(_P_LEVEL, start=1))
    return reduce(add, parts)


def _require(frame: pl.DataFrame, columns: tuple[str, ...], name: str) -> None:
    for column in columns:
        if column not in frame.columns:
            what = f"Column {column!r} is missing from the {name} frame{did_you_mean(column, frame.columns)}"
            raise ColumnError(problem(what, fix=f"give the {name} frame of a run"))
