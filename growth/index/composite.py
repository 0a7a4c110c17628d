"""The index of each school: levels of metrics, points of groups, domains, what is missing, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from growth.index.levels import LevelCuts
from growth.index.metric_levels import metric_cuts, with_levels
from growth.index.metric_table import read_metrics, school_types, typed
from growth.index.points import DOMAINS, Cell, DomainPoints, award, group_shares
from growth.index.sentences import point_sentence, school_sentence
from growth.school.groups import ALL
from growth.spec import GrowthSpec

__all__ = ["SchoolIndex", "school_index"]

_POINTS: dict[str, pl.DataType] = {
    "year": pl.Int32(),
    "school_id": pl.String(),
    "school_type": pl.String(),
    "domain": pl.String(),
    "metric": pl.String(),
    "part": pl.String(),
    "group": pl.String(),
    "group_detail": pl.String(),
    "n": pl.Int64(),
    "value": pl.Float64(),
    "level": pl.Int8(),
    "level_source": pl.String(),
    "level_change": pl.Int8(),
    "needed_1": pl.Float64(),
    "needed_2": pl.Float64(),
    "needed_3": pl.Float64(),
    "chance_expected": pl.Float64(),
    "share": pl.Float64(),
    "possible": pl.Float64(),
    "points": pl.Float64(),
    "expected_points": pl.Float64(),
    "reason": pl.String(),
    "sentence": pl.String(),
}
_INDEX: dict[str, pl.DataType] = {
    "year": pl.Int32(),
    "school_id": pl.String(),
    "school_type": pl.String(),
    "index": pl.Float64(),
    "academic": pl.Float64(),
    "school_quality": pl.Float64(),
    "academic_possible": pl.Float64(),
    "school_quality_possible": pl.Float64(),
    "expected_index": pl.Float64(),
    "metrics": pl.Int64(),
    "applicable": pl.Int64(),
    "coverage": pl.Float64(),
    "reason": pl.String(),
    "sentence": pl.String(),
}
_SCHOOL = ("year", "school_id", "school_type")
_CELL = ("year", "metric", "part", "school_id", "group")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SchoolIndex:
    """The index of every school and what it is made of."""

    index: pl.DataFrame
    """One row per year and school: index (0-100), points of the domains academic and school_quality with
    those possible, expected_index (with levels replaced by their expectation where the table has it), metrics
    with a result, those applicable, coverage (their ratio), reason why there is no index, sentence."""
    points: pl.DataFrame
    """One row per year, school, metric, part and group: n, value [percent], level, level_source, level_change
    since the year before, change of value needed_1, needed_2, needed_3 for so many levels more, share of the
    metric's points, possible points, points, expected_points, reason why there are none, sentence. `n` is
    null where it, or the number of students outside the group, is below the minimum."""
    cuts: LevelCuts
    """Cut points that were set or handed over, to keep for later years; published ones are in the spec."""
    inactive: tuple[str, ...]
    """Metrics of the specification that nobody has a result in."""
    ignored: int
    """Rows of metrics that do not apply to the school's type."""
    exact: dict[tuple[int, str], Fraction] = field(repr=False)
    """(year, school_id) -> the index as a fraction."""

    @property
    def plot(self) -> Any:  # noqa: ANN401
        """Altair charts, `growth.plot.IndexPlots`: ``schools()``, and ``school(school_id)``."""
        return import_module("growth.plot").IndexPlots(self)  # by name: pictures live further up the street

    def __repr__(self) -> str:
        shown = self.index["index"].drop_nulls()
        middle = f", median {np.median(shown.to_numpy()):.1f}" if len(shown) else ""
        return f"SchoolIndex({len(shown):,} of {self.index.height:,} schools x years have an index{middle})"

    def explain(self, school_id: str, *, year: int | None = None) -> list[str]:
        """Return a school's index in plain sentences; the latest year by default."""
        rows = self.index.filter(pl.col("school_id") == school_id)
        chosen = rows["year"].max() if year is None else year
        own = (pl.col("school_id") == school_id) & (pl.col("year") == chosen)
        lines: list[str] = self.index.filter(own)["sentence"].to_list()
        return lines + self.points.filter(own)["sentence"].to_list()


@dataclass(frozen=True, slots=True)
class _Scored:
    """One school's award, and the rows of the points frame that it belongs to."""

    award: DomainPoints
    place: dict[tuple[str, str, str], int]
    """(metric, part, group) -> its position in the award."""


