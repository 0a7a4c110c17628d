"""From the caller's cells to the typed columns of the student table, with every problem in one error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from growth.errors import ColumnError, problem
from growth.panel.coded import by_piece, by_value, coded
from growth.panel.columns import (
    category_columns,
    described,
    flag_columns,
    school_columns,
)
from growth.panel.values import (
    Parsed,
    read_flag,
    read_grade,
    read_id,
    read_score,
    read_text,
    read_year,
)
from growth.spec import GrowthSpec

__all__ = ["YES_NO", "Typed", "named", "typed"]

CANONICAL_ORDER = (
    "student_id",
    "year",
    "year_label",
    "subject",
    "grade",
    "score",
    "school_id",
    "district_id",
    "enrolled",
)

_Rule = tuple[Callable[[pl.Series], Parsed], str, str]

YES_NO = "yes/no: true/false, 1/0, Y/N, or text that ends in Yes/No"
_RULES: dict[str, _Rule] = {
    "student_id": (read_id, "text or whole numbers", "read the column as text"),
    "year": (
        read_year,
        "2024, 2023_2024 or 2023-24",
        "rewrite the other years, or mark their rows as not valid",
    ),
    "subject": (read_text, "text", "read the column as text"),
    "grade": (
        read_grade,
        "3, 03, Grade 3, K or PK",
        "rewrite the other grades, or mark their rows as not valid",
    ),
    "score": (read_score, "a number, blank if there is none", "blank out or rewrite what is not a number"),
    "school_id": (read_id, "text or whole numbers", "read the column as text"),
    "district_id": (read_id, "text or whole numbers", "read the column as text"),
    "year_label": (read_text, "text", "read the column as text"),
}
_NEVER_MISSING = ("student_id", "year", "subject", "grade")


@dataclass(frozen=True, slots=True, eq=False)
class Typed:
    """The typed table, and what was read as missing because the specification says so."""

    frame: pl.DataFrame
    notices: tuple[str, ...]


def named(own: str, names: dict[str, str]) -> str:
    """Return how a message names a column."""
    caller = names.get(own, own)
    return f"Column {caller!r}" if caller == own else f"Column {caller!r} ({own})"


def typed(raw: pl.DataFrame, names: dict[str, str], spec: GrowthSpec) -> Typed:
    """Return the table with typed columns in canonical order, text as codes but for the students' ids.

    Raises
    ------
    ColumnError
        Names every column with values that break its rule, the rule, the number of rows and a way out.
    """
    rules = _column_rules(raw, spec)
    flags = {name for name, (read, _, _) in rules.items() if read is read_flag}
    problems: list[str] = []
    notices: list[str] = []
    columns: dict[str, pl.Series] = {}
    for own, (read, rule, fix) in rules.items():
        once_each = read is read_score or own == "student_id"
        parsed = _row_by_row(raw[own], read) if once_each else by_value(raw[own], read)
        columns[own] = parsed.values.alias(own)
        lenient = spec.rows.unclear_flags if own in flags else _score_rule(own, spec)
        if lenient == "missing" and not parsed.wrong_type:
            values, bad = _finite(parsed) if own == "score" else (parsed.values, parsed.bad)
            columns[own] = values.alias(own)
            notices += _taken_as_missing(named(own, names), bad, rule)
        else:
            problems += _unreadable(named(own, names), raw[own], parsed, rule, fix)
        if own in _NEVER_MISSING:
            problems += _blank(named(own, names), parsed)
    problems += _not_finite(named("score", names), columns["score"])
    problems += _not_an_error(named("csem", names), columns.get("csem"))
    problems += _not_a_share(named("share", names), columns.get("share"))
    problems += _enrolment_unknown(named("enrolled", names), columns, spec)
    columns["year_label"] = _labels(columns.get("year_label"), raw["year"], columns["year"])
    problems += _labels_disagree(named("year", names), columns["year"], columns["year_label"])
    if problems:
        raise ColumnError(described(problems))
    canonical = [columns.pop(own) for own in CANONICAL_ORDER if own in columns]
    other = [name for name in raw.columns if name not in rules]
    frame = pl.DataFrame([*canonical, *columns.values(), *(raw[name] for name in other)])
    return Typed(frame, tuple(notices))


def _row_by_row(column: pl.Series, read: Callable[[pl.Series], Parsed]) -> Parsed:
    return read(column) if column.dtype == pl.Float64 else by_piece(column, read)


def _labels(given: pl.Series | None, raw: pl.Series, year: pl.Series) -> pl.Series:
    """Return how the table writes each row's year, coded; where it does not, the year itself."""
    labels = by_value(raw, read_text).values if given is None else given
    if labels.null_count():
        text = labels.cast(pl.String)
        labels = coded(text.zip_with(text.is_not_null(), year.cast(pl.String)))
    return labels.alias("year_label")


