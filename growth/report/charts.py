"""The charts of the page, as Vega-Lite specifications built with Altair.

A chart names its data and carries none: the page holds one copy of the results and hands each chart its part.
Colours are the page's own CSS variables, so that one drawing serves light, dark and print.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import altair as alt

__all__ = ["chart_specs"]

Chart: TypeAlias = alt.LayerChart | alt.FacetChart
"""What `alt.layer` returns."""

DATA = "rows"
SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
INK, MUTED, LINE, PAPER = "var(--ink)", "var(--muted)", "var(--line)", "var(--paper)"
LOST, KEPT = "var(--below)", "var(--kept)"
STANDING = {"below": "var(--below)", "average": "var(--average)", "above": "var(--above)"}
AVERAGE = 50
ROOMY = 400
"""Schools that a chart has room for in full size."""
BRUSH = "brush"
"""What the reader drags over circles to list their schools."""
THOUSANDS = "format(datum.value, ',')"
NARROW = "width < 450"
"""A phone [pixels]."""


def chart_specs(
    achievement_range: tuple[float, float], most_students: int, schools: int
) -> dict[str, dict[str, Any]]:
    """Return the specification of each chart, by name.

    Parameters
    ----------
    achievement_range : tuple of float
        Lowest and highest school achievement [SD units]; one axis for all subjects.
    most_students : int
        Largest number of students behind a result; one size scale for all subjects.
    schools : int
        Where there are many, circles are smaller.

    Returns
    -------
    dict
        ``ranks``, ``achievement``, ``index``, ``levels``, ``changes``, ``chances``, ``years`` and
        ``waterfall``: Vega-Lite, data named ``rows``.
    """
    charts = {
        "ranks": _ranks(),
        "achievement": _achievement(achievement_range, most_students, schools),
        "index": _index(),
        "levels": _levels(),
        "changes": _changes(),
        "chances": _chances(),
        "years": _years(),
        "waterfall": _waterfall(),
    }
    return {name: _plain(chart) for name, chart in charts.items()}


def _ranks() -> Chart:
    """Caterpillar: schools from lowest to highest growth percentile, each with its 95 % band."""
    base = _base()
    x = alt.X("place:Q", axis=None, scale=alt.Scale(domain=[-0.012, 1.012], nice=False))
    y = _percentile_axis("gp:Q")
    band = base.mark_rule(strokeWidth=alt.ExprRef(f"{NARROW} ? 1.1 : 1.8"), strokeCap="round").encode(
        x=x, y=_percentile_axis("lo:Q"), y2="hi:Q", color=_standing(), opacity=alt.value(0.5)
    )
    points = base.mark_circle(size=alt.ExprRef(f"{NARROW} ? 9 : 24"), opacity=1).encode(
        x=x, y=y, color=_standing()
    )
    # A wide, invisible target: one school in 150 is two pixels on a phone.
    target = base.mark_rule(strokeWidth=9, opacity=0).encode(
        x=x, y=_percentile_axis("lo:Q"), y2="hi:Q", tooltip=_tooltip()
    )
    chosen = _chosen(base)
    picked = alt.layer(
        chosen.mark_rule(strokeWidth=3, strokeCap="round", color=INK).encode(x=x, y="lo:Q", y2="hi:Q"),
        chosen.mark_circle(size=90, color=INK, opacity=1).encode(x=x, y=y),
        _name_of(chosen, "datum.half").encode(x=x, y=y),
    )
    return alt.layer(_line("y", AVERAGE), band, points, target, picked).properties(
        width="container", height=300
    )


def _achievement(span: tuple[float, float], most: int, schools: int) -> Chart:
    """Growth against achievement, one circle per school, its area in proportion to its students."""
    base = _base().transform_filter("isValid(datum.ach)")
    x = alt.X(
        "ach:Q",
        title="Achievement: mean score within grade [SD]",
        scale=alt.Scale(domain=list(span), nice=False),
        axis=alt.Axis(
            tickCount=5, grid=False, labelExpr="datum.value === 0 ? '0' : format(datum.value, '+.1f')"
        ),
    )
    y = _percentile_axis("gp:Q")
    crowded = schools > ROOMY
    largest = max(420 * min(1.0, ROOMY / max(schools, 1)), 30)
    size = alt.Size("n:Q", scale=alt.Scale(domain=[0, most], range=[0, largest]), legend=None)
    brush = alt.selection_interval(
        name=BRUSH, mark=alt.BrushConfig(fill=MUTED, fillOpacity=0.12, stroke=MUTED, strokeOpacity=0.6)
    )
    circles = (
        base.mark_circle(
            opacity=0.35 if crowded else 0.55,
            stroke=PAPER,
            strokeWidth=0 if crowded else 0.75,
            cursor="pointer",
        )
        .encode(x=x, y=y, size=size, color=_standing(), tooltip=_tooltip(achievement=True))
        .add_params(brush)
        .properties(name="circles")
    )
    chosen = _chosen(base)
    picked = alt.layer(
        chosen.mark_point(strokeWidth=2.5, color=INK, opacity=1).encode(x=x, y=y, size=size),
        _name_of(chosen, f"datum.ach > {(span[0] + span[1]) / 2:.4f}").encode(x=x, y=y),
    )
    return alt.layer(_line("y", AVERAGE), _line("x", 0.0), circles, picked).properties(
        width="container", height=330
    )


def _index() -> Chart:
    """Index of each school from lowest to highest: academic points, and those for school quality on top."""
    base = _base()
    x = alt.X("place:O", axis=None, scale=alt.Scale(paddingInner=0.12, paddingOuter=0))
    axis = alt.Axis(values=[0, 25, 50, 75, 100], domain=False, ticks=False, grid=True)
    scale = alt.Scale(domain=[0, 100])
    y = alt.Y("academic:Q", title="Index points", scale=scale, axis=axis)
    fields = [("name", "School"), ("indexShown", "Index"), ("academicShown", "Academic")]
    tips = [
        alt.Tooltip(field, type="nominal", title=title)
        for field, title in [*fields, ("qualityShown", "School quality")]
    ]
    lower = base.mark_bar(color="var(--above)", cursor="pointer").encode(x=x, y=y, tooltip=tips)
    upper = base.mark_bar(color=STANDING["average"], cursor="pointer").encode(
        x=x, y=alt.Y("academic:Q", scale=scale, axis=axis), y2="index:Q", tooltip=tips
    )
    chosen = _chosen(base)
    at = alt.Y("index:Q", scale=scale, axis=axis)
    mark = chosen.mark_point(shape="triangle-down", filled=True, size=70, color=INK, opacity=1, yOffset=-8)
    picked = alt.layer(mark.encode(x=x, y=at), _name_of(chosen, "datum.half").encode(x=x, y=at))
    return alt.layer(lower, upper, picked).properties(width="container", height=260)


def _levels() -> Chart:
    """How many schools stand at each level, by group of students."""
    base = _base()
    x = alt.X(
        "level:O",
        title="Level",
        scale=alt.Scale(domain=list(range(1, 11)), paddingInner=0.06),
        axis=alt.Axis(orient="top", labelAngle=0, domain=False, ticks=False, labelPadding=6, titlePadding=8),
    )
    y = alt.Y(
        "group:N",
        title=None,
        sort=None,
        scale=alt.Scale(paddingInner=0.12),
        axis=alt.Axis(domain=False, ticks=False, labelPadding=10, labelColor=INK, labelLimit=150),
    )
    tiles = base.mark_rect(color="var(--above)", cornerRadius=3).encode(
        x=x,
        y=y,
        opacity=alt.Opacity(
            "share:Q", scale=alt.Scale(domain=[0, 0.2], range=[0.05, 0.6], clamp=True), legend=None
        ),
    )
    numbers = base.mark_text(fontSize=11.5, color=INK).encode(x=x, y=y, text="shown:N")
    return alt.layer(tiles, numbers).properties(width="container", height=27)


def _changes() -> Chart:
    """How many schools went from which level to which."""
    base = _base()
    ten = alt.Scale(domain=list(range(1, 11)), paddingInner=0.06)
    axis = alt.Axis(labelAngle=0, domain=False, ticks=False, labelPadding=6, titlePadding=8)
    x = alt.X("last:O", title="Level the year before", scale=ten, axis=axis)
    up = alt.Scale(domain=list(range(10, 0, -1)), paddingInner=0.06)
    y = alt.Y("level:O", title="Level this year", sort=None, scale=up, axis=axis)
    tiles = base.mark_rect(cornerRadius=3).encode(
        x=x,
        y=y,
        color=_standing(),
        opacity=alt.Opacity(
            "share:Q", scale=alt.Scale(domain=[0, 0.04], range=[0.06, 0.6], clamp=True), legend=None
        ),
    )
    numbers = base.mark_text(fontSize=11.5, color=INK).encode(x=x, y=y, text="shown:N")
    return alt.layer(tiles, numbers).properties(width="container", height=330)


def _chances() -> Chart:
    """Probability of each level for one school; the level it has stands out."""
    base = _base()
    x = alt.X(
        "level:O",
        title="Level",
        scale=alt.Scale(domain=list(range(1, 11)), paddingInner=0.15),
        axis=alt.Axis(labelAngle=0, domain=False, ticks=False, labelPadding=6),
    )
    y = alt.Y("p:Q", axis=None, scale=alt.Scale(domain=[0, alt.ExprRef("max(40, peak)")], nice=False))
    own = alt.condition("datum.own", alt.value("var(--above)"), alt.value(KEPT))
    bars = base.mark_bar(cornerRadiusEnd=2).encode(x=x, y=y, color=own)
    numbers = base.mark_text(fontSize=11.5, color=INK, baseline="bottom", dy=-3).encode(
        x=x, y=y, text="shown:N"
    )
    peak = alt.param(name="peak", value=40)
    return alt.layer(bars, numbers).add_params(peak).properties(width="container", height=130)


def _years() -> Chart:
    """Growth percentile with its band, year by year, for one school."""
    base = _base()
    x = alt.X("year:O", title=None, axis=alt.Axis(labelAngle=0, domain=False, ticks=False, labelPadding=6))
    band = base.mark_rule(strokeWidth=5, strokeCap="round", opacity=0.4).encode(
        x=x, y=_percentile_axis("lo:Q"), y2="hi:Q", color=_standing()
    )
    points = base.mark_circle(size=90, opacity=1).encode(x=x, y=_percentile_axis("gp:Q"), color=_standing())
    line = base.mark_line(color=MUTED, strokeWidth=1).encode(x=x, y=_percentile_axis("gp:Q"))
    return alt.layer(_line("y", AVERAGE), line, band, points).properties(width="container", height=170)


def _waterfall() -> Chart:
    """Rows left after each step, and rows that went."""
    base = _base()
    y = alt.Y(
        "label:N",
        title=None,
        sort=None,
        scale=alt.Scale(paddingInner=0.35),
        axis=alt.Axis(domain=False, ticks=False, labelPadding=10, labelColor=INK, labelLimit=150),
    )
    x = alt.X("rows:Q", title="Rows", axis=alt.Axis(tickCount=4, labelExpr=THOUSANDS))
    left = base.mark_bar(color=KEPT, cornerRadiusEnd=2).encode(x=x, y=y)
    gone = base.mark_bar(color=LOST, opacity=0.75, cornerRadiusEnd=2).encode(x=x, x2="before:Q", y=y)
    return alt.layer(left, gone).properties(width="container", height=24)


def _base() -> alt.Chart:
    chart: alt.Chart = alt.Chart(alt.NamedData(DATA))
    return chart


def _percentile_axis(field: str) -> alt.Y:
    axis = alt.Axis(values=[0, 25, 50, 75, 100], domain=False, ticks=False, grid=True)
    y: alt.Y = alt.Y(field, title="Growth percentile", scale=alt.Scale(domain=[0, 100]), axis=axis)
    return y


def _standing() -> alt.Color:
    """Colour by whether the band leaves out 50."""
    scale = alt.Scale(domain=list(STANDING), range=list(STANDING.values()))
    color: alt.Color = alt.Color("standing:N", scale=scale, legend=None)
    return color


def _tooltip(achievement: bool = False) -> list[alt.Tooltip]:
    fields = [
        ("name", "School"),
        ("gpShown", "Growth percentile"),
        ("band", "95% band"),
        ("level", "Level"),
        ("nShown", "Students"),
        *([("achShown", "Achievement (SD)")] if achievement else []),
    ]
    return [alt.Tooltip(field, type="nominal", title=title) for field, title in fields]


def _chosen(base: alt.Chart) -> alt.Chart:
    """Return only the school that the reader opened in the table."""
    chosen: alt.Chart = base.transform_filter("datum.id === chosen")
    return chosen


def _name_of(chosen: alt.Chart, on_the_right: str) -> Chart:
    """Write the chosen school's name beside its mark, with a halo that keeps it legible on the lines."""
    side = alt.ExprRef(f"{on_the_right} ? 'right' : 'left'")
    offset = alt.ExprRef(f"{on_the_right} ? -12 : 12")
    text = chosen.mark_text(
        align=side, dx=offset, baseline="middle", fontSize=13, fontWeight=600, color=INK, limit=240
    )
    halo = chosen.mark_text(
        align=side,
        dx=offset,
        baseline="middle",
        fontSize=13,
        fontWeight=600,
        stroke=PAPER,
        strokeWidth=5,
        strokeJoin="round",
        limit=240,
    )
    return alt.layer(halo.encode(text="name:N"), text.encode(text="name:N"))


def _line(channel: str, at: float) -> alt.Chart:
    line: alt.Chart = (
        alt.Chart(alt.InlineData([{"at": at}]))
        .mark_rule(color=MUTED, strokeDash=[2, 3], strokeWidth=1)
        .encode(**{channel: alt.datum(at)})
    )
    return line


def _plain(chart: Chart) -> dict[str, Any]:
    """Return the chart as a dict with the page's typography and without any address."""
    spec: dict[str, Any] = chart.to_dict(validate=True)
    spec.pop("$schema", None)
    spec["params"] = [{"name": "chosen", "value": ""}, *spec.get("params", [])]
    spec["config"] = {
        "aria": False,
        "background": None,
        "font": SANS,
        "view": {"stroke": None},
        "axis": {
            "labelColor": MUTED,
            "titleColor": MUTED,
            "gridColor": LINE,
            "domainColor": LINE,
            "tickColor": LINE,
            "labelFontSize": 11.5,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "titlePadding": 10,
        },
    }
    return spec
