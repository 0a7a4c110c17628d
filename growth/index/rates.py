"""From yes and no per student to the results of schools and groups, with every record accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from growth.aggregate import by_group
from growth.index.lowest import with_lowest
from growth.school.groups import groups_of
from growth.spec import GrowthSpec

__all__ = ["METRIC_COLUMNS", "MetricResult", "Step", "rates", "together"]

METRIC_COLUMNS: dict[str, pl.DataType] = {
    "year": pl.Int32(),
    "metric": pl.String(),
    "part": pl.String(),
    "school_id": pl.String(),
    "group": pl.String(),
    "group_detail": pl.String(),
    "n": pl.Int64(),
    "numerator": pl.Float64(),
    "value": pl.Float64(),
    "se": pl.Float64(),
    "level": pl.Int8(),
    "expected_level": pl.Float64(),
    "chance_expected": pl.Float64(),
    "reason": pl.String(),
}
"""The table of metrics: one row per year, metric, part, school and group."""

_PLACE = ["year", "school_id"]
_COUNTS: dict[str, pl.DataType] = {
    "metric": pl.String(),
    "part": pl.String(),
    "year": pl.Int32(),
    "step": pl.String(),
    "rows": pl.Int64(),
    "excluded": pl.Int64(),
    "reason": pl.String(),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One rule of eligibility: records for which `keep` is not true are left out for `reason`."""

    step: str
    keep: pl.Expr
    reason: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MetricResult:
    """One or several metrics of schools and groups."""

    frame: pl.DataFrame
    """One row per year, metric, part, school and group: group_detail (the race of ``race:lowest``), n
    students, numerator (sum of the students' outcomes, 0-1 each), value [percent, 0-100] and its standard
    error se, level (1-10) if the metric comes with one, expected_level (mean of a level's posterior),
    chance_expected (see `growth.index.lowest`), reason. Where `reason` is set every value but n is null."""
    counts: pl.DataFrame
    """Account of records: metric, part, year, step, rows left, rows excluded, reason."""

    def __repr__(self) -> str:
        everyone = self.frame.filter(pl.col("group") == "All")
        shown = everyone.filter(pl.col("reason").is_null())
        names = ", ".join(self.frame["metric"].unique(maintain_order=True).to_list())
        return f"MetricResult({names}: {shown.height:,} of {everyone.height:,} results for all students)"


def together(results: Sequence[MetricResult]) -> MetricResult:
    """Return several metrics as one table."""
    frames = [result.frame for result in results] or [pl.DataFrame(schema=METRIC_COLUMNS)]
    counts = [result.counts for result in results] or [pl.DataFrame(schema=_COUNTS)]
    return MetricResult(pl.concat(frames), pl.concat(counts))


def rates(
    records: pl.DataFrame, metric: str, outcome: pl.Expr, steps: Sequence[Step], spec: GrowthSpec
) -> MetricResult:
    """Return the percentage of eligible students with an outcome, by year, part, school and group.

    Parameters
    ----------
    records : polars.DataFrame
        year, school_id, part, the columns of groups, and what `outcome` and `steps` use.
    metric : str
    outcome : polars.Expr
        Boolean, or a share from 0 to 1.
    steps : sequence of Step
        Applied in order; what they exclude is counted.
    spec : GrowthSpec
        ``spec.groups`` says who belongs to which group, ``spec.index.min_n`` what is withheld.
    """
    placed = Step("has_school", pl.col("school_id").is_not_null(), "no_school")
    steps = [placed, *steps]
    counts = _account(records, metric, steps)
    kept = records.filter(*(step.keep.fill_null(False) for step in steps))
    kept = kept.with_columns(outcome.cast(pl.Float64).alias("_outcome"))
    parts = [
        _of_part(part, metric, spec) for part in kept.partition_by("part", maintain_order=True) if part.height
    ]
    frame = pl.concat(parts) if parts else pl.DataFrame(schema=METRIC_COLUMNS)
    return MetricResult(frame, counts)


def _of_part(rows: pl.DataFrame, metric: str, spec: GrowthSpec) -> pl.DataFrame:
    """Return the results of one part, the lowest racial/ethnic groups among them."""
    found = []
    for group in groups_of(rows, spec):
        members = rows.filter(group.members)
        if members.height:
            found.append(_summary(members).with_columns(pl.lit(group.label).alias("group")))
    frame = pl.concat(found).with_columns(
        pl.lit(metric).alias("metric"),
        pl.lit(rows["part"][0]).alias("part"),
        pl.when(pl.col("n") < spec.index.min_n).then(pl.lit("n_below_minimum")).alias("reason"),
        *(pl.lit(None, METRIC_COLUMNS[name]).alias(name) for name in _LATER),
    )
    shown = pl.col("reason").is_null()
    frame = frame.with_columns(
        pl.when(shown).then(pl.col(name)).alias(name) for name in ("numerator", "value", "se")
    )
    frame = frame.select(pl.col(name).cast(dtype) for name, dtype in METRIC_COLUMNS.items())
    return with_lowest(frame, spec, better=_better(metric, spec))


_LATER = ("group_detail", "level", "expected_level", "chance_expected")


def _better(metric: str, spec: GrowthSpec) -> str:
    rules = spec.index.metrics.get(metric)
    return "higher" if rules is None else rules.better


def _summary(members: pl.DataFrame) -> pl.DataFrame:
    """Return n, numerator, value and SE per year and school; the SD within schools is pooled over them."""
    by_school = by_group(
        members,
        _PLACE,
        pl.len().cast(pl.Int64).alias("n"),
        pl.col("_outcome").sum().alias("numerator"),
        (pl.col("_outcome") - pl.col("_outcome").mean()).pow(2).sum().alias("_squares"),
    )
    freedom = pl.col("n").sum() - pl.len()
    within = (pl.col("_squares").sum() / freedom).over("year")
    return by_school.sort(_PLACE).with_columns(
        # One division of whole numbers, so that 24 of 25 are exactly 96 percent.
        (100.0 * pl.col("numerator") / pl.col("n")).alias("value"),
        (100.0 * (within / pl.col("n")).sqrt()).fill_nan(None).alias("se"),
    )


def _account(records: pl.DataFrame, metric: str, steps: Sequence[Step]) -> pl.DataFrame:
    lines: list[tuple[object, ...]] = []
    for part in records.partition_by("part", "year", maintain_order=True):
        labels = (metric, part["part"][0], part["year"][0])
        left = part.height
        lines.append((*labels, "records", left, 0, None))
        keep = pl.lit(True)
        for step in steps:
            keep = keep & step.keep.fill_null(False)
            stay = int(part.select(keep.sum()).item()) if part.height else 0
            lost = left - stay
            lines.append((*labels, step.step, stay, lost, step.reason if lost else None))
            left = stay
    return pl.DataFrame(lines, schema=_COUNTS, orient="row").sort("part", "year", maintain_order=True)
