"""Charts of school results."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from growth.diagnose.charts.theme import ABOVE, AVERAGE, BELOW, INK, SUBJECTS, finished, records, zero

__all__ = ["correlations", "flags", "variance"]


def correlations(table: pl.DataFrame, points: pl.DataFrame) -> Any:  # noqa: ANN401
    """Draw a scatter of schools beside the two kinds of correlation."""
    kinds = {"r_students": "students", "r_schools": "schools"}
    rows = table.filter(pl.col("kind").is_in(["prior", "flag"])).with_columns(
        trait=pl.when(pl.col("kind") == "prior")
        .then(pl.lit("prior score"))
        .otherwise(pl.col("column").str.replace_all("_", " "))
    )
    order = rows["trait"].unique(maintain_order=True).to_list()
    long = pl.concat(
        rows.select(
            "subject",
            "trait",
            pl.lit(name).alias("of"),
            pl.col(column).round(4).alias("r"),
            (pl.col("r_low") if column == "r_schools" else pl.lit(None, pl.Float64)).alias("low"),
            (pl.col("r_high") if column == "r_schools" else pl.lit(None, pl.Float64)).alias("high"),
        )
        for column, name in kinds.items()
    ).drop_nulls("r")
    color = alt.Color(
        "of:N",
        title=None,
        scale=alt.Scale(domain=["students", "schools"], range=[AVERAGE, BELOW]),
        legend=alt.Legend(orient="bottom"),
    )
    y = alt.Y("trait:N", title=None, sort=order, axis=alt.Axis(domain=False, ticks=False, labelColor=INK))
    axis = alt.Axis(values=[-1, -0.5, 0, 0.5, 1])
    x = alt.X("r:Q", title="Correlation with results", scale=alt.Scale(domain=[-1, 1]), axis=axis)
    offset = alt.YOffset("of:N", sort=["students", "schools"])
    base = alt.Chart()
    bars = base.mark_rule(strokeWidth=2, opacity=0.5).encode(
        y=y, yOffset=offset, x=alt.X("low:Q", title="Correlation with results"), x2="high:Q", color=color
    )
    dots = base.mark_circle(size=60, opacity=1).encode(
        y=y,
        yOffset=offset,
        x=x,
        color=color,
        tooltip=["subject:N", "trait:N", "of:N", alt.Tooltip("r:Q", format="+.2f")],
    )
    right = (
        alt.layer(zero(channel="x"), bars, dots)
        .properties(width=250, height=28 * len(order))
        .facet(row=_row("subject"), data=records(long))
    )
    return finished(
        alt.hconcat(_scatter(points), right, spacing=40),
        "Students and schools, side by side",
        "A student correlation of 0 is built into the model and is no evidence of unbiased school results: "
        "with errors in the",
        "prior scores, schools with abler students come out too high all the same. Lines: 95 % intervals "
        "of schools.",
    )


def _row(name: str) -> alt.Row:
    header = alt.Header(
        labelAngle=0, labelAlign="left", labelAnchor="middle", labelFontWeight=600, labelColor=INK
    )
    row: alt.Row = alt.Row(f"{name}:N", title=None, header=header)
    return row


def _scatter(points: pl.DataFrame) -> Any:  # noqa: ANN401
    rows = points.select("subject", "n", pl.col("mean_prior").round(4), pl.col("mean_percentile").round(3))
    base = alt.Chart()
    x = alt.X(
        "mean_prior:Q", title="School's mean prior score [SD within grade]", scale=alt.Scale(zero=False)
    )
    y = alt.Y("mean_percentile:Q", title="Mean percentile", scale=alt.Scale(zero=False))
    dots = base.mark_circle(color=ABOVE, opacity=0.55, stroke="#ffffff", strokeWidth=0.5).encode(
        x=x, y=y, size=alt.Size("n:Q", scale=alt.Scale(range=[12, 260]), legend=None)
    )
    trend = (
        base.mark_line(color=BELOW, strokeWidth=2)
        .transform_regression("mean_prior", "mean_percentile")
        .encode(x=x, y=y)
    )
    return (
        alt.layer(zero(50.0), dots, trend)
        .properties(width=300, height=175)
        .facet(row=_row("subject"), data=records(rows))
    )


def variance(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Draw the SD of true school effects with its interval, and reliability, by group."""
    group = pl.col("group").str.replace("race:", "")
    rows = frame.select(
        "subject",
        group.alias("group"),
        "schools",
        pl.col("school_sd").round(3),
        pl.col("tau_low").round(3),
        pl.col("tau_high").round(3),
        pl.col("reliability").round(3),
    )
    order = rows["group"].unique(maintain_order=True).to_list()
    color = alt.Color(
        "subject:N", title=None, scale=alt.Scale(range=SUBJECTS), legend=alt.Legend(orient="bottom")
    )
    y = alt.Y("group:N", title=None, sort=order, axis=alt.Axis(domain=False, ticks=False, labelColor=INK))
    offset = alt.YOffset("subject:N")
    base = alt.Chart(records(rows))
    tooltip: list[Any] = [
        "group:N",
        "subject:N",
        "schools:Q",
        alt.Tooltip("school_sd:Q", format=".1f"),
        "reliability:Q",
    ]
    bars = base.mark_rule(strokeWidth=2, opacity=0.5).encode(
        y=y, yOffset=offset, x="tau_low:Q", x2="tau_high:Q", color=color
    )
    dots = base.mark_circle(size=55, opacity=1).encode(
        y=y,
        yOffset=offset,
        x=alt.X("school_sd:Q", title="SD between schools [percentile points]", scale=alt.Scale(domainMin=0)),
        color=color,
        tooltip=tooltip,
    )
    trust = base.mark_circle(size=55, opacity=1).encode(
        y=alt.Y("group:N", title=None, sort=order, axis=alt.Axis(domain=False, ticks=False, labels=False)),
        yOffset=offset,
        x=alt.X("reliability:Q", title="Reliability", scale=alt.Scale(domain=[0, 1])),
        color=color,
        tooltip=tooltip,
    )
    size = 28 * len(order)
    left = alt.layer(bars, dots).properties(width=300, height=size)
    right = alt.layer(zero(0.5, "x"), trust).properties(width=220, height=size)
    return finished(
        alt.hconcat(left, right),
        "Differences between schools",
        "Left: how much true results of schools differ, with 95 % intervals. Right: the share of the "
        "differences shown",
        "that is true; left of the line most of what sets schools apart is chance.",
    )