def school_index(
    metrics: pl.DataFrame | str | Path | Any,  # noqa: ANN401
    spec: GrowthSpec,
    *,
    schools: pl.DataFrame,
    cuts: LevelCuts | None = None,
) -> SchoolIndex:
    """Compute the School Quality Improvement Index from a table of metrics.

    1. Results of fewer than ``index.min_n`` students are withheld.
    2. Each result gets a level 1-10: the one that the table gives (growth), or one on published cut points,
       or on those of a base year (`cuts`, else set here).
    3. A metric is *applicable* to a school if it is meant for its type and any school of that type has a
       result in it that year, *active* if the school has one. A domain's points are divided evenly over its
       active metrics, a metric's over its parts (subjects, rates, kinds of respondents), a part's over all
       students and the groups; shares renormalise over the groups that are reported. Points are the share
       times level / 10, in exact fractions.
    4. A school without a metric in a domain, or with fewer than ``index.min_metrics``, has no index, or what
       ``index.missing`` and ``index.empty_domain`` say.

    Parameters
    ----------
    metrics : path or frame
        See `growth.index.metric_table.read_metrics`.
    spec : GrowthSpec
        ``spec.index`` and ``spec.groups``.
    schools : polars.DataFrame
        school_id and school_type, or school_id and grade (a students frame will do).
    cuts : LevelCuts, optional
        Cut points of an earlier year, ``earlier.cuts``.

    Returns
    -------
    SchoolIndex

    Raises
    ------
    ColumnError, TableError
        If the table or the schools cannot be used.
    SpecError
        If `cuts` lacks a metric.
    """
    table = typed(read_metrics(metrics, spec), school_types(schools, spec), spec)
    meant, ignored = _applicable(table, spec)
    used = metric_cuts(meant, spec) if cuts is None else cuts
    leveled = _with_change(with_levels(meant, used, spec))
    wanted = _wanted(leveled, spec)
    scored = dict(_award_all(wanted, spec))
    return SchoolIndex(
        index=_index_frame(leveled.select(_SCHOOL).unique().sort(_SCHOOL), wanted, scored, spec),
        points=_points_frame(wanted, scored, spec),
        cuts=used,
        inactive=tuple(name for name in spec.index.metrics if name not in set(wanted["metric"])),
        ignored=ignored,
        exact={key: found.award.total for key, found in scored.items()},
    )


def _applicable(table: pl.DataFrame, spec: GrowthSpec) -> tuple[pl.DataFrame, int]:
    """Return the rows that apply to their school's type, and how many do not."""
    meant = pl.lit(False)
    for name, rules in spec.index.metrics.items():
        types = pl.col("school_type").is_in(list(rules.school_types)) if rules.school_types else pl.lit(True)
        meant = meant | ((pl.col("metric") == name) & types)
    kept = table.filter(meant)
    return kept, table.height - kept.height


def _with_change(rows: pl.DataFrame) -> pl.DataFrame:
    """Add the change of level since the year before; a lowest group is compared whichever it was."""
    before = rows.select(
        *(pl.col(name) for name in _CELL if name != "year"),
        (pl.col("year") + 1).alias("year"),
        pl.col("level").alias("_before"),
    )
    joined = rows.join(before, on=_CELL, how="left", maintain_order="left")
    return joined.with_columns((pl.col("level") - pl.col("_before")).alias("level_change")).drop("_before")


