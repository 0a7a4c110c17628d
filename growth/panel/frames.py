"""The only door for dataframes: any supported table in as polars, results out as the caller's kind.

Errors of the reading libraries quote cell values, so they are replaced, never chained or repeated.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import polars as pl

from growth.errors import ColumnError, TableError, problem
from growth.mapped import column
from growth.panel.coded import Store, each, stacked
from growth.panel.databases import Choice, columns_kept, is_address, read_database
from growth.panel.text_files import Reading, TextFormat, read_text_file
from growth.scratch import is_large, pieces

__all__ = ["CallerFrame", "FrameKind", "Loaded", "hand_back", "load"]

CallerFrame: TypeAlias = Any
"""A polars, pandas, pyarrow or DuckDB frame."""
FrameKind: TypeAlias = Literal["polars", "polars_lazy", "pandas", "pyarrow", "duckdb"]

_READABLE = "CSV or Parquet files, addresses of databases, and pandas, polars, pyarrow and DuckDB frames"
_TEXT_FILES = (".csv", ".csv.gz", ".txt", ".txt.gz", ".tsv", ".tsv.gz")
_YEAR_IN_NAME = re.compile(r"(?<!\d)((?:19|20|21)\d{2}(?:[-_](?:\d{4}|\d{2}))?)(?!\d)")


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A table as it came, in polars."""

    frame: pl.DataFrame
    kind: FrameKind
    digest: str | None
    """SHA-256 of the file's bytes; None for in-memory tables."""


def load(
    source: CallerFrame | str | Path | Sequence[str | Path],
    text_columns: Choice,
    *,
    wanted: Choice | None = None,
    style: TextFormat = TextFormat(),  # noqa: B008
    name_year: bool = False,
    store: Store = lambda column: column,
) -> Loaded:
    """Bring a table into polars without changing it.

    Parameters
    ----------
    source : path, frame or sequence of paths
        Files of one kind with the same columns are put one under the other. Addresses of databases are those
        of `growth.panel.databases`.
    text_columns : callable
        Column names -> the columns that a CSV reader must not guess the type of (leading zeros).
    wanted : callable, optional
        Column names -> the columns to read; all if not given.
    style : TextFormat, optional
        Delimiter and encoding of text files.
    name_year : bool
        Add a column `year` with the year in each file's name.
    store : callable
        What is done to each column as it is read, before the next one is.

    Raises
    ------
    TableError
        If the file is missing or unreadable, or the object is no supported frame.
    """
    in_files = isinstance(source, str | Path | list | tuple) and not is_address(source)
    if name_year and not in_files:
        raise TableError(
            problem("columns.year_from_file_name needs files", fix="give columns.fixed.year instead")
        )
    if is_address(source):
        return Loaded(each(read_database(source, wanted), store), "polars", None)
    if isinstance(source, str | Path):
        source = [source]
    named = isinstance(source, list | tuple) and all(isinstance(path, str | Path) for path in source)
    if not named or not len(source):
        loaded = _load_frame(source, wanted)
        return Loaded(each(loaded.frame, store), loaded.kind, loaded.digest)
    reading = Reading(text_columns, wanted, style, store)
    return _load_files([Path(path) for path in source], reading, name_year)


def hand_back(frame: pl.DataFrame, kind: FrameKind) -> CallerFrame:
    """Return `frame` as a frame of the given kind."""
    if kind == "pandas":
        return frame.to_pandas()
    if kind == "pyarrow":
        return frame.to_arrow()
    if kind == "duckdb":
        import duckdb

        return duckdb.from_arrow(frame.to_arrow())
    return frame.lazy() if kind == "polars_lazy" else frame


def _load_files(paths: Sequence[Path], reading: Reading, name_year: bool) -> Loaded:
    parts, digests = [], []
    for path in paths:
        frame, digest = _load_file(path, reading)
        parts.append(_with_year(frame, path) if name_year else frame)
        digests.append(digest)
    if len(parts) == 1:
        return Loaded(parts[0], "polars", digests[0])
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()
    try:
        return Loaded(stacked(parts, reading.store), "polars", digest)
    except pl.exceptions.PolarsError:
        raise TableError(
            problem(
                f"The {len(parts)} files do not have the same columns in the same order and types",
                fix="write them alike, or put them together before",
            )
        ) from None


