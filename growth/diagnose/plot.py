"""The pictures of the diagnostics, one call each: ``diagnostics.plot.qq()``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl

from growth.errors import GrowthError, problem

if TYPE_CHECKING:
    from growth.diagnose.diagnostics import Diagnostics

__all__ = ["PICTURES", "Plot"]

Picture: TypeAlias = Any
"""An Altair chart, which only those who draw have installed."""

PICTURES = {
    "goodness_of_fit": "Prior deciles by SGP deciles",
    "qq": "Percentiles against uniform",
    "calibration": "Calibration by prior scores",
    "correlations": "Students and schools, side by side",
    "ceiling_floor": "Lowest and highest scorers",
    "spread": "Spread by expected score",
    "held_out": "Fit and schools left out",
    "drift": "Drift against the base year",
    "waterfall": "Rows, step by step",
    "simex": "What SIMEX changes",
    "variance": "Differences between schools",
    "flags": "Flags and prior scores",
}
"""Method of `Plot` -> title."""


@dataclass(frozen=True, slots=True)
class Plot:
    """Altair charts of diagnostics. Each method raises `GrowthError` if the run has nothing of the kind."""

    diagnostics: Diagnostics

    def goodness_of_fit(
        self, subject: str | None = None, year: int | None = None, grade: int | None = None
    ) -> Picture:
        """Tables of prior deciles by SGP deciles, one per subject and grade: even is good."""
        from growth.diagnose.charts import fit

        return fit.goodness_of_fit(self._rows("goodness_of_fit", subject, year, grade))

    def qq(self, subject: str | None = None, year: int | None = None, grade: int | None = None) -> Picture:
        """Distance of percentiles' quantiles from uniform ones: flat at 0 is good."""
        from growth.diagnose.charts import fit

        return fit.qq(self._rows("qq", subject, year, grade))

    def calibration(self, subject: str | None = None, year: int | None = None, by: str = "prior") -> Picture:
        """Share below each curve less its tau, by fifth of prior scores, order or group: flat at 0 is good.

        Parameters
        ----------
        subject, year
            The latest year by default.
        by : {"prior", "order", "group"}
        """
        from growth.diagnose.charts import fit

        rows = self._rows("calibration", subject, year, None).filter(pl.col("by").is_in(["all", by]))
        return fit.calibration(rows)

    def correlations(self, year: int | None = None) -> Picture:
        """Correlations with prior scores and flags, of students and of schools, and a point per school."""
        from growth.diagnose.charts import schools

        points = self._rows("school_points", None, year, None)
        return schools.correlations(self._rows("correlations", None, year, None), points)

    def ceiling_floor(self, year: int | None = None) -> Picture:
        """Mean percentiles of the lowest and highest scorers beside what normal theory expects."""
        from growth.diagnose.charts import scale

        return scale.ceiling_floor(self._rows("extremes", None, year, None))

    def spread(self, year: int | None = None) -> Picture:
        """Spread of percentiles by tenth of expected scores: flat at 1 is good."""
        from growth.diagnose.charts import fit

        return fit.spread(self._rows("heteroskedasticity", None, year, None))

    def held_out(self, year: int | None = None) -> Picture:
        """Pinball loss and coverage in schools left out, by tau."""
        from growth.diagnose.charts import fit

        return fit.held_out(self._rows("held_out", None, year, None))

    def drift(self, year: int | None = None) -> Picture:
        """Mean percentiles in the base year's curves, by grade."""
        from growth.diagnose.charts import scale

        return scale.drift(self._rows("drift", None, year, None))

    def waterfall(self, year: int | None = None) -> Picture:
        """Rows left after each step, and why others went."""
        from growth.diagnose.charts import scale

        return scale.waterfall(self._rows("waterfall", None, year, None))

    def simex(self, year: int | None = None) -> Picture:
        """Mean change by SIMEX, by tenth of prior scores."""
        from growth.diagnose.charts import scale

        return scale.simex(self._rows("simex", None, year, None).filter(pl.col("by") == "prior"))

    def variance(self, year: int | None = None) -> Picture:
        """SD between schools and reliability, by group."""
        from growth.diagnose.charts import schools

        return schools.variance(self._rows("variance", None, year, None).filter(source="own"))

    def flags(self, year: int | None = None) -> Picture:
        """Differences of prior scores between flagged and other students, by grade and school."""
        from growth.diagnose.charts import schools

        return schools.flags(self._rows("flags", None, year, None))

    def available(self) -> dict[str, Callable[[], Picture]]:
        """Return the pictures that this run has, by name."""
        found: dict[str, Callable[[], Picture]] = {}
        for name in PICTURES:
            frame = self.diagnostics.frames.get(_FRAME.get(name, name))
            if frame is not None and not frame.is_empty():
                found[name] = getattr(self, name)
        return found

    def _rows(self, name: str, subject: str | None, year: int | None, grade: int | None) -> pl.DataFrame:
        """Return rows of a frame, of the latest year unless another is named."""
        frame = self.diagnostics.frames.get(name, pl.DataFrame())
        if not frame.is_empty():
            chosen = frame["year"].max() if year is None else year
            frame = frame.filter(pl.col("year") == chosen)
            for column, value in (("subject", subject), ("grade", grade)):
                frame = frame if value is None else frame.filter(pl.col(column) == value)
        if frame.is_empty():
            raise GrowthError(
                problem(
                    f"There is nothing to draw of {name!r} in this run and choice",
                    fix="see .verdicts for the reason, or choose another year, subject or grade",
                )
            )
        return frame


_FRAME = {
    "correlations": "school_points",
    "ceiling_floor": "extremes",
    "spread": "heteroskedasticity",
}
"""Picture -> the frame that it needs, where the names differ."""
