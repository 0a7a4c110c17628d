"""Small tables of metrics for tests of the index."""

from __future__ import annotations

from typing import Any

import polars as pl

from growth.spec import GrowthSpec

GROUPS = ("All", "EL", "SWD", "SED", "race:lowest")
ALL_STUDENTS_ONLY = ("redesignation",)


def index_spec(**changes: object) -> GrowthSpec:
    """Return the default specification on tens; ``min_n=5`` changes ``index.min_n``."""
    plain = {"index.levels": "fixed_tens"}
    return GrowthSpec().replace(plain | {f"index.{key}": value for key, value in changes.items()})


def metric_row(metric: str, group: str = "All", value: float | None = 95.0, **more: object) -> dict[str, Any]:
    """Return one row of a table of metrics."""
    row = {
        "year": 2025,
        "metric": metric,
        "part": "",
        "school_id": "A",
        "group": group,
        "n": 50,
        "value": value,
    }
    return row | more


def perfect(
    *metrics: str, lower: tuple[str, ...] = ("chronic_absence", "suspension")
) -> list[dict[str, Any]]:
    """Return rows at level 10 in every group."""
    return [
        metric_row(metric, group, 0.0 if metric in lower else 100.0)
        for metric in metrics
        for group in (GROUPS if metric not in ALL_STUDENTS_ONLY else ("All",))
    ]


def types(**schools: str) -> pl.DataFrame:
    """Return the schools with their types; school A is an elementary school if nothing else is said."""
    known = {"A": "Elementary"} | schools
    return pl.DataFrame({"school_id": list(known), "school_type": list(known.values())})
