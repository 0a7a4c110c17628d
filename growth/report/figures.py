"""The page's charts one by one, for a notebook: Altair charts that carry their data, and no more than a page.

What a page withholds is withheld here: the charts are drawn from the same publishable results.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from growth.errors import GrowthError, did_you_mean, problem
from growth.report.extras import require_extra
from growth.report.inputs import ReportInput, RunLike, report_input
from growth.report.labels import group_label, number_words
from growth.report.payload import achievement_range, most_students, waterfall_bars
from growth.report.results import Results, page_results
from growth.school.groups import ALL

if TYPE_CHECKING:
    import altair as alt

__all__ = ["Figures", "figures", "palette"]

_STYLE = Path(__file__).parent / "templates" / "page.css"
_LEVELS = range(1, 11)
_WIDTH = 640
"""Of a chart [pixels]."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Charts of one run; each method returns an Altair chart.

    Subjects are named as in the run; the year is the latest by default; `chosen` is the school_id of a school
    to name in the chart. Parameters and errors at length: `growth.plot.RunPlots`.
    """

    results: Results

    def ranks(self, subject: str, year: int | None = None, *, chosen: str = "") -> alt.LayerChart:
        """Caterpillar: schools from lowest to highest growth percentile, each with its 95 % band."""
        rows = self._schools(subject, year).filter(pl.col("lo").is_not_null()).sort("gp", "lo", "id")
        last = max(rows.height - 1, 1)
        place = pl.int_range(pl.len()) / last
        rows = rows.with_columns(place.alias("place"), (place > 0.5).alias("half"))
        return self._chart("ranks", rows.to_dicts(), chosen)

    def achievement(self, subject: str, year: int | None = None, *, chosen: str = "") -> alt.LayerChart:
        """System growth chart: growth against achievement, one circle per school."""
        rows = self._schools(subject, year).filter(pl.col("ach").is_not_null() & pl.col("lo").is_not_null())
        return self._chart("achievement", rows.to_dicts(), chosen)

    def levels(self, subject: str, year: int | None = None) -> alt.LayerChart:
        """Count schools by level and group of students."""
        rows = self._rows(subject, year).filter(pl.col("level").is_not_null())
        everyone = max(rows.filter(pl.col("group") == ALL).height, 1)
        values = []
        for group in rows["group"].unique(maintain_order=True):
            own = rows.filter(pl.col("group") == group)["level"].to_list()
            for level in _LEVELS:
                n = own.count(level)
                cell = {"group": group_label(group), "level": level, "share": n / everyone}
                values.append({**cell, "shown": str(n or "")})
        return self._chart("levels", values, lines=len({value["group"] for value in values}))

    def changes(self, subject: str, year: int | None = None) -> alt.LayerChart:
        """Count schools by level in the year before and in the year."""
        rows = self._rows(subject, year).filter(pl.col("group") == ALL)
        pairs = [pair for pair in rows.select("level_last_year", "level").iter_rows() if None not in pair]
        if not pairs:
            what = "No school has a level of the year before"
            raise GrowthError(problem(what, fix="run several years, or give growth.run the run before"))
        values = []
        for level in _LEVELS:
            for last in _LEVELS:
                n = pairs.count((last, level))
                standing = "above" if level > last else "below" if level < last else "average"
                cell = {"last": last, "level": level, "share": n / len(pairs), "standing": standing}
                values.append({**cell, "shown": str(n or "")})
        return self._chart("changes", values)

    def chances(self, school_id: str, subject: str, year: int | None = None) -> alt.LayerChart:
        """Show the probability of each level of one school."""
        rows = self._rows(subject, year).filter(
            (pl.col("group") == ALL) & (pl.col("school_id") == school_id) & pl.col("p_level_1").is_not_null()
        )
        if rows.height != 1:
            what = f"School {school_id!r} has no result with probabilities in {subject}"
            raise GrowthError(problem(what, fix="see the column `reason` of the schools frame"))
        row = rows.row(0, named=True)
        values = []
        for level in _LEVELS:
            p = round(100 * row[f"p_level_{level}"])
            own = level == row["level"]
            values.append({"level": level, "p": p, "shown": f"{p}%" if p else "", "own": own})
        return self._chart("chances", values)

    def years(self, school_id: str, subject: str) -> alt.LayerChart:
        """Show the growth percentile of one school with its band, year by year."""
        parts = [self._schools(subject, year) for year in self.results.facts.years]
        rows = pl.concat(parts).filter((pl.col("id") == school_id) & pl.col("lo").is_not_null())
        return self._chart("years", rows.to_dicts())

    def waterfall(self) -> alt.LayerChart:
        """Show the rows left after each step, and the rows that went."""
        values = waterfall_bars(self.results.waterfall)
        return self._chart("waterfall", values, lines=len(values))

    def __repr__(self) -> str:
        """Return what there is."""
        facts = self.results.facts
        subjects = self.results.rows["subject"].unique().sort().to_list()
        return (
            f"Figures({', '.join(subjects)}; {', '.join(map(str, facts.years))}; {facts.schools:,} schools)"
        )

    def _rows(self, subject: str, year: int | None) -> pl.DataFrame:
        rows = self.results.rows
        subjects = rows["subject"].unique().sort().to_list()
        if subject not in subjects:
            hint = did_you_mean(subject, subjects)
            raise GrowthError(f"There is no subject {subject!r}{hint} (there are: {', '.join(subjects)}).")
        years = self.results.facts.years
        if year is not None and year not in years:
            raise GrowthError(f"There are results of {', '.join(map(str, years))}, not of {year}.")
        return rows.filter((pl.col("subject") == subject) & (pl.col("year") == (year or years[-1])))

    def _schools(self, subject: str, year: int | None) -> pl.DataFrame:
        """Return the results for all students by the names that the charts know."""
        rows = self._rows(subject, year).filter((pl.col("group") == ALL) & pl.col("reason").is_null())
        lo, hi = pl.col("growth_percentile_low"), pl.col("growth_percentile_high")
        standing = pl.when(lo > 50).then(pl.lit("above")).when(hi < 50).then(pl.lit("below"))
        band = pl.concat_str(*(end.floor().cast(pl.Int64) for end in (lo, hi)), separator="–")
        shown = [number_words(value, "+.2f") if value is not None else None for value in rows["achievement"]]
        return rows.select(
            pl.col("school_id").alias("id"),
            pl.col("school_name").alias("name"),
            "year",
            pl.col("growth_percentile").alias("gp"),
            lo.alias("lo"),
            hi.alias("hi"),
            "level",
            "n",
            pl.col("achievement").alias("ach"),
            standing.otherwise(pl.lit("average")).alias("standing"),
            band.alias("band"),
            pl.col("growth_percentile").floor().cast(pl.Int64).alias("gpShown"),
            pl.col("n").cast(pl.String).alias("nShown"),
            pl.Series("achShown", shown, dtype=pl.String),
        )

    def _chart(
        self, name: str, values: Sequence[dict[str, Any]], chosen: str = "", lines: int = 1
    ) -> alt.LayerChart:
        import altair as alt

        from growth.report.charts import chart_specs

        rows = self.results.rows
        specs = chart_specs(achievement_range(rows), most_students(rows), self.results.facts.schools)
        text = re.sub(r"var\((--\w+)\)", lambda match: palette()[match[1]], json.dumps(specs[name]))
        spec = json.loads(text)
        for param in spec["params"]:
            if param["name"] == "chosen":
                param["value"] = chosen
        del spec["config"]["background"]  # that of the notebook
        spec |= {"width": _WIDTH, "height": spec["height"] * lines}
        spec["datasets"] = {**spec.get("datasets", {}), "rows": list(values)}
        chart: alt.LayerChart = alt.LayerChart.from_dict(spec)
        return chart


def figures(run: RunLike | ReportInput) -> Figures:
    """Return the charts of a run.

    Parameters
    ----------
    run : GrowthRun or ReportInput
        What to draw.

    Returns
    -------
    Figures
        Altair charts by method: ranks, achievement, levels, changes, chances, years, waterfall.

    Raises
    ------
    GrowthError
        If the extra ``growth[report]`` is not installed.
    """
    require_extra()
    given = run if isinstance(run, ReportInput) else report_input(run)
    return Figures(page_results(given))


@lru_cache(maxsize=1)
def palette() -> dict[str, str]:
    """Return the light colors of the page by name."""
    style = _STYLE.read_text("utf-8")
    return dict(re.findall(r"(--\w+): (#\w+)", style[: style.index("}")]))
