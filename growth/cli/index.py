"""The commands that follow a run: the index, and pairs with communities of practice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from growth.cli.shared import answerable, app, print_table, specification, text_table

if TYPE_CHECKING:
    import polars as pl

    from growth.index import Communities, Pairs, SchoolIndex
    from growth.spec import GrowthSpec

__all__ = ["index_command", "pair_command"]

_SHOWN = 5
"""Sentences of each kind that are printed; all are in the folder."""

SpecChoice = Annotated[
    str | None,
    typer.Option("--spec", help="Preset or TOML file; by default that of the run.", metavar="PRESET|FILE"),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")]


@app.command("index")
def index_command(
    metrics: Annotated[
        Path,
        typer.Argument(
            metavar="METRICS", help="Table of metrics, or folder of records named by metric.", exists=True
        ),
    ],
    run: Annotated[Path, typer.Option("--run", help="Run folder: gives the growth metric.", metavar="RUN")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    spec: SpecChoice = None,
    schools: Annotated[
        Path | None, typer.Option(help="Table of school_id and school_type; by default from grades.")
    ] = None,
    cuts_from: Annotated[
        Path | None, typer.Option(help="Earlier index folder: keep its cut points.", metavar="DIR")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Compute the school quality index from metrics and a run's growth, and write a folder."""
    chosen = None if spec is None else specification(spec)
    with answerable():
        import polars as pl

        from growth.index import growth_metrics, records_of_folder, school_index, together
        from growth.index.metric_table import read_metrics
        from growth.index.rates import MetricResult
        from growth.store import check_free, load_cuts, load_run, save_tables

        check_free(out, overwrite=overwrite)
        cuts = None if cuts_from is None else load_cuts(cuts_from)
        base = load_run(run)
        choices = base.spec if chosen is None else chosen
        found = (
            records_of_folder(metrics, choices)
            if metrics.is_dir()
            else MetricResult(read_metrics(metrics, choices), together([]).counts)
        )
        growth = growth_metrics(base.polars("schools"), base.polars("levels"), choices)
        table = pl.concat([found.frame, growth])
        types = base.polars("students") if schools is None else _as_text(schools)
        result = school_index(table, choices, schools=types, cuts=cuts)
        frames = {"index": result.index, "points": result.points, "metrics": table, "counts": found.counts}
        save_tables(frames, out, choices, cuts=result.cuts, overwrite=overwrite)
        _show_index(result, out)


@app.command("pair")
def pair_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", file_okay=False, exists=True)],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    spec: SpecChoice = None,
    index: Annotated[
        Path | None, typer.Option(help="Index folder: decides who is lowest and what schools need.")
    ] = None,
    schools: Annotated[
        Path | None, typer.Option(help="Table of school_id: pair these instead of the lowest.")
    ] = None,
    sitting: Annotated[
        Path | None, typer.Option(help="Table of school_id and partner_id: last year's pairs.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Pair the lowest schools with high-growth schools of similar students; form communities of practice."""
    chosen = None if spec is None else specification(spec)
    with answerable():
        from growth.index import communities, growth_needs, needs_of, pair_schools, school_profiles
        from growth.index import with_low_groups as low_groups
        from growth.store import check_free, load_run, load_table, save_tables

        check_free(out, overwrite=overwrite)
        base = load_run(run)
        choices = base.spec if chosen is None else chosen
        profiles = school_profiles(base.frames, choices)
        needs = growth_needs(base.polars("levels"))
        if index is not None:
            profiles = _with_index(profiles, load_table(index, "index"))
            needs = needs_of(load_table(index, "points"))
        wanted = None if schools is None else _ids(schools)
        last = None if sitting is None else _as_text(sitting)
        pairs = pair_schools(profiles, choices, low=wanted, sitting=last, needs=needs)
        busy = {*pairs.low, *pairs.pairs["partner_id"]}
        others = [school for school in low_groups(base.polars("levels"), choices) if school not in busy]
        groups = communities(profiles, choices, others, needs=needs)
        names = ("pairs", "top", "unmatched", "ended", "balance")
        frames = {name: getattr(pairs, name) for name in names}
        frames |= {"communities": groups.members, "alone": groups.alone}
        save_tables(frames, out, choices, overwrite=overwrite)
        _show_pairs(pairs, groups, choices, out)


def _as_text(file: Path) -> pl.DataFrame:
    """Read a small table with every column as text."""
    from growth.panel.frames import load

    return load(file, lambda header: header).frame


def _ids(file: Path) -> list[str]:
    from growth.index.records import ID, Layout, read_records
    from growth.spec import GrowthSpec

    layout = Layout("school", {"school_id": ID}, groups=False)
    found: list[str] = read_records(file, layout, GrowthSpec())["school_id"].to_list()
    return found


def _with_index(profiles: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """Return profiles with the latest index of each school."""
    import polars as pl

    latest = index.filter(pl.col("year") == pl.col("year").max()).select("school_id", "index")
    return profiles.join(latest, on="school_id", how="left", maintain_order="left")


def _show_index(result: SchoolIndex, out: Path) -> None:
    import polars as pl

    from growth.aggregate import by_group

    table = text_table(
        "Index by school type", "Year", "School", "Schools", "With index", "Lowest", "Median", "Highest"
    )
    by = by_group(
        result.index,
        ["year", "school_type"],
        pl.len().alias("schools"),
        pl.col("index").count().alias("shown"),
        *(getattr(pl.col("index"), name)().alias(name) for name in ("min", "median", "max")),
    )
    for year, kind, schools, shown, *values in by.sort("year", "school_type").iter_rows():
        numbers = ["" if value is None else f"{value:.1f}" for value in values]
        table.add_row(str(year), kind, f"{schools:,}", f"{shown:,}", *numbers)
    print_table(table)
    without = result.index.filter(pl.col("reason").is_not_null())["reason"].value_counts().sort("reason")
    for reason, count in without.iter_rows():
        typer.echo(f"Note: {count:,} schools have no index: {reason.replace('_', ' ')}.")
    if result.inactive:
        typer.echo(
            f"Note: nobody has a result in {', '.join(result.inactive)}; these metrics are not active."
        )
    typer.echo(
        f"Folder: {out}{os.sep} (index, points, metrics, counts as CSV and Parquet; cuts.json, spec.toml)"
    )


def _show_pairs(pairs: Pairs, groups: Communities, spec: GrowthSpec, out: Path) -> None:
    for sentence in pairs.pairs["sentence"].head(_SHOWN):
        typer.echo(sentence)
    for sentence in (*pairs.ended["sentence"].head(_SHOWN), *pairs.unmatched["sentence"].head(_SHOWN)):
        typer.echo(f"Note: {sentence}")
    typer.echo(f"{pairs!r}")
    typer.echo(f"{groups!r} of {spec.pairing.community_min}-{spec.pairing.community_max}")
    typer.echo(f"Folder: {out}{os.sep} (pairs, top, unmatched, ended, balance, communities, alone)")
