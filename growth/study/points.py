"""Index points that a change of results moves: what levels mean for what is published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from growth.aggregate import by_group
from growth.index import growth_metrics, growth_points, school_index
from growth.index.growth_metric import GROWTH
from growth.index.metric_table import read_metrics
from growth.pipeline import GrowthRun

__all__ = ["points_between", "points_moved", "points_sentence"]

_SCHOOL = ["year", "school_id"]
_UNIT = ["year", "subject", "school_id"]


def points_moved(base: pl.DataFrame, other: pl.DataFrame) -> tuple[float | None, float | None]:
    """Return the mean and the largest change without sign, over schools with points in both.

    Parameters
    ----------
    base, other : polars.DataFrame
        Of one year and subject, as of `growth.index.growth_points`.

    Returns
    -------
    mean, largest : float or None
        [index points]; None without such schools.
    """
    both = base.join(other, on=_UNIT, suffix="_other", maintain_order="left")
    moved = np.abs(both["points_other"].to_numpy() - both["points"].to_numpy())
    return (float(moved.mean()), float(moved.max())) if len(moved) else (None, None)


def points_between(
    a: GrowthRun,
    b: GrowthRun,
    metrics: pl.DataFrame | str | Path | Any | None,  # noqa: ANN401
) -> pl.DataFrame:
    """Return the index points of schools in two runs; `growth.study.compare_runs` says of which kind.

    Returns
    -------
    polars.DataFrame
        year, school_id, growth_a, growth_b (points from growth, all subjects together), growth_moved (b less
        a), index_a, index_b, index_moved [index points]; null where a run has none.
    """
    one, two = (_growth(run) for run in (a, b))
    found = one.join(two, on=_SCHOOL, how="full", coalesce=True, suffix="_b").rename({"growth": "growth_a"})
    if metrics is None:
        none = pl.lit(None, pl.Float64)
        found = found.with_columns(none.alias("index_a"), none.alias("index_b"))
    else:
        for name, run in (("index_a", a), ("index_b", b)):
            found = found.join(_index(run, metrics, name), on=_SCHOOL, how="left")
    return found.select(
        *_SCHOOL,
        "growth_a",
        "growth_b",
        (pl.col("growth_b") - pl.col("growth_a")).alias("growth_moved"),
        "index_a",
        "index_b",
        (pl.col("index_b") - pl.col("index_a")).alias("index_moved"),
    ).sort(_SCHOOL)


def points_sentence(points: pl.DataFrame) -> str:
    """Return the points moved in words; empty where no school has points in both runs."""
    for kind, words in (("index", "The index moves"), ("growth", "Index points from growth move")):
        moved = points[f"{kind}_moved"].drop_nulls().abs().to_numpy()
        if len(moved):
            return (
                f"{words} by {moved.mean():.1f} points on average over {len(moved):,} schools, by "
                f"{moved.max():.1f} at most; by a point or more in {np.count_nonzero(moved >= 1):,}."
            )
    return ""


def _growth(run: GrowthRun) -> pl.DataFrame:
    found = growth_points(run.frames["schools"], run.frames["levels"], run.spec, run.frames["students"])
    return by_group(found, _SCHOOL, pl.col("points").sum().alias("growth"))


def _index(run: GrowthRun, metrics: Any, name: str) -> pl.DataFrame:  # noqa: ANN401
    """Return the index of a run's growth and the other metrics."""
    own = growth_metrics(run.frames["schools"], run.frames["levels"], run.spec)
    others = read_metrics(metrics, run.spec).filter(pl.col("metric") != GROWTH)
    table = pl.concat([others, own])
    found = school_index(table, run.spec, schools=run.frames["students"])
    return found.index.select(*_SCHOOL, pl.col("index").alias(name))
