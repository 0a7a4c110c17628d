"""The command that says what a run will take."""

from __future__ import annotations

from typing import Annotated

import typer

from growth.cli.shared import (
    TABLES,
    SpecOption,
    answerable,
    app,
    print_table,
    sources,
    specification,
    text_table,
)

__all__ = ["plan_command"]

_WORKERS = [1, 2, 4, 8, 16, 32]


@app.command("plan")
def plan_command(
    files: Annotated[list[str] | None, TABLES] = None,
    spec: SpecOption = "core",
    workers: Annotated[
        list[int], typer.Option(help="Workers to give the time for; may be repeated.")
    ] = _WORKERS,
    times: Annotated[float, typer.Option(help="Plan for a system so many times as large.")] = 1.0,
    variants: Annotated[int, typer.Option(help="Variants of a study, at most each computed alone.")] = 1,
) -> None:
    """Say what a run will take, without a fit: cohorts, work, time and memory, here and on workers."""
    choices = specification(spec)
    source = sources(files)
    with answerable():
        from growth.pipeline import plan

        found = plan(
            source,
            choices.replace({"columns.carry": []}),
            workers=workers,
            times=times,
            variants=variants,
        )
    cohorts = text_table(
        "Cohorts", "Cohort", "Fitted on", "Students", "Columns", "Quantiles", "Fits", "CPU seconds"
    )
    columns = ("cohort", "peers", "students", "columns", "quantiles", "fits", "seconds")
    for key, peers, students, p, taus, fits, seconds in found.cohorts.select(columns).iter_rows():
        on = "priors and peers" if peers else "priors only"
        cohorts.add_row(key, on, f"{students:,}", str(p), str(taus), f"{fits:,}", f"{seconds:.2f}")
    print_table(cohorts)
    stages = text_table(
        "Work of one process and of all workers", "Stage", "CPU seconds", "of them on workers"
    )
    for stage, seconds, parallel in found.stages.iter_rows():
        stages.add_row(stage, f"{seconds:.1f}", f"{parallel:.1f}")
    print_table(stages)
    clock = text_table("Time by workers as fast as this machine", "Workers", "Wall-clock seconds")
    for count, seconds in found.workers.iter_rows():
        clock.add_row(str(count), f"{seconds:.0f}")
    print_table(clock)
    typer.echo(
        f"{found.rows:,} rows, {found.cohorts['fits'].sum():,} fits. Here, on {found.threads} processors: "
        f"about {found.seconds:.0f} s and {found.memory_gb:.1f} GB.\n"
        "Estimated from simulated systems, seldom more than a third off; columns that the specification "
        "does not use are not counted."
    )
