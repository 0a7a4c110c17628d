"""What a finished run shows on the command line: subjects, schools, groups."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from growth.cli.shared import cell_text, print_table, text_table

if TYPE_CHECKING:
    from rich.table import Table

    from growth.pipeline import GrowthRun

__all__ = ["show_results"]

_SCHOOLS_SHOWN = 3


def show_results(result: GrowthRun, out: Path, *, report: bool) -> None:
    """Print what a run came to, and where it is."""
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
    table = text_table(f"Growth by subject (specification {result.spec.name})", *columns.values())
    for row in result.summary().select(*columns).iter_rows():
        table.add_row(*(cell_text(value) for value in row))
    print_table(table)
    print_table(_schools_table(result))
    print_table(_fairness_table(result))
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
    table = text_table(
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
    table = text_table("Schools that grew most and least", "Year", "Subject", "School", "Students", *columns)
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
