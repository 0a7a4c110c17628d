"""Charts of how curves follow scores."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from growth.diagnose.charts.theme import (
    ABOVE,
    BELOW,
    FIFTHS,
    INK,
    SUBJECTS,
    faceted,
    finished,
    records,
    zero,
)

__all__ = ["calibration", "goodness_of_fit", "held_out", "qq", "spread"]

_FARTHEST = 4.0
"""Standard errors at which the colour of a cell is full."""
_CLIPPED = 40.0
"""Optimism [%] beyond which lines leave the chart: the outermost curves rest on few students."""
_PLACE = pl.format("{} {}, grade {}", "subject", "year", "grade").alias("place")
_DIVERGING = [BELOW, "#f4f1ea", ABOVE]


def goodness_of_fit(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Draw a heat map per block."""
    error = (pl.col("expected") * (100 - pl.col("expected")) / pl.col("n")).sqrt()
    rows = frame.with_columns(_PLACE, off=(pl.col("percent") - pl.col("expected")) / error)
    rows = rows.select("place", "prior_decile", "sgp_decile", "n", pl.col("percent", "off").round(2))
    base = alt.Chart()
    x = alt.X("sgp_decile:O", title="Tenth of SGP", axis=alt.Axis(labelAngle=0, ticks=False, domain=False))
    y = alt.Y(
        "prior_decile:O",
        title="Tenth of prior scores",
        sort="descending",
        axis=alt.Axis(ticks=False, domain=False),
    )
    color = alt.Color(
        "off:Q",
        title="Standard errors off",
        scale=alt.Scale(domain=[-_FARTHEST, 0, _FARTHEST], range=_DIVERGING, clamp=True),
        legend=alt.Legend(orient="bottom", gradientLength=180, format="+.0f"),
    )
    tooltip = [
        alt.Tooltip("prior_decile:O", title="Tenth of prior scores"),
        alt.Tooltip("sgp_decile:O", title="Tenth of SGP"),
        alt.Tooltip("percent:Q", title="Students in the row [%]", format=".1f"),
        alt.Tooltip("n:Q", title="Students in the row", format=","),
    ]
    cells = base.mark_rect(stroke="#ffffff", strokeWidth=0.7).encode(x=x, y=y, color=color, tooltip=tooltip)
    text = base.mark_text(fontSize=8.5, color=INK).encode(x=x, y=y, text=alt.Text("percent:Q", format=".0f"))
    layers = alt.layer(cells, text).properties(width=alt.Step(21), height=alt.Step(19))
    return finished(
        faceted(layers, rows, "place"),
        "Prior deciles by SGP deciles",
        "Percent of the students of each row; colour: how many standard errors that is off what is "
        "expected, about 10 %.",
        "Single cells vary by chance; colour that runs in bands or corners says that curves do not follow "
        "the scores.",
    )


def qq(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Draw quantiles less uniform ones per block."""
    off = (pl.col("observed") - pl.col("expected")).alias("off")
    rows = frame.with_columns(_PLACE, off).select(
        "place", "subject", "grade", "expected", pl.col("off").round(3)
    )
    reach = max(3.0, float(rows.select(pl.col("off").abs().max()).item()) * 1.1)
    base = alt.Chart()
    x = alt.X("expected:Q", title="Percentile", scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(tickCount=5))
    y = alt.Y("off:Q", title="Observed less uniform", scale=alt.Scale(domain=[-reach, reach], nice=False))
    line = base.mark_line(color=ABOVE, strokeWidth=1.6).encode(x=x, y=y)
    layers = alt.layer(zero(), line).properties(width=150, height=120)
    return finished(
        faceted(layers, rows.drop("subject", "grade"), "place"),
        "Percentiles against uniform",
        "Quantiles of percentiles less those of an even distribution [percentile points]. Flat at 0 is good.",
        "Steps are tied scores; a slope or a bow says that percentiles sit too low, too high, or too close.",
    )


def calibration(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Draw share below each curve less tau, a line per part."""
    off = (100 * (pl.col("below") - pl.col("tau"))).round(3).alias("off")
    rows = frame.with_columns(_PLACE, off).filter(pl.col("by") != "all")
    by = rows["by"][0] if rows.height else "prior"
    names = {"prior": "Fifth of prior scores", "order": "Prior scores used", "group": "Group"}
    levels = sorted(rows["level"].unique().to_list())
    rows = rows.select("place", "level", "tau", "off", "n")
    base = alt.Chart()
    color = alt.Color(
        "level:N",
        title=names[by],
        sort=levels,
        scale=alt.Scale(domain=levels, range=FIFTHS if by == "prior" else SUBJECTS),
        legend=alt.Legend(orient="bottom", direction="horizontal"),
    )
    x = alt.X("tau:Q", title="Curve (tau)", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5))
    y = alt.Y("off:Q", title="Points off", scale=alt.Scale(domain=_reach(rows["off"], 4.0), nice=False))
    line = base.mark_line(strokeWidth=1.5, point=alt.OverlayMarkDef(size=18, filled=True)).encode(
        x=x,
        y=y,
        color=color,
        tooltip=["level:N", alt.Tooltip("tau:Q"), alt.Tooltip("off:Q", format="+.1f"), "n:Q"],
    )
    layers = alt.layer(zero(), line).properties(width=150, height=120)
    return finished(
        faceted(layers, rows, "place"),
        "Calibration of the curves",
        "Share of scores below each curve less its tau [percentage points]. Flat at 0 is good; lines that "
        "fan out",
        "say that curves are too low for some students and too high for others.",
    )


