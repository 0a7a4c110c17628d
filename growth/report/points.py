"""Index points as the page shows them, and partner schools: levels and points, and no count of any group.

A metric's points are shown where those of all its students may be. They are divided among groups only where
every group that could count is shown as well: the points of a single hidden group would be what is left. A
group that is withheld among school results of the year is withheld in every metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import polars as pl

from growth.index.points import DOMAINS, group_shares
from growth.release.published import least_of, shown_results
from growth.school.groups import ALL, LOWEST_RACE, RACE
from growth.spec import GrowthSpec

__all__ = ["IndexLike", "IndexTables", "PageIndex", "PairTables", "PairsLike", "page_index", "page_pairs"]

_PLACE = ["school_id", "metric", "part"]
_SCHOOLS: dict[str, pl.DataType] = {
    "school_id": pl.String(),
    "school_type": pl.String(),
    "index": pl.Float64(),
    **{name: pl.Float64() for domain in DOMAINS for name in (domain, f"{domain}_possible")},
    "metrics": pl.Int64(),
    "applicable": pl.Int64(),
    "reason": pl.String(),
}
_LINES: dict[str, pl.DataType] = {
    "school_id": pl.String(),
    "domain": pl.String(),
    "metric": pl.String(),
    "part": pl.String(),
    "points": pl.Float64(),
    "possible": pl.Float64(),
    "divided": pl.Boolean(),
}
_CELLS: dict[str, pl.DataType] = {
    **{name: pl.String() for name in (*_PLACE, "group", "group_detail")},
    "level": pl.Int64(),
    "points": pl.Float64(),
    "possible": pl.Float64(),
}
_PAIRS: dict[str, pl.DataType] = {
    "school_id": pl.String(),
    "partner_id": pl.String(),
    "kept": pl.Boolean(),
    "rank": pl.Int64(),
    "candidates": pl.Int64(),
    "level": pl.Float64(),
    "partner_level": pl.Float64(),
    "probability": pl.Float64(),
    "needs": pl.Int64(),
    "needs_met": pl.Float64(),
}


@runtime_checkable
class IndexLike(Protocol):
    """What the page needs from a `SchoolIndex`."""

    @property
    def index(self) -> pl.DataFrame:
        """One row per year and school."""

    @property
    def points(self) -> pl.DataFrame:
        """One row per year, school, metric, part and group."""


@runtime_checkable
class PairsLike(Protocol):
    """What the page needs from `Pairs`."""

    @property
    def pairs(self) -> pl.DataFrame:
        """One row per pair."""

    @property
    def unmatched(self) -> pl.DataFrame:
        """Schools without a partner: school_id, reason."""


@dataclass(frozen=True, slots=True)
class IndexTables:
    """Tables of a folder that ``growth index`` wrote."""

    index: pl.DataFrame
    points: pl.DataFrame


@dataclass(frozen=True, slots=True)
class PairTables:
    """Tables of a folder that ``growth pair`` wrote."""

    pairs: pl.DataFrame
    unmatched: pl.DataFrame


@dataclass(frozen=True, slots=True)
class PageIndex:
    """The index of the latest year, as far as it may be shown."""

    year: int | None
    schools: pl.DataFrame
    """school_id, school_type, index, points and possible points of the domains, metrics with a result,
    metrics that apply, reason why there is no index."""
    lines: pl.DataFrame
    """school_id, domain, metric, part, points, possible, divided: the groups' points are shown as well."""
    cells: pl.DataFrame
    """school_id, metric, part, group, group_detail, level; points and possible where they are divided."""


