"""The pictures of one run: ``run.plot``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from growth.audit import student_fan, student_projection
from growth.audit.again import reform
from growth.errors import GrowthError, did_you_mean
from growth.panel import CallerFrame, CsemFunction, StudentTable
from growth.pipeline import GrowthRun
from growth.plot.system import GROWTH, draw_system, system_growth
from growth.report import Figures, figures, student_chart
from growth.report.extras import require_extra

if TYPE_CHECKING:
    import altair as alt

__all__ = ["PICTURES", "RunPlots"]

PICTURES = {
    "bubbles": "growth against achievement, a circle per school",
    "caterpillar": "schools by growth percentile, with bands",
    "levels": "schools by level and group",
    "changes": "levels of the year before against this year's",
    "chances": "probability of each level of one school",
    "years": "one school, year by year",
    "waterfall": "rows left after each step",
    "system": "scores by grade, and paths of constant growth percentiles",
    "student": "one student's scores, fans and next year's projection",
}
"""Method of `RunPlots` -> what it shows."""


@dataclass(frozen=True, eq=False, repr=False)
class RunPlots:
    """Altair charts of a run, one method per picture. They need the extra ``growth[report]``.

    Pictures of schools show what a report may publish, and withhold the rest; `system` shows percentiles of
    scores of whole grades; `student` shows one student, and is for that student's family and teachers.
    """

    run: GrowthRun

    @cached_property
    def _figures(self) -> Figures:
        return figures(self.run)

    def bubbles(self, subject: str, year: int | None = None, *, chosen: str = "") -> alt.LayerChart:
        """Growth against achievement, one circle per school, as large as its number of students.

        Parameters
        ----------
        subject : str
            As in the run.
        year : int, optional
            The latest by default.
        chosen : str
            school_id of a school to name in the picture.
        """
        return self._figures.achievement(subject, year, chosen=chosen)

    def caterpillar(self, subject: str, year: int | None = None, *, chosen: str = "") -> alt.LayerChart:
        """Schools from the lowest to the highest growth percentile, each with its 95 % band.

        Parameters
        ----------
        subject : str
            As in the run.
        year : int, optional
            The latest by default.
        chosen : str
            school_id of a school to name in the picture.
        """
        return self._figures.ranks(subject, year, chosen=chosen)

    def levels(self, subject: str, year: int | None = None) -> alt.LayerChart:
        """Count schools by level and group of students.

        Parameters
        ----------
        subject : str
            As in the run.
        year : int, optional
            The latest by default.
        """
        return self._figures.levels(subject, year)

    def changes(self, subject: str, year: int | None = None) -> alt.LayerChart:
        """Count schools by level in the year before and in the year.

        Parameters
        ----------
        subject : str
            As in the run.
        year : int, optional
            The latest by default.

        Raises
        ------
        GrowthError
            If no school has a level of the year before.
        """
        return self._figures.changes(subject, year)

    def chances(self, school_id: str, subject: str, year: int | None = None) -> alt.LayerChart:
        """Probability of each level of one school.

        Parameters
        ----------
        school_id : str
        subject : str
            As in the run.
        year : int, optional
            The latest by default.

        Raises
        ------
        GrowthError
            If the school has no result that may be shown.
        """
        return self._figures.chances(school_id, subject, year)

    def years(self, school_id: str, subject: str) -> alt.LayerChart:
        """Growth percentile of one school with its band, year by year.

        Parameters
        ----------
        school_id : str
        subject : str
            As in the run.
        """
        return self._figures.years(school_id, subject)

    def waterfall(self) -> alt.LayerChart:
        """Rows left after each step, and rows that went."""
        return self._figures.waterfall()

    def system(
        self,
        subject: str,
        table: StudentTable | CallerFrame | str | Path,
        *,
        start: float = 50,
        percentiles: Sequence[int] = GROWTH,
        flags: Sequence[str] = (),
        csem: CsemFunction | None = None,
    ) -> alt.LayerChart:
        """Scores by grade, and where growth at a constant percentile leads from the lowest grade upwards.

        Parameters and errors are those of `growth.plot.system_growth`, which has the numbers.
        """
        found = system_growth(
            self.run, subject, table, start=start, percentiles=percentiles, flags=flags, csem=csem
        )
        return draw_system(found)

    def student(
        self,
        student_id: str,
        table: StudentTable | CallerFrame | str | Path,
        *,
        subject: str | None = None,
        csem: CsemFunction | None = None,
    ) -> alt.LayerChart | alt.VConcatChart:
        """One student's scores, where similar students went each year, and next year's projection.

        Below the title stands what the projection assumes, or why there is none
        (`growth.audit.student_projection`).

        Parameters
        ----------
        student_id : str
        table : path, frame or StudentTable
            What the run was made from: a run keeps no prior scores of single students.
        subject : str, optional
            As in the run; all subjects, one below the other, by default.
        csem : callable, optional
            As the run was given.

        Raises
        ------
        GrowthError
            If the student has no score in the table, or none in the subject.
        TableError
            If the table is not the one that the run was made from.
        """
        require_extra()
        import altair as alt

        again = reform(self.run, table, csem=csem)
        fan = student_fan(self.run, student_id, again)
        latest = self.run.polars("students")["year"].max()
        present = not fan.filter(pl.col("year") == latest).is_empty()
        ahead = student_projection(self.run, student_id, again) if present else None
        subjects = fan["subject"].unique().sort().to_list()
        if subject is not None and subject not in subjects:
            raise GrowthError(f"The student has no score in {subject!r}{did_you_mean(subject, subjects)}.")
        charts = [student_chart(fan, name, ahead) for name in ([subject] if subject else subjects)]
        return charts[0] if len(charts) == 1 else alt.VConcatChart(vconcat=charts)

    def __repr__(self) -> str:
        """Return what there is."""
        return "\n".join(f".plot.{name}: {what}" for name, what in PICTURES.items())
