"""Metrics from surveys: how favourably respondents answer, each respondent counting once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from growth.aggregate import by_group
from growth.index.rates import MetricResult, Step, rates
from growth.index.records import ID, NUMBER, TEXT, YEAR, Layout, read_records, refuse
from growth.spec import GrowthSpec

__all__ = ["climate", "social_emotional"]

_RESPONDENT = ["part", "year", "school_id", "respondent_id"]


def climate(records: pl.DataFrame | str | Path | Any, spec: GrowthSpec) -> MetricResult:  # noqa: ANN401
    """Return culture and climate: the mean percentage of favourable answers; parts are kinds of respondents.

    Parameters
    ----------
    records : path or frame
        One row per respondent and item: respondent_id, year, school_id, item, response (1, 2, ..., 5; blank
        if not answered), and respondent ("students", "families", "staff"; one part if left out). Columns of
        groups are optional; respondents with blanks in them count for all students only.
    spec : GrowthSpec
        ``definitions.favourable_from``, ``responses`` and ``min_items``.

    Raises
    ------
    ColumnError, TableError
        If columns are missing or impossible, or a respondent answered an item twice.
    """
    return _favourable(records, "climate", spec)


def social_emotional(records: pl.DataFrame | str | Path | Any, spec: GrowthSpec) -> MetricResult:  # noqa: ANN401
    """Return social-emotional learning: the mean percentage of favourable answers of students.

    Parameters and errors are those of `climate`; without `respondent` there is one part.
    """
    return _favourable(records, "social_emotional", spec)


def _favourable(records: object, metric: str, spec: GrowthSpec) -> MetricResult:
    definitions = spec.index.definitions
    layout = Layout(
        "survey",
        {"respondent_id": ID, "year": YEAR, "item": TEXT},
        {"school_id": ID, "response": NUMBER},
        {"respondent": TEXT},
        key=("respondent", "respondent_id", "year", "school_id", "item"),
        groups=False,
    )
    rows = read_records(records, layout, spec).with_columns(pl.col("respondent").fill_null("").alias("part"))
    response = pl.col("response")
    impossible = (response < 1) | (response > definitions.responses) | (response != response.round(0))
    refuse(
        rows, impossible, "Column 'response' is impossible", f"whole numbers, 1 to {definitions.responses}"
    )
    asked = by_group(rows, ["part", "year"], pl.col("item").n_unique().alias("_items"))
    traits = [name for name in rows.columns if name in (*spec.groups.flags.values(), spec.groups.race)]
    people = by_group(
        rows,
        _RESPONDENT,
        response.count().alias("_answered"),
        (response >= definitions.favourable_from).mean().alias("_favourable"),
        *(pl.col(name).first() for name in traits),
    )
    people = people.join(asked, on=["part", "year"], how="left", maintain_order="left")
    enough = (pl.col("_answered") >= definitions.min_items * pl.col("_items")) & (pl.col("_answered") > 0)
    steps = [Step("answered", enough, "few_items_answered")]
    return rates(people, metric, pl.col("_favourable"), steps, spec)
