"""From a report input to what the page states: publishable rows, facts per subject, waterfall and fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from growth.aggregate import by_group
from growth.release.published import least_of
from growth.report.comparisons import Comparisons, comparisons
from growth.report.disclosure import publishable
from growth.report.fairness import FairnessFacts, fairness_facts
from growth.report.inputs import ReportInput
from growth.report.labels import column_words, reason_words, subject_name
from growth.report.points import PageIndex, page_index, page_pairs
from growth.school.groups import ALL, LOWEST_RACE, RACE
from growth.spec import GrowthSpec

__all__ = [
    "CERTIFIED_GAP",
    "BlockFacts",
    "FitFacts",
    "FitLine",
    "PageFacts",
    "Results",
    "WaterfallLine",
    "page_results",
]

CERTIFIED_GAP = 1e-9
"""Largest relative duality gap at which a fitted curve counts as proved optimal."""

_EVERYWHERE = "all"


@dataclass(frozen=True, slots=True)
class BlockFacts:
    """One subject in the latest year."""

    subject: str
    label: str
    schools: int
    """Schools in the table."""
    reported: int
    """Schools with a growth percentile."""
    above: int
    """Schools whose whole band lies above 50."""
    below: int
    median_width: float
    """Median width of the bands [percentile points]."""
    r_students: float | None
    """Correlation of students' percentiles with their most recent score in the subject."""
    r_schools: float | None
    """Correlation of school results with the mean of these."""


@dataclass(frozen=True, slots=True)
class PageFacts:
    """The numbers in the sentences of the page."""

    years: tuple[int, ...]
    subject_names: tuple[str, ...]
    grades: tuple[int, ...]
    students: int
    results: int
    schools: int
    schools_reported: int
    blocks: tuple[BlockFacts, ...]


@dataclass(frozen=True, slots=True)
class WaterfallLine:
    """One line of the account of rows, summed over subjects and years."""

    step: str
    rows: int
    excluded: int
    reason: str


@dataclass(frozen=True, slots=True)
class FitLine:
    """One fitted comparison; `students` is in words where they are few."""

    subject: str
    year: int
    grade: int
    priors: int
    students: str
    crossing_share: float
    gap: float | None
    dropped: str
    residual_sd: float | None
    """Of a prediction; null for curves [scale-score points]."""
    r2: float | None
    """Share of the variance of scores that a prediction explains; null for curves."""


@dataclass(frozen=True, slots=True)
class FitFacts:
    """Whether the curves are exact or how well the predictions fit, and what was noticed on the way."""

    curves: bool
    """Curves were fitted; otherwise predictions."""
    lines: tuple[FitLine, ...]
    certified: int
    largest_gap: float | None
    crossing_share: float
    """Share of neighbouring curves that crossed before they were put in order, weighted by students."""
    dropped: tuple[str, ...]
    """Model columns left out in at least one comparison because the data could not tell them apart."""
    partly_corrected: int
    """Comparisons in which only a part of the measurement error could be removed."""


@dataclass(frozen=True, slots=True)
class Results:
    """Everything the page shows."""

    facts: PageFacts
    rows: pl.DataFrame
    """Publishable school results (see `disclosure.publishable`), with school_name, district, grade_span,
    mean_prior and achievement."""
    waterfall: tuple[WaterfallLine, ...]
    fits: FitFacts
    fairness: FairnessFacts
    comparisons: Comparisons
    index: PageIndex
    pairs: pl.DataFrame
    unmatched: pl.DataFrame
    names: pl.DataFrame
    """school_id, school_name, district of all schools, those without results among them."""


def page_results(given: ReportInput) -> Results:
    """Compute everything the page shows.

    Parameters
    ----------
    given : ReportInput
        Frames of a run and sums over its students.

    Returns
    -------
    Results
        Nothing in it rests on fewer students than may be published.
    """
    rows = _with_school(publishable(given.schools, given.levels, given.spec), given)
    whole = rows.filter((pl.col("group") == ALL) & pl.col("reason").is_null())
    latest = whole.filter(pl.col("year") == pl.col("year").max())["school_id"].unique()
    pairs, unmatched = page_pairs(given.pairs, latest)
    return Results(
        facts=_facts(rows, given),
        rows=rows,
        waterfall=_waterfall(given.counts, least_of(given.spec)[0]),
        fits=_fits(given.cells, given.spec, least_of(given.spec)[0]),
        fairness=fairness_facts(given.fairness, given.neutrality, given.spec),
        comparisons=comparisons(rows, given),
        index=page_index(given.index, given.schools, given.spec),
        pairs=pairs,
        unmatched=unmatched,
        names=given.students.names,
    )


def _with_school(rows: pl.DataFrame, given: ReportInput) -> pl.DataFrame:
    """Add name and achievement, and put rows in the order of the page."""
    achievement = given.students.achievement.drop("n").with_columns(pl.lit(ALL).alias("group"))
    rows = rows.join(given.students.names, on="school_id", how="left")
    rows = rows.join(given.intake, on="school_id", how="left").join(
        achievement, on=["year", "subject", "group", "school_id"], how="left"
    )
    shown = pl.col("reason").is_null()
    known = shown.any().over("school_id")
    name = pl.coalesce(pl.col("school_name").str.strip_chars().replace("", None), pl.col("school_id"))
    place = {group: at for at, group in enumerate([ALL, *given.spec.groups.flags])}
    order = (
        pl.col("group")
        .replace_strict(place, default=None, return_dtype=pl.Int64)
        .fill_null(pl.when(pl.col("group") == LOWEST_RACE).then(10_000).otherwise(1_000))
    )
    return rows.with_columns(
        name.alias("school_name"),
        pl.when(shown).then("achievement"),
        pl.when(known).then("mean_prior"),
        order.alias("_order"),
    ).sort(["year", "subject", "_order", "group", "school_name", "school_id"])


