"""The command that writes the report of a finished run, with the index and the pairs that came after it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from growth.cli.shared import answerable, app

__all__ = ["report_command"]


@app.command("report")
def report_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", file_okay=False, exists=True)],
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("report.html"),
    index: Annotated[
        Path | None, typer.Option(help="Folder of growth index: show points.", file_okay=False, exists=True)
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Folder of growth pair: show partners.", file_okay=False, exists=True)
    ] = None,
) -> None:
    """Write the report of a run to one HTML file, with index points and partner schools if given."""
    with answerable():
        from growth.diagnose import diagnose
        from growth.report import IndexTables, PairTables, write_report
        from growth.store import load_run, load_table

        result = load_run(run)
        points, partners = None, None
        if index is not None:
            points = IndexTables(load_table(index, "index"), load_table(index, "points"))
        if pairs is not None:
            partners = PairTables(load_table(pairs, "pairs"), load_table(pairs, "unmatched"))
        verdicts = diagnose(result).verdicts
        file = write_report(result, out, verdicts=verdicts, index=points, pairs=partners)
        typer.echo(f"Report: {file}")
