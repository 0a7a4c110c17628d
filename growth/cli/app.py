"""The command line: a skin. Each command reads, makes one library call and writes.

Exit codes: 0 done, 1 a problem with the data, 2 a problem with the command (arguments or specification).
Results go to standard output, progress and problems to standard error. Heavy libraries are imported when a
command needs them, so that ``growth --help`` is instant.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from growth.errors import GrowthError, SpecError

try:
    import typer
except ModuleNotFoundError as error:
    if error.name != "typer":
        raise
    raise SystemExit("The growth command needs typer and rich. To fix: pip install 'growth[cli]'") from None

if TYPE_CHECKING:
    from rich.table import Table

    from growth.freeze import FreezeBundle
    from growth.pipeline import GrowthRun
    from growth.spec import GrowthSpec

__all__ = ["app", "main"]

app = typer.Typer(
    name="growth",
    help="Student growth percentiles and school growth percentiles from a long table of test scores.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    # Tracebacks with local variables would print students' rows.
    pretty_exceptions_enable=False,
)

_DATA, _USAGE = 1, 2
_SCHOOLS_SHOWN = 3
_FILE_WIDTH = 100
_TEXT_COLUMNS = (
    "Fact",
    "Value",
    "Subject",
    "School",
    "Group",
    "Step",
    "Because",
    "Cohort",
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


def main() -> None:
    """Run the command line."""
    app()


VersionOption = Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)]


@app.callback(invoke_without_command=True)
def _options(version: VersionOption = False) -> None:
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"growth {version_of('growth')}")
        raise typer.Exit


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Run folder to write; an earlier demo is replaced.")] = Path(
        "growth-demo"
    ),
    students: Annotated[int, typer.Option(help="Students tested in the latest year.", min=1)] = 50_000,
    schools: Annotated[int, typer.Option(help="Schools.", min=3)] = 150,
    n_jobs: JobsOption = -1,
) -> None:
    """Simulate a city of schools and compute its growth percentiles, with a report to look at."""
    with _answerable():
        from growth.panel import simulate_table
        from growth.report.extras import require_extra
        from growth.spec import GrowthSpec
        from growth.store import check_free

        require_extra()
        check_free(out, overwrite=True)
        typer.echo(f"Simulating about {students:,} tested students in {schools:,} schools ...", err=True)
        city = simulate_table(students, schools, years=1)
        choices = GrowthSpec.preset("core").replace({"measurement.csem": "column"})
        result = _compute(city.table, choices, n_jobs)
        _save(result, out, overwrite=True, report=True)
        _show_results(result, out, report=True)


@app.command()
def run(
    files: Annotated[list[str], TABLES],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    spec: Annotated[
        str | None,
        typer.Option(
            help="Preset (core, sgp) or TOML file; core, or with --freeze the bundle's.",
            metavar="PRESET|FILE",
        ),
    ] = None,
    freeze: Annotated[
        Path | None,
        typer.Option(help="Bundle of a base year: its curves, norms and cut points.", metavar="BUNDLE"),
    ] = None,
    n_jobs: JobsOption = -1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run.")] = False,
    report: Annotated[bool, typer.Option(help="Write report.html.")] = True,
    checkpoints: Annotated[
        Path | None,
        typer.Option(help="Folder for finished cohorts and SIMEX replicates, kept; by default beside --out."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from what an interrupted run has finished.")
    ] = False,
    scheduler: SchedulerOption = None,
) -> None:
    """Compute growth percentiles and levels of a table, and write a run folder."""
    source = sources(files)
    choices = None if spec is None else _specification(spec)
    with _answerable():
        from growth.report.extras import require_extra
        from growth.store import check_free, load_bundle, under_way

        check_free(out, overwrite=overwrite)
        if report:
            require_extra()
        base = None if freeze is None else load_bundle(freeze)
        with workers_of(scheduler), under_way(out, resume=resume) as parts:
            result = _compute(source, choices, n_jobs, base, checkpoints or parts)
            _save(result, out, overwrite=overwrite, report=report)
        _show_results(result, out, report=report)


@app.command("freeze")
def freeze_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of the base year.", file_okay=False)],
    out: Annotated[Path, typer.Option(help="Bundle file to write.")],
    parts: Annotated[
        str | None, typer.Option(help="Of curves, norms, cuts, with commas; the specification's choice.")
    ] = None,
    year: Annotated[int | None, typer.Option(help="Base year, if the run has several.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier bundle.")] = False,
) -> None:
    """Keep a run's curves, norms and cut points in one file, to measure later years by."""
    with _answerable():
        from growth.store import load_run, save_bundle

        chosen = None if parts is None else [part.strip() for part in parts.split(",")]
        bundle = load_run(run).freeze(year=year, parts=chosen)  # type: ignore[arg-type]
        save_bundle(bundle, out, overwrite=overwrite)
        typer.echo(repr(bundle))
        typer.echo(
            f"Bundle: {out} (SHA-256 {bundle.digest[:12]}...). Use it with: growth run FILE --freeze {out}"
        )


