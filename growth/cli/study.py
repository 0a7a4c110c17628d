"""The commands that compare specifications: sensitivity studies, and two runs side by side."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from growth.cli.app import JobsOption, _answerable, _print, _progress, _table, app
from growth.cli.index import OverwriteOption

if TYPE_CHECKING:
    from growth.study import Comparison, Study

__all__ = ["compare_command", "study_command"]

_SHOWN = 10
_PICTURES = ("decisions", "who_gains", "level_changes", "profiles")


@app.command("study")
def study_command(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="TOML file: table, base, design, factors.", exists=True)
    ],
    out: Annotated[Path, typer.Option(help="Folder to write: tables and pictures.")],
    table: Annotated[Path | None, typer.Option(help="Table, instead of the one the file names.")] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps what is done: an interrupted study goes on there."),
    ] = None,
    n_jobs: JobsOption = -1,
    overwrite: OverwriteOption = False,
) -> None:
    """Run many variants of a specification, and say which decision moves schools."""
    with _answerable():
        from growth.errors import SpecError, problem
        from growth.report.extras import require_extra
        from growth.store import check_free, save_tables
        from growth.study import read_study, run_study

        check_free(out, overwrite=overwrite)
        require_extra()
        said = read_study(study)
        source = said.table if table is None else table
        if source is None:
            raise SpecError(problem("The study names no table", fix='table = "scores.csv", or --table'))
        with _progress() as progress:
            found = run_study(
                source,
                said.base,
                said.factors,
                **said.options,
                n_jobs=n_jobs,
                folder=cache,
                progress=progress,
            )
        save_tables(found.frames, out, found.base, overwrite=overwrite)
        pictures = out.with_name(f"{out.name}-pictures")
        pictures.mkdir(exist_ok=True)
        for name in _PICTURES:
            getattr(found.plot, name)().save(str(pictures / f"{name}.png"), scale_factor=2)
        _show_study(found, out, pictures)


@app.command("compare")
def compare_command(
    a: Annotated[Path, typer.Argument(metavar="RUN_A", help="Run folder.", file_okay=False)],
    b: Annotated[Path, typer.Argument(metavar="RUN_B", help="Run folder.", file_okay=False)],
    out: Annotated[Path | None, typer.Option(help="Folder of tables to write.")] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Say which schools have another level in RUN_B, and which stage moved them."""
    with _answerable():
        from growth.store import check_free, load_run, save_tables
        from growth.study import compare_runs

        if out is not None:
            check_free(out, overwrite=overwrite)
        one, two = load_run(a), load_run(b)
        found = compare_runs(one, two)
        _show_comparison(found)
        if out is not None:
            save_tables(found.frames, out, two.spec, overwrite=overwrite)
            typer.echo(f"Tables: {out}{os.sep}")


def _show_study(study: Study, out: Path, pictures: Path) -> None:
    table = _table("Share of the variance of school ranks", "Subject", "Decision", "By itself", "SD [points]")
    for row in study.decisions.iter_rows(named=True):
        table.add_row(row["subject"], row["factor"], f"{row['main']:.0%}", f"{row['sd']:.1f}")
    _print(table)
    typer.echo(f"{len(study.variants):,} variants; {study.refused.height:,} combinations were refused.")
    for reason in study.refused["reason"].head(_SHOWN):
        typer.echo(f"Refused: {reason}")
    typer.echo(f"Tables: {out}{os.sep}   Pictures: {pictures}{os.sep}")


def _show_comparison(found: Comparison) -> None:
    for sentence in found.sentences:
        typer.echo(sentence)
    choices = _table("Choices that differ", "Stage", "Choice", "A", "B")
    for choice in found.choices.iter_rows():
        choices.add_row(*choice)
    _print(choices)
    moved = found.schools.filter(found.schools["change"] != 0)
    moved = moved.sort(moved["change"].abs(), descending=True, maintain_order=True)
    table = _table("Schools that move most", "Subject", "School", "A", "B", "Because")
    for row in moved.head(_SHOWN).iter_rows(named=True):
        level_a, level_b = str(row["level_a"]), str(row["level_b"])
        table.add_row(row["subject"], row["school_id"], level_a, level_b, row["because"])
    _print(table)
