"""Tables and queries of databases, named by an address; a database is only read.

``duckdb:///FILE?table=NAME`` and ``duckdb:///FILE?query=SELECT ...`` are DuckDB's; in
``postgresql://USER@HOST/NAME?table=SCHEMA.TABLE`` and ``...?query=SELECT ...`` what stands before is the
address that PostgreSQL's own programs take, with its parameters (``?sslmode=require&table=scores``).
Passwords belong into PostgreSQL's password file, not into an address. PostgreSQL is read through ADBC, the
driver of the Arrow project, and not through DuckDB's extension, which is downloaded while a program runs.

Messages of databases quote cells, and addresses may hold passwords: both are replaced, never repeated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeGuard

import polars as pl

from growth.errors import ColumnError, TableError, problem

__all__ = ["Choice", "columns_kept", "is_address", "read_database", "without_password"]

Choice: TypeAlias = Callable[[list[str]], Collection[str]]
"""Column names -> some of them."""

_DUCKDB: Final = "duckdb://"
_POSTGRESQL: Final = ("postgresql://", "postgres://")
_ASKED: Final = re.compile(r"(?P<place>.*?)[?&](?P<kind>table|query)=(?P<value>.+)", re.DOTALL)
_AS_THEY_ARE: Final = {
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "boolean",
    "text",
    "character varying",
    "date",
}
"""Types of PostgreSQL; all others are read as text, exact numbers among them. Text of fixed width loses its
padding that way."""


def is_address(source: object) -> TypeGuard[str]:
    """Return whether something is the address of a database."""
    return isinstance(source, str) and source.startswith((_DUCKDB, *_POSTGRESQL))


def without_password(address: str) -> str:
    """Return an address as it may be shown."""
    return re.sub(r"(?<=://)([^:/?@]*):[^/?]*@", r"\1@", address)


def read_database(address: str, wanted: Choice | None) -> pl.DataFrame:
    """Return the wanted columns of the table or query that an address names.

    Raises
    ------
    TableError
        If the address is incomplete, a library is missing, or the database cannot be read.
    ColumnError
        If a column name occurs twice.
    """
    asked = _ASKED.fullmatch(address)
    if asked is None:
        raise TableError(
            problem(
                "The address of a database names no table",
                rule="duckdb:///FILE?table=NAME or postgresql://HOST/NAME?table=NAME, or ?query=SELECT ...",
                fix="add ?table= and the name of a table or view",
            )
        )
    place, kind, value = asked["place"], asked["kind"], asked["value"]
    if place.startswith(_DUCKDB):
        return _of_duckdb(place.removeprefix(_DUCKDB), kind, value, wanted)
    return _of_postgresql(place, kind, value, wanted)


def columns_kept(columns: list[str], wanted: Choice | None) -> list[str]:
    """Return the wanted ones of some columns, in their order."""
    if wanted is None:
        return columns
    chosen = wanted(columns)
    return [name for name in columns if name in chosen]


def _of_relation(relation: Any, wanted: Choice | None) -> pl.DataFrame:  # noqa: ANN401
    """Return the wanted columns of a DuckDB relation."""
    kept = columns_kept(list(relation.columns), wanted)
    frame: pl.DataFrame = relation.project(", ".join(map(_quoted, kept))).pl()
    return frame


def _of_duckdb(name: str, kind: str, value: str, wanted: Choice | None) -> pl.DataFrame:
    relative = Path(name.removeprefix("/"))
    path = relative if relative.is_file() else Path(name)
    if not path.is_file():
        raise TableError(problem(f"There is no file {str(path)!r}", fix="check the path"))
    try:
        import duckdb
    except ModuleNotFoundError:
        raise TableError(
            problem("Reading a database needs DuckDB", fix="pip install 'growth[frames]'")
        ) from None
    try:
        with duckdb.connect(str(path), read_only=True) as database:
            relation = database.table(value) if kind == "table" else database.sql(value)
            if relation is not None:
                return _of_relation(relation, wanted)
            raise duckdb.Error
    except duckdb.Error:
        raise TableError(
            problem(
                f"The {kind} cannot be read from {path.name!r}",
                rule="a DuckDB database that no other program has open for writing; SQL that DuckDB runs",
                fix="try the same in DuckDB itself, whose messages may quote data",
            )
        ) from None


def _of_postgresql(place: str, kind: str, value: str, wanted: Choice | None) -> pl.DataFrame:
    try:
        from adbc_driver_postgresql import dbapi
    except ModuleNotFoundError:
        raise TableError(
            problem("Reading PostgreSQL needs its ADBC driver", fix="pip install 'growth[postgresql]'")
        ) from None
    try:
        connection = dbapi.connect(place)
    except dbapi.Error:
        raise TableError(
            problem(
                "PostgreSQL cannot be reached, or does not let us in",
                rule="postgresql://USER@HOST:PORT/NAME?table=NAME; the password in ~/.pgpass or PGPASSWORD",
                fix="try the address, up to ?table= or ?query=, with psql",
            )
        ) from None
    table = ".".join(map(_quoted, value.split("."))) if kind == "table" else f"({value.strip().rstrip(';')})"
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            columns = _fetched(cursor, f"SELECT asked.* FROM {_one_row(table)}").columns
            kept = columns_kept(columns, wanted)
            return _fetched(cursor, f"SELECT {_read_as(cursor, table, kept)} FROM {table} AS asked")
    except pl.exceptions.DuplicateError:
        raise ColumnError(
            problem("The query has columns of the same name", fix="name them with AS, or leave some out")
        ) from None
    except (dbapi.Error, pl.exceptions.PolarsError) as error:  # of the latter kind if rows fail on their way
        state = getattr(error, "sqlstate", None)
        raise TableError(
            problem(
                f"The {kind} cannot be read from PostgreSQL" + (f" (SQLSTATE {state})" if state else ""),
                rule="a table or view that you may read, spelt as it was made; or one SELECT",
                fix="try the same with psql, whose messages may quote data",
            )
        ) from None


def _read_as(cursor: Any, table: str, names: list[str]) -> str:  # noqa: ANN401
    """Return a list of columns for SELECT, those of other types than `_AS_THEY_ARE` cast to text."""
    types = ", ".join(f"pg_typeof({_quoted(name)})::text AS c{k}" for k, name in enumerate(names))
    kinds = _fetched(cursor, f"SELECT {types} FROM {_one_row(table)}").row(0) if names else ()
    casts = ("" if kind in _AS_THEY_ARE else "::text" for kind in kinds)
    return ", ".join(
        f"{_quoted(name)}{cast} AS {_quoted(name)}" for name, cast in zip(names, casts, strict=True)
    )


def _one_row(table: str) -> str:
    """Return a relation of a table's columns and one row of nulls, for which no row of the table is made."""
    return f"(SELECT 1) AS one LEFT JOIN (SELECT * FROM {table} AS a LIMIT 0) AS asked ON true"


def _fetched(cursor: Any, statement: str) -> pl.DataFrame:  # noqa: ANN401
    cursor.execute(statement)
    return pl.DataFrame(cursor.fetch_arrow())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
