"""Charts of the scale: its ends, drift, measurement error, and rows left out."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from growth.diagnose.charts.theme import (
    ABOVE,
    AVERAGE,
    BELOW,
    INK,
    SUBJECTS,
    faceted,
    finished,
    records,
    zero,
)
from growth.diagnose.rules import RULES

__all__ = ["ceiling_floor", "drift", "simex", "waterfall"]

_PLACE = pl.format("{} {}, grade {}", "subject", "year", "grade").alias("place")


def ceiling_floor(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Draw mean SGPs of the most extreme scorers, expected and found, and the share at the last score."""
    rows = frame.with_columns(_PLACE).select(
        "place",
        "end",
        "n",
        *(pl.col(name).round(2) for name in ("mean_sgp", "expected_sgp", "most", "beyond", "at_end")),
    )
    order = rows["place"].unique(maintain_order=True).to_list()
    base = alt.Chart(records(rows))
    y = alt.Y("place:N", title=None, sort=order, axis=alt.Axis(domain=False, ticks=False, labelColor=INK))
    color = alt.Color(
        "end:N",
        title=None,
        scale=alt.Scale(domain=["lowest", "highest"], range=[BELOW, ABOVE]),
        legend=alt.Legend(orient="bottom"),
    )
    tooltip = [
        alt.Tooltip("end:N", title="Scorers"),
        alt.Tooltip("n:Q", title="Students"),
        alt.Tooltip("mean_sgp:Q", title="Mean SGP", format=".1f"),
        alt.Tooltip("expected_sgp:Q", title="Expected", format=".1f"),
        alt.Tooltip("most:Q", title="Below 5 / above 95 [%]", format=".0f"),
        alt.Tooltip("beyond:Q", title="Above 20 / below 80 [%]", format=".0f"),
        alt.Tooltip("at_end:Q", title="At the last score [%]", format=".1f"),
    ]
    scale = alt.Scale(domain=[0, 100])
    reach = max(3.0, float(rows["at_end"].max()) * 1.05)  # type: ignore[arg-type]
    gap = base.mark_rule(strokeWidth=3, opacity=0.3).encode(
        y=y, x="mean_sgp:Q", x2="expected_sgp:Q", color=color
    )
    tick = base.mark_tick(thickness=2, height=14).encode(y=y, x="expected_sgp:Q", color=color)
    dots = base.mark_circle(size=60, opacity=1).encode(
        y=y,
        x=alt.X("mean_sgp:Q", title="Mean SGP of the extreme scorers", scale=scale),
        color=color,
        tooltip=tooltip,
    )
    ends = base.mark_bar(height=6).encode(
        y=alt.Y("place:N", title=None, sort=order, axis=alt.Axis(labels=False, domain=False, ticks=False)),
        yOffset=alt.YOffset("end:N", sort=["lowest", "highest"]),
        x=alt.X("at_end:Q", title="At the last score [%]", scale=alt.Scale(domain=[0, reach])),
        color=color,
        tooltip=tooltip,
    )
    limit = RULES["ends"].look
    size = 24 * len(order)
    left = alt.layer(gap, tick, dots).properties(width=360, height=size)
    return finished(
        alt.hconcat(left, alt.layer(zero(limit, "x"), ends).properties(width=180, height=size)),
        "Lowest and highest scorers",
        "The 50 lowest and the 50 highest scorers of each grade (at most a tenth). Dots: found; ticks: "
        "expected in normal theory.",
        "Dots nearer to the middle, or long bars on the right, say that the test does not reach far enough.",
    )


