"""The command line: a skin. Each command reads, makes one library call and writes.

Exit codes: 0 done, 1 a problem with the data, 2 a problem with the command (arguments or specification).
Results go to standard output, progress and problems to standard error. Heavy libraries are imported when a
command needs them, so that ``growth --help`` is instant.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

try:
    import typer
except ModuleNotFoundError as error:
    if error.name != "typer":
        raise
    raise SystemExit("The growth command needs typer and rich. To fix: pip install 'growth[cli]'") from None

from growth.cli.results import show_results
from growth.cli.shared import (
    PRESET_NAMES,
    TABLES,
    JobsOption,
    SchedulerOption,
    answerable,
    app,
    progress_bar,
    sources,
    specification,
    workers_of,
)
from growth.errors import SpecError

if TYPE_CHECKING:
    from growth.pipeline import GrowthRun
    from growth.spec import GrowthSpec

__all__ = ["app", "main"]


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
    with answerable():
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
        show_results(result, out, report=True)


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
    reuse: Annotated[
        Path | None,
        typer.Option(
            help="Earlier run folder: cohorts that are the same there are not fitted again.",
            metavar="RUN",
            file_okay=False,
        ),
    ] = None,
) -> None:
    """Compute growth percentiles and levels of a table, and write a run folder."""
    source = sources(files)
    choices = None if spec is None else specification(spec)
    with answerable():
        from growth.report.extras import require_extra
        from growth.store import check_free, kept_cohorts, load_bundle, under_way

        check_free(out, overwrite=overwrite)
        if report:
            require_extra()
        base = None if freeze is None else load_bundle(freeze)
        with workers_of(scheduler), under_way(out, resume=resume) as parts:
            place = checkpoints or parts
            earlier = None if reuse is None else kept_cohorts(reuse)
            result = _compute(source, choices, n_jobs, freeze=base, checkpoints=place, reuse=earlier)
            _save(result, out, overwrite=overwrite, report=report, cohorts=place)
        show_results(result, out, report=report)


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
    with answerable():
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
    with answerable():
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


def _compute(
    table: Any,  # noqa: ANN401
    spec: GrowthSpec | None,
    n_jobs: int,
    **given: Any,  # noqa: ANN401
) -> GrowthRun:
    from growth.pipeline import run as run_street

    with progress_bar() as progress:
        return run_street(table, spec, n_jobs=n_jobs, progress=progress, **given)


def _save(
    result: GrowthRun, out: Path, *, overwrite: bool, report: bool, cohorts: Path | None = None
) -> None:
    from growth.store import save_run

    def write_page(file: Path) -> None:
        from growth.diagnose import diagnose
        from growth.report import write_report

        write_report(result, file, verdicts=diagnose(result).verdicts)

    extras = {"report.html": write_page} if report else None
    save_run(result, out, overwrite=overwrite, extras=extras, cohorts=cohorts)
