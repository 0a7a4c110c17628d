"""The student growth chart: a student's scores over the years, and the fan of where similar students went."""

from __future__ import annotations

from itertools import pairwise
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import polars as pl

from growth.report.extras import require_extra
from growth.report.figures import palette
from growth.report.labels import subject_name

if TYPE_CHECKING:
    import altair as alt

__all__ = ["student_chart"]

_BANDS = (("p5", "p95", 0.18), ("p25", "p75", 0.35))
"""Ends of the bands and their opacity: nine in ten, and half of the similar students."""
_WORDS = 92
"""Letters in a line below the title."""


def student_chart(fan: pl.DataFrame, subject: str, projection: pl.DataFrame | None = None) -> alt.LayerChart:
    """Draw a student's scores, and from each to the next the fan of where similar students went.

    For a conversation with one family: it shows one student, and belongs in no report.

    Parameters
    ----------
    fan : polars.DataFrame
        Of `growth.audit.student_fan`.
    subject : str
        As in the run.
    projection : polars.DataFrame, optional
        Of `growth.audit.student_projection`: draws next year's fan, in another colour, and says below the
        title what it assumes, or why there is none.

    Raises
    ------
    GrowthError
        If the extra ``growth[report]`` is not installed.
    """
    require_extra()
    import altair as alt

    rows = fan.filter(pl.col("subject") == subject).sort("year", "grade").to_dicts()
    for row in rows:
        row["label"] = "" if row["sgp"] is None else f"percentile {row['sgp']}, {_interval(row)}"
    colors = {name: palette()[f"--{name}"] for name in ("ink", "above", "muted", "average")}
    ahead, caption = _ahead(projection, subject, rows[-1] if rows else None)
    score = alt.Y("score:Q", title="Scale score", scale=alt.Scale(zero=False))
    low_end = alt.Y("low:Q", title="Scale score", scale=alt.Scale(zero=False))
    year = alt.X("year:O", title=None, axis=alt.Axis(labelAngle=0))

    def fans(course: list[dict[str, Any]], color: str) -> list[alt.Chart]:
        areas = [
            alt.Chart(alt.InlineData(_wedges(course, low, high)))
            .mark_area(color=color, opacity=opacity)
            .encode(x=year, y=low_end, y2="high:Q", detail="to:N")
            for low, high, opacity in _BANDS
        ]
        middle = (
            alt.Chart(alt.InlineData(_wedges(course, "p50", "p50")))
            .mark_line(color=color, strokeDash=[3, 3])
            .encode(x=year, y=low_end, detail="to:N")
        )
        return [*areas, middle]

    scores = alt.Chart(alt.InlineData(rows)).encode(x=year, y=score)
    tooltip = [alt.Tooltip(f"{name}:N") for name in ("year", "grade", "score", "sgp")]
    line = scores.mark_line(color=colors["ink"])
    points = scores.mark_circle(color=colors["ink"], size=70, opacity=1).encode(tooltip=tooltip)
    labels = scores.mark_text(color=colors["ink"], dy=-12, dx=-9, align="right").encode(text="label:N")
    text = f"{subject_name(subject)}: scores, and where 90 and 50 of 100 similar students went"
    title = alt.TitleParams(text, subtitle=caption, anchor="start", subtitleColor=colors["muted"])
    layers = [*fans(rows, colors["above"]), *(fans(ahead, colors["average"]) if ahead else [])]
    if ahead:
        ends = alt.Chart(alt.InlineData(_ends(ahead[-1]))).mark_text(
            color=colors["muted"], align="left", dx=6, fontSize=10
        )
        layers.append(ends.encode(x=year, y=low_end, text="label:N"))
    chart: alt.LayerChart = alt.LayerChart(layer=[*layers, line, points, labels])
    return chart.properties(width=480, height=300, title=title)


def _ahead(
    projection: pl.DataFrame | None, subject: str, last: dict[str, Any] | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return today's score and the next test's percentiles, and what they assume or why there are none."""
    found = None if projection is None else projection.filter(pl.col("subject") == subject)
    if found is None or found.is_empty() or last is None:
        return [], []
    row = found.row(0, named=True)
    if row["reason"] is not None:
        return [], wrap(f"No projection: {row['reason']}", _WORDS)
    told = (
        f"Grey, {row['year']}: where 90 and 50 of 100 go if students grow as in {row['cohort']}, and the "
        "student's circumstances stay. A range, not a target."
    )
    return [last, row], wrap(told, _WORDS)


def _ends(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the labels of the percentiles at the end of a fan."""
    return [
        {"year": row["year"], "low": row[name], "label": f"{name[1:]}th: {row[name]:.0f}"}
        for name in ("p5", "p50", "p95")
    ]


def _interval(row: dict[str, Any]) -> str:
    if row["sgp_low"] is None:
        return "interval not known"
    return f"interval {row['sgp_low']}–{row['sgp_high']}"


def _wedges(rows: list[dict[str, Any]], low: str, high: str) -> list[dict[str, Any]]:
    """Return the two ends of each wedge, from a score to the next year's percentiles."""
    found = []
    for before, after in pairwise(rows):
        if after[low] is not None:
            start, end = before["score"], {"low": after[low], "high": after[high]}
            found.append({"to": after["year"], "year": before["year"], "low": start, "high": start})
            found.append({"to": after["year"], "year": after["year"], **end})
    return found
