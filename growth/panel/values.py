"""From the caller's cells to typed values: years, grades, yes/no flags, scores, text.

Each reader returns the typed column and the number of rows it could not read; it never says what they hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import polars as pl

__all__ = [
    "Parsed",
    "read_flag",
    "read_grade",
    "read_id",
    "read_score",
    "read_text",
    "read_validity",
    "read_year",
]

_MISSING_TEXT: Final = ("", "NA")
_YEARS: Final = range(1900, 2201)
_GRADES: Final = range(-1, 14)
_ORDINALS: Final = (
    *("FIRST", "SECOND", "THIRD", "FOURTH", "FIFTH", "SIXTH", "SEVENTH", "EIGHTH", "NINTH", "TENTH"),
    *("ELEVENTH", "TWELFTH"),
)
_NAMED_GRADES: Final = (
    dict.fromkeys(("K", "KG", "KN", "KINDERGARTEN"), 0)
    | dict.fromkeys(("PK", "PREK", "PRE-K", "PREKINDERGARTEN", "PRESCHOOL/PREKINDERGARTEN"), -1)
    | {f"{word} GRADE": grade for grade, word in enumerate(_ORDINALS, 1)}
)
_YES: Final = frozenset({"yes", "y", "true", "t", "1", "1.0"})
_NO: Final = frozenset({"no", "n", "false", "f", "0", "0.0"})
_PREFIXED_ANSWER: Final = re.compile(r".*[\s:_-](yes|no)")
_SCHOOL_YEAR: Final = re.compile(r"(?:SY\s*)?(\d{4})\s*[-_/–]\s*(\d{4}|\d{2})")
_GRADE: Final = re.compile(r"(?:GRADE|GR|G)?[\s_.]*(\d{1,2})(?:\.0|\s*(?:ST|ND|RD|TH)(?:\s+GRADE)?)?")
_EXACT_INTEGER: Final = 2.0**53
"""Whole numbers beyond this lose digits as float64, so ids would run together."""

_T = TypeVar("_T", int, bool)


@dataclass(frozen=True, slots=True, eq=False)
class Parsed:
    """A typed column; `bad` rows could not be read and are null."""

    values: pl.Series
    bad: int = 0
    wrong_type: bool = False


def read_text(column: pl.Series) -> Parsed:
    """Read labels: text without outer blanks, whole numbers as digits; blank is null.

    ``NA`` stays: it is a category in many tables (Native American), and as a category it stays visible.
    """
    parsed = _as_text(column, missing=("",))
    return Parsed(parsed.values.str.strip_chars(), parsed.bad, parsed.wrong_type)


def read_id(column: pl.Series) -> Parsed:
    """Read ids: text exactly as written, whole numbers as digits; blank or ``NA`` is null."""
    return _as_text(column, missing=_MISSING_TEXT)


def read_year(column: pl.Series) -> Parsed:
    """Read school years as the year they end in: 2024, ``2023_2024``, ``2023-24`` -> 2024 (Int32)."""
    return _by_distinct(column, _year, pl.Int32())


def read_grade(column: pl.Series) -> Parsed:
    """Read grades: 3, ``03``, ``Grade 3``, ``3rd``, ``Third grade``, ``K`` (0), ``PK`` (-1) (Int16)."""
    return _by_distinct(column, _grade, pl.Int16())


def read_flag(column: pl.Series) -> Parsed:
    """Read yes/no: booleans, 0/1, ``Y``/``N``, ``true``/``false``, any text that ends in ``Yes``/``No``."""
    if column.dtype == pl.Boolean:
        return Parsed(column)
    return _by_distinct(column, _answer, pl.Boolean())


def read_validity(column: pl.Series) -> Parsed:
    """Read validity: a flag, or the R package's ``VALID_CASE`` / ``INVALID_CASE`` (Boolean)."""
    if column.dtype == pl.Boolean:
        return Parsed(column)
    return _by_distinct(column, _validity, pl.Boolean())


def read_score(column: pl.Series) -> Parsed:
    """Read scores as Float64; blank or ``NA`` text is null, NaN and infinities stay."""
    dtype = column.dtype
    if dtype.is_numeric() or dtype == pl.Null:
        return Parsed(column.cast(pl.Float64))
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        text = read_id(column).values.str.strip_chars()
        values = text.cast(pl.Float64, strict=False)
        return Parsed(values, _lost(text, values))
    return Parsed(
        pl.Series(column.name, [None] * len(column), dtype=pl.Float64), len(column), wrong_type=True
    )


def _as_text(column: pl.Series, missing: tuple[str, ...]) -> Parsed:
    dtype = column.dtype
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        text = column.cast(pl.String)
        return Parsed(text.set(text.str.strip_chars().is_in(missing), None))
    if dtype == pl.Boolean or dtype.is_integer() or dtype == pl.Null:
        return Parsed(column.cast(pl.String))
    if dtype.is_float() or dtype.is_decimal():
        number = column.cast(pl.Float64).fill_nan(None)
        whole = (number == number.round(0)) & (number.abs() < _EXACT_INTEGER)
        text = number.set(~whole, None).cast(pl.Int64).cast(pl.String)
        return Parsed(text, _lost(number, text))
    return Parsed(pl.Series(column.name, [None] * len(column), dtype=pl.String), len(column), wrong_type=True)


def _by_distinct(column: pl.Series, read: Callable[[str], _T | None], dtype: pl.DataType) -> Parsed:
    """Apply `read` once per distinct text."""
    parsed = read_id(column)
    text = parsed.values.str.strip_chars()
    known = {cell: value for cell in text.drop_nulls().unique() if (value := read(cell)) is not None}
    if known:
        values = text.replace_strict(list(known), list(known.values()), default=None, return_dtype=dtype)
    else:
        values = pl.Series(column.name, [None] * len(column), dtype=dtype)
    return Parsed(values, parsed.bad + _lost(text, values), parsed.wrong_type)


def _lost(before: pl.Series, after: pl.Series) -> int:
    return after.null_count() - before.null_count()


def _year(text: str) -> int | None:
    text = text.upper().removesuffix(".0")
    if text.isascii() and text.isdecimal():
        year = int(text)
        return year if year in _YEARS else None
    match = _SCHOOL_YEAR.fullmatch(text)
    if match is None:
        return None
    start = int(match[1])
    is_next = int(match[2]) in (start + 1, (start + 1) % 100)
    return start + 1 if is_next and start in _YEARS else None


def _grade(text: str) -> int | None:
    text = text.upper()
    if text in _NAMED_GRADES:
        return _NAMED_GRADES[text]
    match = _GRADE.fullmatch(text)
    grade = int(match[1]) if match else -1 if text == "-1" else None
    return grade if grade in _GRADES else None


def _answer(text: str) -> bool | None:
    text = text.lower()
    match = _PREFIXED_ANSWER.fullmatch(text)
    answer = match[1] if match else text
    return True if answer in _YES else False if answer in _NO else None


def _validity(text: str) -> bool | None:
    named = {"VALID_CASE": True, "INVALID_CASE": False}.get(text.upper())
    return _answer(text) if named is None else named