@app.command()
def drift(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="Run folder or bundle of the base year.")],
    later: Annotated[Path, typer.Argument(metavar="LATER", help="Run folder made with --freeze.")],
    refitted: Annotated[
        Path | None, typer.Option(help="Run folder of the later year made without --freeze.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of tables to write: schools, system, students.")
    ] = None,
) -> None:
    """Say whether levels changed because of the schools or because of the norm."""
    with _answerable():
        from growth.pipeline import drift_audit
        from growth.store import load_bundle, load_run, save_tables

        known = load_run(base) if base.is_dir() else load_bundle(base)
        again = None if refitted is None else load_run(refitted)
        run = load_run(later)
        audit = drift_audit(known, run, refitted=again)
        for sentence in audit.sentences:
            typer.echo(sentence)
        if out is not None:
            save_tables(audit.frames, out, run.spec)
            typer.echo(f"Tables: {out}")


@app.command("spec")
def spec_command(
    preset: Annotated[str | None, typer.Argument(help=f"One of {PRESET_NAMES}.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema instead.")] = False,
) -> None:
    """Print a specification to start from: a preset's commented TOML."""
    from growth.spec.model import GrowthSpec, preset_text

    if schema == (preset is not None):
        raise typer.BadParameter(f"name a preset ({PRESET_NAMES}), or ask for --schema")
    if schema:
        import json

        typer.echo(json.dumps(GrowthSpec.json_schema(), indent=2))
        return
    try:
        typer.echo(preset_text(str(preset)), nl=False)
    except SpecError as error:
        raise typer.BadParameter(str(error)) from None


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
            raise typer.Exit(_USAGE) from None
        yield


@contextmanager
def _answerable() -> Iterator[None]:
    """End with a message and exit code 1 where the data or the machine, not the program, is the problem."""
    try:
        yield
    except GrowthError as error:
        typer.echo(f"growth: {error}", err=True)
        raise typer.Exit(_DATA) from None
    except MemoryError:
        typer.echo("growth: Memory ran out. To fix: use fewer threads (--n-jobs), and --resume.", err=True)
        raise typer.Exit(_DATA) from None
    except OSError as error:
        typer.echo(
            f"growth: {error.strerror or type(error).__name__}. To fix: put it right, and --resume.", err=True
        )
        raise typer.Exit(_DATA) from None


def _specification(choice: str) -> GrowthSpec:
    from growth.spec import GrowthSpec

    try:
        return GrowthSpec.of(choice)
    except SpecError as error:
        typer.echo(f"growth: --spec: {error}", err=True)
        raise typer.Exit(_USAGE) from None


def _compute(
    table: Any,  # noqa: ANN401
    spec: GrowthSpec | None,
    n_jobs: int,
    freeze: FreezeBundle | None = None,
    checkpoints: Path | None = None,
) -> GrowthRun:
    from growth.pipeline import run as run_street

    with _progress() as progress:
        return run_street(
            table, spec, freeze=freeze, n_jobs=n_jobs, progress=progress, checkpoints=checkpoints
        )


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
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
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)

        def show(done: int, total: int, label: str) -> None:
            bar.update(task, completed=done, total=total, description=label)

        yield show


def _save(result: GrowthRun, out: Path, *, overwrite: bool, report: bool) -> None:
    from growth.store import save_run

    def write_page(file: Path) -> None:
        from growth.diagnose import diagnose
        from growth.report import write_report

        write_report(result, file, verdicts=diagnose(result).verdicts)

    save_run(result, out, overwrite=overwrite, extras={"report.html": write_page} if report else None)


def _waterfall(counts: Any) -> Table:  # noqa: ANN401
    table = _table("Account of rows", "Subject", "Year", "Step", "Rows left", "Left out", "Because")
    for subject, year, step, rows, excluded, reason in counts.iter_rows():
        out = f"{excluded:,}" if excluded else ""
        table.add_row(subject, str(year or ""), step, f"{rows:,}", out, reason or "")
    return table


