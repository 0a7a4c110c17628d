"""What the commands share: the command line itself, options, messages and exit codes, tables in text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from growth.errors import GrowthError, SpecError

if TYPE_CHECKING:
    from rich.table import Table

    from growth.spec import GrowthSpec

__all__ = [
    "DATA",
    "PRESET_NAMES",
    "TABLES",
    "USAGE",
    "AgainOption",
    "JobsOption",
    "SchedulerOption",
    "SpecOption",
    "answerable",
    "app",
    "cell_text",
    "print_table",
    "progress_bar",
    "sources",
    "specification",
    "text_table",
    "waterfall_table",
    "workers_of",
]

app = typer.Typer(
    name="growth",
    help="Student growth percentiles and school growth percentiles from a long table of test scores.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    # Tracebacks with local variables would print students' rows.
    pretty_exceptions_enable=False,
)

DATA, USAGE = 1, 2
"""Exit codes."""

_FILE_WIDTH = 100
_PACE = 3600.0
"""Time that the pace of a run is taken from [s]: a piece of work may take longer than rich's half minute."""
_TEXT_COLUMNS = (
    "Fact",
    "Value",
    "Subject",
    "School",
    "Group",
    "Step",
    "Because",
    "Cohort",
    "Fitted on",
    "Stage",
    "Norm group",
    "Yours",
    "Read as",
    "Finding",
    "Remedy",
    "Rule",
    "What holds",
    "Otherwise",
    "Choice",
)
PRESET_NAMES = "core, core_vendor, sgp, georgia, california, new_york"

SpecOption = Annotated[
    str, typer.Option("--spec", help=f"Preset ({PRESET_NAMES}) or TOML file.", metavar="PRESET|FILE")
]

JobsOption = Annotated[int, typer.Option("--n-jobs", help="Threads; -1: all cores. Results do not change.")]

SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        help="Address of a Dask scheduler: its workers compute, and see the folders named here.",
        metavar="ADDRESS",
    ),
]

TABLES = typer.Argument(
    metavar="FILE...",
    help="Text or Parquet file, or several of the same columns; or the address of a database, "
    "duckdb:///FILE?table=NAME or postgresql://HOST/NAME?table=NAME (or query=SELECT ...).",
    show_default=False,
)

AgainOption = Annotated[
    list[str] | None,
    typer.Option(
        "--table",
        help="Table that the run was made from: a file, as often as there were several, or an address.",
        metavar="FILE",
    ),
]


def sources(files: list[str] | None) -> str | list[str]:
    """Return the table that arguments name; a usage error if a file is not there."""
    if not files:
        raise typer.BadParameter("name a file")
    for file in files:
        if "://" in file:
            _check_address(file, alone=len(files) == 1)
        elif not Path(file).is_file():
            raise typer.BadParameter(f"there is no file {file!r}")
    return files[0] if len(files) == 1 else files


def _check_address(address: str, *, alone: bool) -> None:
    """Refuse an address of no known kind, without showing it: it may hold a password."""
    kind = address.split("://")[0]
    if kind not in ("duckdb", "postgresql", "postgres"):
        raise typer.BadParameter(f"databases of kind {kind!r} are not read; duckdb:// and postgresql:// are")
    if not alone:
        raise typer.BadParameter("a database is read by itself: write a query that puts tables together")


@contextmanager
def workers_of(scheduler: str | None) -> Iterator[None]:
    """Let the workers of a cluster compute; a usage error if there is none at the address."""
    from growth.parallel import on_cluster

    with ExitStack() as held:
        try:
            held.enter_context(on_cluster(scheduler))
        except SpecError as error:
            typer.echo(f"growth: --scheduler: {error}", err=True)
            raise typer.Exit(USAGE) from None
        yield


@contextmanager
def answerable() -> Iterator[None]:
    """End with a message and exit code 1 where the data or the machine, not the program, is the problem."""
    try:
        yield
    except GrowthError as error:
        typer.echo(f"growth: {error}", err=True)
        raise typer.Exit(DATA) from None
    except MemoryError:
        typer.echo("growth: Memory ran out. To fix: use fewer threads (--n-jobs), and --resume.", err=True)
        raise typer.Exit(DATA) from None
    except OSError as error:
        typer.echo(
            f"growth: {error.strerror or type(error).__name__}. To fix: put it right, and --resume.", err=True
        )
        raise typer.Exit(DATA) from None


def specification(choice: str) -> GrowthSpec:
    """Return a preset or the specification of a file; exit code 2 if there is none."""
    from growth.spec import GrowthSpec

    try:
        return GrowthSpec.of(choice)
    except SpecError as error:
        typer.echo(f"growth: --spec: {error}", err=True)
        raise typer.Exit(USAGE) from None


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar on standard error if somebody is looking."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    columns = (TextColumn("{task.description:<48}"), BarColumn(), MofNCompleteColumn(), *times)
    silent = not console.is_terminal
    with Progress(
        *columns, console=console, transient=True, disable=silent, speed_estimate_period=_PACE
    ) as bar:
        task = bar.add_task("reading", total=None)

        def show(done: int, total: int, label: str) -> None:
            bar.update(task, completed=done, total=total, description=label)

        yield show


def waterfall_table(counts: Any) -> Table:  # noqa: ANN401
    """Return the account of rows as a table."""
    table = text_table("Account of rows", "Subject", "Year", "Step", "Rows left", "Left out", "Because")
    for subject, year, step, rows, excluded, reason in counts.iter_rows():
        out = f"{excluded:,}" if excluded else ""
        table.add_row(subject, str(year or ""), step, f"{rows:,}", out, reason or "")
    return table


def text_table(title: str, *columns: str) -> Table:
    """Return an empty table; columns of words stand to the left, of numbers to the right."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name in columns:
        table.add_column(name, justify="left" if name in _TEXT_COLUMNS else "right")
    return table


def print_table(table: Table) -> None:
    """Print a table: as wide as the terminal, or as a file's lines should be."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    console.print(table)


def cell_text(value: object) -> str:
    """Return a value as it stands in a table."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and value > 9_999 else str(value)
