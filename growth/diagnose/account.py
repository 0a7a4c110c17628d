"""What the run itself counted: cohorts, crossing curves, scores beyond the knots, rows left out, SIMEX."""

from __future__ import annotations

import numpy as np
import polars as pl

from growth.aggregate import by_group
from growth.diagnose.rules import level_of
from growth.diagnose.scored import Scored, tenths
from growth.diagnose.statistics import clustered_se, codes, t_bound
from growth.diagnose.verdicts import Finding
from growth.pipeline import GrowthRun

__all__ = ["cohorts", "left_out", "simex_gap"]

_SHOWN = {"where": pl.String, "value": pl.Float64, "bound": pl.Float64}
_SCOPE, _DONE = "in_scope", "scored"


def cohorts(run: GrowthRun) -> tuple[pl.DataFrame, list[Finding]]:
    """Return how every cohort was fitted.

    Returns
    -------
    table : polars.DataFrame
        cohort, subject, year, grade, n_priors, engine, base_year, n, p, students_per_column, crossing [%],
        outside_knots [% of prior scores], gap (largest relative duality gap), fallbacks, dropped_columns,
        capped_columns.
    findings : list of Finding
        crossing, outside_knots, cohort_size, proof, eiv_definite.
    """
    cells = run.frames["cells"]
    table = cells.select(
        "cohort",
        "subject",
        "year",
        "grade",
        "n_priors",
        "engine",
        "base_year",
        "n",
        "p",
        (pl.col("n") / pl.col("p")).alias("students_per_column"),
        (100 * pl.col("crossing_share")).alias("crossing"),
        (100 * pl.col("outside_knots") / (pl.col("n") * pl.col("n_priors"))).alias("outside_knots"),
        pl.col("max_relative_gap").alias("gap"),
        "fallbacks",
        "dropped_columns",
        "capped_columns",
    )
    # A frozen model was sized by the base year's students.
    fitted = table.with_columns(
        pl.when(pl.col("base_year").is_null()).then("students_per_column").alias("students_per_column")
    )
    no_curves = f"The engine {run.spec.student.engine!r} fits no quantile curves."
    findings = [
        _of(table, "crossing", "crossing", no_curves),
        _of(table, "outside_knots", "outside_knots", no_curves),
        _of(fitted, "cohort_size", "students_per_column", "Cohorts were not fitted in this run."),
        _of(table, "proof", "gap", no_curves),
        _of(table, "eiv_definite", "capped_columns", "Not an errors-in-variables run."),
    ]
    return table, findings


def _of(table: pl.DataFrame, rule: str, column: str, reason: str) -> Finding:
    value = pl.col(column).cast(pl.Float64)
    tested = table.select(pl.format("Cohort {}", "cohort").alias("where"), value.alias("value"))
    tested = tested.with_columns(pl.col("value").alias("bound")).drop_nulls()
    return Finding(rule, tested, reason)


def left_out(
    run: GrowthRun, groups: tuple[str, ...], minimum: int
) -> tuple[pl.DataFrame, pl.DataFrame, list[Finding]]:
    """Return the account of rows as shares, and who is left out.

    Returns
    -------
    steps : polars.DataFrame
        subject, year, step, rows, excluded, reason, share of the rows in scope excluded at this step [%];
        lines of a subject and year only.
    shares : polars.DataFrame
        year, subject, group ("All" or the yes/no column), n, left_out: without a percentile [%]; groups with
        students enough.
    findings : list of Finding
        left_out, left_out_groups.
    """
    counts = run.frames["counts"].filter(pl.col("year").is_not_null())
    block = ["subject", "year"]
    first = (pl.col("rows") + pl.col("excluded")).first().over(block)
    steps = counts.with_columns((100 * pl.col("excluded") / first).fill_nan(0.0).alias("share"))
    lost = by_group(
        steps.filter(pl.col("step") != "has_school", pl.col("step") != "enrolled"),
        block,
        pl.col("share").sum().alias("value"),
    )
    where = pl.format("{} {}", "subject", "year").alias("where")
    total = lost.select(where, "value").with_columns(pl.col("value").alias("bound"))

    rows = run.frames["students"].filter("highest").with_columns(pl.col("percentile").is_null().alias("_out"))
    parts = [_share(rows, "All")]
    parts += [_share(rows.filter(pl.col(name).fill_null(False)), name) for name in groups]
    shares = pl.concat(parts).filter(pl.col("n") >= minimum)
    excess = _more_often(rows, groups, minimum)
    return (
        steps,
        shares.sort("year", "subject", "group"),
        [Finding("left_out", total), Finding("left_out_groups", excess)],
    )


