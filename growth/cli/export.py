"""The command that writes results for others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from growth.cli.shared import answerable, app

__all__ = ["export_command"]

LAYOUT_NAMES = "long, wide, sgp, california, research"


@app.command("export")
def export_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", file_okay=False)],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    layout: Annotated[str, typer.Option(help=f"One of {LAYOUT_NAMES}.")] = "long",
    key_file: Annotated[
        Path | None,
        typer.Option(help="Key that students' ids are hashed with; or in the variable GROWTH_ID_KEY."),
    ] = None,
    plain_ids: Annotated[
        bool, typer.Option("--plain-ids", help="Layout sgp: ids as they are, not to be shared.")
    ] = False,
    score_bin: Annotated[float, typer.Option(help="Layout research: width of the bins of scores.")] = 10.0,
    tail: Annotated[
        float, typer.Option(help="Layout research: share of scores at each end that are coded together.")
    ] = 0.01,
    min_n: Annotated[int, typer.Option(help="Students behind anything shown, if more than usual.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
) -> None:
    """Write results in a layout for others, with a data dictionary."""
    with answerable():
        from growth.release import Coarse, Terms, export_run, read_key
        from growth.store import load_run

        needs_key = layout in ("sgp", "research") and not plain_ids
        terms = Terms(
            key=read_key(key_file) if needs_key else None,
            plain_ids=plain_ids,
            minimum=min_n,
            coarse=Coarse(score_bin, tail),
        )
        folder = export_run(load_run(run), layout, out, terms, overwrite=overwrite)  # type: ignore[arg-type]
        typer.echo(f"Export: {folder}{os.sep} (CSV and Parquet, with a dictionary)")
