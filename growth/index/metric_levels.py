"""Levels 1-10 of metrics, on cut points that are published or set in a base year, and kept.

Every metric is held against its cut points as a *score* that is better higher: its value, or 100 minus its
value where low is better. Intervals are right-open and a perfect score has level 10, as for growth.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from growth._types import FloatArray
from growth.errors import SpecError, TableError, problem
from growth.index.levels import LEVELS, TENS, LevelCuts
from growth.school.groups import ALL
from growth.spec import GrowthSpec

__all__ = ["metric_cuts", "with_levels"]

_AHEAD = (1, 2, 3)
"""How many levels ahead the change that is needed is given for."""


def metric_cuts(metrics: pl.DataFrame, spec: GrowthSpec, *, base_year: int | None = None) -> LevelCuts:
    """Set the cut points of metrics that come without levels and without published cut points.

    Parameters
    ----------
    metrics : polars.DataFrame
        A table of metrics with `school_type`.
    spec : GrowthSpec
        ``spec.index.levels``: deciles (linear interpolation) of the scores of the base year's schools of the
        same type, all students; or tens.
    base_year : int, optional
        By default the first year of the table.

    Returns
    -------
    LevelCuts
        Keys "metric|part|school type"; cut points of scores.

    Raises
    ------
    TableError
        If fewer than ten schools of a type have a result in a metric.
    """
    rows = _without_levels(metrics, spec)
    keys = rows["_key"].unique().sort().to_list()
    if not keys:
        return LevelCuts({}, spec.index.levels)
    if spec.index.levels == "fixed_tens":
        return LevelCuts(dict.fromkeys(keys, TENS), "fixed_tens")
    if base_year is None:
        base_year = int(rows["year"].min())  # type: ignore[arg-type]
    base = rows.filter(
        (pl.col("group") == ALL) & (pl.col("year") == base_year) & pl.col("_score").is_not_null()
    )
    cuts = {}
    for key in keys:
        scores = base.filter(pl.col("_key") == key)["_score"].to_numpy()
        if len(scores) < LEVELS:
            metric, part, school_type = key.split("|")
            name = f"{metric} {part}".strip()
            raise TableError(
                problem(
                    f"Deciles of {name} cannot be set: {len(scores)} schools of type {school_type} have a "
                    f"result in the base year {base_year}",
                    rule=f"at least {LEVELS} schools",
                    fix=f"publish cut points (index.metrics.{metric}.cuts), hand over those of an earlier "
                    'year, or set index.levels = "fixed_tens"',
                )
            )
        cuts[key] = tuple(np.quantile(scores, np.arange(1, LEVELS) / LEVELS).tolist())
    return LevelCuts(cuts, "base_deciles", base_year)


def with_levels(metrics: pl.DataFrame, cuts: LevelCuts, spec: GrowthSpec) -> pl.DataFrame:
    """Return a table of metrics with every level filled, and the change needed for 1, 2 and 3 levels more.

    A level that the table gives is kept. Groups are placed on the cut points of all students.

    Returns
    -------
    polars.DataFrame
        The same rows with `level` (null where withheld), `level_source` ("given", "published",
        "base_deciles", "fixed_tens") and `needed_1`, `needed_2`, `needed_3`: what `value` must change by to
        be that many levels higher [percentage points; negative where low is better]; null beyond level 10 and
        for given levels.

    Raises
    ------
    SpecError
        If a metric has no cut points for a school type.
    """
    rows = _scored(metrics, spec).with_row_index("_row")
    parts = []
    for part in rows.partition_by("_key", maintain_order=True):
        parts.append(_on_cuts(part, cuts, spec))
    if not parts:
        empty = {"level_source": pl.String(), **{f"needed_{ahead}": pl.Float64() for ahead in _AHEAD}}
        return metrics.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in empty.items())
    return pl.concat(parts).sort("_row").drop("_row", "_key", "_score")


def _on_cuts(rows: pl.DataFrame, cuts: LevelCuts, spec: GrowthSpec) -> pl.DataFrame:
    needs = (pl.col("level").is_null() & pl.col("_score").is_not_null()).alias("_")
    open_rows = rows.select(needs).to_series().to_numpy()
    if not open_rows.any():
        given = pl.when(pl.col("level").is_not_null()).then(pl.lit("given"))
        missing = [pl.lit(None, dtype=pl.Float64).alias(f"needed_{ahead}") for ahead in _AHEAD]
        return rows.with_columns(given.alias("level_source"), *missing)
    points, source = _cut_points(rows["_key"][0], cuts, spec)
    score = rows["_score"].fill_null(np.nan).to_numpy()
    level = 1 + np.searchsorted(points, score, side="right")
    upward = spec.index.metrics[rows["metric"][0]].better == "higher"
    columns: list[pl.Expr | pl.Series] = [
        pl.when(pl.Series(open_rows))
        .then(pl.Series(level.astype(np.int8)))
        .otherwise("level")
        .alias("level"),
        pl.when(pl.Series(open_rows))
        .then(pl.lit(source))
        .when(pl.col("level").is_not_null())
        .then(pl.lit("given"))
        .alias("level_source"),
    ]
    for ahead in _AHEAD:
        reach = np.append(points, [np.nan] * LEVELS)[np.minimum(level - 2 + ahead, LEVELS)]
        change = np.where(open_rows, reach - score, np.nan)
        values = pl.Series(change if upward else -change).fill_nan(None)
        columns.append(values.alias(f"needed_{ahead}"))
    return rows.with_columns(columns)


def _cut_points(key: str, cuts: LevelCuts, spec: GrowthSpec) -> tuple[FloatArray, str]:
    """Return the lower bounds of levels 2-10 in scores, and where they come from."""
    published = _published(key, spec)
    if published is not None:
        return published, "published"
    if key not in cuts.cuts:
        metric, part, school_type = key.split("|")
        raise SpecError(
            problem(
                f"There are no cut points for {f'{metric} {part}'.strip()} in schools of type {school_type}",
                rule="cut points that are handed over are kept as they are",
                fix="set cut points with this metric, or publish some in index.metrics",
            )
        )
    return cuts.of(key), cuts.rule


def _published(key: str, spec: GrowthSpec) -> FloatArray | None:
    metric, part, school_type = key.split("|")
    rules = spec.index.metrics[metric]
    for name in (f"{part}/{school_type}", part, school_type, "all"):
        if name in rules.cuts:
            points = np.array(rules.cuts[name])
            return points if rules.better == "higher" else 100.0 - points
    return None


def _without_levels(metrics: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    """Return scored rows whose cut points must be set."""
    rows = _scored(metrics, spec).filter(pl.col("level").is_null() & pl.col("_score").is_not_null())
    published = [key for key in rows["_key"].unique().to_list() if _published(key, spec) is not None]
    return rows.filter(~pl.col("_key").is_in(published))


def _scored(metrics: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    lower = [name for name, rules in spec.index.metrics.items() if rules.better == "lower"]
    score = pl.when(pl.col("metric").is_in(lower)).then(100.0 - pl.col("value")).otherwise("value")
    key = pl.concat_str("metric", "part", "school_type", separator="|")
    return metrics.with_columns(score.alias("_score"), key.alias("_key"))
