"""The table of metrics that an index is made of: read, checked, and joined with the schools' types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from growth.aggregate import by_group
from growth.errors import ColumnError, TableError, did_you_mean, problem
from growth.index.lowest import with_lowest
from growth.index.rates import METRIC_COLUMNS
from growth.index.records import ID, NUMBER, TEXT, YEAR, Kind, Layout, read_records, refuse
from growth.school.groups import ALL, LOWEST_RACE, RACE
from growth.spec import GrowthSpec

__all__ = ["read_metrics", "school_types", "typed"]

_KEY = ("year", "metric", "part", "school_id", "group")
_KINDS: dict[str, Kind] = {
    "part": TEXT,
    "group_detail": TEXT,
    "numerator": NUMBER,
    "se": NUMBER,
    "level": NUMBER,
    "expected_level": NUMBER,
    "chance_expected": NUMBER,
    "reason": TEXT,
}
_LEVEL = (1.0, 10.0)


def read_metrics(source: pl.DataFrame | str | Path | Any, spec: GrowthSpec) -> pl.DataFrame:  # noqa: ANN401
    """Read a table of metrics, computed or given.

    Results that rest on fewer than ``index.min_n`` students are withheld. Where a metric has racial/ethnic
    groups ("race:...") and no "race:lowest", that is chosen.

    Parameters
    ----------
    source : path or frame
        year, metric, school_id, group ("All", a label of ``groups.flags``, "race:...", "race:lowest"), n,
        value [percent, 0-100]; optional: part, group_detail, numerator, se, level (1-10), expected_level,
        chance_expected, reason.
    spec : GrowthSpec

    Returns
    -------
    polars.DataFrame
        Columns of `growth.index.rates.METRIC_COLUMNS`.

    Raises
    ------
    ColumnError
        If columns are missing, or a value, level or count is impossible.
    TableError
        If a metric, part and group of a school is there twice, or a metric or group is unknown.
    """
    layout = Layout(
        "metric",
        {"year": YEAR, "metric": TEXT, "school_id": ID, "group": TEXT},
        {"n": NUMBER, "value": NUMBER},
        _KINDS,
        groups=False,
    )
    rows = read_records(source, layout, spec).with_columns(pl.col("part").fill_null(""))
    _check(rows, spec)
    few = (pl.col("n") < spec.index.min_n).fill_null(False)
    absent = pl.col("value").is_null() | pl.col("n").is_null()
    reason = (
        pl.when(few)
        .then(pl.lit("n_below_minimum"))
        .when(pl.col("reason").is_not_null())
        .then("reason")
        .when(absent)
        .then(pl.lit("no_result"))
    )
    rows = rows.with_columns(reason.alias("reason"))
    shown = pl.col("reason").is_null()
    numbers = ("numerator", "value", "se", "level", "expected_level", "chance_expected")
    rows = rows.with_columns(pl.when(shown).then(pl.col(name)).alias(name) for name in numbers)
    rows = rows.select(pl.col(name).cast(dtype) for name, dtype in METRIC_COLUMNS.items())
    return _with_lowest(rows, spec)


def school_types(schools: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    """Return school_id and school_type from the grades of students or schools.

    Parameters
    ----------
    schools : polars.DataFrame
        school_id and school_type; or school_id and grade, one row per student or per grade: the type then
        follows from the school's highest grade (``index.school_types``).
    spec : GrowthSpec

    Raises
    ------
    ColumnError, TableError
        If columns are missing, or a school has two types or a grade beyond all types.
    """
    if "school_type" in schools.columns:
        kinds = {"school_id": ID, "school_type": TEXT}
        known = read_records(schools, Layout("school", kinds, groups=False), spec)
        refuse(
            known,
            pl.col("school_type").str.contains("|", literal=True),
            "Column 'school_type' holds '|'",
            "any other text",
        )
        known = known.select("school_id", "school_type").unique().sort("school_id", "school_type")
        twice = int(known["school_id"].is_duplicated().sum())
        if twice:
            fix = "give each school one type"
            raise TableError(problem("Schools have several types", rule="one each", rows=twice, fix=fix))
        return known
    if "grade" not in schools.columns:
        what = f"Column 'school_type' is missing{did_you_mean('school_type', schools.columns)}"
        raise ColumnError(problem(what, fix="add it, or a column 'grade'"))
    highest = by_group(
        schools.select(pl.col("school_id").cast(pl.String), pl.col("grade").cast(pl.Int64)).drop_nulls(),
        "school_id",
        pl.col("grade").max(),
    )
    kind = pl.lit(None, dtype=pl.String)
    for name, top in reversed(spec.index.school_types.items()):
        kind = pl.when(pl.col("grade") <= top).then(pl.lit(name)).otherwise(kind)
    typed_schools = highest.with_columns(kind.alias("school_type"))
    refuse(
        typed_schools,
        pl.col("school_type").is_null(),
        "Schools have grades beyond every school type",
        "index.school_types",
    )
    return typed_schools.select("school_id", "school_type").sort("school_id")


def typed(metrics: pl.DataFrame, schools: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    """Return a table of metrics with `school_type`.

    Raises
    ------
    TableError
        If a school's type is not known, or a metric names a type that no school has.
    """
    rows = metrics.join(schools, on="school_id", how="left", maintain_order="left")
    unknown = rows.filter(pl.col("school_type").is_null())["school_id"].n_unique()
    if unknown:
        what = f"The type of {unknown:,} schools in the table of metrics is not known"
        raise TableError(problem(what, fix="add them to the table of schools"))
    types = schools["school_type"].unique().to_list()
    for name, rules in spec.index.metrics.items():
        for wanted in rules.school_types:
            if wanted not in types and wanted not in spec.index.school_types:
                what = f"index.metrics.{name} is for schools of type {wanted!r}, which no school is of"
                raise TableError(problem(f"{what}{did_you_mean(wanted, types)}", fix="correct the type"))
    return rows


def _check(rows: pl.DataFrame, spec: GrowthSpec) -> None:
    n, level = pl.col("n"), pl.col("level")
    refuse(rows, (n < 0) | (n != n.round(0)), "Column 'n' is impossible", "a number of students: 0, 1, ...")
    refuse(rows, ~pl.col("value").is_between(0, 100), "Column 'value' is impossible", "percent, 0 to 100")
    refuse(
        rows, ~level.is_between(*_LEVEL) | (level != level.round(0)), "Column 'level' is impossible", "1-10"
    )
    expected = ~pl.col("expected_level").is_between(*_LEVEL)
    refuse(rows, expected, "Column 'expected_level' is impossible", "1 to 10")
    refuse(rows, pl.col("se") < 0, "Column 'se' is negative", "a standard error")
    refuse(rows, pl.col("part").str.contains("|", literal=True), "Column 'part' holds '|'", "any other text")
    for metric in rows["metric"].unique().sort():
        if metric not in spec.index.metrics:
            hint = did_you_mean(metric, spec.index.metrics)
            fix = "correct the name, or add the metric to index.metrics in the specification"
            known = ", ".join(spec.index.metrics)
            raise TableError(
                problem(f"There is no metric {metric!r}{hint}", rule=f"metrics are {known}", fix=fix)
            )
    groups = [ALL, *spec.groups.flags, LOWEST_RACE]
    strange = rows.filter(~pl.col("group").is_in(groups) & ~pl.col("group").str.starts_with(RACE))
    if strange.height:
        raise TableError(
            problem(
                "Column 'group' has unknown groups",
                rule=f"one of {', '.join(groups)}, or race:...",
                rows=strange.height,
                fix="correct them, or add the group to groups.flags in the specification",
            )
        )
    copies = int(rows.select(_KEY).is_duplicated().sum()) if rows.height else 0
    if copies:
        what = f"Columns {', '.join(_KEY)} do not identify a row of the table of metrics"
        raise TableError(problem(what, rule="one row each", rows=copies, fix="drop the copies"))


def _with_lowest(rows: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    parts = []
    for part in rows.partition_by("metric", maintain_order=True):
        chosen = (part["group"] == LOWEST_RACE).any()
        better = spec.index.metrics[part["metric"][0]].better
        parts.append(part if chosen else with_lowest(part, spec, better=better))
    return pl.concat(parts) if parts else rows
