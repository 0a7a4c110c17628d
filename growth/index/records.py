"""Plain student and survey records, read and checked before a metric is computed from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from growth.errors import ColumnError, TableError, did_you_mean, problem
from growth.panel.columns import described
from growth.panel.frames import load
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

__all__ = ["FLAG", "GRADE", "ID", "NUMBER", "TEXT", "YEAR", "Kind", "Layout", "read_records"]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a column's cells are read, and what they may be."""

    read: Callable[[pl.Series], Parsed]
    rule: str
    dtype: pl.DataType


ID = Kind(read_id, "text or whole numbers", pl.String())
TEXT = Kind(read_text, "text", pl.String())
YEAR = Kind(read_year, "2024, 2023_2024 or 2023-24", pl.Int32())
GRADE = Kind(read_grade, "3, 03, Grade 3, K or PK", pl.Int16())
FLAG = Kind(read_flag, "yes/no: true/false, 1/0, Y/N", pl.Boolean())
NUMBER = Kind(read_score, "a finite number", pl.Float64())


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one kind of record."""

    name: str
    """What the records are about, for messages."""
    filled: Mapping[str, Kind]
    """Columns without blanks."""
    blank: Mapping[str, Kind] = field(default_factory=dict)
    """Columns that must be there and may have blanks."""
    optional: Mapping[str, Kind] = field(default_factory=dict)
    """Columns that may be left out: blank then."""
    key: tuple[str, ...] = ()
    """Columns that identify a row."""
    groups: bool = True
    """Whether the columns of the specification's groups are needed; without, they are optional."""


def read_records(source: pl.DataFrame | str | Path | Any, layout: Layout, spec: GrowthSpec) -> pl.DataFrame:  # noqa: ANN401
    """Read records: a CSV or Parquet file or any data frame.

    Returns
    -------
    polars.DataFrame
        The columns of the layout and those of the specification's groups, typed; others are dropped.

    Raises
    ------
    ColumnError
        If columns are missing, or hold what they must not; every problem in one message.
    TableError
        If the file cannot be read, or rows are there more than once.
    """
    groups = _group_kinds(spec)
    blank = {**layout.blank, **groups} if layout.groups else dict(layout.blank)
    optional = dict(layout.optional) if layout.groups else {**layout.optional, **groups}
    needed = {**layout.filled, **{name: kind for name, kind in blank.items() if name not in layout.filled}}
    kinds = {**optional, **needed}
    texts = [name for name, kind in kinds.items() if kind.dtype == pl.String]
    raw = load(source, lambda header: [name for name in texts if name in header]).frame
    _refuse_missing(raw.columns, needed, layout.name)
    columns: list[pl.Series] = []
    problems: list[str] = []
    for name, kind in kinds.items():
        if name not in raw.columns:
            columns.append(pl.Series(name, [None] * raw.height, dtype=kind.dtype))
            continue
        parsed = kind.read(raw[name])
        columns.append(parsed.values.alias(name))
        problems += _wrong(name, kind, parsed, must_be_filled=name in layout.filled)
    if problems:
        raise ColumnError(described(problems))
    frame = pl.DataFrame(columns)
    _refuse_copies(frame, layout)
    return frame


def refuse(rows: pl.DataFrame, bad: pl.Expr, what: str, rule: str) -> None:
    """Raise if any row is `bad`; blanks are not.

    Raises
    ------
    ColumnError
        With the number of such rows.
    """
    count = int(rows.select(bad.fill_null(False).sum()).item() or 0)
    if count:
        raise ColumnError(problem(what, rule=rule, rows=count, fix="correct or drop those rows"))


def _group_kinds(spec: GrowthSpec) -> dict[str, Kind]:
    kinds = dict.fromkeys(spec.groups.flags.values(), FLAG)
    return {**kinds, spec.groups.race: TEXT} if spec.groups.race else kinds


def _refuse_missing(columns: Sequence[str], needed: Mapping[str, Kind], name: str) -> None:
    problems = [
        problem(
            f"Column {column!r} is missing from the {name} records{did_you_mean(column, columns)}",
            rule=f"they have {', '.join(needed)}",
            fix="add it; columns of groups are named in the specification's groups",
        )
        for column in needed
        if column not in columns
    ]
    if problems:
        raise ColumnError(described(problems))


def _wrong(name: str, kind: Kind, parsed: Parsed, *, must_be_filled: bool) -> list[str]:
    if parsed.wrong_type or parsed.bad:
        what = f"Column {name!r} has values that cannot be read"
        return [problem(what, rule=kind.rule, rows=parsed.bad, fix="rewrite them, or leave them blank")]
    problems = []
    if kind.dtype == pl.Float64:
        infinite = int((~parsed.values.is_finite()).sum())
        if infinite:
            what = f"Column {name!r} has NaN or infinite values"
            problems.append(problem(what, rule=kind.rule, rows=infinite, fix="replace them by blanks"))
    blank = parsed.values.null_count()
    if must_be_filled and blank:
        what = f"Column {name!r} has blanks"
        problems.append(problem(what, rule="every row has one", rows=blank, fix="fill it or drop those rows"))
    return problems


def _refuse_copies(frame: pl.DataFrame, layout: Layout) -> None:
    if not layout.key or frame.is_empty():
        return
    copies = int(frame.select(layout.key).is_duplicated().sum())
    if copies:
        raise TableError(
            problem(
                f"Columns {', '.join(layout.key)} do not identify a row of the {layout.name} records",
                rule="one row each",
                rows=copies,
                fix="drop the copies",
            )
        )
