"""The commands that compare specifications: sensitivity studies, model selection, two runs side by side."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from growth.cli.index import OverwriteOption
from growth.cli.shared import (
    JobsOption,
    SchedulerOption,
    answerable,
    app,
    print_table,
    progress_bar,
    text_table,
    workers_of,
)

if TYPE_CHECKING:
    from growth.study import Comparison, Selection, Study

__all__ = ["compare_command", "select_command", "study_command"]

_SHOWN = 10
_STUDY_PICTURES = ("decisions", "who_gains", "level_changes", "profiles")
_SELECTION_PICTURES = ("losses", "taus", "calibration", "trade_off")


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
    scheduler: SchedulerOption = None,
) -> None:
    """Run many variants of a specification, and say which decision moves schools."""
    with answerable():
        from growth.errors import SpecError, problem
        from growth.report.extras import require_extra
        from growth.store import check_free, load_bundle, save_tables
        from growth.study import read_study, run_study

        check_free(out, overwrite=overwrite)
        require_extra()
        said = read_study(study)
        source = said.table if table is None else table
        if source is None:
            raise SpecError(problem("The study names no table", fix='table = "scores.csv", or --table'))
        with workers_of(scheduler), progress_bar() as progress:
            found = run_study(
                source,
                said.base,
                said.factors,
                **said.options,
                freeze=None if said.freeze is None else load_bundle(said.freeze),
                n_jobs=n_jobs,
                folder=cache,
                progress=progress,
            )
        pictures = _pictures(found, _STUDY_PICTURES)
        save_tables(found.frames, out, found.base, overwrite=overwrite, extras=pictures)
        _show_study(found, out)


@app.command("select")
def select_command(
    table: Annotated[
        Path, typer.Argument(metavar="FILE", help="Table of student scores.", exists=True, dir_okay=False)
    ],
    spec: Annotated[
        list[str],
        typer.Option(help="Specification, preset or TOML file; at least two."),
    ],
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation.", min=2)] = 5,
    by: Annotated[str, typer.Option(help="What is left out together: student or school.")] = "student",
    seed: Annotated[int, typer.Option(help="Deals students or schools to folds.")] = 20_260_101,
    out: Annotated[Path | None, typer.Option(help="Folder of tables and pictures to write.")] = None,
    n_jobs: JobsOption = -1,
    overwrite: OverwriteOption = False,
) -> None:
    """Compare specifications: which foresees students best, and what each does to schools."""
    with answerable():
        from growth.report.extras import require_extra
        from growth.store import check_free, save_tables
        from growth.study import compare_specs

        if out is not None:
            check_free(out, overwrite=overwrite)
            require_extra()
        named = _names(spec)
        with progress_bar() as progress:
            found = compare_specs(
                table,
                named,
                folds=folds,
                by=by,  # type: ignore[arg-type]  # checked there, with a way out
                seed=seed,
                n_jobs=n_jobs,
                progress=progress,
            )
        _show_selection(found)
        if out is not None:
            first = next(iter(found.specs.values()))
            files = _pictures(found, _SELECTION_PICTURES) | _specifications(found)
            save_tables(found.frames, out, first, overwrite=overwrite, extras=files)
            typer.echo(f"Tables and pictures: {out}{os.sep}")


@app.command("compare")
def compare_command(
    a: Annotated[Path, typer.Argument(metavar="RUN_A", help="Run folder.", file_okay=False)],
    b: Annotated[Path, typer.Argument(metavar="RUN_B", help="Run folder.", file_okay=False)],
    metrics: Annotated[
        Path | None,
        typer.Option(help="Table of the index's other metrics: how the whole index moves.", exists=True),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of tables to write.")] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Say which schools have another level in RUN_B, and which stage moved them."""
    with answerable():
        from growth.store import check_free, load_run, save_tables
        from growth.study import compare_runs

        if out is not None:
            check_free(out, overwrite=overwrite)
        one, two = load_run(a), load_run(b)
        found = compare_runs(one, two, metrics=metrics)
        _show_comparison(found)
        if out is not None:
            save_tables(found.frames, out, two.spec, overwrite=overwrite)
            typer.echo(f"Tables: {out}{os.sep}")


def _pictures(found: Study | Selection, names: tuple[str, ...]) -> dict[str, Callable[[Path], object]]:
    """Return what writes each picture, by file name."""

    def writer(name: str) -> Callable[[Path], object]:
        return lambda path: getattr(found.plot, name)().save(str(path), scale_factor=2)

    return {f"{name}.png": writer(name) for name in names}


def _specifications(found: Selection) -> dict[str, Callable[[Path], object]]:
    def writer(text: str) -> Callable[[Path], object]:
        return lambda path: path.write_text(text, "utf-8")

    return {
        f"spec-{number}.toml": writer(f"# {name}\n{spec.to_toml()}")
        for number, (name, spec) in enumerate(found.specs.items(), start=1)
    }


def _names(specs: list[str]) -> dict[str, str]:
    """Return specifications by their short names, where these are unique."""
    from growth.errors import SpecError, problem

    short = [Path(one).stem if one.endswith(".toml") else one for one in specs]
    names = short if len(set(short)) == len(short) else specs
    if len(set(names)) < len(names):
        raise SpecError(problem("A specification is given twice", rule="each once"))
    return dict(zip(names, specs, strict=True))


def _show_selection(found: Selection) -> None:
    headings = (
        "Specification",
        "Loss [%]",
        "Worse by",
        "SE",
        "Columns",
        "Off [points]",
        "r prior",
        "Reliability",
    )
    table = text_table(f"Held-out loss, {found.folds} folds by {found.by}", *headings)

    def number(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    for row in found.ranking.iter_rows(named=True):
        cells = [("loss", 2), ("worse_by", 2), ("se", 2), ("columns", 0), ("calibration", 1), ("r_prior", 2)]
        table.add_row(row["spec"], *(number(row[k], d) for k, d in cells), number(row["reliability"], 2))
    print_table(table)
    for sentence in found.sentences:
        typer.echo(sentence)
    most = max(found.scored)
    typer.echo(f"Compared on {found.compared:,} results; a specification gives up to {most:,}.")


def _show_study(study: Study, out: Path) -> None:
    table = text_table(
        "Share of the variance of school ranks", "Subject", "Decision", "By itself", "SD [points]"
    )
    for row in study.decisions.iter_rows(named=True):
        table.add_row(row["subject"], row["factor"], f"{row['main']:.0%}", f"{row['sd']:.1f}")
    print_table(table)
    typer.echo(f"{len(study.variants):,} variants; {study.refused.height:,} combinations were refused.")
    for reason in study.refused["reason"].head(_SHOWN):
        typer.echo(f"Refused: {reason}")
    typer.echo(f"Tables and pictures: {out}{os.sep}")


def _show_comparison(found: Comparison) -> None:
    for sentence in found.sentences:
        typer.echo(sentence)
    choices = text_table("Choices that differ", "Stage", "Choice", "A", "B")
    for choice in found.choices.iter_rows():
        choices.add_row(*choice)
    print_table(choices)
    moved = found.schools.filter(found.schools["change"] != 0)
    moved = moved.sort(moved["change"].abs(), descending=True, maintain_order=True)
    table = text_table("Schools that move most", "Subject", "School", "A", "B", "Because")
    for row in moved.head(_SHOWN).iter_rows(named=True):
        level_a, level_b = str(row["level_a"]), str(row["level_b"])
        table.add_row(row["subject"], row["school_id"], level_a, level_b, row["because"])
    print_table(table)
