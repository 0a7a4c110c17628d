"""What a reader should know about a table that was read: each finding with its count and a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl

from growth.panel.columns import category_columns, flag_columns
from growth.panel.table import StudentTable
from growth.spec import GrowthSpec

__all__ = ["Finding", "findings"]

_CONFIDENT: Final = 0.98
_REMEDIES: Final = {
    "no_score": "nothing, if those students did not take that test",
    "other_test": "nothing, if only this test is meant",
    "other_score": "nothing: only scale scores are compared",
    "not_valid": "nothing, if the marks are right",
    "unearned_score": 'nothing; or rows.unearned_scores = "keep" to count the lowest score as earned',
    "unknown_grade": "correct the grades of those rows, if they have one",
    "later_year": "correct those years",
    "no_school": "fill in the school",
    "outside_bounds": "compare scale.bounds with the test's technical report",
    "duplicate_key": "look for the cause: a student tested twice, or two files overlapping",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not stop a run, and that somebody should look at."""

    what: str
    rows: int | None
    remedy: str


def findings(table: StudentTable, spec: GrowthSpec) -> tuple[Finding, ...]:
    """Return what was left out, taken as missing, or looks wrong; no student's data.

    Parameters
    ----------
    table : StudentTable
    spec : GrowthSpec
        That it was read with.
    """
    return (
        *_unsure(table),
        *_left_out(table),
        *(Finding(notice, None, "correct the source, if they should count") for notice in table.notices),
        *_blank(table.codes, spec),
        *_constant(table.codes, spec),
        *_falling_grades(table.codes),
    )


def _unsure(table: StudentTable) -> Iterator[Finding]:
    found = table.header.recognition
    if found.confidence < _CONFIDENT:
        yield Finding(
            f"The layout could also be {found.rival!r}",
            None,
            f'look at the columns above; columns.layout = "{found.layout.name}" if it is right',
        )


def _left_out(table: StudentTable) -> Iterator[Finding]:
    gone = table.counts.filter(pl.col("excluded") > 0)
    for reason, rows in gone.select("reason", "excluded").iter_rows():
        yield Finding(f"Left out: {reason}", rows, _REMEDIES[reason])


def _blank(frame: pl.DataFrame, spec: GrowthSpec) -> Iterator[Finding]:
    if rows := frame["score"].null_count():
        yield Finding("No score", rows, "nothing, if those students were not tested")
    if rows := frame["school_id"].null_count():
        yield Finding(
            "No school: they count for students' results only", rows, "fill it in, or set rows.no_school"
        )
    for name in (*spec.peers.flags, *spec.peers.categories):
        if rows := frame[name].null_count():
            yield Finding(
                f"{name!r} is blank, and students are compared by it",
                rows,
                "fill it in, or set peers.missing",
            )


def _constant(frame: pl.DataFrame, spec: GrowthSpec) -> Iterator[Finding]:
    for name in dict.fromkeys((*flag_columns(spec), *category_columns(spec))):
        if frame[name].drop_nulls().n_unique() < 2:
            yield Finding(
                f"{name!r} has one value in all rows, so it says nothing",
                frame.height,
                "check the source; take it out of peers and groups",
            )


def _falling_grades(frame: pl.DataFrame) -> Iterator[Finding]:
    in_time = frame.select("student_id", "subject", "year", "grade").sort("student_id", "subject", "year")
    before = [pl.col(name) == pl.col(name).shift(1) for name in ("student_id", "subject")]
    falls = in_time.select((pl.all_horizontal(before) & (pl.col("grade") < pl.col("grade").shift(1))).sum())
    if rows := int(falls.item() or 0):
        yield Finding(
            "Grade lower than in an earlier year: an impossible lag, or one id for two students",
            rows,
            "check the ids; these rows find no prior score in the progression",
        )
