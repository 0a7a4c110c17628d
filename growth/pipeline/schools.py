"""School results of a run: schools, and what was asked for beside them, on the cut points in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from growth.index import LevelCuts, level_cuts
from growth.school import (
    Enrolment,
    Errors,
    Inputs,
    Norms,
    SchoolGrowth,
    measure_units,
    school_growth,
    school_history,
    school_inputs,
)
from growth.school.counted import columns_in_use
from growth.school.placement import Kind
from growth.spec import GrowthSpec

__all__ = ["SchoolResults", "school_results"]


@dataclass(frozen=True, slots=True, eq=False)
class SchoolResults:
    """School growth, the cut points of its levels, and further frames by name."""

    schools: SchoolGrowth
    cuts: LevelCuts
    more: dict[str, pl.DataFrame]
    """predictions, spans, districts and history, where there are such."""


Resample: TypeAlias = Callable[[Sequence[Inputs]], list[Mapping[str, Errors]]]
"""Returns standard errors by group for each of several inputs."""


def school_results(
    students: pl.DataFrame,
    spec: GrowthSpec,
    enrolment: Enrolment | None,
    kept: tuple[Norms | None, LevelCuts | None],
    resample: Resample,
) -> SchoolResults:
    """Return all school results of a run.

    Parameters
    ----------
    students : polars.DataFrame
        The students frame.
    spec : GrowthSpec
    enrolment : Enrolment or None
    kept : (Norms or None, LevelCuts or None)
        Of an earlier year; None for this year's own. Norms are of schools: results by span, and districts
        with a norm of their own, are ranked among this year's.
    resample : callable
        Called for ``school.standard_error = "refit"``.
    """
    norms, cuts = kept
    used = columns_in_use(spec)
    students = students.select(name for name in students.columns if name in used)
    kinds: list[Kind] = ["school"]
    kinds += ["span"] if spec.school.by_span else []
    kinds += ["district"] if spec.school.districts != "none" else []
    inputs = [school_inputs(students, spec, kind, enrolment) for kind in kinds]
    errors: Sequence[Mapping[str, Errors] | None] = [None] * len(kinds)
    if spec.school.standard_error == "refit":
        errors = resample(inputs)
    points = None if cuts is None else cuts.points
    schools = measure_units(inputs[0], spec, norms, cuts=points, errors=errors[0])
    if cuts is None:
        cuts = level_cuts(spec, schools.frame)
        if spec.levels.rule != "fixed_tens":
            # Deciles are known only now; probabilities of levels belong to them.
            schools = measure_units(inputs[0], spec, norms, cuts=cuts.points, errors=errors[0])
    more = {} if schools.predictions is None else {"predictions": schools.predictions}
    for one, error in list(zip(inputs, errors, strict=True))[1:]:
        among = schools.norms if one.kind == "district" and spec.school.districts == "school_norm" else None
        more[f"{one.kind}s"] = measure_units(one, spec, among, cuts=cuts.points, errors=error).frame
    if students["year"].n_unique() > 1:
        more["history"] = _history(students, schools.frame, spec, enrolment)
    return SchoolResults(schools, cuts, more)


def _history(
    students: pl.DataFrame, schools: pl.DataFrame, spec: GrowthSpec, enrolment: Enrolment | None
) -> pl.DataFrame:
    """Return what schools did over the years, each year by itself; without refits for that alone."""
    if spec.school.years == 1:
        return school_history(schools, spec)
    rule = spec.school.standard_error
    changes = {"school.years": 1, "school.standard_error": "pooled" if rule == "refit" else rule}
    yearly = spec.replace(changes)
    return school_history(school_growth(students, yearly, enrolment=enrolment).frame, yearly)
