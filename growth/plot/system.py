"""The system growth chart: scores by grade, and paths of constant growth through the grades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from growth.aggregate import by_group
from growth.audit.again import reform
from growth.audit.ahead import curves_of, latest_year
from growth.errors import GrowthError, did_you_mean, problem
from growth.panel import CallerFrame, CsemFunction, StudentTable
from growth.pipeline import GrowthRun
from growth.release.published import least_of
from growth.report.extras import require_extra
from growth.report.figures import palette
from growth.report.labels import subject_name
from growth.student import Traveller, growth_paths, path_at, require_projectable

if TYPE_CHECKING:
    import altair as alt

__all__ = ["GROWTH", "SystemGrowth", "draw_system", "system_growth"]

GROWTH = (10, 35, 50, 65, 90)
"""Percentiles of the paths, by default."""
_DECILES = (10, 30, 50, 70, 90)
"""Percentiles of scores at the edges of the bands, and in their middle."""
_BANDS = (("score_10", "score_90", 0.12), ("score_30", "score_70", 0.22))
_MOST_STEPS = 13
_WORDS = 104
"""Letters in a line below the title."""


@dataclass(frozen=True, slots=True, eq=False)
class SystemGrowth:
    """Scores of one year by grade, and paths of constant growth percentiles through the grades."""

    subject: str
    year: int
    start: float
    """Percentile of the first grade's scores at which paths start."""
    flags: tuple[str, ...]
    """Yes/no columns of the specification that the paths' student has."""
    compared: bool
    """Whether students are compared by more than scores."""
    scores: pl.DataFrame
    """grade, n, score_10, score_30, score_50, score_70, score_90: percentiles of the scores of the year's
    students [scale-score points]; grades with fewer students than may be published are left out."""
    paths: pl.DataFrame
    """percentile (of growth, the same in every grade and subject), grade, ahead [years], score."""


def system_growth(
    run: GrowthRun,
    subject: str,
    table: StudentTable | CallerFrame | str | Path,
    *,
    start: float = 50,
    percentiles: Sequence[int] = GROWTH,
    flags: Sequence[str] = (),
    csem: CsemFunction | None = None,
) -> SystemGrowth:
    """Follow growth at constant percentiles from the lowest grade upwards, over the latest year's curves.

    The paths start in the lowest grade from which a cohort leads on, at the given percentile of its scores
    (of each subject, where students are compared by several), and follow the curves of the grades above, all
    of the same year: see `growth.student.paths` for conventions and assumptions. They are those of a student
    with the reference level of every category, without blanks, in a school of average make-up.

    Parameters
    ----------
    run : GrowthRun
    subject : str
        As in the run.
    table : path, frame or StudentTable
        What the run was made from: scores of grades without results are in no run.
    start : float
        Percentile of the scores, above 0 and below 100.
    percentiles : sequence of int
        Of growth, 1-99.
    flags : sequence of str
        Yes/no columns of ``peers.flags`` that are yes.
    csem : callable, optional
        As the run was given.

    Raises
    ------
    GrowthError
        If an argument is not possible, or no cohort of the subject leads on from a grade with scores.
    SpecError
        If the engine has no curves, or these need columns that nobody knows ahead.
    TableError
        If the table is not the one that the run was made from.
    """
    require_projectable(run.spec)
    _check(run, subject, start, percentiles, flags)
    year = latest_year(run)
    frame = reform(run, table, csem=csem).table.frame
    now = frame.filter((pl.col("year") == year) & pl.col("score").is_not_null())
    scores = _scores(now, subject, least_of(run.spec)[0])
    cohorts = curves_of(run, year)
    comes_from = {c.pattern.priors[0].grade for c in cohorts if c.subject == subject}
    first = min((grade for grade in scores["grade"] if grade in comes_from), default=None)
    began = {
        (str(name), 0, int(first)): np.array([np.quantile(part["score"].to_numpy(), start / 100)])
        for (name,), part in now.filter(pl.col("grade") == first).group_by("subject")
        if first is not None
    }
    steps = []
    if began:
        traveller = Traveller(began, frozenset(flags))
        followed = growth_paths(cohorts, traveller, run.spec, steps=_MOST_STEPS)
        steps = [step for step in followed if step.subject == subject]
    if first is None or not steps:
        what = f"No cohort of {subject} in {year} leads on from a grade whose scores may be shown"
        raise GrowthError(problem(what, fix="run grades that follow each other"))
    rows = [(int(p), first, 0, float(began[subject, 0, first][0])) for p in percentiles]
    for step in steps:
        values = path_at(step, percentiles)[0]
        rows += [(int(p), step.grade, step.ahead, float(v)) for p, v in zip(percentiles, values, strict=True)]
    schema = {"percentile": pl.Int64, "grade": pl.Int64, "ahead": pl.Int64, "score": pl.Float64}
    paths = pl.DataFrame(rows, schema=schema, orient="row").sort("percentile", "grade")
    compared = bool(run.spec.peers.flags or run.spec.peers.categories)
    return SystemGrowth(subject, year, start, tuple(flags), compared, scores, paths)