def _score_rule(own: str, spec: GrowthSpec) -> str:
    return spec.rows.unreadable_score if own == "score" else "error"


def _finite(parsed: Parsed) -> tuple[pl.Series, int]:
    finite = parsed.values.is_finite()
    return parsed.values.set(~finite, None), parsed.bad + int((~finite).sum())


def _taken_as_missing(name: str, bad: int, rule: str) -> list[str]:
    if not bad:
        return []
    return [problem(f"{name} has values that are taken as missing", rows=bad, rule=rule)]


def _column_rules(raw: pl.DataFrame, spec: GrowthSpec) -> dict[str, _Rule]:
    flags = dict.fromkeys((*(("enrolled",) if "enrolled" in raw.columns else ()), *flag_columns(spec)))
    rules = {own: rule for own, rule in _RULES.items() if own in raw.columns}
    rules |= dict.fromkeys(flags, (read_flag, YES_NO, "recode it to yes and no, blank if unknown"))
    text = (read_text, "text or whole numbers", "read the column as text")
    rules |= {own: text for own in category_columns(spec) if own not in rules}
    if spec.measurement.csem == "column":
        fix = "blank out or rewrite what is not a number"
        rules["csem"] = (read_score, "a number, blank if there is none", fix)
    if spec.measurement.program and spec.measurement.program not in rules:
        rules[spec.measurement.program] = text
    for own in school_columns(spec):
        rules.setdefault(own, _RULES["score"] if own == "share" else text)
    return rules


def _unreadable(name: str, column: pl.Series, parsed: Parsed, rule: str, fix: str) -> list[str]:
    if parsed.wrong_type:
        return [problem(f"{name} has type {column.dtype}", rule=rule, rows=len(column), fix=fix)]
    if parsed.bad:
        return [problem(f"{name} has values that cannot be read", rule=rule, rows=parsed.bad, fix=fix)]
    return []


def _blank(name: str, parsed: Parsed) -> list[str]:
    blank = parsed.values.null_count() - parsed.bad
    if not blank:
        return []
    return [
        problem(f"{name} is blank", rule="every row has one", rows=blank, fix="fill it or drop those rows")
    ]


def _not_finite(name: str, score: pl.Series) -> list[str]:
    bad = int((~score.is_finite()).sum())
    if not bad:
        return []
    rule = "a finite number, blank if there is none"
    return [problem(f"{name} is NaN or infinite", rule=rule, rows=bad, fix="replace them by blanks (null)")]


def _not_an_error(name: str, csem: pl.Series | None) -> list[str]:
    bad = 0 if csem is None else int((~(csem.is_finite() & (csem >= 0))).sum())
    if not bad:
        return []
    rule = "a standard error: a finite number, 0 or more, blank if there is none"
    return [problem(f"{name} is negative, NaN or infinite", rule=rule, rows=bad, fix="correct those values")]


def _not_a_share(name: str, share: pl.Series | None) -> list[str]:
    bad = 0 if share is None else int((~((share > 0) & (share <= 1)).fill_null(False)).sum())
    if not bad:
        return []
    rule = "the share of the year in the row's school: above 0 and at most 1, in every row"
    return [problem(f"{name} is blank or outside its range", rule=rule, rows=bad, fix="correct those values")]


def _enrolment_unknown(name: str, columns: dict[str, pl.Series], spec: GrowthSpec) -> list[str]:
    if not spec.school.enrolled_only or not columns["enrolled"].null_count():
        return []
    return [
        problem(
            f"{name} is blank",
            rule="school.enrolled_only needs yes or no in every row",
            rows=columns["enrolled"].null_count(),
            fix="fill it, or set school.enrolled_only = false",
        )
    ]


def _labels_disagree(name: str, year: pl.Series, label: pl.Series) -> list[str]:
    pairs = pl.DataFrame({"year": year, "label": label}).drop_nulls().group_by("year", "label").len("rows")
    mixed = pairs.filter(pl.len().over("year") > 1)
    if mixed.is_empty():
        return []
    return [
        problem(
            f"{name} writes the same year in several ways",
            rule="one spelling per year",
            rows=int(mixed["rows"].sum()),
            fix="rewrite them alike",
        )
    ]
