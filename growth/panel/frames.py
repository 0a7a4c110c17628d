"""The only door for dataframes: any supported table in as polars, results out as the caller's kind.

Errors of the reading libraries quote cell values, so they are replaced, never chained or repeated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import polars as pl

from growth.errors import ColumnError, TableError, problem

__all__ = ["CallerFrame", "FrameKind", "Loaded", "hand_back", "load"]

CallerFrame: TypeAlias = Any
"""A polars, pandas, pyarrow or DuckDB frame."""
FrameKind: TypeAlias = Literal["polars", "polars_lazy", "pandas", "pyarrow", "duckdb"]

_READABLE = "CSV or Parquet files, and pandas, polars, pyarrow and DuckDB frames"


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A table as it came, in polars."""

    frame: pl.DataFrame
    kind: FrameKind
    digest: str | None
    """SHA-256 of the file's bytes; None for in-memory tables."""


def load(source: CallerFrame | str | Path, text_columns: Callable[[list[str]], Collection[str]]) -> Loaded:
    """Bring a table into polars without changing it.

    Parameters
    ----------
    source : path or frame
    text_columns : callable
        Column names -> the columns that a CSV reader must not guess the type of (leading zeros).

    Raises
    ------
    TableError
        If the file is missing or unreadable, or the object is no supported frame.
    """
    if isinstance(source, str | Path):
        return _load_file(Path(source), text_columns)
    return _load_frame(source)


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


def _load_file(path: Path, text_columns: Callable[[list[str]], Collection[str]]) -> Loaded:
    if not path.is_file():
        raise TableError(problem(f"There is no file {str(path)!r}", fix="check the path"))
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        frame = _read_csv(path, text_columns)
    elif name.endswith((".parquet", ".pq")):
        frame = _read_parquet(path)
    else:
        raise TableError(
            problem(f"File {path.name!r} is of no known kind", fix="give a .csv, .csv.gz or .parquet file")
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Loaded(frame, "polars", digest)


def _read_csv(path: Path, text_columns: Callable[[list[str]], Collection[str]]) -> pl.DataFrame:
    try:
        header = pl.read_csv(path, n_rows=0, infer_schema=False).columns
        as_text = dict.fromkeys(text_columns(header), pl.String)
        return pl.read_csv(path, schema_overrides=as_text, infer_schema_length=None)
    except pl.exceptions.NoDataError:
        raise TableError(
            problem(f"File {path.name!r} is empty", fix="give a table with a header line")
        ) from None
    except pl.exceptions.PolarsError:
        raise TableError(
            problem(
                f"File {path.name!r} cannot be read as CSV",
                rule="UTF-8 text, commas between fields, one header line, as many fields in every line",
                fix="save it as UTF-8 CSV or as Parquet",
            )
        ) from None


def _read_parquet(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError):
        raise TableError(
            problem(f"File {path.name!r} cannot be read as Parquet", fix="write it again")
        ) from None


def _load_frame(source: CallerFrame) -> Loaded:
    import narwhals as nw

    try:
        wrapped = nw.from_native(source)
        wrapped.collect_schema()
    except TypeError:
        raise TableError(
            problem(f"A {type(source).__name__} is not a table that can be read", rule=_READABLE)
        ) from None
    except nw.exceptions.DuplicateError:
        raise ColumnError(_repeated_names(source)) from None
    kind = _kind(wrapped)
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
