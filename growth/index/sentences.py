"""Plain sentences about index points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from growth.index.growth_metric import GROWTH
from growth.school.groups import ALL, LOWEST_RACE

__all__ = ["point_sentence", "school_sentence"]

_REASONS = {
    "n_below_minimum": "too few students to report",
    "no_result": "no result",
    "no_reference": "no schools to rank it among",
    "no_standard_error": "no standard error",
}
_NO_INDEX = {
    "too_few_metrics": "results in too few metrics",
    "metric_missing": "no result in a metric that applies to it",
    "domain_empty": "no result in a whole domain",
}


def point_sentence(
    row: Mapping[str, Any], points: float | None, possible: float | None, *, lower: bool
) -> str:
    """Return what one group's result in one metric is worth, and why."""
    name = " ".join(filter(None, (str(row["metric"]).replace("_", " "), row["part"])))
    who = _group(row["group"], row["group_detail"])
    if points is None or possible is None:
        why = _REASONS.get(row["reason"], str(row["reason"]).replace("_", " "))
        return f"{name}, {who}: no points, {why}; its share goes to the groups that are reported."
    growth = row["metric"] == GROWTH
    measured = f"growth percentile {row['value']:.1f}" if growth else f"{row['value']:.1f} %"
    students = "its students" if row["n"] is None else f"{row['n']:,} students"
    direction = " (lower is better)" if lower else ""
    worth = f"worth {points:.2f} of {possible:.2f} points"
    head = f"{name}, {who}: {measured} of {students}{direction} is level {row['level']}, {worth}"
    return f"{head}{_next_level(row)}{_chance(row)}."


def _next_level(row: Mapping[str, Any]) -> str:
    if row["needed_1"] is None:
        return ""
    return f"; level {row['level'] + 1} is {row['needed_1']:+.1f} points away"


def _chance(row: Mapping[str, Any]) -> str:
    """Return what chance makes of a lowest group; growth has it on the scale of means, so not there."""
    if row["group"] != LOWEST_RACE or row["chance_expected"] is None or row["metric"] == GROWTH:
        return ""
    return f"; if groups did not differ, the lowest would be expected at {row['chance_expected']:.1f} %"


def school_sentence(result: Mapping[str, Any], lacking: Sequence[str]) -> str:
    """Return a school's index, or why it has none."""
    missing = ""
    if lacking:
        missing = f" Without a result: {', '.join(name.replace('_', ' ') for name in lacking)}."
    if result["index"] is None:
        return f"No index: {_NO_INDEX[result['reason']]}.{missing}"
    domains = [
        f"{words} {result[domain]:.1f} of {result[f'{domain}_possible']:.0f}"
        for domain, words in (("academic", "academic"), ("school_quality", "school quality"))
        if result[domain] is not None
    ]
    return (
        f"Index {result['index']:.1f} of 100: {', '.join(domains)}, from {result['metrics']} of "
        f"{result['applicable']} metrics.{missing}"
    )


def _group(group: str, detail: str | None) -> str:
    if group == ALL:
        return "all students"
    if group == LOWEST_RACE:
        return f"lowest racial/ethnic group ({detail})" if detail else "lowest racial/ethnic group"
    return group
