"""The account of rows: who was dropped at which step, and why.

Consecutive lines of one subject x year satisfy ``rows = previous rows - excluded``; the lines of the table
as a whole (subject ``all``, year null) lead to the sum of the first lines of all subject x years.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import polars as pl

__all__ = ["ALL_SUBJECTS", "STEPS", "Line", "Step", "step_lines", "waterfall_frame"]

Step: TypeAlias = Literal[
    "read", "valid", "unique", "in_scope", "has_current_score", "has_priors", "cohort_large_enough", "scored"
]
STEPS: tuple[Step, ...] = (
    "read",
    "valid",
    "unique",
    "in_scope",
    "has_current_score",
    "has_priors",
    "cohort_large_enough",
    "scored",
)
ALL_SUBJECTS = "all"

_SCHEMA: dict[str, type[pl.DataType]] = {
    "subject": pl.String,
    "year": pl.Int32,
    "step": pl.String,
    "rows": pl.Int64,
    "excluded": pl.Int64,
    "reason": pl.String,
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the waterfall: `rows` are left after `excluded` rows went for `reason`."""

    subject: str
    year: int | None
    step: Step
    rows: int
    excluded: int = 0
    reason: str | None = None


def step_lines(
    subject: str, year: int | None, step: Step, before: int, lost: Mapping[str, int]
) -> list[Line]:
    """Return the lines of one step: one per reason that excluded rows, or a single line without loss."""
    lines: list[Line] = []
    for reason, count in lost.items():
        if count:
            before -= count
            lines.append(Line(subject, year, step, before, count, reason))
    return lines or [Line(subject, year, step, before)]


def waterfall_frame(lines: Iterable[Line]) -> pl.DataFrame:
    """Return the lines as a frame with columns subject, year, step, rows, excluded, reason."""
    rows = [(x.subject, x.year, x.step, x.rows, x.excluded, x.reason) for x in lines]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")