def _facts(rows: pl.DataFrame, given: ReportInput) -> PageFacts:
    everyone = rows.filter(pl.col("group") == ALL)
    years = everyone["year"].unique().sort().to_list()
    subjects = everyone["subject"].unique().sort().to_list()
    latest = everyone.filter(pl.col("year") == years[-1]) if years else everyone
    return PageFacts(
        years=tuple(years),
        subject_names=tuple(subject_name(subject) for subject in subjects),
        grades=given.students.grades,
        students=given.students.students,
        results=given.students.results,
        schools=everyone["school_id"].n_unique(),
        schools_reported=everyone.filter(pl.col("reason").is_null())["school_id"].n_unique(),
        blocks=tuple(
            _block(subject, latest.filter(pl.col("subject") == subject), given.neutrality)
            for subject in latest["subject"].unique().sort().to_list()
        ),
    )


def _block(subject: str, rows: pl.DataFrame, neutrality: pl.DataFrame) -> BlockFacts:
    shown = rows.filter(pl.col("growth_percentile_low").is_not_null())
    low, high = shown["growth_percentile_low"], shown["growth_percentile_high"]
    of_block = (pl.col("subject") == subject) & (pl.col("year") == rows["year"][0])
    r = neutrality.filter(of_block & (pl.col("kind") == "prior"))
    width = (high - low).median()
    return BlockFacts(
        subject=subject,
        label=subject_name(subject),
        schools=rows.height,
        reported=rows.filter(pl.col("reason").is_null()).height,
        above=int((low > 50).sum()),
        below=int((high < 50).sum()),
        median_width=float(width) if isinstance(width, int | float) else 0.0,
        r_students=_number(r, "r_students"),
        r_schools=_number(r, "r"),
    )


def _number(frame: pl.DataFrame, column: str) -> float | None:
    value = frame[column].item() if frame.height == 1 else None
    return value if isinstance(value, float) and value == value else None


def _waterfall(counts: pl.DataFrame, minimum: int) -> tuple[WaterfallLine, ...]:
    """Sum the account over subjects and years: lines of the whole table, then of its blocks."""
    lines: list[WaterfallLine] = []
    blocks = counts.filter(pl.col("subject") != _EVERYWHERE)
    for part in (counts.filter(pl.col("subject") == _EVERYWHERE), blocks):
        for step in part["step"].unique(maintain_order=True).to_list():
            lines.extend(_step_lines(step, part.filter(pl.col("step") == step), minimum))
    return tuple(line for at, line in enumerate(lines) if line.excluded or not _repeats(lines, at))


def _repeats(lines: list[WaterfallLine], at: int) -> bool:
    """Say whether a line without loss only restates the one before: the blocks begin where the table ends."""
    return at > 0 and (lines[at].step, lines[at].rows) == (lines[at - 1].step, lines[at - 1].rows)


def _step_lines(step: str, part: pl.DataFrame, minimum: int) -> list[WaterfallLine]:
    lost = by_group(part.filter(pl.col("excluded") > 0), "reason", pl.col("excluded").sum())
    left = int(by_group(part, ["subject", "year"], pl.col("rows").last())["rows"].sum())
    if lost.is_empty():
        return [WaterfallLine(step, left, 0, "")]
    before = left + int(lost["excluded"].sum())
    lines = []
    for reason, excluded in lost.iter_rows():
        before -= excluded
        lines.append(WaterfallLine(step, before, excluded, reason_words(reason or "", minimum)))
    return lines


def _fits(cells: pl.DataFrame, spec: GrowthSpec, minimum: int) -> FitFacts:
    lines = tuple(_fit_line(cell, minimum) for cell in cells.iter_rows(named=True))
    gaps = [line.gap for line in lines if line.gap is not None]
    students = sum(cells["n"].to_list())
    crossed = sum(cell["n"] * (cell["crossing_share"] or 0.0) for cell in cells.iter_rows(named=True))
    dropped = {name for cell in cells.iter_rows(named=True) for name in _dropped(cell)}
    return FitFacts(
        curves=spec.student.engine == "quantile",
        lines=lines,
        certified=sum(gap <= CERTIFIED_GAP for gap in gaps),
        largest_gap=max(gaps) if len(gaps) == len(lines) and gaps else None,
        crossing_share=crossed / students if students else 0.0,
        dropped=tuple(sorted(dropped)),
        partly_corrected=sum(bool(cell.get("capped_columns")) for cell in cells.iter_rows(named=True)),
    )


def _fit_line(cell: Mapping[str, Any], minimum: int) -> FitLine:
    gap = cell["max_relative_gap"]
    return FitLine(
        subject=subject_name(cell["subject"]),
        year=cell["year"],
        grade=cell["grade"],
        priors=cell["n_priors"],
        students=f"{cell['n']:,}" if cell["n"] >= minimum else reason_words("n_below_minimum", minimum),
        crossing_share=cell["crossing_share"] or 0.0,
        gap=gap if gap is not None and gap == gap else None,
        dropped=", ".join(_dropped(cell)),
        residual_sd=cell.get("residual_sd"),
        r2=cell.get("r2"),
    )


def _dropped(cell: Mapping[str, Any]) -> list[str]:
    names = cell["dropped_columns"]
    if not names:
        return []
    parts = names.split(",") if isinstance(names, str) else list(names)
    return [column_words(part.strip().removeprefix(RACE)) for part in parts if part.strip()]
