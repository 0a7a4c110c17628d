"""What all diagnostic charts share: colours, type, axes, sentences under titles."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

__all__ = [
    "ABOVE",
    "BELOW",
    "FIFTHS",
    "INK",
    "LINE",
    "MUTED",
    "SUBJECTS",
    "faceted",
    "finished",
    "records",
    "zero",
]

INK, MUTED, LINE, PAPER = "#20262b", "#5d666d", "#dcdad3", "#ffffff"
ABOVE, BELOW, AVERAGE = "#0e7470", "#b4532a", "#858d93"
SUBJECTS = [ABOVE, "#7a4ea3", BELOW, "#3c6fb4", "#8a7a1f"]
FIFTHS = ["#b4532a", "#d79a6f", "#858d93", "#5ea8a1", "#0e5a56"]
"""From the lowest fifth of prior scores to the highest."""
SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def records(frame: pl.DataFrame) -> alt.InlineData:
    """Return a frame as the data of a chart."""
    return alt.InlineData(values=frame.to_dicts())


def zero(at: float = 0.0, channel: str = "y") -> alt.Chart:
    """Return the line where all is well."""
    chart: alt.Chart = (
        alt.Chart(alt.InlineData([{"at": at}]))
        .mark_rule(color=MUTED, strokeDash=[3, 3], strokeWidth=1)
        .encode(**{channel: alt.datum(at)})
    )
    return chart


def faceted(chart: Any, frame: pl.DataFrame, by: str, columns: int = 4) -> Any:  # noqa: ANN401
    """Return small multiples of layers over one frame."""
    return chart.facet(
        facet=alt.Facet(
            f"{by}:N",
            title=None,
            sort=frame[by].unique(maintain_order=True).to_list(),
            header=alt.Header(labelFontSize=12, labelFontWeight=600, labelColor=INK, labelAnchor="start"),
        ),
        columns=min(columns, frame[by].n_unique()),
        data=records(frame),
    )


def finished(chart: Any, title: str, *lines: str) -> Any:  # noqa: ANN401
    """Return a chart with its title, what to look for, and the common style."""
    heading = alt.TitleParams(
        title,
        subtitle=list(lines),
        anchor="start",
        fontSize=15,
        fontWeight=600,
        color=INK,
        subtitleColor=MUTED,
        subtitleFontSize=12,
        subtitlePadding=5,
        offset=14,
    )
    return (
        chart.properties(title=heading)
        .configure(font=SANS, background=PAPER, padding=14)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=MUTED,
            titleColor=MUTED,
            gridColor=LINE,
            domainColor=LINE,
            tickColor=LINE,
            labelFontSize=11,
            titleFontSize=11.5,
            titleFontWeight="normal",
        )
        .configure_legend(labelColor=INK, titleColor=MUTED, titleFontWeight="normal", labelFontSize=11.5)
    )
