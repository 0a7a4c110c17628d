"""The pictures of a drift audit: ``audit.plot``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from growth.errors import GrowthError, problem
from growth.pipeline.drift import DriftAudit
from growth.report.extras import require_extra
from growth.report.figures import palette
from growth.report.labels import subject_name

if TYPE_CHECKING:
    import altair as alt

__all__ = ["DriftPlots"]

_STEPS = (
    ("what schools did", "mean_level_base", "mean_level_frozen"),
    ("a norm of the later year", "mean_level_frozen", "mean_level_moving"),
    ("curves of the later year", "mean_level_moving", "mean_level_refitted"),
)
"""Part of the change -> mean levels before and after it."""
_WAYS = {"mean_percentile": "as reported", "mean_percentile_refitted": "in refitted curves"}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DriftPlots:
    """Altair charts of a drift audit. They need the extra ``growth[report]``."""

    audit: DriftAudit

    def levels(self) -> alt.FacetChart:
        """Mean level of the base year, what moved it, and what a moving norm and curves would take away."""
        require_extra()
        import altair as alt

        rows = [
            {"subject": subject_name(row["subject"]), "step": step, "low": row[start], "high": row[end]}
            for row in self.audit.system.iter_rows(named=True)
            for step, start, end in _STEPS
            if row[end] is not None
        ]
        shown = pl.DataFrame(rows).with_columns(
            (pl.col("high") - pl.col("low")).round(2).alias("change"),
            pl.max_horizontal("low", "high").alias("top"),
        )
        base = alt.Chart()
        x = alt.X("step:N", sort=[step for step, *_ in _STEPS], title=None, axis=alt.Axis(labelAngle=-30))
        y = alt.Y("low:Q", title="mean level of schools", scale=alt.Scale(zero=False))
        colors = alt.condition(
            "datum.change >= 0", alt.value(palette()["--above"]), alt.value(palette()["--below"])
        )
        bars = base.mark_bar(width=28).encode(x=x, y=y, y2="high:Q", color=colors)
        ticks = base.mark_tick(width=44, thickness=2, color=palette()["--ink"]).encode(x=x, y=y)
        text = base.mark_text(dy=-8).encode(x=x, y="top:Q", text=alt.Text("change:Q", format="+.1f"))
        layers = alt.LayerChart(layer=[bars, ticks, text]).properties(width=180, height=220)
        title = alt.TitleParams(
            "Did the norm move, or the schools?",
            subtitle="Black: where a step starts. The first is what levels under the frozen norm show.",
            anchor="start",
            subtitleColor=palette()["--muted"],
        )
        return _faceted(layers, shown).properties(title=title)

    def students(self) -> alt.FacetChart:
        """Mean student percentiles by grade: as reported, and, if known, in curves refitted to the year.

        Raises
        ------
        GrowthError
            If there are no students.
        """
        require_extra()
        import altair as alt

        table = self.audit.students
        if table.is_empty():
            raise GrowthError(problem("There are no student percentiles to draw"))
        long = table.unpivot(list(_WAYS), index=["subject", "grade"], variable_name="way", value_name="mean")
        shown = long.drop_nulls("mean").with_columns(
            pl.col("way").replace(_WAYS),
            pl.col("subject").map_elements(subject_name, return_dtype=pl.String),
        )
        base = alt.Chart()
        x = alt.X("grade:O", title="grade", axis=alt.Axis(labelAngle=0))
        y = alt.Y("mean:Q", title="mean student percentile", scale=alt.Scale(zero=False))
        color = alt.Color(
            "way:N",
            title=None,
            scale=alt.Scale(
                domain=list(_WAYS.values()), range=[palette()["--above"], palette()["--average"]]
            ),
            legend=alt.Legend(orient="top"),
        )
        average = base.mark_rule(color=palette()["--muted"], strokeDash=[2, 3]).encode(y=alt.datum(50))
        lines = base.mark_line(point=True).encode(x=x, y=y, color=color)
        layers = alt.LayerChart(layer=[average, lines]).properties(width=220, height=180)
        return _faceted(layers, shown).properties(title="Students in the curves of the base year")

    def __repr__(self) -> str:
        """Return what there is."""
        return ".plot.levels: what moved mean levels\n.plot.students: mean percentiles by grade"


def _faceted(layers: Any, shown: pl.DataFrame) -> alt.FacetChart:  # noqa: ANN401
    """Return a panel per subject."""
    import altair as alt

    chart: alt.FacetChart = layers.facet(
        column=alt.Column("subject:N", title=None), data=alt.InlineData(shown.to_dicts())
    )
    return chart