def _show_results(result: GrowthRun, out: Path, *, report: bool) -> None:
    from growth.student import interval_sentence

    columns = {
        "year": "Year",
        "subject": "Subject",
        "students": "Students",
        "scored": "Scored",
        "schools": "Schools",
        "withheld": "Withheld",
        "school_sd": "School SD",
        "reliability": "Reliability",
        "band": "Band",
    }
    table = _table(f"Growth by subject (specification {result.spec.name})", *columns.values())
    for row in result.summary().select(*columns).iter_rows():
        table.add_row(*(_cell(value) for value in row))
    _print(table)
    _print(_schools_table(result))
    _print(_fairness_table(result))
    for notice in result.notices:
        typer.echo(f"Note: {notice}")
    typer.echo(
        "Growth percentile: a school's rank from 0 to 100 among schools; about 50 is average.\n"
        "Band: its 95 % range; by subject, the median width. School SD: how far true school means differ\n"
        "[percentile points]. Withheld: too few students. *: in the model, which makes the group's mean 50,\n"
        "whatever the system does for it; see how it fares on prior scores only. No number here says why\n"
        "students grew.\n"
    )
    typer.echo(interval_sentence(result.spec))
    typer.echo(f"Run folder: {out}{os.sep} (CSV and Parquet tables, spec.toml, manifest.json)")
    if report:
        typer.echo(f"Report:     {out / 'report.html'}")


def _fairness_table(result: GrowthRun) -> Table:
    """Show what the peer definition does to flagged students, and to schools by their mean prior."""
    import polars as pl

    from growth.report.fairness import fairness_facts

    few = pl.col("kind").is_in(["all", "flag", "prior"])
    fairness, neutrality = (result.polars(name).filter(few) for name in ("fairness", "neutrality"))
    facts = fairness_facts(fairness, neutrality.filter(kind="prior"), result.spec)
    columns = ("Subject", "Group", "Students", "Prior scores only", "This specification")
    table = _table(
        "Mean percentile by group, and r of schools' results with their mean prior score", *columns
    )
    for ledger in facts.subjects:
        for group in ledger.groups:
            hidden = "withheld"
            students = hidden if group.students is None else f"{group.students:,}"
            name = f"{group.group} *" if group.pinned else group.group
            table.add_row(
                ledger.subject, name, students, group.unadjusted or hidden, group.adjusted or hidden
            )
        for trait in ledger.traits:
            table.add_row(ledger.subject, "(r of schools)", "", trait.unadjusted or "", trait.adjusted or "")
        table.add_section()
    return table


def _schools_table(result: GrowthRun) -> Table:
    """Show the schools that grew most and least, by subject."""
    keys = ["year", "subject", "group", "school_id"]
    shown = result.polars("schools").filter(group="All").drop_nulls("growth_percentile")
    rows = shown.join(result.polars("levels").select(*keys, "level"), on=keys, how="left")
    aggregate = "median" if result.spec.school.aggregate == "median" else "mean"
    columns = (f"{aggregate.capitalize()} percentile", "Growth percentile", "Band", "Level")
    table = _table("Schools that grew most and least", "Year", "Subject", "School", "Students", *columns)
    for part in rows.partition_by("year", "subject", maintain_order=True):
        part = part.sort("growth_percentile", "school_id", descending=[True, False])
        few = part.height <= 2 * _SCHOOLS_SHOWN
        ends = [part] if few else [part.head(_SCHOOLS_SHOWN), part.tail(_SCHOOLS_SHOWN)]
        for place, end in enumerate(ends):
            for row in end.iter_rows(named=True):
                band = f"{row['growth_percentile_low']:.0f}-{row['growth_percentile_high']:.0f}"
                numbers = (f"{row[f'{aggregate}_percentile']:.1f}", f"{row['growth_percentile']:.1f}", band)
                table.add_row(
                    str(row["year"]),
                    row["subject"],
                    row["school_id"],
                    f"{row['n']:,}",
                    *numbers,
                    str(row["level"]),
                )
            if place == 0 and not few:
                table.add_row(*["..."] * 8)
        table.add_section()
    return table


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name in columns:
        table.add_column(name, justify="left" if name in _TEXT_COLUMNS else "right")
    return table


def _print(table: Table) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    console.print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and value > 9_999 else str(value)