def _reach(values: pl.Series, least: float) -> list[float]:
    most = max(least, max((abs(float(v)) for v in values.drop_nulls()), default=0.0) * 1.08)
    return [-most, most]


def spread(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Draw the SD of normal scores by tenth of expected scores."""
    rows = frame.with_columns(_PLACE).select("place", "expected_decile", pl.col("z_sd").round(4), "n")
    low = min(0.75, float(rows["z_sd"].min()) * 0.97)  # type: ignore[arg-type]
    high = max(1.25, float(rows["z_sd"].max()) * 1.03)  # type: ignore[arg-type]
    base = alt.Chart()
    x = alt.X(
        "expected_decile:O",
        title="Tenth of expected scores",
        axis=alt.Axis(labelAngle=0, ticks=False, domain=False),
    )
    y = alt.Y("z_sd:Q", title="Spread (1: even)", scale=alt.Scale(domain=[low, high], nice=False, zero=False))
    tooltip = [alt.Tooltip("z_sd:Q", title="Spread", format=".2f"), alt.Tooltip("n:Q", title="Students")]
    points = base.mark_line(
        color=ABOVE, strokeWidth=1.5, point=alt.OverlayMarkDef(size=26, filled=True, color=ABOVE)
    ).encode(x=x, y=y, tooltip=tooltip)
    layers = alt.layer(zero(1.0), points).properties(width=160, height=120)
    return finished(
        faceted(layers, rows, "place"),
        "Spread by expected score",
        "SD of percentiles' normal scores in each tenth of expected scores. Flat at 1 is good; a slope "
        "says that",
        "scores widen or narrow along the scale and the model does not follow.",
    )


def held_out(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Draw optimism and coverage by tau, a line per cohort."""
    rows = frame.with_columns(
        off=(100 * (pl.col("below") - pl.col("tau"))).round(3),
        more=(100 * (pl.col("loss_held_out") / pl.col("loss") - 1)).round(3),
        grade=pl.col("grade").cast(pl.String),
    ).select("cohort", "subject", "grade", "tau", "off", "more")
    base = alt.Chart(records(rows))
    color = alt.Color(
        "subject:N", title=None, scale=alt.Scale(range=SUBJECTS), legend=alt.Legend(orient="bottom")
    )
    x = alt.X("tau:Q", title="Curve (tau)", scale=alt.Scale(domain=[0, 1]))
    tooltip = ["cohort:N", "tau:Q", alt.Tooltip("off:Q", format="+.1f"), alt.Tooltip("more:Q", format="+.1f")]

    def lines(field: str, title: str, domain: list[float]) -> Any:  # noqa: ANN401
        y = alt.Y(f"{field}:Q", title=title, scale=alt.Scale(domain=domain, nice=False))
        drawn = base.mark_line(strokeWidth=1.2, opacity=0.8, clip=True).encode(
            x=x, y=y, color=color, detail="cohort:N", tooltip=tooltip
        )
        return alt.layer(zero(), drawn).properties(width=320, height=210)

    return finished(
        alt.hconcat(
            lines("off", "Share below less tau [points]", _reach(rows["off"], 4.0)),
            lines("more", "Pinball loss, more than in the fit [%]", [-2.0, _CLIPPED]),
        ),
        "Fit and schools left out",
        "Curves fitted without a fifth of the schools, applied to their students; one line per cohort. "
        "Left: at 0 the",
        "curves carry over. Right: what the fit promised too much; lines high up have too many columns.",
    )