def _check(
    run: GrowthRun, subject: str, start: float, percentiles: Sequence[int], flags: Sequence[str]
) -> None:
    subjects = run.polars("students")["subject"].unique().sort().to_list()
    if subject not in subjects:
        hint = did_you_mean(subject, subjects)
        raise GrowthError(f"There is no subject {subject!r}{hint} (there are: {', '.join(subjects)}).")
    if not 0 < start < 100 or not percentiles or not all(p in range(1, 100) for p in percentiles):
        what = f"start = {start:g}, percentiles = {list(percentiles)}"
        raise GrowthError(problem(what, rule="0 < start < 100; percentiles are whole numbers 1-99"))
    if unknown := [name for name in flags if name not in run.spec.peers.flags]:
        known = ", ".join(run.spec.peers.flags) or "none"
        raise GrowthError(problem(f"flags: {', '.join(unknown)}", rule=f"of peers.flags: {known}"))


def _scores(now: pl.DataFrame, subject: str, minimum: int) -> pl.DataFrame:
    score = pl.col("score").cast(pl.Float64)
    quantiles = [score.quantile(p / 100, "linear").alias(f"score_{p}") for p in _DECILES]
    own = now.filter(pl.col("subject") == subject)
    rows = by_group(own, "grade", pl.len().cast(pl.Int64).alias("n"), *quantiles)
    return rows.filter(pl.col("n") >= minimum).with_columns(pl.col("grade").cast(pl.Int64)).sort("grade")


def draw_system(found: SystemGrowth) -> alt.LayerChart:
    """Draw `system_growth`.

    Raises
    ------
    GrowthError
        If the extra ``growth[report]`` is not installed.
    """
    require_extra()
    import altair as alt

    colors = {name: palette()[f"--{name}"] for name in ("ink", "above", "below", "muted", "average")}
    grades = sorted({*found.scores["grade"], *found.paths["grade"]})
    ends = [grades[0] - 0.3, grades[-1] + 0.9]
    axis = alt.Axis(values=grades, format="d", grid=False)
    x = alt.X("grade:Q", title="Grade", scale=alt.Scale(domain=ends, nice=False), axis=axis)

    def y(name: str) -> alt.Y:
        place: alt.Y = alt.Y(f"{name}:Q", title="Scale score", scale=alt.Scale(zero=False))
        return place

    bands = alt.Chart(alt.InlineData(found.scores.to_dicts()))
    areas = [
        bands.mark_area(color=colors["average"], opacity=opacity).encode(x=x, y=y(low), y2=f"{high}:Q")
        for low, high, opacity in _BANDS
    ]
    middle = bands.mark_line(color=colors["average"], strokeDash=[2, 3]).encode(x=x, y=y("score_50"))
    paths = alt.Chart(alt.InlineData(found.paths.to_dicts()))
    low, high = colors["below"], colors["above"]
    color = alt.Color(
        "percentile:Q",
        scale=alt.Scale(domain=[1, 50, 99], range=[low, colors["ink"], high]),
        legend=None,
    )
    tooltip = [alt.Tooltip(f"{name}:Q", format=".0f") for name in ("percentile", "grade", "score")]
    lines = paths.mark_line(strokeWidth=2).encode(x=x, y=y("score"), color=color, detail="percentile:N")
    points = paths.mark_circle(size=40, opacity=1).encode(x=x, y=y("score"), color=color, tooltip=tooltip)
    last = found.paths.filter(pl.col("grade") == pl.col("grade").max().over("percentile"))
    names = alt.Chart(alt.InlineData(last.to_dicts())).mark_text(align="left", dx=8, fontSize=11)
    labels = names.encode(x=x, y=y("score"), text=alt.Text("percentile:Q", format="d"), color=color)
    text = f"{subject_name(found.subject)} {found.year}: growth at constant percentiles"
    title = alt.TitleParams(text, subtitle=_caption(found), anchor="start", subtitleColor=colors["muted"])
    layers: list[Any] = [*areas, middle, lines, points, labels]
    chart: alt.LayerChart = alt.LayerChart(layer=layers).properties(width=520, height=340, title=title)
    return chart


def _caption(found: SystemGrowth) -> list[str]:
    first = int(found.paths["grade"].to_numpy().min())
    like = ""
    if found.compared:
        traits = ", ".join(found.flags) if found.flags else "none of the flags of the specification"
        like = f" Lines are those of a student with {traits}, in a school of average make-up."
    told = (
        f"Lines: a student at percentile {found.start:g} of grade {first} who grows every year at the "
        f"percentile at the end of the line, by the curves of {found.year} in every grade. Grey: the middle "
        f"80 and 40 of 100 scores of {found.year}, and their median.{like}"
    )
    return wrap(told, _WORDS)
