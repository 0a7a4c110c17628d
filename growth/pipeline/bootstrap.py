r"""Standard errors of school results with the error of the model in them: cohorts are refitted to samples.

The mean of school j is off by its own students' luck and by the error of the curves. The two are not
independent: the curves are fitted to these students among others, and lean towards them. Samples of two kinds
tell the parts apart, half of ``school.replicates`` each:

* *Students* of each school drawn again, the same draw for the fit and for the school's result. The variance
  of results, :math:`V_1`, holds the luck of students, what it does to the curves, and that these go together;
  the variance of results of all students on these curves, :math:`V_2`, is what it does to the curves alone.
* *Schools* drawn again with all their students. The variance of results of all students on these curves,
  :math:`V_3`, is the whole error of the curves, with that from which schools there are.

:math:`SE^2 = V_1 + V_3 - V_2`, at least half of :math:`V_1`. A draw is the same in every subject, grade and
year. Each sample fits every cohort from its own solution on, takes composition out anew if it is taken out,
and places all students on its curves. Knots stay where they are. A cohort of whose students none was drawn
keeps its curves in that sample.

Each sample has its own stream of random numbers, and samples are summed in their order: results are equal bit
for bit for any number of threads, and wherever an interrupted run goes on.

References
----------
.. [1] A. C. Cameron, J. B. Gelbach and D. L. Miller (2008), Bootstrap-based improvements for inference with
   clustered errors, Review of Economics and Statistics 90(3), 414-427.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray
from growth.panel import Panel, PanelSet, StudentTable
from growth.parallel import Crew, Shared
from growth.pipeline.resume import panel_digest
from growth.pipeline.shelf import Shelf
from growth.pipeline.students import Fitted
from growth.school import Enrolment, Errors, Inputs, SampleErrors, SampleStatistics, SchoolSamples
from growth.school.bands import DrawRule
from growth.spec import GrowthSpec
from growth.student import FrozenCurves, compose, frozen_cohort, placed_again, spline_terms

__all__ = ["Refits", "Strata", "draw_schools", "draw_students", "refit_errors", "repeated"]


@dataclass(frozen=True, slots=True, eq=False)
class _Cohort:
    """A cohort that gives results, with the design it was fitted with."""

    fitted: Fitted
    design: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Strata:
    """Who is drawn from where: S students."""

    student: IntArray
    """Student of each row of the table, shape (rows of the table,)."""
    school: IntArray
    """Code of the school of each student's first result, -1 where there is none, shape (S,)."""

    @classmethod
    def of(cls, ids: pl.Series, panels: Sequence[Panel]) -> Strata:
        """Find them from the table's student ids and the cohorts."""
        student = ids.rank("dense").cast(pl.Int64).to_numpy() - 1
        of_row = np.full(len(student), -1)
        for panel in panels:
            of_row[panel.row] = -1 if panel.school is None else panel.school
        school = np.full(int(student.max()) + 1, -1)
        placed = np.flatnonzero(of_row >= 0)[::-1]
        school[student[placed]] = of_row[placed]  # of several rows the last assignment, the first row, stays
        return cls(student, school)


