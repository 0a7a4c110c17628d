"""The pictures of a study, as Altair charts: one question each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl

from growth.aggregate import by_group
from growth.errors import GrowthError, did_you_mean, problem
from growth.study.agreement import LEVELS
from growth.study.factors import BASE
from growth.study.tables import latest

if TYPE_CHECKING:
    import altair as alt

    from growth.study.result import Study

    Chart: TypeAlias = alt.TopLevelMixin

__all__ = [
    "HIGH",
    "INK",
    "LINE",
    "LOW",
    "MUTED",
    "STRONG",
    "WEAK",
    "StudyPlots",
    "altair",
    "faceted",
    "names_axis",
]

INK, MUTED, LINE = "#1f2933", "#616e7c", "#d9dee4"
STRONG, WEAK, LOW, HIGH = "#1d5f8a", "#bcd3e3", "#b5512f", "#1d5f8a"
_FEWEST = 0.005
"""Shares that round to 0 % get no number in a picture."""
_ENDS = {
    "poverty": ("least poverty", "most poverty"),
    "size": ("fewest students", "most students"),
    "prior": ("lowest prior scores", "highest prior scores"),
}
_FIRMNESS = {1: "one level or two neighbours", 3: "three or four levels", LEVELS: "five levels or more"}
"""Most steps between the lowest and the highest level -> name."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StudyPlots:
    """Charts of one study; each needs the extra ``report`` (Altair)."""

    study: Study

    def decisions(self) -> Chart:
        """Return which decision matters: shares of the variance of school ranks, by subject."""
        alt = altair()
        found = self.study.decisions.with_columns(
            told=pl.when(pl.col("main") >= _FEWEST).then((100 * pl.col("main")).round().cast(pl.Int64))
        )
        first = by_group(found, "factor", pl.col("main").mean()).sort("main", descending=True)["factor"]
        y = alt.Y("factor:N", sort=first.to_list(), title=None, axis=names_axis(360))
        x = alt.X(
            "main:Q", title="share of the variance of school ranks", axis=alt.Axis(format="%", tickCount=5)
        )
        base = alt.Chart()
        layers = [base.mark_bar(color=STRONG, height=14).encode(x=x, y=y)]
        if found["total"].null_count() < found.height:
            total = base.mark_bar(color=WEAK, height=22).encode(x=alt.X("total:Q"), y=y)
            layers.insert(0, total)
        text = base.transform_filter("isValid(datum.told)").mark_text(align="left", dx=5, color=INK)
        place = alt.X("total:Q") if len(layers) > 1 else x
        layers.append(
            text.encode(x=place, y=y, text=alt.Text("label:N")).transform_calculate(label="datum.told + ' %'")
        )
        wide = len(layers) > 2
        notes = [f"{self._size()}; latest year"]
        notes += ["dark: by itself; light: with its interactions"] if wide else []
        return faceted(
            alt.layer(*layers), found, "Which decision moves schools", notes, height=26 * len(first)
        )

    def who_gains(self, by: str = "poverty") -> Chart:
        """Return how much the lowest and the highest quarter of schools gain or lose with each choice.

        Parameters
        ----------
        by : str
            ``poverty``, ``size`` or ``prior``.
        """
        alt = altair()
        found = self._by_level(self.study.who_gains, by)
        order = [name for name in self._levelnames_axis() if name in set(found["choice"])]
        y = alt.Y("choice:N", sort=order, title=None, axis=names_axis(360))
        x = alt.X("change:Q", title="change of the growth percentile [percentile points]")
        names = dict(zip((1, 4), _ENDS[by], strict=True))
        ends = found.filter(pl.col("quartile").is_in([1, 4])).with_columns(
            schools_with=pl.col("quartile").replace_strict(names, return_dtype=pl.String)
        )
        colour = alt.Color(
            "schools_with:N",
            title="quarter of schools with",
            scale=alt.Scale(domain=list(names.values()), range=[HIGH, LOW]),
            legend=alt.Legend(orient="top", labelLimit=300, titleLimit=300),
        )
        base = alt.Chart()
        layers = [
            base.mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x=alt.datum(0)),
            base.mark_line(color=LINE, strokeWidth=4).encode(x=x, y=y, detail="choice:N"),
            base.mark_circle(size=110, opacity=1).encode(x=x, y=y, color=colour),
        ]
        against = "mean over the variants with a choice, against the mean of all variants"
        notes = ["one choice changed, against the base" if self._alone() else against, self._size()]
        return faceted(alt.layer(*layers), ends, "Who gains", notes, height=26 * len(order))

    def level_changes(self, variant: int | None = None) -> Chart:
        """Return where schools of each level of the base end up.

        Parameters
        ----------
        variant : int, optional
            Row of ``Study.design``; the mean over all variants if not given.
        """
        alt = altair()
        found = self.study.level_changes
        if variant is not None:
            found = found.filter(variant=variant)
        if found.is_empty():
            raise GrowthError(problem(f"There are no levels of variant {variant}", fix="see Study.design"))
        counts = by_group(found, ["subject", "level_base", "level"], pl.col("schools").sum())
        of_base = pl.col("schools").sum().over("subject", "level_base")
        cells = counts.with_columns(share=pl.col("schools") / of_base).with_columns(
            told=pl.when(pl.col("share") >= _FEWEST).then((100 * pl.col("share")).round().cast(pl.Int64))
        )
        levels = list(range(1, LEVELS + 1))
        x = alt.X(
            "level:O",
            title="level in the variant",
            scale=alt.Scale(domain=levels),
            axis=alt.Axis(labelAngle=0),
        )
        y = alt.Y("level_base:O", title="level in the base", scale=alt.Scale(domain=levels[::-1]))
        colour = alt.Color("share:Q", scale=alt.Scale(scheme="blues", domain=[0, 1]), legend=None)
        base = alt.Chart()
        layers = [
            base.mark_rect(stroke="white").encode(x=x, y=y, color=colour),
            base.transform_filter("datum.level == datum.level_base")
            .mark_rect(fillOpacity=0, stroke=INK, strokeWidth=1.5)
            .encode(x=x, y=y),
            base.transform_filter("isValid(datum.told)")
            .mark_text(fontSize=10)
            .encode(
                x=x,
                y=y,
                text="told:Q",
                color=alt.condition("datum.share > 0.55", alt.value("white"), alt.value(INK)),
            ),
        ]
        label = "mean over all variants" if variant is None else str(self.study.design["label"][variant])
        notes = [f"percent of the schools of each level of the base; {label}"]
        return faceted(alt.layer(*layers), cells, "Which levels change", notes, height=300, width=320)

    def profiles(self) -> Chart:
        """Return how firmly each school's level stands: the levels of 95 % of the variants."""
        alt = altair()
        levels = self.study.profiles.filter(pl.col("level_base").is_not_null())
        base_place = (
            latest(self.study.schools).filter(variant=0).select("subject", "school_id", "growth_percentile")
        )
        found = (
            levels.join(base_place, on=["subject", "school_id"])
            .sort("subject", "growth_percentile", "school_id")
            .with_columns(
                place=pl.int_range(1, pl.len() + 1).over("subject"),
                low=pl.col("level_low") - 0.35,
                high=pl.col("level_high") + 0.35,
                firmness=_firmness(pl.col("level_high") - pl.col("level_low")),
            )
        )
        x = alt.X(
            "place:Q",
            title="schools, by growth percentile in the base",
            axis=alt.Axis(grid=False, tickCount=5),
        )
        axis = alt.Axis(values=list(range(1, LEVELS + 1)), labelOverlap=False, grid=True)
        scale = alt.Scale(domain=[0.5, LEVELS + 0.5], nice=False)
        y = alt.Y("low:Q", title="level", axis=axis, scale=scale)
        colour = alt.Color(
            "firmness:N",
            title="95 % of the variants give",
            scale=alt.Scale(domain=list(_FIRMNESS.values()), range=[WEAK, STRONG, LOW]),
            legend=alt.Legend(orient="top", labelLimit=300, titleLimit=300),
        )
        tooltip = ["school_id:N", "sentence:N"]
        base = alt.Chart()
        layers = [
            base.mark_rule(strokeWidth=2.4).encode(x=x, y=y, y2="high:Q", color=colour, tooltip=tooltip),
            base.mark_tick(color=INK, thickness=2, width=4).encode(
                x=x, y=alt.Y("level_base:Q", axis=axis, scale=scale), tooltip=tooltip
            ),
        ]
        notes = [f"bars: levels of 95 % of the variants; black: level in the base; {self._size()}"]
        return faceted(alt.layer(*layers), found, "How firmly levels stand", notes, height=260, width=420)

    def _alone(self) -> bool:
        """Whether decisions were varied one at a time."""
        return set(self.study.decisions["method"]) == {"alone"}

    def _size(self) -> str:
        return f"{len(self.study.variants):,} variants"

    def _levelnames_axis(self) -> list[str]:
        return [
            f"{factor.name} = {level}"
            for factor in self.study.factors
            for level in self._levels_of(factor.name)
        ]

    def _levels_of(self, factor: str) -> list[str]:
        return self.study.design[factor].unique(maintain_order=True).to_list()

    def _by_level(self, gains: pl.DataFrame, by: str) -> pl.DataFrame:
        """Return mean changes by choice; one at a time those of the base are no news."""
        known = sorted(set(gains["by"]))
        if by not in known:
            what = f"There are no results by {by!r}{did_you_mean(by, known)}"
            raise GrowthError(problem(what, rule=f"by is one of {', '.join(known)}"))
        study = self.study
        own = {f.name: level for f, level in zip(study.factors, study.base_levels, strict=True)}
        alone, chosen = self._alone(), gains.filter(by=by)
        if not alone:
            middle = pl.col("change").mean().over("subject", "quartile")
            chosen = chosen.with_columns(change=pl.col("change") - middle)
        parts = []
        for factor, base in own.items():
            levels = study.design.select("variant", pl.col(factor).alias("level"))
            joined = chosen.join(levels, on="variant")
            shown = joined.filter(pl.col("level") != (base if alone else BASE))
            parts.append(
                by_group(shown, ["subject", "level", "quartile"], pl.col("change").mean()).with_columns(
                    choice=pl.lit(f"{factor} = ") + pl.col("level")
                )
            )
        return pl.concat(parts).drop_nulls("change").sort("subject", "choice", "quartile")


