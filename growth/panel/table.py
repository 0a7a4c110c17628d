"""The student table: read once, checked completely, then trusted by every room after it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from growth._types import IntArray
from growth.errors import TableError, problem
from growth.mapped import changed, kept_column, pick
from growth.panel.coded import as_texts, by_value, coded_if_few, is_coded
from growth.panel.columns import Header, check_header, read_header, used_columns
from growth.panel.frames import CallerFrame, FrameKind, Loaded, hand_back, load
from growth.panel.layouts import unfold
from growth.panel.screening import (
    Left,
    known_grades,
    one_row_per_key,
    possible_rows,
    screened,
    valid_rows,
    within_bounds,
)
from growth.panel.text_files import TextFormat
from growth.panel.typed import typed
from growth.panel.values import Parsed
from growth.panel.waterfall import ALL_SUBJECTS, step_lines, waterfall_frame
from growth.spec import GrowthSpec

__all__ = ["StudentTable", "read_table"]


@dataclass(frozen=True, eq=False)
class StudentTable:
    """A validated long student table: one row per student x year x subject.

    Attributes
    ----------
    codes : polars.DataFrame
        The table as it is kept: `frame`, but text of few different values as codes (Enum).
    texts : frozenset of str
        The columns of `codes` that stand for text.
    frame : polars.DataFrame
        Made from `codes` at each call. Sorted by student_id, year, subject (unique). Columns: student_id,
        year (Int32, the year a school year ends in), year_label (the caller's text), subject, grade (Int16),
        score (Float64, null if there is none) [scale-score points], school_id, optional district_id and
        enrolled, the yes/no columns of the specification (Boolean) and its categories (String), csem
        (Float64) [CSEM points] and share (Float64, above 0 and at most 1) if the specification reads them,
        then the caller's other columns untouched.
    counts : polars.DataFrame
        Waterfall so far (steps read, valid, unique): subject, year, step, rows, excluded, reason.
    origin : str
        Kind of frame that results are handed back as.
    digest : str
        SHA-256 of the file's bytes, or of the canonical columns of an in-memory table (its row order and
        its other columns do not matter).
    header : Header
        Layout and columns, as they were understood.
    notices : tuple of str
        What was read as missing because the specification says so.
    """

    codes: pl.DataFrame
    texts: frozenset[str]
    counts: pl.DataFrame
    origin: FrameKind
    digest: str
    header: Header
    notices: tuple[str, ...] = ()

    @property
    def frame(self) -> pl.DataFrame:
        """The table with text as text."""
        return as_texts(self.codes, self.texts)

    def rows(self, places: IntArray) -> pl.DataFrame:
        """Return the rows at some places, with text as text."""
        return pl.DataFrame([self._texts(column, places) for column in self.codes])

    def _texts(self, column: pl.Series, places: IntArray) -> pl.Series:
        """Return the rows of a column at some places, with text as text."""
        if column.name not in self.texts:
            return pick(column, places)
        return changed(pick(column, places), lambda part: part.cast(pl.String))

    def to_caller(self, frame: pl.DataFrame) -> CallerFrame:
        """Return `frame` as the kind of frame that the table came as; for files, as polars."""
        return hand_back(frame, self.origin)

    def __repr__(self) -> str:
        years = self.codes["year"].unique().sort()
        subjects = self.codes["subject"].n_unique()
        return (
            f"StudentTable({self.codes.height:,} rows, {subjects} subject(s), years {years[0]}-{years[-1]})"
        )


def read_table(source: CallerFrame | str | Path | Sequence[str | Path], spec: GrowthSpec) -> StudentTable:
    """Read and validate a table of student scores.

    Parameters
    ----------
    source : path, frame or sequence of paths
        Text (``.csv``, ``.txt``, ``.tsv``, ``.gz``) or Parquet file, or several of the same columns;
        address of a table or query in DuckDB or PostgreSQL (`growth.panel.databases`); pandas, polars (eager
        or lazy), pyarrow or DuckDB frame. It is not changed. ``growth.panel.layouts`` has the layouts that
        are known.
    spec : GrowthSpec
        ``spec.columns`` says how the table is laid out and named, ``spec.rows`` what happens to rows that
        break a rule; ``spec.scale``, ``spec.peers``, ``spec.groups``, ``spec.school`` and
        ``spec.measurement`` say what must be there.

    Returns
    -------
    StudentTable

    Raises
    ------
    ColumnError
        A column is missing, of the wrong type, or holds impossible values; all such problems at once,
        each with column, rule, number of rows and way out.
    TableError
        The table cannot be read, is empty, or holds a key more than once.
    """
    loaded, header, enums = _load(source, spec)
    names = header.names
    raw, no_record = _long(loaded.frame, header)
    waterfall = _Waterfall(raw.height + no_record)
    waterfall.lose({"no_score": no_record})
    raw = waterfall.keep(screened(raw, header.recognition.layout, names, spec.rows))
    raw = waterfall.keep(valid_rows(raw, names))
    raw = waterfall.keep(known_grades(raw, spec.rows))
    read = typed(raw, names, spec)
    frame = read.frame.with_columns(_renamed(read.frame["subject"], spec.columns.subjects))
    frame = waterfall.keep(possible_rows(frame, names, spec.rows))
    frame = waterfall.keep(within_bounds(frame, names, spec.scale))
    if frame.is_empty():
        raise TableError(_no_rows(waterfall.lost))
    notices = read.notices
    del raw, read  # their columns are let go
    used = [name for name in frame.columns if name in used_columns(spec)]
    frame, copies = one_row_per_key(frame, used, names, spec.rows)
    counts = waterfall.frame(copies)
    digest = loaded.digest or _digest(frame.select(used))
    texts = {column.name for column in frame if is_coded(column)} - (enums - set(used))
    return StudentTable(frame, frozenset(texts), counts, loaded.kind, digest, header, notices)


class _Waterfall:
    """Rows read, and lost on the way to the valid ones, by reason."""

    def __init__(self, read: int) -> None:
        self.read = read
        self.lost: dict[str, int] = {}

    def lose(self, lost: dict[str, int]) -> None:
        for reason, rows in lost.items():
            self.lost[reason] = self.lost.get(reason, 0) + rows

    def keep(self, left: Left) -> pl.DataFrame:
        self.lose(left[1])
        return left[0]

    def frame(self, copies: dict[str, int]) -> pl.DataFrame:
        lines = step_lines(ALL_SUBJECTS, None, "read", self.read, {})
        lines += step_lines(ALL_SUBJECTS, None, "valid", self.read, self.lost)
        lines += step_lines(ALL_SUBJECTS, None, "unique", lines[-1].rows, copies)
        return waterfall_frame(lines)


def _load(
    source: CallerFrame | str | Path | Sequence[str | Path], spec: GrowthSpec
) -> tuple[Loaded, Header, set[str]]:
    """Return the table, its header, and the columns that the caller has coded, by their own names."""

    def header_of(columns: list[str]) -> Header:
        header = read_header(columns, spec)
        check_header(header)
        return header

    choices = spec.columns
    columns: list[str] = []
    wide: list[bool] = []
    enums: set[str] = set()

    def wanted(names: list[str]) -> frozenset[str]:
        columns[:] = names
        header = header_of(names)
        wide[:] = [bool(header.recognition.blocks)]
        return header.wanted

    def store(column: pl.Series) -> pl.Series:
        if is_coded(column):
            enums.add(column.name)
        # columns of a wide table are put one under the other: coded after that
        return kept_column(column if any(wide) else coded_if_few(column))

    loaded = load(
        source,
        lambda names: read_header(names, spec).used,
        wanted=wanted,
        style=TextFormat(choices.delimiter, choices.encoding),
        name_year=choices.year_from_file_name,
        store=store,
    )
    header = header_of(columns)
    if choices.year_from_file_name:
        header.names["year"] = "year"
    own_names = {caller: own for own, caller in header.names.items()}
    return loaded, header, {own_names.get(name, name) for name in enums}


def _long(frame: pl.DataFrame, header: Header) -> tuple[pl.DataFrame, int]:
    """Return the table with own names, one row per record, and how many cells of a wide table were blank."""
    blank = 0
    if header.recognition.blocks:
        frame, blank = unfold(frame, header.recognition.blocks)
        frame = pl.DataFrame([coded_if_few(column) for column in frame])
    own_names = {caller: own for own, caller in header.names.items() if caller in frame.columns}
    fixed = (pl.lit(value).alias(own) for own, value in header.spec.columns.fixed.items())
    return frame.rename(own_names).with_columns(*fixed), blank


def _renamed(subject: pl.Series, names: Mapping[str, str]) -> pl.Series:
    def rename(values: pl.Series) -> Parsed:
        return Parsed(values.replace(names))

    return by_value(subject, rename).values.alias(subject.name) if names else subject


def _no_rows(lost: dict[str, int]) -> str:
    gone = {reason: rows for reason, rows in lost.items() if rows}
    return problem(
        "The table has no rows" + (" that are valid" if gone else ""),
        rows=sum(gone.values()) or None,
        fix="check the file, the column for validity, rows and scale.bounds in the specification",
    )


def _digest(frame: pl.DataFrame) -> str:
    """Return the SHA-256 of names, types and values, whatever the library version and memory layout."""
    total = hashlib.sha256()
    for column in frame:
        column = column.cast(pl.String) if is_coded(column) else column
        total.update(f"{column.name}:{column.dtype}:{len(column)};".encode())
        total.update(column.is_null().to_numpy().tobytes())
        if column.dtype == pl.String:
            text = column.fill_null("")
            total.update(text.str.len_bytes().to_numpy().tobytes())
            total.update(text.str.join("").item().encode())
        elif column.dtype == pl.Boolean:
            total.update(column.fill_null(False).to_numpy().tobytes())
        else:
            total.update(column.fill_null(0).to_numpy().tobytes())
    return total.hexdigest()