@dataclass(frozen=True, slots=True, eq=False)
class Refits:
    """Everything that a sample needs."""

    panels: PanelSet
    strata: Strata
    cohorts: tuple[_Cohort, ...]
    spec: GrowthSpec
    place: IntArray
    """Of each counted result among the students of `cohorts`, one after the other, shape (n,)."""
    row: IntArray
    """Of each counted result in the student table, shape (n,)."""
    scale: FloatArray
    """What residuals are divided by, shape (n,)."""
    samples: tuple[SchoolSamples, ...]
    digest: str
    """Of what all this was made from."""

    @classmethod
    def of(
        cls,
        table: StudentTable,
        panels: PanelSet,
        fitted: Sequence[Fitted],
        inputs: Sequence[Inputs],
        spec: GrowthSpec,
        enrolment: Enrolment | None = None,
    ) -> Refits:
        """Gather the cohorts of a run and the school results that errors are wanted of.

        Of the table only the students' ids are used.
        """
        ids = table.codes["student_id"]
        rows = inputs[0].counted.rows
        used = set(panels.current["highest"].drop_nulls().unique())
        cohorts = tuple(
            _Cohort(one, spline_terms(one.panel, spec).matrix) for one in fitted if one.panel.key in used
        )
        members = [
            pl.DataFrame({"student_id": ids[one.fitted.panel.row], "cohort": one.fitted.panel.key})
            for one in cohorts
        ]
        found = rows.select("student_id", "cohort").join(
            pl.concat(members).with_row_index("_place"),
            on=["student_id", "cohort"],
            how="left",
            maintain_order="left",
        )
        place = found["_place"].cast(pl.Int64).to_numpy()
        return cls(
            panels=panels,
            strata=Strata.of(ids, [one.fitted.panel for one in cohorts]),
            cohorts=cohorts,
            spec=spec,
            place=place,
            row=np.concatenate([one.fitted.panel.row for one in cohorts])[place],
            scale=inputs[0].scale,
            samples=tuple(SchoolSamples.of(one, spec.school) for one in inputs),
            digest=_digest(
                table.digest,
                "" if enrolment is None else enrolment.digest,
                spec.digest,
                *(panel_digest(one.fitted.panel) for one in cohorts),
            ),
        )

    def sample(self, number: int) -> list[SampleStatistics]:
        """Return the statistics of one sample for each kind of unit; even numbers draw students."""
        rules = self.spec.school
        stream = DrawRule(rules.replicates, rules.seed).stream("refit", number)
        draw = draw_schools if number % 2 else draw_students
        counts = draw(self.strata, stream)
        percentile, value = self.placed(counts)
        times = None if number % 2 else counts[self.row]
        return [one.statistics(percentile, value, times) for one in self.samples]

    def placed(self, counts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Refit to students drawn so often; return what all counted results are then, shape (n,) each.

        Parameters
        ----------
        counts : ndarray, shape (rows of the table,)

        Returns
        -------
        percentile [0-100], and what effects are made from
        """
        offsets = self._offsets(counts)
        percentiles, residuals = [], []
        for one in self.cohorts:
            panel = replace(one.fitted.panel, offset=offsets.get(one.fitted.panel.key))
            placed = placed_again(one.fitted.growth, panel, one.design, counts[panel.row], self.spec)
            percentiles.append(placed.percentile)
            residuals.append(placed.residual)
        percentile = 100.0 * np.concatenate(percentiles)[self.place]
        if self.spec.school.aggregate != "mean_residual":
            return percentile, percentile
        return percentile, np.concatenate(residuals)[self.place] / self.scale

    def _offsets(self, counts: FloatArray) -> dict[str, FloatArray]:
        """Return what goes with composition in a sample, of all students, by cohort."""
        if self.spec.peers.composition != "two_step":
            return {}
        offsets: dict[str, FloatArray] = {}
        engine = self.spec.student.engine
        growth = {one.fitted.panel.key: one.fitted.growth for one in self.cohorts}
        for year in sorted({panel.year for panel in self.panels.panels}):
            ours = [panel for panel in self.panels.panels if panel.year == year and panel.key in growth]
            drawn = tuple(repeated(panel, counts) for panel in ours if counts[panel.row].any())
            found = compose(replace(self.panels, panels=drawn), self.spec)
            kept = tuple(
                frozen_cohort(panel, growth[panel.key], engine, found.makeups[panel.key])
                for panel in ours
                if panel.key in found.makeups
            )
            known = FrozenCurves(kept, (), found.lines)
            again = compose(replace(self.panels, panels=tuple(ours)), self.spec, known)
            offsets |= {p.key: p.offset for p in again.panels.panels if p.offset is not None}
        return offsets


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    refits: Shared[Refits]
    digest: str
    shelf: Shelf

    def __call__(self, number: int) -> list[SampleStatistics]:
        key = _digest(self.digest, str(number))
        return self.shelf.part("refit", key, lambda: self.refits.get().sample(number))


def refit_errors(refits: Refits, crew: Crew, shelf: Shelf) -> list[Mapping[str, Errors]]:
    """Return standard errors by group, for each of the inputs that `refits` was made of.

    A sample that the shelf has is not drawn again.

    Raises
    ------
    ConvergenceError
        If a refit could not be proven optimal.
    """
    errors = [SampleErrors(samples) for samples in refits.samples]
    work = _Samples(crew.share(refits), refits.digest, shelf)
    numbers = range(refits.spec.school.replicates)
    for found in crew.each(work, numbers, in_order=True):
        for one, statistics in zip(errors, found, strict=True):
            one.add(statistics)
    return [one.errors() for one in errors]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def draw_schools(strata: Strata, stream: np.random.Generator) -> FloatArray:
    """Return how often each row was drawn, shape (rows of the table,); a school's rows all alike."""
    times = np.zeros(len(strata.school))
    placed = strata.school >= 0
    schools = np.unique(strata.school[placed])
    drawn = np.bincount(stream.integers(len(schools), size=len(schools)), minlength=len(schools))
    times[placed] = drawn[np.searchsorted(schools, strata.school[placed])]
    alone = np.flatnonzero(~placed)
    if len(alone):
        times[alone] = np.bincount(stream.integers(len(alone), size=len(alone)), minlength=len(alone))
    return times[strata.student]


def draw_students(strata: Strata, stream: np.random.Generator) -> FloatArray:
    """Return how often each row was drawn, shape (rows of the table,); each school keeps its size."""
    order = np.argsort(strata.school, kind="stable")
    _, first, size = np.unique(strata.school[order], return_index=True, return_counts=True)
    pick = np.repeat(first, size) + (stream.random(len(order)) * np.repeat(size, size)).astype(np.int64)
    times = np.bincount(order[pick], minlength=len(order)).astype(np.float64)
    return times[strata.student]


def repeated(panel: Panel, counts: FloatArray) -> Panel:
    """Return the panel with each student as often as drawn, each copy of a school a school of its own."""
    times = counts[panel.row].astype(np.int64)
    at = np.repeat(np.arange(len(panel)), times)
    copy = np.arange(len(at)) - np.repeat(np.cumsum(times) - times, times)
    school = None
    if panel.school is not None:
        code = panel.school[at]
        school = np.where(code >= 0, code + copy * (1 << 32), code)
    return replace(
        panel,
        row=panel.row[at],
        score=panel.score[at],
        priors=panel.priors[at],
        covariates=panel.covariates[at],
        school=school,
        csem=None if panel.csem is None else panel.csem[at],
        score_csem=None if panel.score_csem is None else panel.score_csem[at],
        offset=None,
        offset_se=None,
    )