def _with_year(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    years = _YEAR_IN_NAME.findall(path.name)
    if len(years) != 1 or "year" in frame.columns:
        what = "has a column 'year'" if "year" in frame.columns else f"has {len(years)} years in its name"
        raise TableError(
            problem(
                f"File {path.name!r} {what}",
                rule="columns.year_from_file_name takes the year from the name, which holds exactly one",
                fix="rename the file, or give columns.fixed.year instead",
            )
        )
    return frame.with_columns(pl.lit(years[0]).alias("year"))


def _load_file(path: Path, reading: Reading) -> tuple[pl.DataFrame, str]:
    if not path.is_file():
        raise TableError(problem(f"There is no file {str(path)!r}", fix="check the path"))
    name = path.name.lower()
    if name.endswith(_TEXT_FILES):
        return read_text_file(path, reading)
    if not name.endswith((".parquet", ".pq")):
        raise TableError(
            problem(
                f"File {path.name!r} is of no known kind",
                fix="give a .csv, .txt or .tsv file (also with .gz) or a .parquet file",
            )
        )
    frame = _read_parquet(path, reading)
    with path.open("rb") as file:
        return frame, hashlib.file_digest(file, "sha256").hexdigest()


def _read_parquet(path: Path, reading: Reading) -> pl.DataFrame:
    try:
        columns = list(pl.read_parquet_schema(path))
    except (Exception, pl.exceptions.PanicException):
        raise TableError(_damaged(path)) from None
    kept = columns_kept(columns, reading.wanted)
    try:
        rows = int(pl.scan_parquet(path).select(pl.len()).collect().item())
        return pl.DataFrame([reading.store(_parquet_column(path, name, rows)) for name in kept])
    except (Exception, pl.exceptions.PanicException):
        # damaged files raise errors of many classes, and panics, that may quote cells
        raise TableError(_damaged(path)) from None


def _parquet_column(path: Path, name: str, rows: int) -> pl.Series:
    if not is_large(rows):
        return pl.read_parquet(path, columns=[name]).to_series()
    scan = pl.scan_parquet(path).select(name)
    parts = (scan.slice(k.start, k.stop - k.start).collect().to_series() for k in pieces(rows))
    return column(name, rows, parts)


def _damaged(path: Path) -> str:
    return problem(
        f"File {path.name!r} cannot be read as Parquet",
        rule="a whole Parquet file: it may be cut short or damaged",
        fix="write or copy it again",
    )


def _load_frame(source: CallerFrame, wanted: Choice | None) -> Loaded:
    import narwhals as nw

    try:
        wrapped = nw.from_native(source)
        columns = wrapped.collect_schema().names()
    except TypeError:
        raise TableError(
            problem(f"A {type(source).__name__} is not a table that can be read", rule=_READABLE)
        ) from None
    except nw.exceptions.DuplicateError:
        raise ColumnError(_repeated_names(source)) from None
    kind = _kind(wrapped)
    kept = columns_kept(columns, wanted)
    if len(kept) < len(columns):
        wrapped = wrapped.select(kept)
    try:
        eager = wrapped.collect(backend="polars") if isinstance(wrapped, nw.LazyFrame) else wrapped
        return Loaded(eager.to_polars(), kind, None)
    except Exception:
        # pandas/pyarrow conversion errors of any class quote the offending cell
        raise ColumnError(_unconvertible(source, kind)) from None


def _kind(wrapped: CallerFrame) -> FrameKind:
    import narwhals as nw

    implementation = wrapped.implementation
    if implementation.is_polars():
        return "polars_lazy" if isinstance(wrapped, nw.LazyFrame) else "polars"
    if implementation.is_pandas():
        return "pandas"
    if implementation.is_pyarrow():
        return "pyarrow"
    if implementation.is_duckdb():
        return "duckdb"
    raise TableError(
        problem(
            f"Tables of kind {implementation.name.lower()} are not read",
            rule=_READABLE,
            fix="convert it first",
        )
    )


def _repeated_names(source: CallerFrame) -> str:
    names = [str(name) for name in getattr(source, "column_names", getattr(source, "columns", ()))]
    twice = sorted({name for name in names if names.count(name) > 1})
    return problem(
        f"Column names occur more than once: {', '.join(map(repr, twice))}", fix="rename or drop the copies"
    )


def _unconvertible(source: CallerFrame, kind: FrameKind) -> str:
    bad: list[str] = []
    if kind == "pandas":
        for name in source.columns:
            try:
                pl.from_pandas(source[[name]])
            except Exception:
                bad.append(str(name))
    where = f"Columns {', '.join(map(repr, bad))} mix" if bad else "A column mixes"
    return problem(
        f"{where} types that no table format can hold",
        rule="one type per column",
        fix="convert it to text, or to numbers, before handing the table over",
    )
