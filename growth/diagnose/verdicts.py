"""From numbers and bounds to a verdict in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import polars as pl

from growth.diagnose.rules import RULES, Rule

__all__ = ["VERDICTS", "Finding", "Judgement", "judge", "verdict_frame"]

Judgement: TypeAlias = Literal["ok", "look", "problem", "not judged"]
VERDICTS: tuple[Judgement, ...] = ("ok", "not judged", "look", "problem")
"""From quiet to loud."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule is applied to."""

    rule: str
    """Name in `RULES`."""
    tested: pl.DataFrame
    """One row per comparison: where (in words), value, bound (the end of the value's confidence interval that
    is nearest to harmless; the value itself where nothing is left to chance)."""
    reason: str = ""
    """Why nothing could be tested."""


def judge(finding: Finding) -> dict[str, object]:
    """Apply a rule.

    Returns
    -------
    dict
        diagnostic, title, verdict (``"ok"``, ``"look"``, ``"problem"``, or ``"not judged"`` where nothing
        could be tested), sentence, rule, where, value, bound of the worst comparison, comparisons, alarms.
    """
    rule = RULES[finding.rule]
    tested = finding.tested.drop_nulls(["value", "bound"])
    row: dict[str, object] = {
        "diagnostic": rule.name,
        "title": rule.title,
        "verdict": "not judged",
        "sentence": finding.reason or "Nothing to test in this run.",
        "rule": rule.words,
        "where": None,
        "value": None,
        "bound": None,
        "comparisons": tested.height,
        "alarms": 0,
    }
    if tested.is_empty():
        return row
    loudness = -pl.col("bound") if rule.below else pl.col("bound")
    size = pl.col("value") * (-1 if rule.below else 1)
    by = [loudness, size if rule.below else size.abs()]
    worst = tested.sort(by, descending=True, maintain_order=True).row(0, named=True)
    alarms = int(tested.select(_beyond(rule, rule.look).sum()).item())
    grave = int(tested.select(_beyond(rule, rule.problem).sum()).item())
    row |= {
        "verdict": "problem" if grave else "look" if alarms else "ok",
        "sentence": _sentence(rule, worst, alarms) if alarms else rule.good,
        "where": worst["where"],
        "value": worst["value"],
        "bound": worst["bound"],
        "alarms": alarms,
    }
    return row


def verdict_frame(rows: list[dict[str, object]]) -> pl.DataFrame:
    """Return verdicts as a frame, in the order of the rules."""
    text, number, count = pl.String, pl.Float64, pl.Int64
    schema = {
        "diagnostic": text,
        "title": text,
        "verdict": text,
        "sentence": text,
        "rule": text,
        "where": text,
        "value": number,
        "bound": number,
        "comparisons": count,
        "alarms": count,
    }
    order = list(RULES)
    return pl.DataFrame(sorted(rows, key=lambda row: order.index(str(row["diagnostic"]))), schema=schema)


def _beyond(rule: Rule, limit: float) -> pl.Expr:
    return pl.col("bound") < limit if rule.below else pl.col("bound") > limit


def _sentence(rule: Rule, worst: Mapping[str, object], alarms: int) -> str:
    value = float(str(worst["value"]))
    others = f" ({alarms - 1} more such)" if alarms > 1 else ""
    shown = f"{value:+.{rule.digits}f}"
    size = f"{abs(value):,.{rule.digits}f}"
    return rule.bad.format(where=worst["where"], value=shown, size=size, others=others)