def _wanted(rows: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    """Return one row per cell that could have points: every part of a metric that its school type has."""
    active = rows.filter(pl.col("level").is_not_null())
    parts = active.select("year", "school_type", "metric", "part").unique()
    shares = [
        (name, rules.domain, group, order, rank)
        for order, (name, rules) in enumerate(spec.index.metrics.items())
        for rank, group in enumerate(group_shares(spec, name))
    ]
    schema = {
        "metric": pl.String(),
        "domain": pl.String(),
        "group": pl.String(),
        "_metric": pl.Int64(),
        "_group": pl.Int64(),
    }
    cells = parts.join(pl.DataFrame(shares, schema=schema, orient="row"), on="metric")
    schools = rows.select(_SCHOOL).unique()
    wanted = schools.join(cells, on=["year", "school_type"]).join(
        rows, on=[*_CELL, "school_type"], how="left"
    )
    reason = pl.when(pl.col("level").is_null()).then(pl.coalesce("reason", pl.lit("no_result")))
    # A group's count would tell the result of those outside it, by subtraction.
    place = ["year", "school_id", "metric", "part"]
    everyone = pl.col("group") == ALL
    total = pl.col("n").filter(everyone).first().over(place)
    outside = total - pl.col("n")
    shown = (pl.col("n") >= spec.index.min_n) & (everyone | (outside >= spec.index.min_n))
    return wanted.with_columns(
        reason.alias("reason"), pl.when(shown.fill_null(False)).then("n").alias("n")
    ).sort("year", "school_id", "_metric", "part", "_group")


def _award_all(wanted: pl.DataFrame, spec: GrowthSpec) -> Iterator[tuple[tuple[int, str], _Scored]]:
    columns = ("year", "school_id", "domain", "metric", "part", "group", "level")
    cells: dict[tuple[int, str], list[Cell]] = {}
    for year, school, domain, metric, part, group, level in wanted.select(columns).iter_rows():
        held = cells.setdefault((year, school), [])
        if level is not None:
            held.append(Cell(domain, metric, part, group, level))
    for key, held in cells.items():
        place = {(cell.metric, cell.part, cell.group): at for at, cell in enumerate(held)}
        yield key, _Scored(award(held, spec), place)


def _points_frame(
    wanted: pl.DataFrame, scored: dict[tuple[int, str], _Scored], spec: GrowthSpec
) -> pl.DataFrame:
    share: list[float | None] = []
    possible: list[float | None] = []
    points: list[float | None] = []
    expected: list[float | None] = []
    sentences: list[str] = []
    for row in wanted.iter_rows(named=True):
        found = scored[(row["year"], row["school_id"])]
        at = found.place.get((row["metric"], row["part"], row["group"]))
        award_ = found.award
        share.append(None if at is None else float(award_.share[at]))
        possible.append(None if at is None else float(award_.weight[at]))
        points.append(None if at is None else float(award_.points[at]))
        expected.append(None if at is None else _expected(award_.weight[at], row))
        lower = spec.index.metrics[row["metric"]].better == "lower"
        sentences.append(point_sentence(row, points[-1], possible[-1], lower=lower))
    frame = wanted.with_columns(
        pl.Series("share", share, dtype=pl.Float64),
        pl.Series("possible", possible, dtype=pl.Float64),
        pl.Series("points", points, dtype=pl.Float64),
        pl.Series("expected_points", expected, dtype=pl.Float64),
        pl.Series("sentence", sentences, dtype=pl.String),
    )
    return frame.select(pl.col(name).cast(dtype) for name, dtype in _POINTS.items())


def _expected(possible: Fraction, row: dict[str, Any]) -> float:
    level: float = row["level"] if row["expected_level"] is None else row["expected_level"]
    return float(possible) * level / 10.0


def _index_frame(
    schools: pl.DataFrame, wanted: pl.DataFrame, scored: dict[tuple[int, str], _Scored], spec: GrowthSpec
) -> pl.DataFrame:
    found = wanted.partition_by("year", "school_id", maintain_order=True, as_dict=True)
    rows = []
    for year, school, school_type in schools.iter_rows():
        part = found.get((year, school))
        if part is None:  # no school of its type has a result in any metric
            result: dict[str, Any] = {
                "index": None,
                "metrics": 0,
                "applicable": 0,
                "reason": "too_few_metrics",
            }
            result["sentence"] = school_sentence(result, ())
        else:
            result = _one_index(part, scored[(year, school)], spec)
        rows.append({"year": year, "school_id": school, "school_type": school_type} | result)
    return pl.DataFrame(rows, schema=_INDEX)


def _one_index(part: pl.DataFrame, found: _Scored, spec: GrowthSpec) -> dict[str, Any]:
    applicable = part["metric"].unique(maintain_order=True).to_list()
    active = part.filter(pl.col("level").is_not_null())["metric"].unique(maintain_order=True).to_list()
    lacking = [name for name in applicable if name not in active]
    domains = found.award.domains
    reason = _no_index(active, lacking, set(domains), spec)
    possible = {domain: Fraction(0) for domain in domains}
    expected = 0.0
    cells = part.filter(pl.col("level").is_not_null())
    for row in cells.select("domain", "metric", "part", "group", "level", "expected_level").iter_rows(
        named=True
    ):
        weight = found.award.weight[found.place[(row["metric"], row["part"], row["group"])]]
        possible[row["domain"]] += weight
        expected += _expected(weight, row)
    result: dict[str, Any] = {
        "index": None if reason else float(found.award.total),
        "expected_index": None if reason else expected,
        "metrics": len(active),
        "applicable": len(applicable),
        "coverage": len(active) / len(applicable),
        "reason": reason,
    }
    for domain in DOMAINS:
        result[domain] = float(domains[domain]) if domain in domains else None
        result[f"{domain}_possible"] = float(possible[domain]) if domain in domains else None
    return result | {"sentence": school_sentence(result, lacking)}


def _no_index(active: list[str], lacking: list[str], domains: set[str], spec: GrowthSpec) -> str | None:
    rules = spec.index
    if len(active) < rules.min_metrics:
        return "too_few_metrics"
    if lacking and rules.missing == "no_index":
        return "metric_missing"
    # A domain without points is none that could be empty.
    with_points = {"academic"} if rules.academic_points == 100.0 else set(DOMAINS)
    with_points = {"school_quality"} if rules.academic_points == 0.0 else with_points
    if with_points - domains and rules.empty_domain == "no_index":
        return "domain_empty"
    return None
