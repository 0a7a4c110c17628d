"""What the page's program works on: codes once, results column by column, as short as JSON gets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from growth.release.published import least_of
from growth.report.index_data import index_data, pairs_data
from growth.report.labels import (
    group_label,
    group_name,
    printed,
    reason_words,
    step_label,
    subject_name,
)
from growth.report.results import Results, WaterfallLine
from growth.report.words import index_words, school_words
from growth.school.groups import ALL
from growth.spec import GrowthSpec

__all__ = ["achievement_range", "most_students", "payload", "waterfall_bars"]

_PARTS = {"gp": "growth_percentile", "lo": "growth_percentile_low", "hi": "growth_percentile_high"}
_STEPS = (1, 2, 3)


def payload(results: Results, spec: GrowthSpec, frozen_norms: bool) -> dict[str, Any]:
    """Return the data of the page.

    Results that are shown come first; columns of results end with them.

    Parameters
    ----------
    results : Results
    spec : GrowthSpec
    frozen_norms : bool
        Schools are ranked in the distribution of an earlier year.
    """
    from growth.report.charts import chart_specs

    ordered = results.rows
    rows = ordered.sort(pl.col("reason").is_not_null(), maintain_order=True)
    codes = {
        name: ordered[name].unique(maintain_order=True).to_list() for name in ("year", "subject", "group")
    }
    schools = rows.select("school_id", "school_name", "district", "grade_span", "mean_prior")
    schools = _with_index_only(schools.unique("school_id", maintain_order=True), results).sort("school_id")
    codes["school_id"] = schools["school_id"].to_list()
    codes["reason"] = rows["reason"].drop_nulls().unique().sort().to_list()
    school_minimum, minimum = least_of(spec)
    columns, details = _columns(rows, codes)
    place = {school: at for at, school in enumerate(codes["school_id"])}
    return {
        "years": codes["year"],
        "subjects": [subject_name(subject) for subject in codes["subject"]],
        "subjectCodes": codes["subject"],
        "groups": [group_name(group) for group in codes["group"]],
        "groupLabels": [group_label(group) for group in codes["group"]],
        "everyone": codes["group"].index(ALL) if ALL in codes["group"] else -1,
        "flags": [codes["group"].index(group) for group in spec.groups.flags if group in codes["group"]],
        "schools": _schools(schools),
        "reasons": [reason_words(reason, school_minimum) for reason in codes["reason"]],
        "groupReasons": [reason_words(reason, minimum) for reason in codes["reason"]],
        "details": details,
        "atLeast": f"{minimum} or more",
        "signed": spec.school.aggregate == "mean_residual",
        "tens": spec.levels.rule == "fixed_tens",
        "bands": [spec.levels.average_from, spec.levels.above_from],
        "rows": columns,
        "whole": _whole(rows, results),
        "similar": _similar(results, codes),
        "history": _history(results, codes),
        "districts": _districts(results, codes),
        "waterfall": waterfall_bars(results.waterfall),
        "charts": chart_specs(achievement_range(rows), most_students(rows), schools.height),
        "words": school_words(spec, frozen_norms) | index_words(),
        "index": index_data(results.index, place, spec),
        "pairs": pairs_data(results.pairs, results.unmatched, place),
    }


def _columns(rows: pl.DataFrame, codes: Mapping[str, list[Any]]) -> tuple[dict[str, list[Any]], list[str]]:
    """Return the results as lists; a code is the place of its value in the list of all values."""
    shown = rows.filter(pl.col("reason").is_null())
    names = {"year": "year", "subject": "subject", "group": "group", "school": "school_id"}
    columns = {out: _coded(rows[name], codes[name]) for out, name in names.items()}
    columns["reason"] = _coded(rows["reason"].drop_nulls(), codes["reason"])
    columns["n"] = rows["n"].to_list()
    columns |= {out: _down(shown[name]) for out, name in _PARTS.items()}
    columns["level"] = shown["level"].to_list()
    named = [
        group_name(group, detail) if detail else None
        for group, detail in zip(shown["group"], shown["group_detail"], strict=True)
    ]
    details = sorted({name for name in named if name})
    columns["detail"] = [None if name is None else details.index(name) for name in named]
    return columns, details


def _with_index_only(schools: pl.DataFrame, results: Results) -> pl.DataFrame:
    """Add schools that have an index and no growth results."""
    more = results.index.schools.select("school_id").join(schools, on="school_id", how="anti")
    named = more.join(results.names, on="school_id", how="left")
    name = pl.coalesce("school_name", "school_id").alias("school_name")
    return pl.concat([schools, named.select("school_id", name, "district")], how="diagonal")


def _coded(values: pl.Series, known: Sequence[Any]) -> list[Any]:
    place = {value: at for at, value in enumerate(known)}
    return [place.get(value) for value in values]


def _whole(rows: pl.DataFrame, results: Results) -> dict[str, list[Any]]:
    """Return what is shown for all students of a school only; `row` is the place in the results."""
    whole = rows.with_row_index("row").filter((pl.col("group") == ALL) & pl.col("reason").is_null())
    whole = whole.join(
        results.comparisons.told, on=["year", "subject", "school_id"], how="left", maintain_order="left"
    )
    chances = [f"p_level_{level}" for level in range(1, 11)]
    percent = whole.select((pl.col(name) * 100).round().cast(pl.Int64) for name in (*chances, "p_bottom_5"))
    steps = {
        "points": _three(whole, "points", 1),
        "gain": _three(whole, "effect", 1),
        "students": _three(whole, "students"),
    }
    return {
        "row": whole["row"].to_list(),
        "effect": whole["effect"].round(1).to_list(),
        "result": whole.select(pl.coalesce("shrunk", "effect").round(1)).to_series().to_list(),
        "ach": whole["achievement"].round(2).to_list(),
        "p": [None if line[0] is None else list(line) for line in percent.select(chances).iter_rows()],
        "bottom": percent["p_bottom_5"].to_list(),
        **steps,
        "last": whole["level_last_year"].to_list(),
        "told": [
            None if line[0] is None else list(line)
            for line in whole.select("higher_than", "same_as", "lower_than").iter_rows()
        ],
    }


def _three(whole: pl.DataFrame, what: str, digits: int | None = None) -> list[list[Any] | None]:
    """Return what is missing to the next three levels; None where nothing is known."""
    lines = whole.select(f"{what}_to_next_{step}" for step in _STEPS).iter_rows()
    shown = (line if digits is None else tuple(printed(value, digits) for value in line) for line in lines)
    return [None if all(value is None for value in line) else list(line) for line in shown]


def _schools(schools: pl.DataFrame) -> dict[str, Any]:
    districts = schools["district"].drop_nulls().unique().sort().to_list()
    spans = [None if span is None else _span(span) for span in schools["grade_span"]]
    known = sorted({span for span in spans if span})
    return {
        "id": schools["school_id"].to_list(),
        "name": schools["school_name"].to_list(),
        "districts": districts,
        "district": _coded(schools["district"], districts),
        "spans": known,
        "span": _coded(pl.Series(spans, dtype=pl.String), known),
        "prior": schools["mean_prior"].round(2).to_list(),
    }


def _span(span: str) -> str:
    """Return grades as text, "3-5" or "K-5"; the lowest may be below zero."""
    low, _, high = span.rpartition("-")
    return low if low == high else f"{low}–{high}"


def _similar(results: Results, codes: Mapping[str, list[Any]]) -> list[list[list[Any]] | None]:
    """Return per school its similar schools, nearest first: place in the list of schools, signs.

    No distances: several of them would locate a school's hidden shares of groups.
    """
    place = {school: at for at, school in enumerate(codes["school_id"])}
    found: list[list[list[Any]] | None] = [None] * len(place)
    rows = results.comparisons.similar
    for school, other, verdicts in rows.select("school_id", "other_id", "verdicts").iter_rows():
        own = found[place[school]] or []
        own.append([place[other], verdicts])
        found[place[school]] = own
    return found


def _history(results: Results, codes: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    rows = results.comparisons.history
    return {
        "school": _coded(rows["school_id"], codes["school_id"]),
        "subject": _coded(rows["subject"], codes["subject"]),
        "high": rows["high_years"].to_list(),
        **{name: rows[name].round(1).to_list() for name in ("trend", "trend_low", "trend_high")},
    }


def _districts(results: Results, codes: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    rows = results.comparisons.districts
    return {
        "name": rows["district"].to_list(),
        "year": _coded(rows["year"], codes["year"]),
        "subject": _coded(rows["subject"], codes["subject"]),
        **{name: rows[name].to_list() for name in ("n", "schools", "above", "average", "below")},
        **{out: _down(rows[name]) for out, name in _PARTS.items()},
    }


def _down(values: pl.Series) -> list[float | None]:
    """Return percentiles to two decimals, never rounded up into the next level."""
    return [None if value is None else math.floor(value * 100) / 100 for value in values]


def waterfall_bars(lines: tuple[WaterfallLine, ...]) -> list[dict[str, Any]]:
    """Return one bar per step: rows left, and rows before it."""
    bars: dict[str, dict[str, Any]] = {}
    for line in lines:
        bar = bars.setdefault(
            line.step, {"label": step_label(line.step), "before": line.rows + line.excluded}
        )
        bar["rows"] = line.rows
    return list(bars.values())


def achievement_range(rows: pl.DataFrame) -> tuple[float, float]:
    """Return one axis of achievement for all charts [SD units]."""
    low, high = rows["achievement"].min(), rows["achievement"].max()
    if not isinstance(low, float) or not isinstance(high, float):
        return -1.0, 1.0
    reach = max(abs(low), abs(high), 0.1) * 1.08
    return -round(reach, 2), round(reach, 2)


def most_students(rows: pl.DataFrame) -> int:
    """Return the largest number of students behind a result."""
    most = rows["n"].max()
    return most if isinstance(most, int) else 1