def drift(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Draw mean percentiles in frozen curves by grade."""
    rows = frame.select(
        "subject",
        pl.col("grade").cast(pl.Int64),
        "n",
        pl.col("mean").round(3),
        (pl.col("mean") - 1.96 * pl.col("se")).round(3).alias("low"),
        (pl.col("mean") + 1.96 * pl.col("se")).round(3).alias("high"),
    )
    reach = max(
        6.0, float(rows.select((pl.max_horizontal("high", 100 - pl.col("low")) - 50).max()).item()) * 1.05
    )
    color = alt.Color(
        "subject:N", title=None, scale=alt.Scale(range=SUBJECTS), legend=alt.Legend(orient="bottom")
    )
    base = alt.Chart(records(rows))
    x = alt.X("grade:O", title="Grade", axis=alt.Axis(labelAngle=0))
    offset = alt.XOffset("subject:N")
    scale = alt.Scale(domain=[50 - reach, 50 + reach], nice=False)
    bars = base.mark_rule(strokeWidth=2, opacity=0.5).encode(
        x=x, xOffset=offset, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=color
    )
    dots = base.mark_circle(size=60, opacity=1).encode(
        x=x,
        xOffset=offset,
        y=alt.Y("mean:Q", title="Mean percentile", scale=scale),
        color=color,
        tooltip=["subject:N", "grade:O", "n:Q", alt.Tooltip("mean:Q", format=".1f")],
    )
    return finished(
        alt.layer(zero(50.0), bars, dots).properties(width=alt.Step(26), height=230),
        "Drift against the base year",
        "Mean percentile of each grade in the base year's curves, with 95 % intervals.",
        "All grades off alike: growth of the system, or of the scale. One grade off: its scale.",
    )


def simex(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Draw the mean change by SIMEX along prior scores."""
    rows = frame.select("subject", pl.col("level").cast(pl.Int64).alias("tenth"), "n", pl.col("gap").round(3))
    color = alt.Color(
        "subject:N", title=None, scale=alt.Scale(range=SUBJECTS), legend=alt.Legend(orient="bottom")
    )
    line = (
        alt.Chart(records(rows))
        .mark_line(strokeWidth=1.8, point=alt.OverlayMarkDef(size=34, filled=True))
        .encode(
            x=alt.X("tenth:O", title="Tenth of prior scores", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("gap:Q", title="SIMEX less uncorrected [percentile points]"),
            color=color,
            tooltip=["subject:N", "tenth:O", "n:Q", alt.Tooltip("gap:Q", format="+.1f")],
        )
    )
    return finished(
        alt.layer(zero(), line).properties(width=380, height=230),
        "What SIMEX changes",
        "Mean change of percentiles by tenth of prior scores: students with low scores had bad luck in "
        "them on",
        "average and are less low than they seem, so that the same score now is less growth.",
    )


def waterfall(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Draw rows left and excluded by step."""
    words = (
        pl.when(pl.col("reason").is_null()).then("step").otherwise(pl.col("reason")).str.replace_all("_", " ")
    )
    rows = frame.with_columns(
        place=pl.format("{} {}", "subject", "year"), label=words, before=pl.col("rows") + pl.col("excluded")
    ).select("place", "label", "rows", "excluded", "before", pl.col("share").round(2))
    base = alt.Chart()
    y = alt.Y(
        "label:N",
        title=None,
        sort=rows["label"].unique(maintain_order=True).to_list(),
        axis=alt.Axis(domain=False, ticks=False, labelColor=INK, labelLimit=180),
    )
    tooltip = [
        "label:N",
        alt.Tooltip("excluded:Q", format=","),
        alt.Tooltip("share:Q", title="%", format=".1f"),
    ]
    x = alt.X("rows:Q", title="Rows", axis=alt.Axis(labelExpr="format(datum.value, ',')", tickCount=4))
    kept = base.mark_bar(color=AVERAGE, opacity=0.5, cornerRadiusEnd=2).encode(y=y, x=x, tooltip=tooltip)
    gone = base.mark_bar(color=BELOW, opacity=0.85, cornerRadiusEnd=2).encode(
        y=y, x=x, x2="before:Q", tooltip=tooltip
    )
    share = (
        base.transform_filter("datum.excluded > 0")
        .mark_text(align="left", dx=5, color=INK, fontSize=11)
        .encode(y=y, x=alt.X("before:Q", title="Rows"), text=alt.Text("share:Q", format=".1f"))
    )
    layers = alt.layer(kept, gone, share).properties(width=300, height=alt.Step(22))
    return finished(
        faceted(layers, rows, "place", columns=2),
        "Rows, step by step",
        "Rows in scope that are left after each step, and those that went, with their share of all [%].",
    )
