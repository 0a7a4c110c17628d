"""The pictures of a comparison of specifications, as Altair charts: one question each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from growth.study.plots import INK, LINE, LOW, MUTED, STRONG, altair, faceted, names_axis
from growth.study.selection.losses import ALL
from growth.study.selection.ranking import BEST, EQUAL, WORSE

if TYPE_CHECKING:
    from growth.study.plots import Chart
    from growth.study.selection.result import Selection

__all__ = ["SelectionPlots"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SelectionPlots:
    """Charts of one comparison; each needs the extra ``report`` (Altair)."""

    selection: Selection

    def losses(self) -> Chart:
        """Return how much worse each specification foresees students than the best, with intervals."""
        alt = altair()
        table = self.selection.ranking
        best = str(table["spec"][0])
        rows = self._against(best).filter(pl.col("tau").is_null())
        verdicts = table.select("spec", "verdict")
        own = pl.DataFrame({"spec": [best] * rows["subject"].n_unique(), "subject": rows["subject"].unique()})
        zero = own.with_columns(difference=0.0, low=0.0, high=0.0)
        shown = pl.concat([rows.select(zero.columns), zero]).join(verdicts, on="spec")
        y = alt.Y("spec:N", sort=table["spec"].to_list(), title=None, axis=names_axis(240))
        title = f"loss more than {best} [% of the loss without a model]"
        colour = alt.Color(
            "verdict:N",
            scale=alt.Scale(domain=[BEST, EQUAL, WORSE], range=[INK, STRONG, LOW]),
            legend=alt.Legend(orient="top", title=None, labelLimit=300),
        )
        base = alt.Chart()
        layers = [
            base.mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x=alt.datum(0)),
            base.mark_rule(strokeWidth=2).encode(
                x=alt.X("low:Q", title=title), x2="high:Q", y=y, color=colour
            ),
            base.mark_circle(size=90, opacity=1).encode(x="difference:Q", y=y, color=colour),
        ]
        notes = [f"intervals simultaneous over all pairs; {self._size()}", "verdicts over all subjects"]
        return faceted(
            alt.layer(*layers),
            shown,
            "Which specification foresees students",
            notes,
            height=30 * table.height,
        )

    def taus(self) -> Chart:
        """Return where in the distribution specifications differ: the same difference by tau."""
        alt = altair()
        best = str(self.selection.ranking["spec"][0])
        rows = self._against(best).drop_nulls("tau")
        x = alt.X("tau:Q", title="curve (tau)", scale=alt.Scale(domain=[0, 1]))
        y = alt.Y("difference:Q", title=f"loss more than {best} [%]")
        base = alt.Chart()
        layers = [
            base.mark_rule(color=MUTED, strokeDash=[3, 3]).encode(y=alt.datum(0)),
            base.mark_area(opacity=0.15).encode(x=x, y="low:Q", y2="high:Q", color=self._colour()),
            base.mark_line(strokeWidth=2).encode(x=x, y=y, color=self._colour()),
        ]
        notes = [f"bands simultaneous over all pairs, curve by curve; {self._size()}"]
        return faceted(alt.layer(*layers), rows, "Where specifications differ", notes, height=260)

    def calibration(self) -> Chart:
        """Return held-out calibration in the lowest and the highest fifth of prior scores."""
        alt = altair()
        ends = {"1": "lowest fifth of prior scores", "5": "highest fifth of prior scores"}
        rows = self.selection.calibration.filter(pl.col("by") == "prior", pl.col("level").is_in(list(ends)))
        rows = rows.with_columns(
            end=pl.col("level").replace_strict(ends, return_dtype=pl.String),
            low=-1.96 * pl.col("se"),
            high=1.96 * pl.col("se"),
        )
        x = alt.X("tau:Q", title="curve (tau)", scale=alt.Scale(domain=[0, 1]))
        dash = alt.StrokeDash("end:N", title=None, legend=alt.Legend(orient="top", labelLimit=300))
        base = alt.Chart()
        layers = [
            base.mark_area(color=LINE, opacity=0.6).encode(x=x, y="min(low):Q", y2="max(high):Q"),
            base.mark_line(strokeWidth=2).encode(
                x=x,
                y=alt.Y("off:Q", title="below the curve less tau [percentage points]"),
                color=self._colour(),
                strokeDash=dash,
            ),
        ]
        notes = ["curves that have not seen the scores; grey: what chance makes", self._size()]
        return faceted(alt.layer(*layers), rows, "Calibration of held-out curves", notes, height=260)

    def trade_off(self) -> Chart:
        """Return held-out loss beside neutrality: what one costs in the other."""
        alt = altair()
        rows = self.selection.ranking.drop_nulls("r_prior").with_columns(subject=pl.lit("all subjects"))
        x = alt.X(
            "loss:Q", title="held-out loss [% of the loss without a model]", scale=alt.Scale(zero=False)
        )
        y = alt.Y("r_prior:Q", title="r of school results with mean prior score")
        base = alt.Chart()
        layers = [
            base.mark_rule(color=MUTED, strokeDash=[3, 3]).encode(y=alt.datum(0)),
            base.mark_rule(color=LINE, strokeWidth=3).encode(x=x, y="r_prior_low:Q", y2="r_prior_high:Q"),
            base.mark_circle(size=100, opacity=1, color=STRONG).encode(x=x, y=y),
            base.mark_text(align="left", dx=8, color=INK).encode(x=x, y=y, text="spec:N"),
        ]
        notes = ["left: foresees students better; near 0: more neutral", "bars: 95 % intervals"]
        return faceted(alt.layer(*layers), rows, "Prediction and neutrality", notes, height=280, width=460)

    def _against(self, best: str) -> pl.DataFrame:
        rows = self.selection.differences.filter(against=best)
        return rows if rows["subject"].n_unique() == 1 else rows.filter(pl.col("subject") != ALL)

    def _colour(self) -> Any:  # noqa: ANN401
        order = self.selection.ranking["spec"].to_list()
        return altair().Color(
            "spec:N", sort=order, legend=altair().Legend(orient="top", title=None, labelLimit=300)
        )

    def _size(self) -> str:
        return f"{self.selection.compared:,} results, {self.selection.folds} folds by {self.selection.by}"