def flags(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Draw differences of prior scores: a tick per school, a dot per grade, a diamond for the system."""
    rows = frame.with_columns(pl.col("flag").str.replace_all("_", " ")).select(
        "subject", "flag", "by", "level", pl.col("difference").round(4)
    )
    order = rows["flag"].unique(maintain_order=True).to_list()
    base = alt.Chart()
    y = alt.Y("flag:N", title=None, sort=order, axis=alt.Axis(domain=False, ticks=False, labelColor=INK))
    x = alt.X("difference:Q", title="Prior scores of flagged students less others of the same school [SD]")
    tooltip: list[Any] = ["flag:N", "by:N", alt.Tooltip("difference:Q", format="+.2f")]

    def part(by: str, mark: alt.Chart) -> alt.Chart:
        return mark.transform_filter(f"datum.by === '{by}'").encode(x=x, y=y, tooltip=tooltip)

    layers = alt.layer(
        zero(channel="x"),
        part("school", base.mark_tick(color=AVERAGE, opacity=0.6, thickness=1.5, height=12)),
        part("grade", base.mark_circle(color=ABOVE, opacity=0.8, size=34)),
        part("system", base.mark_point(color=BELOW, filled=True, opacity=1, size=80, shape="diamond")),
    ).properties(width=420, height=alt.Step(30))
    return finished(
        layers.facet(row=_row("subject"), data=records(rows)),
        "Flags and prior scores",
        "Diamond: system; dots: grades; ticks: schools with students enough. Flags of disadvantage lie "
        "left of 0; a grade or",
        "school on the other side may have yes and no reversed.",
    )