def page_index(found: IndexLike | None, schools: pl.DataFrame, spec: GrowthSpec) -> PageIndex:
    """Return the index of the latest year with everything withheld that must not be published.

    Parameters
    ----------
    found : IndexLike, optional
        Nothing is shown without.
    schools : polars.DataFrame
        The frame of the run, whose suppression holds for the metrics as well.
    spec : GrowthSpec
        Its minimum numbers of students, and the groups that share a metric's points.
    """
    if found is None or found.index.is_empty():
        return PageIndex(None, pl.DataFrame(schema=_SCHOOLS), _empty(_LINES), _empty(_CELLS))
    year = int(found.index["year"].max())  # type: ignore[arg-type]
    index = found.index.filter(year=year).select(pl.col(name).cast(kind) for name, kind in _SCHOOLS.items())
    counting = found.points.filter(pl.col("reason").is_null(), year=year).with_row_index("_at")
    cells = counting.with_columns(_shown(counting, schools.filter(year=year), spec))
    whole = cells.filter((pl.col("group") == ALL) & pl.col("_shown")).select(_PLACE)
    cells = cells.join(whole, on=_PLACE, how="semi", maintain_order="left")
    wanted = {metric: len(group_shares(spec, metric)) for metric in cells["metric"].unique()}
    groups = pl.col("_shown").sum().over(_PLACE)
    divided = groups == pl.col("metric").replace_strict(wanted, default=0, return_dtype=pl.Int64)
    cells = cells.with_columns(divided.alias("divided"))
    totals = [pl.col(name).sum().over(_PLACE) for name in ("points", "possible")]
    lines = cells.with_columns(totals).unique(_PLACE, keep="first", maintain_order=True)
    told = cells.filter("_shown").with_columns(
        pl.when("divided").then(pl.col(name)).alias(name) for name in ("points", "possible")
    )
    return PageIndex(year, index.sort("school_id"), _typed(lines, _LINES), _typed(told, _CELLS))


def _shown(cells: pl.DataFrame, schools: pl.DataFrame, spec: GrowthSpec) -> pl.Series:
    """Say which results are of students who are many enough, and not withheld among school results."""
    school, group = least_of(spec)
    everyone = pl.col("group") == ALL
    enough = pl.col("n") >= pl.when(everyone).then(school).otherwise(group)
    told = shown_results(schools, spec)
    hidden = told.filter(~pl.col("shown")).select("school_id", "group").unique()
    race = pl.col("group_detail").cast(pl.String).str.strip_prefix(RACE)
    own = pl.when(pl.col("group") == LOWEST_RACE).then(pl.lit(RACE) + race).otherwise("group")
    rows = cells.with_columns(own.alias("_own"))
    for name in ("group", "_own"):
        withheld = hidden.rename({"group": name}).with_columns(pl.lit(True).alias(f"_hidden{name}"))
        rows = rows.join(withheld, on=["school_id", name], how="left", maintain_order="left")
    free = pl.col("_hiddengroup").is_null() & pl.col("_hidden_own").is_null()
    # A lowest group without a name cannot be looked up.
    named = (pl.col("group") != LOWEST_RACE) | pl.col("_own").is_not_null()
    return rows.select((enough.fill_null(False) & free & named).alias("_shown")).to_series()


def page_pairs(found: PairsLike | None, shown: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return pairs, and schools without a partner, of schools that are shown.

    Parameters
    ----------
    found : PairsLike, optional
    shown : polars.Series
        school_id of the schools with a result in the latest year.

    Returns
    -------
    pairs : polars.DataFrame
        school_id, partner_id, kept, rank, candidates, level, partner_level, probability, needs, needs_met.
    unmatched : polars.DataFrame
        school_id, reason.
    """
    if found is None:
        return _empty(_PAIRS), pl.DataFrame(schema={"school_id": pl.String, "reason": pl.String})
    ids = shown.cast(pl.String).to_list()
    both = pl.col("school_id").is_in(ids) & pl.col("partner_id").is_in(ids)
    pairs = _typed(found.pairs, _PAIRS).filter(both).sort("school_id")
    alone = found.unmatched.select("school_id", "reason").filter(pl.col("school_id").is_in(ids))
    return pairs, alone.sort("school_id")


def _empty(schema: dict[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame(schema=schema)


def _typed(frame: pl.DataFrame, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(kind) for name, kind in schema.items())