def _firmness(steps: pl.Expr) -> pl.Expr:
    name = pl.lit(_FIRMNESS[LEVELS])
    for most in (3, 1):
        name = pl.when(steps <= most).then(pl.lit(_FIRMNESS[most])).otherwise(name)
    return name


def altair() -> Any:  # noqa: ANN401
    """Return the library behind the pictures, or say how to get it."""
    try:
        import altair as found
    except ModuleNotFoundError:
        raise GrowthError(problem("Pictures need altair", fix='pip install "growth[report]"')) from None
    return found


def names_axis(limit: int) -> Any:  # noqa: ANN401
    """Return an axis of names of up to `limit` pixels."""
    return altair().Axis(labelLimit=limit, ticks=False, domain=False)


def faceted(
    layers: Any,  # noqa: ANN401
    data: pl.DataFrame,
    title: str,
    notes: list[str],
    *,
    height: int,
    width: int = 340,
) -> Chart:
    """Return one panel per subject, side by side, in one style."""
    alt = altair()
    columns = alt.Facet("subject:N", title=None, header=alt.Header(labelFontSize=13, labelFontWeight="bold"))
    chart: Chart = (
        layers.properties(width=width, height=height)
        .facet(facet=columns, columns=2, data=data)
        .properties(
            title=alt.TitleParams(title, subtitle=notes, anchor="start", fontSize=16, subtitleColor=MUTED)
        )
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK, titleColor=MUTED, titleFontWeight="normal", gridColor=LINE, domainColor=LINE
        )
        .configure_facet(spacing=28)
    )
    return chart
