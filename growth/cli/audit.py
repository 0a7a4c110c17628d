"""The commands for an appeal: is a run right, where does a number come from, what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from growth.cli.shared import DATA, AgainOption, answerable, app, sources

__all__ = ["diff_command", "explain_command", "verify_command"]

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", file_okay=False)]


@app.command("verify")
def verify_command(run: RunArgument, table: AgainOption = None) -> None:
    """Check a run folder; with its table, prove its curves and compute its percentiles again."""
    given = sources(table) if table else None
    with answerable():
        from growth.audit import verify_run

        found = verify_run(run, given)
        words = {True: "ok", False: "WRONG", None: "not checked"}
        for check in found.checks:
            typer.echo(f"{words[check.holds]:<12} {check.name}: {check.detail}")
        if not found.holds:
            raise typer.Exit(DATA)


@app.command("explain")
def explain_command(
    run: RunArgument,
    student: Annotated[str | None, typer.Option(help="student_id.", metavar="KEY")] = None,
    school: Annotated[str | None, typer.Option(help="school_id.", metavar="KEY")] = None,
    table: AgainOption = None,
) -> None:
    """Say where the results of one student or one school come from, step by step."""
    if (student is None) == (school is None):
        raise typer.BadParameter("name --student or --school")
    given = sources(table) if table else None
    with answerable():
        from growth.audit import explain_school, explain_student
        from growth.store import load_run

        stored = load_run(run)
        found = (
            explain_student(stored, student, given)
            if student is not None
            else explain_school(stored, str(school))
        )
        for account in found:
            typer.echo(repr(account))
        if student is not None and given is None:
            typer.echo("With --table FILE: prior scores, curves and what another score would give.")


@app.command("diff")
def diff_command(
    a: Annotated[Path, typer.Argument(metavar="A", help="Run folder.", file_okay=False)],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another run folder.", file_okay=False)],
) -> None:
    """Say what two runs differ in: data, specification or version, and rows and levels."""
    with answerable():
        from growth.audit import difference
        from growth.store import load_run

        typer.echo(repr(difference(load_run(a), load_run(b))))
