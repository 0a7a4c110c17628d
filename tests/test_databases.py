"""PostgreSQL as input: what is read equals the frame it came from, and nothing of it is told or changed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from layout_cases import RECORDS
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from growth import GrowthSpec, read_table
from growth.cli import app
from growth.errors import ColumnError, TableError

dbapi = pytest.importorskip("adbc_driver_postgresql.dbapi", reason="in the extra: postgresql")

PLAIN = GrowthSpec.from_dict({"groups": {"flags": {}, "race": "", "lowest_race": False}})
PASSWORD = "NotToBeShown"
KINDS = {
    "student_id": "char(12)",
    "year": "integer",
    "subject": "varchar(8)",
    "grade": "smallint",
    "score": "numeric(8,2)",
    "csem": "double precision",
    "school_id": "text",
    "district_id": "char(9)",
}
"""Columns of the records and their types in a database: exact numbers and padded text among them."""
NOBODY = "nobody"
"""Who runs the server where the tests are run by root, which the server refuses."""


def program(name: str) -> str:
    """Return the path of one of the server's programs, which Debian keeps out of the PATH; skip without."""
    places = [shutil.which(name), *map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}")))]
    found = next((place for place in reversed(places) if place), None)
    if found is None:
        pytest.skip("no PostgreSQL server is installed")
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Start a server of our own that listens on a socket in a temporary folder; return its address."""
    initdb, control = program("initdb"), program("pg_ctl")
    # The path of a socket must be short, and the folder belong to whoever runs the server.
    folder = Path(tempfile.mkdtemp(prefix="growth-pg-"))
    owner: dict[str, Any] = {"cwd": folder, "check": True, "stdout": subprocess.DEVNULL}
    if os.geteuid() == 0:
        if NOBODY not in {user.pw_name for user in pwd.getpwall()}:
            pytest.skip("the server refuses root, and there is no other user")
        shutil.chown(folder, NOBODY)
        owner |= {"user": NOBODY, "extra_groups": []}
    data = folder / "data"
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    start = ["-w", "-o", options, "-l", folder / "log", "start"]
    try:
        subprocess.run([initdb, "-D", data, "-U", "growth", "-A", "trust", "--no-sync"], **owner)
        subprocess.run([control, "-D", data, *start], **owner)
        yield f"postgresql://growth:{PASSWORD}@/postgres?host={folder}"
    finally:
        if data.exists():
            subprocess.run([control, "-D", data, "-m", "immediate", "stop"], **{**owner, "check": False})
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def scores(server: str) -> str:
    """Put the records into a table with the types of a database; return the address up to the table."""
    columns = ", ".join(f'"{name}" {kind}' for name, kind in KINDS.items())
    places = ", ".join(f"(${k + 1}::text)::{kind}" for k, kind in enumerate(KINDS.values()))
    with dbapi.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA state")
        cursor.execute(f'CREATE TABLE state."Scores" ({columns}, notes text, homeroom jsonb)')
        names = ", ".join(f'"{name}"' for name in RECORDS.columns)
        for row in RECORDS.iter_rows():
            cursor.execute(f'INSERT INTO state."Scores" ({names}) VALUES ({places})', row)
        connection.commit()
    return server


@pytest.mark.parametrize(
    "rest",
    ["table=state.Scores", "query=SELECT * FROM state.\"Scores\" WHERE year <> 1999 AND 'a&b?' <> '';"],
)
def test_tables_and_queries(scores: str, rest: str) -> None:
    spec = PLAIN.replace({"columns.carry": []})
    table, expected = read_table(f"{scores}&{rest}", spec), read_table(RECORDS, spec)
    assert_frame_equal(table.frame, expected.frame)
    assert table.digest == expected.digest
    assert table.origin == "polars"


def test_only_needed_columns_are_read(scores: str) -> None:
    columns = read_table(f"{scores}&table=state.Scores", PLAIN.replace({"columns.carry": ["homeroom"]}))
    assert "homeroom" in columns.frame.columns
    assert "notes" not in columns.frame.columns


@pytest.mark.parametrize(
    ("rest", "error", "words"),
    [
        ("&table=scores", TableError, r"SQLSTATE 42P01"),
        ("&table=state.scores", TableError, r"SQLSTATE 42P01"),
        ('&query=DROP TABLE state."Scores"', TableError, "SQLSTATE 42601"),
        ('&query=SELECT 1) a; DROP TABLE state."Scores"; --', TableError, "SQLSTATE 42601"),
        ("&query=SELECT 'Canary'::integer", TableError, r"SQLSTATE 22P02"),
        ("&query=SELECT 1 AS year, 2 AS year", ColumnError, "same name"),
        ("&query=SELECT 1 AS year WHERE false", ColumnError, "is missing"),
        ('&query=SELECT * FROM state."Scores" WHERE false', TableError, "has no rows"),
        ("", TableError, "names no table"),
        ("&table=", TableError, "names no table"),
    ],
)
def test_what_cannot_be_read(scores: str, rest: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        read_table(scores + rest, PLAIN)
    assert PASSWORD not in str(caught.value)
    assert "Canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert read_table(f"{scores}&table=state.Scores", PLAIN).frame.height


def test_a_query_cannot_write(scores: str) -> None:
    with dbapi.connect(scores) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION public.emptied() RETURNS integer LANGUAGE sql AS "
            "'DELETE FROM state.\"Scores\"; SELECT 1 AS year'"
        )
        connection.commit()
    with pytest.raises(TableError, match="cannot be read from PostgreSQL"):
        read_table(f'{scores}&query=SELECT s.* FROM state."Scores" AS s, public.emptied()', PLAIN)
    assert read_table(f"{scores}&table=state.Scores", PLAIN).frame.height


def test_a_server_that_is_not_there() -> None:
    address = f"postgresql://growth:{PASSWORD}@127.0.0.1:1/scores"
    with pytest.raises(TableError, match="cannot be reached") as caught:
        read_table(f"{address}?table=scores", PLAIN)
    assert PASSWORD not in str(caught.value)


def test_on_the_command_line(scores: str, tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(PLAIN.to_toml())
    run = CliRunner()
    done = run.invoke(app, ["check", f"{scores}&table=state.Scores", "--spec", str(tmp_path / "spec.toml")])
    assert f"{RECORDS.height:,}" in done.output
    assert PASSWORD not in done.output
    for bad in (f"mysql://growth:{PASSWORD}@host/x?table=scores", f"Postgres://growth:{PASSWORD}@host/x"):
        done = run.invoke(app, ["check", bad])
        assert done.exit_code == 2
        assert PASSWORD not in done.output
    done = run.invoke(app, ["check", f"{scores}&table=state.Scores", f"{scores}&table=state.Scores"])
    assert done.exit_code == 2
    assert "by itself" in done.output
