"""Which rows of a table count: screens of the layout, validity, grade, year, school, scale and key.

Every step returns what is left and says how many rows went for which reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import polars as pl

from growth.errors import ColumnError, TableError, problem
from growth.mapped import filtered, gathered, in_order, order_of, repeats
from growth.panel.layouts import Layout, Screen
from growth.panel.typed import YES_NO, named
from growth.panel.values import read_grade, read_id, read_validity
from growth.spec import Rows, Scale

__all__ = [
    "KEY",
    "known_grades",
    "one_row_per_key",
    "possible_rows",
    "screened",
    "valid_rows",
    "within_bounds",
]

KEY: Final = ("student_id", "year", "subject")

Left = tuple[pl.DataFrame, dict[str, int]]


def screened(raw: pl.DataFrame, layout: Layout, names: dict[str, str], rows: Rows) -> Left:
    """Apply the layout's screens, drop the columns that only they use, and translate the layout's codes.

    Raises
    ------
    ColumnError
        A column has codes that the layout does not know.
    """
    present = [screen for screen in layout.screens if screen.column in raw.columns]
    lost: dict[str, int] = {}
    for screen in present:
        if not (screen.unearned and rows.unearned_scores == "keep"):
            raw, gone = _screen(raw, screen, layout, names)
            lost[screen.reason] = lost.get(screen.reason, 0) + gone
    raw = raw.drop(name for name in layout.side_columns if name in raw.columns)
    return _decoded(raw, layout), lost


def _screen(
    raw: pl.DataFrame, screen: Screen, layout: Layout, names: dict[str, str]
) -> tuple[pl.DataFrame, int]:
    code = _codes(raw[screen.column], screen.column in layout.descriptors)
    blank = code.is_null()
    dropped = ~_among(code, screen.keep or frozenset()) if screen.drop is None else _among(code, screen.drop)
    kept = ~dropped if screen.keep is None else _among(code, screen.keep)
    unknown = ~(kept | dropped | blank) | (blank & screen.blank_is_refused)
    if unknown.any():
        known = sorted((screen.keep or frozenset()) | (screen.drop or frozenset()))
        raise ColumnError(
            problem(
                f"{named(screen.column, names)} has codes that {layout.title} does not have",
                rule=f"one of {', '.join(known)}",
                rows=int(unknown.sum()),
                fix='recode them, or name the columns under columns.rename with columns.layout = "growth"',
            )
        )
    gone = dropped & ~blank
    return (filtered(raw, ~gone), int(gone.sum())) if gone.any() else (raw, 0)


def _codes(column: pl.Series, descriptor: bool) -> pl.Series:
    text = read_id(column).values
    if descriptor:
        text = text.str.replace(r"^.*#", "")
    text = text.str.strip_chars().str.to_uppercase()
    return text.set(text == "", None)


def _among(code: pl.Series, codes: frozenset[str]) -> pl.Series:
    return code.is_in(sorted(codes)).fill_null(False)


def _decoded(raw: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    changed = []
    for own in (name for name in layout.descriptors if name in raw.columns):
        changed.append(read_id(raw[own]).values.str.replace(r"^.*#", "").alias(own))
    for own, codes in layout.codes.items():
        if own in raw.columns:
            text = read_id(raw[own]).values
            code = text.str.strip_chars().str.to_uppercase()
            values = code.replace_strict(
                list(codes), list(codes.values()), default=None, return_dtype=pl.String
            )
            changed.append(values.zip_with(values.is_not_null(), text).alias(own))
    return raw.with_columns(changed)


def valid_rows(raw: pl.DataFrame, names: dict[str, str]) -> Left:
    """Drop rows that the column `valid` excludes, and the column.

    Raises
    ------
    ColumnError
        It does not say so for every row.
    """
    if "valid" not in raw.columns:
        return raw, {}
    parsed = read_validity(raw["valid"])
    unclear = parsed.values.null_count()
    if unclear:
        raise ColumnError(
            problem(
                f"{named('valid', names)} does not say for every row whether it is valid",
                rule=f"VALID_CASE or INVALID_CASE, or {YES_NO}; never blank",
                rows=unclear,
                fix="fill or recode it, or drop the column if all rows count",
            )
        )
    kept = filtered(raw.drop("valid"), parsed.values)
    return kept, {"not_valid": raw.height - kept.height}


def known_grades(raw: pl.DataFrame, rows: Rows) -> Left:
    """Drop rows of unknown grades if ``rows.unknown_grade = "exclude"``; else they are refused later."""
    if rows.unknown_grade == "error" or "grade" not in raw.columns:
        return raw, {}
    unknown = read_grade(raw["grade"]).values.is_null() & read_id(raw["grade"]).values.is_not_null()
    return filtered(raw, ~unknown), {"unknown_grade": int(unknown.sum())}


def possible_rows(frame: pl.DataFrame, names: dict[str, str], rows: Rows) -> Left:
    """Apply ``rows.latest_year`` and ``rows.no_school`` to a typed table.

    Raises
    ------
    ColumnError
        A year lies in the future, or a school is missing, and the specification does not say otherwise.
    """
    latest = rows.latest_year or datetime.now(UTC).year + 1
    late = frame["year"] > latest
    if late.any() and rows.later_year == "error":
        raise ColumnError(
            problem(
                f"{named('year', names)} has years after {latest}",
                rule="rows.latest_year, or the school year after the current one",
                rows=int(late.sum()),
                fix='correct those years, or set rows.latest_year and rows.later_year = "exclude"',
            )
        )
    lost = {"later_year": int(late.sum())}
    frame = filtered(frame, ~late) if lost["later_year"] else frame
    nowhere = frame["school_id"].is_null()
    if nowhere.any() and rows.no_school == "error":
        raise ColumnError(
            problem(
                f"{named('school_id', names)} is blank",
                rule='rows.no_school = "error"',
                rows=int(nowhere.sum()),
                fix='fill it, or set rows.no_school to "keep" (no school result) or "exclude"',
            )
        )
    if rows.no_school == "exclude":
        lost["no_school"] = int(nowhere.sum())
        frame = filtered(frame, ~nowhere) if lost["no_school"] else frame
    return frame, lost


def within_bounds(frame: pl.DataFrame, names: dict[str, str], scale: Scale) -> Left:
    """Drop scores outside ``scale.bounds``, or refuse them.

    Raises
    ------
    TableError
        The bounds are for subjects that the table does not have.
    ColumnError
        There are such scores and ``scale.outside = "error"``.
    """
    if not scale.bounds or frame.is_empty():
        return frame, {}
    subjects = frame["subject"].unique()
    if not any(subject in subjects for subject in scale.bounds):
        raise TableError(
            problem(
                f"scale.bounds knows the subjects {', '.join(map(repr, scale.bounds))}; none is in the table",
                fix=f"write them as in column {names.get('subject', 'subject')!r}",
            )
        )
    table = [(s, g, low, high) for s, grades in scale.bounds.items() for g, (low, high) in grades.items()]
    schema = {"subject": pl.String, "grade": pl.Int16, "low": pl.Float64, "high": pl.Float64}
    bounds = pl.DataFrame(table, schema=schema, orient="row")
    known = frame.select(pl.col("subject").cast(pl.String), "grade", "score").join(
        bounds, on=["subject", "grade"], how="left", maintain_order="left"
    )
    inside = known.select(
        (pl.col("score") >= pl.col("low")) & (pl.col("score") <= pl.col("high"))
    ).to_series()
    outside = int((~inside).sum())
    if outside and scale.outside == "error":
        raise ColumnError(
            problem(
                f"{named('score', names)} lies outside the scale",
                rule="scale.bounds of the row's subject and grade",
                rows=outside,
                fix='correct scale.bounds or the scores, or set scale.outside = "exclude"',
            )
        )
    return filtered(frame, inside.fill_null(True)), {"outside_bounds": outside}


def one_row_per_key(frame: pl.DataFrame, used: Sequence[str], names: dict[str, str], rows: Rows) -> Left:
    """Sort by student, year and subject, and settle rows of the same key as ``rows.duplicates`` says.

    Of several rows with the highest score the first in the order of all `used` columns is kept, so that the
    order of the caller's rows does not matter.

    Raises
    ------
    TableError
        Rows of the same key are left.
    """
    frame = frame if in_order(frame, KEY) else gathered(frame, order_of(frame, KEY))
    if not repeats(frame, KEY).any():
        return frame, {}
    before = frame.height
    if rows.duplicates == "copies":
        frame = frame.unique(subset=list(used), keep="first", maintain_order=True)
    elif rows.duplicates == "highest_score":
        order = [*KEY, "score", *(name for name in used if name not in (*KEY, "score"))]
        down = [name == "score" for name in order]
        frame = frame.sort(order, descending=down, nulls_last=True, maintain_order=True)
        frame = frame.unique(subset=list(KEY), keep="first", maintain_order=True)
    elif rows.duplicates == "exclude":
        frame = filtered(frame, ~frame.select(KEY).is_duplicated())
    copies = repeats(frame, KEY)
    if copies.any():
        columns = ", ".join(repr(names.get(own, own)) for own in KEY)
        raise TableError(
            problem(
                f"Columns {columns} do not identify a row",
                rule="one valid row per student, year and subject",
                rows=int(frame.select(KEY).is_duplicated().sum()),
                fix="drop the copies, mark all but one as not valid (column `valid`), or set rows.duplicates",
            )
        )
    return frame, {"duplicate_key": before - frame.height}
