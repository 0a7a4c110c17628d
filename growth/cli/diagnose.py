"""The command that examines a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from growth.cli.shared import AgainOption, JobsOption, answerable, app, print_table, sources, text_table

if TYPE_CHECKING:
    from growth.diagnose import Diagnostics

__all__ = ["diagnose_command"]


@app.command("diagnose")
def diagnose_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", file_okay=False, exists=True)],
    table: AgainOption = None,
    out: Annotated[Path | None, typer.Option(help="HTML file of verdicts and pictures to write.")] = None,
    n_jobs: JobsOption = -1,
    rules: Annotated[bool, typer.Option("--rules", help="Show the rule behind each verdict.")] = False,
) -> None:
    """Examine a run: fit, calibration, correlations, ceilings, outliers, and a verdict on each.

    With --table cohorts are fitted again without some of the schools.
    """
    given = sources(table) if table else None
    with answerable():
        from growth.diagnose import diagnose, require_pictures, write_page
        from growth.store import load_run

        if out is not None:
            require_pictures()
        found = diagnose(load_run(run), given, n_jobs=n_jobs)
        _show(found, rules)
        if out is not None:
            typer.echo(f"Pictures: {write_page(found, out)}")


def _show(found: Diagnostics, rules: bool) -> None:
    table = text_table(f"Diagnostics (specification {found.name})", "Diagnostic", "Verdict", "What it says")
    for column in table.columns:
        column.justify = "left"
    styles = {"look": "yellow", "problem": "bold red", "ok": "green", "not judged": "dim"}
    for row in found.verdicts.iter_rows(named=True):
        text = f"{row['sentence']}\nRule: {row['rule']}." if rules else row["sentence"]
        table.add_row(row["title"], f"[{styles[row['verdict']]}]{row['verdict']}[/]", _plain(text))
    print_table(table)
    typer.echo(f"{found.caution}\n")
    loud = len(found.alarms)
    typer.echo(
        f"{loud} of {found.verdicts.height} diagnostics ask for a look."
        if loud
        else "Nothing asks for a look."
    )


def _plain(text: str) -> str:
    """Return text in which brackets are brackets, not markup."""
    from rich.markup import escape

    return escape(text)
