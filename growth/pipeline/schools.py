"""School results of a run: schools, and what was asked for beside them, on the cut points in use."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from growth.index import LevelCuts, level_cuts
from growth.school import (
    Enrolment,
    Norms,
    SchoolGrowth,
    district_growth,
    school_growth,
    school_history,
    span_growth,
)
from growth.spec import GrowthSpec

__all__ = ["SchoolResults", "school_results"]


@dataclass(frozen=True, slots=True, eq=False)
class SchoolResults:
    """School growth, the cut points of its levels, and further frames by name."""

    schools: SchoolGrowth
    cuts: LevelCuts
    more: dict[str, pl.DataFrame]
    """predictions, spans, districts and history, where there are such."""


def school_results(
    students: pl.DataFrame,
    spec: GrowthSpec,
    enrolment: Enrolment | None,
    norms: Norms | None,
    cuts: LevelCuts | None,
) -> SchoolResults:
    """Return all school results of a run.

    Parameters
    ----------
    students : polars.DataFrame
        The students frame.
    spec : GrowthSpec
    enrolment : Enrolment or None
    norms, cuts
        Of an earlier year; None for this year's own. Norms are of schools: results by span, and districts
        with a norm of their own, are ranked among this year's.
    """
    points = None if cuts is None else cuts.points
    schools = school_growth(students, spec, norms=norms, enrolment=enrolment, cuts=points)
    if cuts is None:
        cuts = level_cuts(spec, schools.frame)
        points = cuts.points
        if spec.levels.rule != "fixed_tens":
            # Deciles are known only now; probabilities of levels belong to them.
            schools = school_growth(students, spec, norms=norms, enrolment=enrolment, cuts=points)
    more = {} if schools.predictions is None else {"predictions": schools.predictions}
    if spec.school.by_span:
        more["spans"] = span_growth(students, spec, enrolment=enrolment, cuts=points).frame
    if spec.school.districts != "none":
        among = schools.norms if spec.school.districts == "school_norm" else None
        more["districts"] = district_growth(
            students, spec, norms=among, enrolment=enrolment, cuts=points
        ).frame
    if students["year"].n_unique() > 1:
        more["history"] = _history(students, schools.frame, spec, enrolment)
    return SchoolResults(schools, cuts, more)


def _history(
    students: pl.DataFrame, schools: pl.DataFrame, spec: GrowthSpec, enrolment: Enrolment | None
) -> pl.DataFrame:
    """Return what schools did over the years, each year by itself."""
    if spec.school.years == 1:
        return school_history(schools, spec)
    yearly = spec.replace({"school.years": 1})
    return school_history(school_growth(students, yearly, enrolment=enrolment).frame, yearly)
