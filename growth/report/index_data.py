"""The index and the pairs as the page's program works on them: columns of codes, like the results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from growth.index.points import DOMAINS
from growth.report.labels import group_label, metric_words, printed, subject_name
from growth.report.points import PageIndex
from growth.report.words import no_index_words, no_partner_words
from growth.school.groups import RACE
from growth.spec import GrowthSpec

__all__ = ["index_data", "pairs_data"]

_DIGITS = 2


def index_data(found: PageIndex, place: Mapping[str, int], spec: GrowthSpec) -> dict[str, Any] | None:
    """Return the index per school, and the lines and groups that it is made of; None without one.

    Parameters
    ----------
    found : PageIndex
    place : mapping of school_id to int
        Place of each school of the page in the list of schools.
    spec : GrowthSpec
        The order of metrics.
    """
    if found.year is None:
        return None
    known = pl.col("school_id").is_in(list(place))
    schools, lines = found.schools.filter(known), found.lines.filter(known)
    order = {name: at for at, name in enumerate(spec.index.metrics)}
    rank = pl.col("metric").replace_strict(order, default=len(order), return_dtype=pl.Int64)
    domain = pl.col("domain").replace_strict({name: at for at, name in enumerate(DOMAINS)}, default=9)
    lines = lines.with_columns(domain.alias("_domain"), rank.alias("_rank"))
    lines = lines.sort("school_id", "_domain", "_rank", "metric", "part")
    metrics = lines["metric"].unique(maintain_order=True).sort().to_list()
    parts = lines["part"].unique().sort().to_list()
    groups = found.cells["group"].unique().sort().to_list()
    cells = _cells_of(found.cells, groups)
    keys = list(lines.select("school_id", "metric", "part").iter_rows())
    told = ("index", *DOMAINS)
    return {
        "year": found.year,
        "metrics": [metric_words(name) for name in metrics],
        "parts": [subject_name(part) for part in parts],
        "groups": [group_label(name) for name in groups],
        "types": (types := schools["school_type"].unique().sort().to_list()),
        "school": [place[school] for school in schools["school_id"]],
        "type": [types.index(one) for one in schools["school_type"]],
        **{name: [printed(value, 1) for value in schools[name]] for name in told},
        **{f"{name}_possible": schools[f"{name}_possible"].round(_DIGITS).to_list() for name in DOMAINS},
        "with": schools["metrics"].to_list(),
        "of": schools["applicable"].to_list(),
        "reason": [None if reason is None else no_index_words(reason) for reason in schools["reason"]],
        "lines": {
            "school": [place[school] for school, _, _ in keys],
            "domain": [DOMAINS.index(one) for one in lines["domain"]],
            "metric": [metrics.index(metric) for _, metric, _ in keys],
            "part": [parts.index(part) for _, _, part in keys],
            "points": lines["points"].round(_DIGITS).to_list(),
            "possible": lines["possible"].round(_DIGITS).to_list(),
            "groups": [cells[key] for key in keys],
        },
    }


def _cells_of(cells: pl.DataFrame, groups: list[str]) -> dict[tuple[str, str, str], list[list[Any]]]:
    """Return [group, level] of each shown result, with name of a lowest group, points and possible points."""
    found: dict[tuple[str, str, str], list[list[Any]]] = {}
    columns = ("school_id", "metric", "part", "group", "group_detail", "level", "points", "possible")
    for school, metric, part, group, detail, level, points, possible in cells.select(columns).iter_rows():
        one: list[Any] = [groups.index(group), level]
        named = detail.removeprefix(RACE) if detail else None
        if points is not None:
            one += [round(points, _DIGITS), round(possible, _DIGITS)]
        found.setdefault((school, metric, part), []).append([*one, named] if named else one)
    return found


def pairs_data(pairs: pl.DataFrame, unmatched: pl.DataFrame, place: Mapping[str, int]) -> dict[str, Any]:
    """Return pairs by the places of their schools, and why other schools have no partner."""
    columns = ("kept", "rank", "candidates", "needs")
    return {
        "school": [place[school] for school in pairs["school_id"]],
        "partner": [place[school] for school in pairs["partner_id"]],
        **{name: pairs[name].to_list() for name in columns},
        "level": pairs["level"].round(1).to_list(),
        "partnerLevel": pairs["partner_level"].round(1).to_list(),
        "probability": (100 * pairs["probability"]).round().cast(pl.Int64).to_list(),
        "met": (pairs["needs_met"] * pairs["needs"]).round().cast(pl.Int64).to_list(),
        "alone": [
            [place[school], no_partner_words(reason)]
            for school, reason in unmatched.select("school_id", "reason").iter_rows()
        ],
    }