def _share(rows: pl.DataFrame, group: str) -> pl.DataFrame:
    return by_group(
        rows,
        ["year", "subject"],
        pl.lit(group).alias("group"),
        pl.len().cast(pl.Int64).alias("n"),
        (100 * pl.col("_out").mean()).alias("left_out"),
    )


def _more_often(rows: pl.DataFrame, groups: tuple[str, ...], minimum: int) -> pl.DataFrame:
    """Return how much more often each group is left out than all students; less often is nobody's loss."""
    found = []
    for block in rows.sort("year", "subject").partition_by("year", "subject", maintain_order=True):
        share = float(block["_out"].to_numpy().mean())
        for name in groups:
            part = block.filter(pl.col(name).fill_null(False))
            if part.height < minimum:
                continue
            out = 100 * (part["_out"].to_numpy().astype(np.float64) - share)
            se, df = clustered_se(out, codes(part["school_id"].to_list()))
            found.append((f"{part['subject'][0]} {part['year'][0]}, {name}", float(out.mean()), se, df))
    level = level_of(len(found))
    tests = [
        (where, more, t_bound(more, se, df, level) if more > 0 else 0.0) for where, more, se, df in found
    ]
    return pl.DataFrame(tests, _SHOWN, orient="row")


def simex_gap(scored: Scored) -> tuple[pl.DataFrame, Finding]:
    """Return what SIMEX changes: by tenth of prior scores, and of school means.

    Returns
    -------
    gap : polars.DataFrame
        year, subject, by ("prior", "schools"), level (tenth, or "all"), n (students or schools), gap: mean
        change [percentile points]; for schools its mean without sign.
    finding : Finding
        Of schools.
    """
    frame = scored.frame
    if "percentile_simex" not in frame.columns:
        return pl.DataFrame(), Finding("simex_gap", pl.DataFrame(schema=_SHOWN), "SIMEX was not asked for.")
    frame = frame.with_columns((100 * (pl.col("percentile_simex") - pl.col("percentile"))).alias("_gap"))
    frame = frame.drop_nulls("_gap")
    pieces = []
    for block in frame.partition_by("year", "subject", "grade", maintain_order=True):
        place = tenths(block["prior_score"].to_numpy())[0] + 1
        pieces.append(block.select("year", "subject", "_gap").with_columns(_tenth=pl.Series(place)))
    keys, size = ["year", "subject"], pl.len().cast(pl.Int64).alias("n")
    by_prior = (
        by_group(pl.concat(pieces), [*keys, "_tenth"], size, pl.col("_gap").mean().alias("gap"))
        .filter(pl.col("n") >= scored.minimum)
        .sort(*keys, "_tenth")
        .select(
            *keys, pl.lit("prior").alias("by"), pl.col("_tenth").cast(pl.String).alias("level"), "n", "gap"
        )
    )
    of_schools = by_group(
        frame.drop_nulls("school_id"), [*keys, "school_id"], pl.len().alias("n"), pl.col("_gap").mean()
    )
    schools = (
        by_group(
            of_schools.filter(pl.col("n") >= scored.minimum),
            keys,
            size,
            pl.col("_gap").abs().mean().alias("gap"),
        )
        .sort(keys)
        .select(*keys, pl.lit("schools").alias("by"), pl.lit("all").alias("level"), "n", "gap")
    )
    where = pl.format("{} {}", "subject", "year").alias("where")
    tested = schools.select(where, pl.col("gap").alias("value"), pl.col("gap").alias("bound"))
    return pl.concat([by_prior, schools]), Finding("simex_gap", tested)
