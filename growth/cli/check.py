"""The command that reads a table and says what it understood, without computing growth."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Annotated

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
    waterfall_table,
)
from growth.errors import GrowthError

if TYPE_CHECKING:
    from rich.table import Table

    from growth.panel import StudentTable
    from growth.spec import GrowthSpec

__all__ = ["check"]

_MOST_SUBJECTS = 12
"""More means that the column is not the subject: its values could be anything and are not shown."""

RulesOption = Annotated[bool, typer.Option("--rules", help="Print the rules that tables are held to.")]


@app.command()
def check(
    files: Annotated[list[str] | None, TABLES] = None, spec: SpecOption = "core", rules: RulesOption = False
) -> None:
    """Read a table and show what was understood, without computing growth."""
    if rules:
        print_table(_rules_table())
        return
    choices = specification(spec)
    source = sources(files)
    with answerable():
        from growth.panel import build_panels, read_table
        from growth.panel.databases import without_password

        # what no choice needs is not read: a check is quick
        table = read_table(source, choices.replace({"columns.carry": []}))
        _show_header(table)
        _show_table(table, choices)
        try:
            panels = build_panels(table, choices)
        except GrowthError:
            print_table(waterfall_table(table.counts))
            _show_findings(table, choices)
            raise
        print_table(waterfall_table(panels.counts))
        _show_findings(table, choices)
        cohorts = text_table("Cohorts to be fitted", "Cohort", "Students", "Priors", "Norm group")
        for panel in panels.panels:
            cohorts.add_row(panel.key, f"{len(panel):,}", str(len(panel.pattern.priors)), panel.norm_group)
        print_table(cohorts)
        named = " ".join(quote(without_password(file)) for file in files or ())
        typer.echo(f"Ready: {len(panels.panels)} cohorts. Compute with: growth run {named} --spec {spec}")


def _show_header(table: StudentTable) -> None:
    """Show the layout, and which of the caller's columns became which."""
    header = table.header
    typer.echo(f"Layout {header.recognition.sentence()}\n")
    own = {caller: name for name, caller in header.names.items() if caller in header.used}
    for block in header.recognition.blocks:
        by = ", ".join(block.fixed.values())
        own |= {caller: f"{name} ({by})" for name, caller in block.columns.items()}
    columns = text_table("Columns", "Yours", "Read as")
    for caller in header.columns:
        if caller in own:
            columns.add_row(caller, own[caller])
    if header.spec.columns.year_from_file_name:
        columns.add_row("(file name)", "year")
    for name, value in header.spec.columns.fixed.items():
        columns.add_row("(columns.fixed)", f"{name} = {value}")
    print_table(columns)


def _show_table(table: StudentTable, spec: GrowthSpec) -> None:
    frame = table.codes
    known = table.header.used | table.header.by_record
    other = [name for name in table.header.columns if name not in known]
    subjects = frame["subject"].unique().sort().to_list()
    peers = [*spec.peers.flags, *spec.peers.categories]
    rows = {
        "Rows": f"{frame.height:,}",
        "Students": f"{frame['student_id'].n_unique():,}",
        "Schools": f"{frame['school_id'].drop_nulls().n_unique():,}",
        "Subjects": ", ".join(subjects) if len(subjects) <= _MOST_SUBJECTS else f"{len(subjects):,} (!)",
        "Years": ", ".join(map(str, frame["year"].unique().sort())),
        "Grades": ", ".join(map(str, frame["grade"].unique().sort())),
        "Missing scores": f"{frame['score'].null_count():,}",
        "Columns carried along": ", ".join(other) or "none",
        "Students compared by": ", ".join(["prior scores", *peers]),
        "Specification": f"{spec.name} (SHA-256 {spec.digest[:12]}...)",
    }
    facts = text_table("What was read", "Fact", "Value")
    facts.show_header = False
    for name, value in rows.items():
        facts.add_row(name, value)
    print_table(facts)


def _show_findings(table: StudentTable, spec: GrowthSpec) -> None:
    from growth.panel.findings import findings

    found = findings(table, spec)
    if not found:
        typer.echo("Nothing else to look at.\n")
        return
    shown = text_table("To look at", "Finding", "Rows", "Remedy")
    for finding in found:
        shown.add_row(finding.what, "" if finding.rows is None else f"{finding.rows:,}", finding.remedy)
    print_table(shown)


def _rules_table() -> Table:
    from growth.panel.rules import RULES

    table = text_table("Rules for tables", "Rule", "What holds", "Otherwise", "Choice")
    for rule in RULES:
        table.add_row(rule.name, rule.rule, rule.outcome, rule.policy)
    return table
