"""The pictures of a school index: ``index.plot``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from growth.aggregate import by_group
from growth.errors import GrowthError, did_you_mean, problem
from growth.index import SchoolIndex
from growth.report.extras import require_extra
from growth.report.figures import palette

if TYPE_CHECKING:
    import altair as alt

__all__ = ["IndexPlots"]

_DOMAINS = {"academic": "academic", "school_quality": "school quality"}
_MOST_NAMED = 60
"""Schools whose ids fit on an axis."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class IndexPlots:
    """Altair charts of a school index. They need the extra ``growth[report]``."""

    found: SchoolIndex

    def schools(self, year: int | None = None) -> alt.Chart:
        """Index of every school, made of the points of its domains, the lowest first.

        Parameters
        ----------
        year : int, optional
            The latest by default.
        """
        require_extra()
        import altair as alt

        rows = self._year(self.found.index, year).drop_nulls("index").sort("index", "school_id")
        if rows.is_empty():
            raise GrowthError(problem("No school has an index", fix="see the column `reason`"))
        order = rows["school_id"].to_list()
        long = rows.unpivot(list(_DOMAINS), index=["school_id", "index"], variable_name="domain")
        values = long.drop_nulls("value").with_columns(pl.col("domain").replace(_DOMAINS)).to_dicts()
        named = len(order) <= _MOST_NAMED
        x = alt.X("school_id:N", sort=order, title=f"{len(order):,} schools", axis=_axis(named))
        y = alt.Y("value:Q", title="points", scale=alt.Scale(domain=[0, 100]))
        colors = alt.Scale(
            domain=list(_DOMAINS.values()), range=[palette()["--above"], palette()["--average"]]
        )
        color = alt.Color("domain:N", scale=colors, title=None, legend=alt.Legend(orient="top"))
        tooltip = ["school_id:N", "domain:N", alt.Tooltip("value:Q", format=".1f")]
        tooltip.append(alt.Tooltip("index:Q", format=".1f"))
        bars = alt.Chart(alt.InlineData(values)).mark_bar()
        title = alt.TitleParams(f"School quality index, {rows['year'][0]}", anchor="start")
        chart: alt.Chart = bars.encode(x=x, y=y, color=color, tooltip=tooltip)
        return chart.properties(width=640, height=260, title=title)

    def school(self, school_id: str, year: int | None = None) -> alt.LayerChart:
        """Points of one school by metric, beside those possible.

        Parameters
        ----------
        school_id : str
        year : int, optional
            The latest by default.

        Raises
        ------
        GrowthError
            If the school has no points.
        """
        require_extra()
        import altair as alt

        own = self._year(self.found.points, year).filter(pl.col("school_id") == school_id)
        keys = ["year", "domain", "metric"]
        rows = by_group(own.drop_nulls("points"), keys, pl.col("points", "possible").sum())
        if rows.is_empty():
            hint = did_you_mean(school_id, self.found.points["school_id"].unique().to_list())
            raise GrowthError(problem(f"School {school_id!r} has no points{hint}", fix="see `.index`"))
        shown = rows.with_columns(
            pl.format("{} of {}", pl.col("points").round(1), pl.col("possible").round(1)).alias("shown"),
            pl.col("metric").str.replace_all("_", " "),
        )
        base = alt.Chart(alt.InlineData(shown.to_dicts()))
        y = alt.Y("metric:N", sort=None, title=None, axis=alt.Axis(labelLimit=220))
        possible = base.mark_bar(color=palette()["--line"]).encode(x=alt.X("possible:Q", title="points"), y=y)
        points = base.mark_bar(color=palette()["--above"], height={"band": 0.55}).encode(x="points:Q", y=y)
        text = base.mark_text(align="left", dx=6).encode(x="possible:Q", y=y, text="shown:N")
        total, most = (float(rows[name].to_numpy().sum()) for name in ("points", "possible"))
        title = f"{school_id}, {rows['year'][0]}: {total:.1f} of {most:.0f} points"
        chart: alt.LayerChart = alt.LayerChart(layer=[possible, points, text])
        return chart.properties(width=420, title=alt.TitleParams(title, anchor="start"))

    def __repr__(self) -> str:
        """Return what there is."""
        return ".plot.schools: every school's index\n.plot.school: one school's points by metric"

    def _year(self, frame: pl.DataFrame, year: int | None) -> pl.DataFrame:
        chosen = frame["year"].max() if year is None else year
        found = frame.filter(pl.col("year") == chosen)
        if found.is_empty():
            raise GrowthError(f"There is no index of {year or 'any year'}.")
        return found


def _axis(named: bool) -> Any:  # noqa: ANN401
    import altair as alt

    return alt.Axis(labels=named, ticks=named, labelAngle=-90)
