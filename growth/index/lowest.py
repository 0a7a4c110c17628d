r"""The lowest-performing racial/ethnic group of each school in a metric, and what chance does to it.

The group is chosen per metric, so it can differ between the metrics of a school. A minimum of several noisy
results lies below the mean of their truths: where the k groups of a school all have the same true value m,
and standard errors :math:`s_g`, the lowest result is expected at

.. math::
    m - E \max_g s_g Z_g, \qquad
    E \max_g s_g Z_g = \int \Big( \Phi(x / s_{\max}) - \prod_g \Phi(x / s_g) \Big)\, dx,

with independent standard normal Z. `chance_expected` is that value with the n-weighted mean of the groups for
m: a lowest group near it need not differ from the others.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import ndtr

from growth._types import FloatArray, VarianceRule
from growth.aggregate import by_group
from growth.errors import ColumnError, problem
from growth.school.groups import ALL, LOWEST_RACE, RACE
from growth.school.posterior import Observed, shrunken
from growth.school.spread import Expected, spread
from growth.spec import GrowthSpec

__all__ = ["expected_maximum", "with_lowest"]

_BLOCK = ["year", "metric", "part"]
_SCHOOL = [*_BLOCK, "school_id"]
_FEW_SCHOOLS = 10
"""A group in fewer schools borrows mean and variance from all students, as school results do."""
_REACH, _STEPS = 8.0, 321
"""The integral runs over so many of the largest SE either way, in so many points."""


def with_lowest(frame: pl.DataFrame, spec: GrowthSpec, *, better: str) -> pl.DataFrame:
    """Return the rows of a table of metrics with ``race:lowest`` added for each school that has races.

    The row is that group's own, number for number. Withheld groups do not compete; equal results: the first
    label in sort order. Where no group is reported, the reason is that of the largest, without its n.

    Parameters
    ----------
    frame : polars.DataFrame
        Columns of `growth.index.rates.METRIC_COLUMNS`; ``race:lowest`` not among the groups.
    spec : GrowthSpec
        ``spec.index.select_on``, and ``spec.school.variance`` for shrinkage.
    better : str
        "higher" or "lower": with the latter the lowest-performing group has the highest value.
    """
    races = frame.filter(pl.col("group").str.starts_with(RACE))
    if races.is_empty():
        return frame
    sign = 1.0 if better == "higher" else -1.0
    reported = races.filter(pl.col("reason").is_null())
    chosen_on = (
        reported["value"] if spec.index.select_on == "raw" else _shrunk(reported, frame, spec.school.variance)
    )
    found = (
        reported.with_columns((sign * chosen_on).alias("_on"))
        .sort([*_SCHOOL, "_on", "group"])
        .unique(_SCHOOL, keep="first", maintain_order=True)
        .drop("_on", "chance_expected")
        .join(_by_chance(reported, sign), on=_SCHOOL, how="left", maintain_order="left")
        .with_columns(pl.col("group").str.strip_prefix(RACE).alias("group_detail"))
    )
    none = (
        races.join(found, on=_SCHOOL, how="anti")
        .sort([*_SCHOOL, "n", "group"], descending=[False] * len(_SCHOOL) + [True, False])
        .unique(_SCHOOL, keep="first", maintain_order=True)
        .with_columns(pl.lit(None, dtype=frame.schema["n"]).alias("n"))
    )
    lowest = pl.concat([found.select(frame.columns), none]).with_columns(pl.lit(LOWEST_RACE).alias("group"))
    return pl.concat([frame, lowest])


def expected_maximum(se: FloatArray) -> FloatArray:
    """Return the expected maximum of independent normal variables with mean 0, shape (J,).

    Parameters
    ----------
    se : ndarray, shape (J, k)
        Their standard deviations; NaN for none. Rows without any give 0.
    """
    largest = np.nanmax(np.where(np.isnan(se), 0.0, se), axis=1, initial=0.0)
    safe = np.where(largest > 0.0, largest, 1.0)
    grid = np.linspace(-_REACH, _REACH, _STEPS)
    product = np.ones((len(se), _STEPS))
    for group in range(se.shape[1]):
        ratio = np.where(np.isnan(se[:, group]), 0.0, se[:, group]) / safe
        there = ~np.isnan(se[:, group])
        with np.errstate(divide="ignore", invalid="ignore"):
            below = np.asarray(ndtr(grid / ratio[:, None]))
        # Without spread a group stays at 0: a step, half-way up at 0 (0 / 0).
        product *= np.where(there[:, None], np.where(np.isnan(below), 0.5, below), 1.0)
    integral = np.trapezoid(ndtr(grid) - product, grid, axis=1)
    return np.where(largest > 0.0, largest * integral, 0.0)


def _by_chance(reported: pl.DataFrame, sign: float) -> pl.DataFrame:
    """Return, per school, the lowest result that is expected if its groups do not differ."""
    if reported.is_empty():
        return reported.select(*_SCHOOL, "chance_expected")
    mean = (pl.col("value") * pl.col("n")).sum() / pl.col("n").sum()
    schools = by_group(
        reported, _SCHOOL, mean.alias("_mean"), pl.col("se").null_count().alias("_unknown"), pl.col("se")
    )
    width = int(schools["se"].list.len().max() or 0)  # type: ignore[arg-type]
    columns = [schools["se"].list.get(i, null_on_oob=True) for i in range(width)]
    se = np.column_stack([column.cast(pl.Float64).fill_null(np.nan).to_numpy() for column in columns])
    drop = pl.Series("_drop", sign * expected_maximum(se))
    expected = pl.when(pl.col("_unknown") == 0).then(pl.col("_mean") - drop)
    return schools.with_columns(expected.alias("chance_expected")).select(*_SCHOOL, "chance_expected")


def _shrunk(reported: pl.DataFrame, frame: pl.DataFrame, rule: VarianceRule) -> pl.Series:
    """Return values shrunk towards the mean of their group over schools, in the order of `reported`."""
    unknown = int(reported["se"].null_count())
    if unknown:
        raise ColumnError(
            problem(
                "Column 'se' has blanks beside results of racial/ethnic groups",
                rule='index.select_on = "shrunk" shrinks results by their standard errors',
                rows=unknown,
                fix='give the standard errors, or set index.select_on = "raw"',
            )
        )
    everyone = frame.filter((pl.col("group") == ALL) & pl.col("reason").is_null())
    rows = reported.with_row_index("_row")
    parts = []
    for part in rows.partition_by(*_BLOCK, "group", maintain_order=True):
        source = part
        if part.height < _FEW_SCHOOLS:
            source = everyone.join(part.select(_BLOCK).unique(), on=_BLOCK, how="semi")
        shrunk = _towards_mean(part, source, rule)
        parts.append(part.select("_row", pl.Series("_shrunk", shrunk)))
    if not parts:
        return pl.Series("_shrunk", [], dtype=pl.Float64)
    return pl.concat(parts).sort("_row")["_shrunk"]


def _towards_mean(part: pl.DataFrame, source: pl.DataFrame, rule: VarianceRule) -> FloatArray:
    """Return shrunken values; a value without error stays what it is."""
    values, se = part["value"].to_numpy(), part["se"].to_numpy()
    usable = source.filter(pl.col("se") > 0.0)
    if usable.height < 2:
        return np.asarray(values)  # no spread within or between schools to weigh against each other
    found = spread(usable["value"].to_numpy(), usable["se"].to_numpy(), rule)
    sure = se <= 0.0
    known = Observed(values, np.where(sure, np.nan, se), Expected.alike(len(values)), found)
    return np.where(sure, values, shrunken(known).mean)
